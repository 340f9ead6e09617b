/**
 * Brings the references back into line with the volumes, after both were made again from snapshots
 * of several moments.
 *
 * 1. What an extent names has a reference: else its shards would be taken for litter.
 * 2. A reference that no extent names, or that was made here, is pending, of a session that is
 *    over: the collector settles it, as after a writer that died.
 * 3. Inode numbers and generations leap over all that may have been given since the snapshots.
 */
import { groupOf, keyText, type VolumeId } from '../../base/index.ts';
import type { LocalDb, Row } from '../../db/index.ts';
import { decodeNumber, EMPTY_VALUE, encodeNumber, keyReader, SLOT_COUNT } from '../cells/rows.ts';
import { decodeExtent, nextInodeKey } from '../namespace/namespace-rows.ts';
import type { Extent, Inode } from '../namespace/namespace.ts';
import {
  decodeReferenceKey,
  decodeStripe,
  encodeSession,
  encodeStripe,
  GENERATION_LIMIT,
  generationKey,
  pendingKey,
  referenceKey,
  stripeKey,
} from '../references/reference-rows.ts';
import type { Holder } from '../references/references.ts';
import type { RecoveredSpace } from './recovered-space.ts';

/** More numbers of inodes than a slot gives in minutes. */
const INODE_LEAP = 2 ** 33;
/** More generations than a group comes to in minutes. */
const GENERATION_LEAP = 2 ** 16;
const BATCH_ROWS = 500;
/** Slot, tag, session and lane. */
const KEPT_ANSWER_BYTES = 3 + 16 + 1;
/** Of nobody: a node never had it, and it is over. */
const SESSION: Uint8Array = encodeSession({ id: 'recovery', fence: 1 });

export interface MendOptions {
  readonly references: RecoveredSpace;
  readonly volumes: ReadonlyMap<VolumeId, RecoveredSpace>;
  /** Bytes of one chunk of a stripe with that much content. */
  readonly chunkBytes: (schemeNumber: number, contentBytes: number) => number;
  /** Empty; what is written there is of no use afterwards. */
  readonly scratch: LocalDb;
}

/** @returns how many references were missing. @throws HF_CORRUPT. */
export async function mendReferences(options: MendOptions): Promise<number> {
  const { references, volumes, scratch } = options;
  const named = new Batch(references);
  const seen = new Batch(scratch);
  await leap(named, generationKey, (before) => {
    const next = (before || 1) + GENERATION_LEAP;
    return next < GENERATION_LIMIT ? next : before || 1;
  });
  let addedCount = 0;
  for (const [volume, space] of volumes) {
    const counters = new Batch(space);
    await leap(counters, nextInodeKey, (before) => (before || 2) + INODE_LEAP);
    await counters.flush();
    for (const { extent, inode } of extentsOf(space)) {
      const holder = { volume, inode: extent.holder ?? inode };
      const key = referenceKey(extent.stripe, holder);
      await seen.put(key, EMPTY_VALUE);
      if (named.get(key)) continue;
      addedCount += 1;
      await add(named, { holder, extent, chunkBytes: options.chunkBytes });
    }
  }
  await seen.flush();
  await named.flush();
  for (const { key } of rowsOfReferences(references)) {
    const { stripe, holder } = decodeReferenceKey(key);
    const pending = pendingKey(stripe, holder);
    // One that is pending already waits for a session that will not come back.
    if (!scratch.get(key) || references.get(pending)) await named.put(pending, SESSION);
  }
  await named.flush();
  return addedCount;
}

async function leap(
  rows: Batch,
  keyOf: (slot: number) => Uint8Array,
  after: (before: number) => number,
): Promise<void> {
  for (let slot = 0; slot < SLOT_COUNT; slot++) {
    const key = keyOf(slot);
    await rows.put(key, encodeNumber(after(decodeNumber(rows.get(key), 'counter'))));
  }
}

async function add(
  rows: Batch,
  {
    holder,
    extent,
    chunkBytes,
  }: Pick<MendOptions, 'chunkBytes'> & { readonly holder: Holder; readonly extent: Extent },
): Promise<void> {
  const { stripe, schemeNumber, lengthBytes, whole } = extent;
  const key = stripeKey(stripe);
  const value = rows.get(key);
  const known = value && decodeStripe({ key, value });
  const record = known ?? {
    stripe,
    schemeNumber,
    chunkBytes: chunkBytes(schemeNumber, whole?.lengthBytes ?? lengthBytes),
    generation: decodeNumber(rows.get(generationKey(groupOf(stripe))), 'group generation'),
    isStored: false,
    referenceCount: 0,
  };
  const referenceCount = record.referenceCount + 1;
  await rows.put(referenceKey(stripe, holder), EMPTY_VALUE);
  await rows.put(pendingKey(stripe, holder), SESSION);
  await rows.put(key, encodeStripe({ ...record, referenceCount }));
}

function* extentsOf(space: RecoveredSpace): Generator<{ extent: Extent; inode: Inode }> {
  for (const row of space.rows()) {
    const { slot, tag, rest } = keyReader(row.key);
    if (slot >= SLOT_COUNT || tag !== 'C') continue;
    yield { extent: decodeExtent(row), inode: rest.bigU64be() };
  }
}

function* rowsOfReferences(references: RecoveredSpace): Generator<Row> {
  for (const row of references.rows()) {
    const { slot, tag } = keyReader(row.key);
    if (slot < SLOT_COUNT && tag === 'R' && isReference(row.key)) yield row;
  }
}

/** A kept answer has the same tag, and a session and a lane in its place. */
function isReference(key: Uint8Array): boolean {
  return key.length > KEPT_ANSWER_BYTES;
}

/** Rows that are written some hundred at a time, and read as they will be. */
class Batch {
  readonly #rows: Pick<LocalDb, 'get' | 'transact'>;
  readonly #puts = new Map<string, Row>();

  constructor(rows: Pick<LocalDb, 'get' | 'transact'>) {
    this.#rows = rows;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#puts.get(keyText(key))?.value ?? this.#rows.get(key);
  }

  async put(key: Uint8Array, value: Uint8Array): Promise<void> {
    this.#puts.set(keyText(key), { key, value });
    if (this.#puts.size >= BATCH_ROWS) await this.flush();
  }

  async flush(): Promise<void> {
    await this.#rows.transact({ puts: [...this.#puts.values()], deletes: [] });
    this.#puts.clear();
  }
}
