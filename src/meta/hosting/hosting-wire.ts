/**
 * What travels between nodes that carry cells: an operation for the steward of a cell, and what it
 * replies. That another node is the steward, or another cell has the slot, is a reply and no error.
 */
import * as v from 'valibot';
import { isHexId, LIMITS, type NodeId } from '../../base/index.ts';
import type { CellId } from '../../log/index.ts';
import type { SlotRange } from '../cells/cell-peers.ts';
import type { RetryTag } from '../cells/executor.ts';
import { SLOT_COUNT } from '../cells/rows.ts';
import { checked, whole, wholeUpTo } from '../remote/cell-methods.ts';
import { decodeValue, encodeValue } from '../remote/wire-value.ts';
import { spaceOfCell } from './hosted-tables.ts';

/** All methods begin with it. */
export const HOSTING_SERVICE = 'cells';

/** A cell that is meant. */
export interface CellName {
  readonly space: string;
  readonly cell: CellId;
}

/** An operation for the steward of `cell`. */
export interface CellCall extends CellName {
  /** What the operation is about; none for what concerns the whole cell. */
  readonly slot: number | undefined;
  /** Nothing outside these slots is looked at; all when left out. */
  readonly within: SlotRange | undefined;
  readonly retry: RetryTag | undefined;
  readonly args: readonly unknown[];
}

export type Reply =
  | { readonly kind: 'answer'; readonly value: unknown }
  /** This node is not the steward, and which is, as far as it knows. */
  | { readonly kind: 'elsewhere'; readonly steward: NodeId | undefined }
  /** The cell does not own the slot. */
  | { readonly kind: 'moved' }
  /** Ask again; in doubt when it may have been done. */
  | { readonly kind: 'later'; readonly isInDoubt: boolean };

export const nodeId = v.custom<NodeId>((value) => typeof value === 'string' && isHexId(value));
const slot = wholeUpTo(SLOT_COUNT - 1);
const slots = v.object({ from: wholeUpTo(SLOT_COUNT), to: wholeUpTo(SLOT_COUNT) });
const retry = v.object({
  session: v.custom<string>((value) => typeof value === 'string' && isHexId(value)),
  lane: wholeUpTo(LIMITS.retryLanesMax - 1),
  sequence: whole,
});

/** Rights are those on the space: the cell must be one of its own. */
function ofItsSpace<Schema extends v.GenericSchema<unknown, CellName>>(schema: Schema) {
  return v.pipe(
    schema,
    v.check(({ space, cell }) => spaceOfCell(cell) === space, 'the cell is none of the space'),
  );
}

const name = { space: v.string(), cell: v.string() };
export const cellName = ofItsSpace(v.object(name));
export const cellMessage = ofItsSpace(v.object({ ...name, request: v.unknown() }));

const callFields = v.object({
  ...name,
  slot: v.undefinedable(slot),
  within: v.undefinedable(slots),
  retry: v.undefinedable(retry),
  args: v.array(v.unknown()),
});
const cellCall = ofItsSpace(callFields);

const reply = v.variant('kind', [
  v.object({ kind: v.literal('answer'), value: v.unknown() }),
  v.object({ kind: v.literal('elsewhere'), steward: v.undefinedable(nodeId) }),
  v.object({ kind: v.literal('moved') }),
  v.object({ kind: v.literal('later'), isInDoubt: v.boolean() }),
]);

export function encodeCall(call: CellCall): Uint8Array {
  return encodeValue(call);
}

/** @throws HF_BAD_ARGUMENT. */
export function decodeCall(bytes: Uint8Array): CellCall {
  return checked(cellCall, decodeValue(bytes));
}

export function encodeReply(value: Reply): Uint8Array {
  return encodeValue(value);
}

/** @throws HF_BAD_ARGUMENT. */
export function decodeReply(bytes: Uint8Array): Reply {
  return checked(reply, decodeValue(bytes)) as Reply;
}
