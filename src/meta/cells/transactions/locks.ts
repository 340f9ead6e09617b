/**
 * What transactions hold of this cell's rows until they are settled: ranges that they have read
 * (nobody writes there) and keys that they will write (nobody reads or writes them). The locks of
 * other cells' transactions are those of the durable intents; they are kept in line with them.
 */
import { keyText } from '../../../base/index.ts';

/** Rows `from` ≤ key < `to`. */
export interface KeyRange {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

/** The same, as texts of keys. */
export interface TextRange {
  readonly from: string;
  readonly to: string;
}

export function textRange({ from, to }: KeyRange): TextRange {
  return { from: keyText(from), to: keyText(to) };
}

export class Holder {
  readonly reads: readonly TextRange[];
  readonly writes: readonly string[];
  readonly #settled = Promise.withResolvers<void>();

  constructor(reads: readonly TextRange[], writes: readonly string[]) {
    this.reads = reads;
    this.writes = writes;
  }

  /** Resolves when it holds nothing any more. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  settle(): void {
    this.#settled.resolve();
  }
}

export class Locks {
  readonly #readers = new Set<Holder>();
  /** By the text of the key: one writer at a time. */
  readonly #writers = new Map<string, Holder>();

  get isEmpty(): boolean {
    return this.#readers.size === 0 && this.#writers.size === 0;
  }

  add(holder: Holder): void {
    if (holder.reads.length > 0) this.#readers.add(holder);
    for (const text of holder.writes) this.#writers.set(text, holder);
  }

  remove(holder: Holder): void {
    this.#readers.delete(holder);
    for (const text of holder.writes) {
      if (this.#writers.get(text) === holder) this.#writers.delete(text);
    }
    holder.settle();
  }

  /** Everything that is held is let go, and whoever waits looks again. */
  clear(): void {
    for (const holder of [...this.#readers, ...this.#writers.values()]) holder.settle();
    this.#readers.clear();
    this.#writers.clear();
  }

  /** Who keeps the key from being read by anybody but `self`. */
  againstRead(text: string, self?: Holder): Holder | undefined {
    const writer = this.#writers.get(text);
    return writer === self ? undefined : writer;
  }

  /** Who keeps some key of the range from being read. */
  againstReads({ from, to }: TextRange, self?: Holder): Holder | undefined {
    for (const [text, writer] of this.#writers) {
      if (text >= from && text < to && writer !== self) return writer;
    }
    return undefined;
  }

  /** Who keeps the key from being written. */
  againstWrite(text: string, self?: Holder): Holder | undefined {
    const writer = this.againstRead(text, self);
    if (writer) return writer;
    for (const reader of this.#readers) {
      if (reader === self) continue;
      if (reader.reads.some(({ from, to }) => text >= from && text < to)) return reader;
    }
    return undefined;
  }

  /** Who holds something that `wanted` cannot share. */
  against(wanted: Holder): Holder | undefined {
    for (const range of wanted.reads) {
      const found = this.againstReads(range);
      if (found) return found;
    }
    for (const text of wanted.writes) {
      const found = this.againstWrite(text);
      if (found) return found;
    }
    return undefined;
  }

  /** Who holds anything within the range. */
  within(range: TextRange): Holder | undefined {
    for (const reader of this.#readers) {
      if (reader.reads.some(({ from, to }) => from < range.to && to > range.from)) return reader;
    }
    return this.againstReads(range);
  }
}
