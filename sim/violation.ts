/** What a run ends with when a promise of the system does not hold, and how a call ends. */

/** Losses that content and metadata must survive. */
export const TOLERANCE = 2;
export const VOLUME = 'main';

export class Violation extends Error {
  override readonly name = 'Violation';
}

/** `crashed`: the machine that was asked died meanwhile. */
export type Outcome<Result> =
  | { readonly kind: 'done'; readonly value: Result }
  | { readonly kind: 'failed'; readonly error: unknown }
  | { readonly kind: 'crashed' };

/** Shards of the widest stripe in use. */
export const SHARDS_MAX = 6;
