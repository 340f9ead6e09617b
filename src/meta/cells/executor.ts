/**
 * Who runs operations on the rows of a cell: the steward of a cell here, or whatever stands in
 * front of one. Namespace and references are written against this face alone.
 */
import type { Operation } from './steward.ts';

/**
 * Names a request that may be asked again: a *lane* of a session carries one request after the
 * other, and the cell keeps the answer of the last one (as the slots of NFSv4.1, RFC 8881 2.10.6).
 */
export interface RetryTag {
  /** 32 hexadecimal digits. */
  readonly session: string;
  /** Below LIMITS.retryLanesMax. */
  readonly lane: number;
  /** Rises by one with each request of the lane. */
  readonly sequence: number;
}

export interface ExecuteOptions {
  /**
   * The result is then a wire value; it, or the error, is kept and answered when the request comes
   * again, at the cost of a row: not for what only reads. Comes with a slot, whose rows keep it.
   */
  readonly retry?: RetryTag | undefined;
  /** What the operation is about: it is refused with HF_MOVED where this slot is not owned. */
  readonly slot?: number | undefined;
}

export interface Executor {
  /**
   * Runs the operation and answers when it is durable. It may run several times, also when it then
   * fails: it is a function of the rows alone. Clock and chance are asked before, not in it. A run
   * that is only a trial may see rows of other cells as of several moments, which fit together in
   * no way: it must come to an end with them, too (a walk up a tree counts its steps). What is
   * answered, or done, comes from a run on rows of one moment.
   * @throws what the operation throws; HF_MOVED; HF_FENCED when it was dropped and may be asked
   *   again; HF_UNKNOWN_OUTCOME; HF_TOO_LARGE.
   */
  execute<Result>(operation: Operation<Result>, options?: ExecuteOptions): Promise<Result>;
}
