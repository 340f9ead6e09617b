/**
 * Bugs of cells that tests and simulations plant, to prove that they would notice: each takes away
 * one thing on which correctness rests. (The fence itself is switched off in the memory log.)
 */
export type CellFault =
  | 'no-retry-row'
  | 'volatile-intent'
  | 'read-without-barrier'
  | 'ack-on-unknown'
  | 'read-through-intent'
  | 'apply-before-commit'
  | 'status-without-barrier'
  | 'no-intent-token'
  | 'no-read-locks'
  | 'move-without-freeze'
  | 'adopt-without-end'
  | 'no-digest';
