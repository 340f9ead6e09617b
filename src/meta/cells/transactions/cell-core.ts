/**
 * What the parts of a cell share: its steward, what it knows by heart, its way to other cells, and
 * the signal that ends what goes on in the background.
 */
import { type ErrorCode, errorCode, HoldfastError, LIMITS } from '../../../base/index.ts';
import { type Env, within } from '../../../env/index.ts';
import type { CellId } from '../../../log/index.ts';
import type { CellFault } from '../cell-faults.ts';
import type { CellPeers } from '../cell-peers.ts';
import type { CellState } from '../cell-state.ts';
import type { Rows } from '../overlay.ts';
import { Scratch } from '../overlay.ts';
import type { Steward } from '../steward.ts';
import { CellRows } from './cell-rows.ts';
import { Detour } from './detour.ts';

/** A steward waits for so long without asking whether it still is it. */
const UNCONFIRMED_MS_MAX = 1000;

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
      await passed(core, error, deadline);
    }
  }
}

/** Read barrier. @throws HF_FENCED when this is not the cell's steward any more. */
export async function confirm(core: CellCore): Promise<void> {
  await executeUnguarded(core, () => undefined);
}

/**
 * Waits until what stands in the way is gone. A steward that was fenced without hearing of it may
 * wait for what only its successor sees, so it asks the log from time to time, and before it says
 * that something has moved.
 * @throws HF_MOVED when it will never be gone; HF_FENCED.
 */
export async function passed(
  core: CellCore,
  { reason }: Detour,
  deadline: Deadline,
): Promise<void> {
  if (reason.kind === 'held') {
    while (!(await deadline.wait(reason.until, UNCONFIRMED_MS_MAX))) await confirm(core);
  } else {
    await confirm(core);
    throw new HoldfastError('HF_MOVED');
  }
}

/** Until when something is tried. */
export interface Deadline {
  readonly isOver: boolean;
  /** @returns false when it has not come after so long. @throws HF_UNAVAILABLE when all is over. */
  wait(event: Promise<void>, ms: number): Promise<boolean>;
}

export function deadlineOf({ clock }: Env): Deadline {
  const endMs = clock.monotonic() + LIMITS.crossCellMsMax;
  const leftMs = (): number => Math.max(0, endMs - clock.monotonic());
  return {
    get isOver() {
      return leftMs() === 0;
    },
    async wait(event, ms) {
      const come = event.then(() => true);
      const hasCome = (await within(clock, come, Math.min(ms, leftMs()))) ?? false;
      if (!hasCome && leftMs() === 0) {
        throw new HoldfastError('HF_UNAVAILABLE', 'other cells hold what it needs');
      }
      return hasCome;
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
 * @throws HF_INTERRUPTED when there is nobody to ask for any more; HF_FENCED when this steward
 *   finds out that it has a successor, who may have asked before it; what is an answer
 *   (HF_BAD_ARGUMENT).
 */
export async function persist<Answer>(
  core: CellCore,
  ask: () => Promise<Answer>,
  {
    isOver,
    isAnswer = isRefusal,
  }: { readonly isOver: () => boolean; readonly isAnswer?: (code: ErrorCode) => boolean },
): Promise<Answer> {
  for (let attempt = 3; ; attempt++) {
    if (core.signal.aborted || isOver()) throw new HoldfastError('HF_INTERRUPTED');
    try {
      return await ask();
    } catch (error) {
      const code = errorCode(error);
      if (code === undefined || isAnswer(code)) throw error; // asking again is no use
      if (code === 'HF_FENCED') await confirm(core);
      await pause(core, attempt);
    }
  }
}

export function isRefusal(code: ErrorCode): boolean {
  return code === 'HF_BAD_ARGUMENT';
}
