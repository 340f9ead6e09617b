/**
 * Taking slots over from another cell: its rows come in pages, and are this cell's with the last
 * step. What comes late, twice, or from a try that was given up changes nothing.
 */
import { HoldfastError } from '../../../base/index.ts';
import type { AdoptAnswer, AdoptRequest, SlotRange } from '../cell-peers.ts';
import { digestOfRows } from '../entries.ts';
import type { Scratch } from '../overlay.ts';
import { slotOfKey } from '../rows.ts';
import { type CellCore, executeUnguarded } from './cell-core.ts';
import { keysOf, overlaps } from './slot-moves.ts';
import {
  type Adoption,
  type AdoptionState,
  adoptionKey,
  decodeAdoption,
  decodeOwnership,
  encodeAdoption,
  encodeOwnership,
  SLOTS_KEY,
} from './transaction-rows.ts';

const CLEARED_ROWS = 500;

type Step<Name> = Extract<AdoptRequest, { readonly step: Name }>;

/** @throws HF_FENCED, HF_BUSY, HF_BAD_ARGUMENT when it can never be. */
export async function adopt(core: CellCore, request: AdoptRequest): Promise<AdoptAnswer> {
  const isOwnedAtOnce = core.fault === 'adopt-without-end';
  for (;;) {
    const answer = await executeUnguarded(core, (rows) => {
      const known = knownOf(rows, request);
      if (known?.state === 'done') return done;
      if (request.step === 'begin') return begin(rows, request, { known, isOwnedAtOnce });
      if (request.step === 'cancel') return cancel(rows, request);
      if (known?.attempt !== request.attempt || known.state !== 'filling') throw fenced();
      return request.step === 'rows' ? take(rows, request, known) : end(rows, request, known);
    });
    // The rows may be in no snapshot of the source any more.
    if (answer?.state === 'done' && request.step === 'end') core.steward.takeSnapshot();
    if (answer) return answer;
  }
}

const done: AdoptAnswer = { state: 'done' };
const more: AdoptAnswer = { state: 'more', index: 0 };

/**
 * What is known of this very move. @throws HF_FENCED when there was a later one, or a later try.
 */
function knownOf(rows: Scratch, { move, attempt }: AdoptRequest): Adoption | undefined {
  const value = rows.get(adoptionKey(move));
  const newest = value && decodeAdoption(value);
  if (!newest || newest.number < move.number) return undefined;
  if (newest.number > move.number) throw fenced();
  if (newest.state !== 'done' && newest.attempt > attempt) throw fenced();
  return newest;
}

/**
 * From its first entry on, earlier tries are refused: their rows must not come between.
 * @returns `undefined` while there is more to clear of what they have left.
 */
function begin(
  rows: Scratch,
  request: Step<'begin'>,
  { known, isOwnedAtOnce }: { known: Adoption | undefined; isOwnedAtOnce: boolean },
): AdoptAnswer | undefined {
  const { move, attempt, slots, shared } = request;
  if (known?.attempt === attempt) {
    if (known.state === 'cancelled') throw fenced();
    if (known.state === 'filling') return { state: 'more', index: known.index };
  }
  const all = joined(rows, slots); // refused now rather than at the end
  if (clear(rows, request, 'clearing')) return undefined;
  rows.put(adoptionKey(move), encodeAdoption({ ...fresh(request), state: 'filling' }));
  for (const { key, value } of shared) if (!rows.get(key)) rows.put(key, value);
  if (isOwnedAtOnce) rows.put(SLOTS_KEY, all);
  return more;
}

function cancel(rows: Scratch, request: Step<'cancel'>): AdoptAnswer | undefined {
  // It has given these slots to who now gives them back, and has not heard yet that they are gone.
  const own = decodeOwnership(rows.get(SLOTS_KEY));
  if (overlaps(own.slots, request.slots)) throw new HoldfastError('HF_BUSY', 'it has them still');
  return clear(rows, request, 'cancelled') ? undefined : more;
}

/** Refuses what is not of this try, and deletes what came. @returns whether some may be left. */
function clear(rows: Scratch, request: Step<'begin' | 'cancel'>, state: AdoptionState): boolean {
  const left = rows.range({ ...keysOf(request.slots), limit: CLEARED_ROWS });
  for (const { key } of left) rows.delete(key);
  rows.put(adoptionKey(request.move), encodeAdoption({ ...fresh(request), state }));
  return left.length > 0;
}

function fresh({ move, attempt, slots }: Step<'begin' | 'cancel'>): Omit<Adoption, 'state'> {
  return { number: move.number, attempt, slots, index: 0, rowCount: 0, digest: 0n };
}

function take(rows: Scratch, request: Step<'rows'>, known: Adoption): AdoptAnswer {
  if (request.index < known.index) return { state: 'more', index: known.index };
  const { slots } = known;
  const isWithin = request.rows.every(({ key }) => {
    const slot = slotOfKey(key);
    return slot >= slots.from && slot < slots.to;
  });
  if (request.index > known.index || !isWithin) {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'it is not the page of the move that is due');
  }
  for (const { key, value } of request.rows) rows.put(key, value);
  const next: Adoption = {
    ...known,
    index: known.index + 1,
    rowCount: known.rowCount + request.rows.length,
    digest: BigInt.asUintN(64, known.digest + digestOfRows(request.rows)),
  };
  rows.put(adoptionKey(request.move), encodeAdoption(next));
  return { state: 'more', index: next.index };
}

function end(rows: Scratch, request: Step<'end'>, known: Adoption): AdoptAnswer {
  if (request.rowCount !== known.rowCount || request.digest !== known.digest) {
    throw new HoldfastError('HF_CORRUPT', 'the rows of a slot move are not those that were sent');
  }
  rows.put(SLOTS_KEY, joined(rows, known.slots));
  rows.put(adoptionKey(request.move), encodeAdoption({ ...known, state: 'done' }));
  return done;
}

/** The slots row with these slots, too. @throws HF_BUSY, HF_BAD_ARGUMENT when that cannot be. */
function joined(rows: Scratch, slots: SlotRange): Uint8Array {
  const own = decodeOwnership(rows.get(SLOTS_KEY));
  if (own.outgoing || own.leaving) throw new HoldfastError('HF_BUSY', 'it is giving slots away');
  const isEmpty = own.slots.from === own.slots.to;
  const isBeside = own.slots.from === slots.to || own.slots.to === slots.from;
  if (overlaps(own.slots, slots) || !(isEmpty || isBeside)) {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'the slots of a cell are one range');
  }
  const all = isEmpty
    ? slots
    : { from: Math.min(own.slots.from, slots.from), to: Math.max(own.slots.to, slots.to) };
  return encodeOwnership({ ...own, slots: all });
}

function fenced(): HoldfastError {
  return new HoldfastError('HF_FENCED', 'a later try of this move, or a later move, has begun');
}
