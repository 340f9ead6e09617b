/**
 * The rows of the reference slots, one slot for each placement group: docs/formats/rows.md has the
 * table. Sessions belong to no group and lie in the cell's own slot.
 */
import {
  type ByteReader,
  fromUtf8,
  groupOf,
  HoldfastError,
  STRIPE_ID_BYTES,
  type StripeId,
  utf8,
} from '../../base/index.ts';
import type { Row } from '../../db/index.ts';
import type { Condemned, Holder, Session, WantedStripe } from './references.ts';
import { CELL_SLOT, copyOf, keyReader, rowKey, valueReader, valueWriter } from '../cells/rows.ts';

/** Generations are whole numbers below 2^24: a store keeps no more. */
export const GENERATION_LIMIT = 2 ** 24;
const VOLUME_BYTES_MAX = 255;

// Keys.

/** The prefix of a group's stripe rows. */
export function stripesKey(group: number): Uint8Array {
  return rowKey(group, 'S');
}

export function stripeKey(stripe: StripeId): Uint8Array {
  return rowKey(groupOf(stripe), 'S', stripe);
}

/** Without a holder: the prefix of the stripe's references. */
export function referenceKey(stripe: StripeId, holder?: Holder): Uint8Array {
  return rowKey(groupOf(stripe), 'R', stripe, ...holderParts(holder));
}

/** There while the reference is pending. */
export function pendingKey(stripe: StripeId, holder: Holder): Uint8Array {
  return rowKey(groupOf(stripe), 'Q', stripe, ...holderParts(holder));
}

export function condemnedKey(stripe: StripeId): Uint8Array {
  return rowKey(groupOf(stripe), 'K', stripe);
}

export function generationKey(group: number): Uint8Array {
  return rowKey(group, 'N');
}

export function wholeEpochKey(group: number): Uint8Array {
  return rowKey(group, 'W');
}

export function sessionKey(node: string): Uint8Array {
  return rowKey(CELL_SLOT, 'N', utf8(node));
}

function holderParts(holder: Holder | undefined): (bigint | Uint8Array)[] {
  if (!holder) return [];
  const volume = utf8(holder.volume);
  if (volume.length > VOLUME_BYTES_MAX) {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'the name of a volume is too long');
  }
  return [new Uint8Array([volume.length]), volume, holder.inode];
}

function readHolder(reader: ByteReader): Holder {
  const volume = fromUtf8(reader.raw(reader.u8()));
  return { volume, inode: reader.bigU64be() };
}

function readStripeId(reader: ByteReader): StripeId {
  return copyOf(reader.raw(STRIPE_ID_BYTES)) as StripeId;
}

/** Stripe and holder of a reference or pending row. */
export function decodeReferenceKey(key: Uint8Array): { stripe: StripeId; holder: Holder } {
  const { rest } = keyReader(key);
  const named = { stripe: readStripeId(rest), holder: readHolder(rest) };
  rest.end();
  return named;
}

// Values.

/** A stripe that is named: {@link WantedStripe} and its state. */
export interface StripeRow extends WantedStripe {
  readonly generation: number;
  /** A manifest has named it: its shards were durable. */
  readonly isStored: boolean;
  /** References, pending or confirmed; at least one. */
  readonly referenceCount: number;
}

export function encodeStripe(row: StripeRow): Uint8Array {
  return valueWriter(32)
    .u16(row.schemeNumber)
    .u32(row.chunkBytes)
    .u32(row.generation)
    .u8(row.isStored ? 1 : 0)
    .u64(row.referenceCount)
    .finish();
}

/** @throws HF_CORRUPT. */
export function decodeStripe({ key, value }: Row): StripeRow {
  const { rest } = keyReader(key);
  const stripe = readStripeId(rest);
  rest.end();
  const reader = valueReader(value, 'stripe row');
  const schemeNumber = reader.u16();
  const chunkBytes = reader.u32();
  const generation = readGeneration(reader);
  const state = reader.u8();
  const referenceCount = reader.u64();
  if (state > 1) throw reader.corrupt('its state is not known');
  if (referenceCount === 0) throw reader.corrupt('nothing names it');
  reader.end();
  return { stripe, schemeNumber, chunkBytes, generation, isStored: state === 1, referenceCount };
}

export function encodeCondemned({ schemeNumber, generation }: Condemned): Uint8Array {
  return valueWriter(8).u16(schemeNumber).u32(generation).finish();
}

export function decodeCondemned({ key, value }: Row): Condemned {
  const { rest } = keyReader(key);
  const stripe = readStripeId(rest);
  rest.end();
  const reader = valueReader(value, 'condemned row');
  const condemned = { stripe, schemeNumber: reader.u16(), generation: readGeneration(reader) };
  reader.end();
  return condemned;
}

function readGeneration(reader: ByteReader): number {
  const generation = reader.u32();
  if (generation < 1 || generation >= GENERATION_LIMIT) {
    throw reader.corrupt('its generation is out of range');
  }
  return generation;
}

/** The value of a pending row: who will confirm it. */
export function encodeSession({ id, fence }: Session): Uint8Array {
  return valueWriter().text(id).u64(fence).finish();
}

export function decodeSession(value: Uint8Array): Session {
  const reader = valueReader(value, 'pending row');
  const session = { id: reader.text(), fence: reader.u64() };
  reader.end();
  return session;
}
