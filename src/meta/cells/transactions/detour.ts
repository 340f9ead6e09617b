/**
 * Why an operation could not run through on the rows that are here, and what has to happen before
 * it runs again. Thrown in the middle of an operation; no answer to anybody.
 */
import type { RowRange } from '../cell-peers.ts';

export type DetourReason =
  /** Rows of other cells are read or written; those that are missing. */
  | { readonly kind: 'foreign'; readonly ranges: readonly RowRange[] }
  /** Somebody holds what is touched: a transaction of another cell, a slot move. */
  | { readonly kind: 'held'; readonly until: Promise<void> }
  /** A slot that must be owned is another cell's. */
  | { readonly kind: 'moved' }
  /** What a transaction has prepared is not what it would do now. */
  | { readonly kind: 'changed' };

export class Detour extends Error {
  readonly reason: DetourReason;

  constructor(reason: DetourReason) {
    super(`an operation made a detour: ${reason.kind}`);
    this.reason = reason;
  }
}

/** The detour that was thrown, if it was one. @throws what else was thrown. */
export function detourOf(error: unknown): Detour {
  if (error instanceof Detour) return error;
  throw error;
}
