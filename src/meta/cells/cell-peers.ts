/**
 * What the cells of one space ask of each other, and how they reach each other. All of it is plain
 * data (wire values); messages may be lost, come twice, come late and overtake each other.
 *
 * *Txid*: names one attempt of a cross-cell transaction: the coordinator cell, the epoch of its
 * steward, and a number that it uses once. *Token*: fresh bytes of one intent, so that an answer
 * about an intent that is gone never meets one that took its place.
 */
import type { Row } from '../../db/index.ts';
import type { CellId } from '../../log/index.ts';
import type { Change } from './overlay.ts';

/** Slots `from` ≤ slot < `to`. */
export interface SlotRange {
  readonly from: number;
  readonly to: number;
}

/** Rows with `from` ≤ key < `to`, of one slot, in key order (descending when reversed). */
export interface RowRange {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly limit?: number | undefined;
  readonly isReverse?: boolean | undefined;
}

export interface Txid {
  readonly cell: CellId;
  readonly epoch: number;
  readonly number: number;
}

/** What was read of the participant: all rows of a range. */
export interface RangeRead {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  /** Sum of the row digests, modulo 2^64. */
  readonly digest: bigint;
}

export interface PrepareRequest {
  readonly txid: Txid;
  readonly reads: readonly RangeRead[];
  readonly changes: readonly Change[];
}

export type TransactionState =
  | { readonly state: 'aborted' | 'pending' }
  | { readonly state: 'committed'; readonly token: Uint8Array };

/** One slot move, named by its source: numbers rise with each move of that cell. */
export interface MoveId {
  readonly source: CellId;
  readonly number: number;
}

/**
 * One step of handing slots over. `attempt` (the epoch of the source's steward) orders tries of one
 * move: a later one begins again, and an earlier one is refused from then on. `cancel` refuses its
 * own attempt, too, and clears what came.
 */
export type AdoptRequest = { readonly move: MoveId; readonly attempt: number } & (
  | { readonly step: 'begin'; readonly slots: SlotRange; readonly shared: readonly Row[] }
  | { readonly step: 'rows'; readonly index: number; readonly rows: readonly Row[] }
  | { readonly step: 'end'; readonly rowCount: number; readonly digest: bigint }
  | { readonly step: 'cancel'; readonly slots: SlotRange }
);

/**
 * `more`: what comes next is the page of this index. `done`: the slots are the target's for good.
 */
export type AdoptAnswer =
  | { readonly state: 'more'; readonly index: number }
  | { readonly state: 'done' };

/** What a cell answers to other cells of its space. */
export interface CellMessages {
  /** All ranges as of one moment, after a barrier. @throws HF_MOVED when one is not owned. */
  readRows(request: { readonly ranges: readonly RowRange[] }): Promise<readonly (readonly Row[])[]>;
  /**
   * Locks what was read and is to be written; durable when answered.
   * @returns `busy` when something else holds it, or when what was read is no longer so.
   * @throws HF_MOVED.
   */
  prepare(request: PrepareRequest): Promise<{ readonly token: Uint8Array } | 'busy'>;
  /** The transaction is committed: its intent becomes rows. Answers when that is durable. */
  apply(request: { readonly txid: Txid; readonly token: Uint8Array }): Promise<void>;
  /** The transaction will never commit. */
  abort(request: { readonly txid: Txid }): Promise<void>;
  /** What has become of a transaction that this cell coordinates, after a barrier. */
  status(request: { readonly txid: Txid; readonly participant: CellId }): Promise<TransactionState>;
  /** @throws HF_FENCED for a step of an attempt or a move that a later one has replaced. */
  adopt(request: AdoptRequest): Promise<AdoptAnswer>;
}

/**
 * The way to the other cells of the space. Methods of what `ofCell` returns throw HF_UNAVAILABLE,
 * HF_TIMEOUT or HF_NOT_STEWARD when nobody answers: then it may or may not have been done.
 */
export interface CellPeers {
  /**
   * Which cell has the slot, as far as is known here; what is known is old when that cell says
   * HF_MOVED, and when it is the one that asks: no cell asks for slots of its own.
   * @throws HF_UNAVAILABLE.
   */
  cellOfSlot(slot: number): CellId;
  ofCell(cell: CellId): CellMessages;
}
