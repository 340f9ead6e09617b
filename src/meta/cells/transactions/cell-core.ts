/**
 * What the parts of a cell share: its steward, what it knows by heart, its way to other cells, and
 * the signal that ends what goes on in the background.
 */
import { errorCode, HoldfastError, LIMITS } from '../../../base/index.ts';
import type { Env } from '../../../env/index.ts';
import type { CellId } from '../../../log/index.ts';
import type { CellFault } from '../cell-faults.ts';
import type { CellPeers } from '../cell-peers.ts';
import type { CellState } from '../cell-state.ts';
import type { Rows } from '../overlay.ts';
import { Scratch } from '../overlay.ts';
import type { Steward } from '../steward.ts';
import { CellRows } from './cell-rows.ts';
import { Detour } from './detour.ts';

export interface CellCore {
  readonly env: Env;
  readonly cell: CellId;
  readonly steward: Steward;
  readonly state: CellState;
  readonly peers: CellPeers;
  readonly fault: CellFault | undefined;
  /** Aborted when the cell does not serve any more. */
  readonly signal: AbortSignal;
}

/** Runs an operation on rows of this cell that nobody guards: for what settles what is held. */
export async function executeUnguarded<Result>(
  { steward }: CellCore,
  operation: (rows: Scratch) => Result,
): Promise<Result> {
  return await steward.executeOn((rows: Rows) => new Scratch(rows), operation);
}

/** Runs an operation on own rows; waits for who holds them. @throws HF_MOVED when they are not. */
export async function executeGuarded<Result>(
  core: CellCore,
  operation: (rows: CellRows) => Result,
): Promise<Result> {
  const deadline = deadlineOf(core.env);
  for (;;) {
    try {
      return await core.steward.executeOn(
        (rows) => new CellRows(rows, core.state),
        (rows) => {
          const result = operation(rows);
          rows.assertRanThrough();
          return result;
        },
      );
    } catch (error) {
      if (!(error instanceof Detour)) throw error;
      await passed(error, deadline);
    }
  }
}

/** Waits until what stands in the way is gone. @throws HF_MOVED when it never will be. */
export async function passed({ reason }: Detour, deadline: Deadline): Promise<void> {
  if (reason.kind !== 'held') throw new HoldfastError('HF_MOVED');
  await deadline.wait(reason.until);
}

/** Until when something is tried. */
export interface Deadline {
  readonly isOver: boolean;
  /** @throws HF_UNAVAILABLE when it is over first. */
  wait(event: Promise<void>): Promise<void>;
}

export function deadlineOf({ clock }: Env): Deadline {
  const endMs = clock.monotonic() + LIMITS.crossCellMsMax;
  const leftMs = (): number => Math.max(0, endMs - clock.monotonic());
  return {
    get isOver() {
      return leftMs() === 0;
    },
    async wait(event) {
      const timer = new AbortController();
      const isLate = clock.sleep(leftMs(), { signal: timer.signal }).then(
        () => true,
        () => false,
      );
      const isOver = await Promise.race([event.then(() => false), isLate]);
      timer.abort();
      if (isOver) throw new HoldfastError('HF_UNAVAILABLE', 'other cells hold what it needs');
    },
  };
}

/** A pause that grows with the attempts, by chance shorter, so that two do not meet for ever. */
export async function pause({ env }: CellCore, attempt: number): Promise<void> {
  const longestMs = Math.min(LIMITS.crossCellPauseMsMax, 2 ** Math.min(attempt, 16));
  await env.clock.sleep(1 + env.random.below(longestMs));
}

/**
 * Asks until there is an answer.
 * @throws HF_INTERRUPTED when there is nobody to ask for any more; HF_BAD_ARGUMENT as answered.
 */
export async function persist<Answer>(
  core: CellCore,
  ask: () => Promise<Answer>,
  isOver: () => boolean,
): Promise<Answer> {
  for (let attempt = 3; ; attempt++) {
    if (core.signal.aborted || isOver()) throw new HoldfastError('HF_INTERRUPTED');
    try {
      return await ask();
    } catch (error) {
      const code = errorCode(error);
      if (code === undefined || code === 'HF_BAD_ARGUMENT') throw error; // asking again is no use
      await pause(core, attempt);
    }
  }
}
