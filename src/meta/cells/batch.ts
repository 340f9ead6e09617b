/** What a steward gathers for one entry of its log, and who waits for it. */
import { changeBytes, digestDelta, ENTRY_OVERHEAD_BYTES } from './entries.ts';
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
  #bytes = ENTRY_OVERHEAD_BYTES;

  /** Whether these changes are none, or fit as well. */
  hasRoom(changes: ReadonlyMap<string, Change>, bytesMax: number): boolean {
    let bytes = this.#bytes;
    for (const [text, change] of changes) bytes += this.#growth(text, change);
    return changes.size === 0 || bytes <= bytesMax;
  }

  add(text: string, change: Change): void {
    this.#bytes += this.#growth(text, change);
    this.changes.set(text, change);
  }

  /** A row that changes twice is in the entry once. */
  #growth(text: string, change: Change): number {
    const before = this.changes.get(text);
    return changeBytes(change) - (before ? changeBytes(before) : 0);
  }

  /** By how much the digest of all rows changes with it. */
  digestDelta(): bigint {
    let delta = 0n;
    for (const [text, change] of this.changes) delta += digestDelta(change, this.olds.get(text));
    return delta;
  }
}
