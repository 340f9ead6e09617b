/**
 * *Stale reads*: the reads of a cell on the rows that a node happens to have, as its replica or as
 * its steward, without asking whether they are the newest. They show what was so at some time, each
 * cell at its own. Nothing may be decided by them, and nothing is changed.
 */
import { assert, errorCode, HoldfastError } from '../../base/index.ts';
import type { LocalDb, Row } from '../../db/index.ts';
import { readApplied } from '../cells/catch-up.ts';
import type { RowRange } from '../cells/cell-peers.ts';
import type { ExecuteOptions, Executor } from '../cells/executor.ts';
import type { Outcome } from '../cells/retry-rows.ts';
import type { Operation } from '../cells/steward.ts';
import { slotOfKey } from '../cells/rows.ts';
import { CellRows } from '../cells/transactions/cell-rows.ts';
import { Detour } from '../cells/transactions/detour.ts';
import { ForeignRows } from '../cells/transactions/foreign-rows.ts';
import { Locks } from '../cells/transactions/locks.ts';
import { runThrough } from '../cells/transactions/run-through.ts';
import { decodeOwnership, SLOTS_KEY } from '../cells/transactions/transaction-rows.ts';

/** Times that one operation asks for rows of other cells; a path of this depth can be walked. */
const FETCHES_MAX = 1000;

/** Whether the rows are those of a moment: they are not while they are made anew. */
export function isWhole(rows: LocalDb): boolean {
  return readApplied(rows) !== undefined;
}

/**
 * Ranges of the slots that the cell has by these rows.
 * @throws HF_MOVED when one is of another cell.
 */
export function staleRanges(rows: LocalDb, ranges: readonly RowRange[]): readonly Row[][] {
  const view = over(rows, new ForeignRows());
  try {
    return ranges.map(({ from, to, limit, isReverse = false }) => {
      view.requireSlot(slotOfKey(from));
      return view.range({ from, to, isReverse, ...(limit !== undefined && { limit }) });
    });
  } catch (error) {
    if (error instanceof Detour) throw new HoldfastError('HF_MOVED');
    throw error;
  }
}

export interface StaleExecutorOptions {
  readonly rows: LocalDb;
  /** Rows of other cells of the space, as old as they may be. @throws HF_UNAVAILABLE. */
  readonly fetch: (ranges: readonly RowRange[]) => Promise<readonly (readonly Row[])[]>;
}

export class StaleExecutor implements Executor {
  readonly #options: StaleExecutorOptions;

  constructor(options: StaleExecutorOptions) {
    this.#options = options;
  }

  /** @throws what the operation throws; HF_MOVED; HF_UNAVAILABLE when rows cannot be had. */
  async execute<Result>(
    operation: Operation<Result>,
    options: ExecuteOptions = {},
  ): Promise<Result> {
    assert(!options.retry, 'a stale read keeps no answer');
    const foreign = new ForeignRows();
    for (let fetches = 0; fetches < FETCHES_MAX; fetches++) {
      const found = this.#run(operation, { options, foreign });
      if (found.wanted.length === 0) return settled(found.outcome);
      const rows = await this.#options.fetch(found.wanted);
      for (const [index, range] of found.wanted.entries()) foreign.add(range, rows[index] ?? []);
    }
    throw new HoldfastError('HF_TOO_LARGE', 'one operation reads too much of other cells');
  }

  #run<Result>(
    operation: Operation<Result>,
    { options, foreign }: { readonly options: ExecuteOptions; readonly foreign: ForeignRows },
  ): { wanted: readonly RowRange[]; outcome: Outcome<Result> } {
    const { rows } = this.#options;
    if (!isWhole(rows)) throw new HoldfastError('HF_UNAVAILABLE', 'the rows are made anew');
    try {
      const outcome = runThrough(over(rows, foreign), { operation, options });
      return { wanted: [], outcome };
    } catch (error) {
      if (!(error instanceof Detour)) throw error;
      const { reason } = error;
      if (reason.kind !== 'foreign') throw new HoldfastError('HF_MOVED');
      return { wanted: reason.ranges, outcome: { error } };
    }
  }
}

/** Nothing holds up who reads what may be old. */
function over(rows: LocalDb, foreign: ForeignRows): CellRows {
  const { slots } = decodeOwnership(rows.get(SLOTS_KEY));
  return new CellRows(rows, { slots, outgoing: undefined, locks: new Locks() }, { foreign });
}

/** Rows of several moments may look impossible; that says nothing of the newest ones. */
function settled<Result>(outcome: Outcome<Result>): Result {
  if (!('error' in outcome)) return outcome.result;
  const { error } = outcome;
  if (errorCode(error) !== 'HF_CORRUPT') throw error;
  const message = 'what is known of the names does not fit together';
  throw new HoldfastError('HF_UNAVAILABLE', message, { cause: error });
}
