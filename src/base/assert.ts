/**
 * Assertions for our own bugs, on in production: a process that finds itself wrong stops rather
 * than go on wrong. Input from users, disks and peers is never asserted; it is validated and
 * reported.
 */

/** Thrown by {@link assert}; nothing catches it to carry on. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/**
 * States what must hold here.
 *
 * @param claim what must hold, as a phrase: "the batch is not empty".
 */
export function assert(condition: unknown, claim: string): asserts condition {
  if (!condition) throw new AssertionError(`must hold: ${claim}`);
}

/** Marks a branch that the types say cannot be reached. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`);
}
