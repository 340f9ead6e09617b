/** What a steward gathers for one entry of its log, and who waits for it. */
import { digestDelta, ENTRY_OVERHEAD_BYTES } from './entries.ts';
import type { Change } from './overlay.ts';

/** Who waits for an entry to be durable. */
export interface Waiter {
  readonly hasWritten: boolean;
  settle(): void;
  fail(error: unknown): void;
}

/** What goes into one entry; without changes a confirm is enough. */
export class Batch {
  readonly changes = new Map<string, Change>();
  /** What the changes replace, by the same keys. */
  readonly olds = new Map<string, Uint8Array | undefined>();
  readonly waiters: Waiter[] = [];
  bytes = ENTRY_OVERHEAD_BYTES;

  /** By how much the digest of all rows changes with it. */
  digestDelta(): bigint {
    let delta = 0n;
    for (const [text, change] of this.changes) delta += digestDelta(change, this.olds.get(text));
    return delta;
  }
}
