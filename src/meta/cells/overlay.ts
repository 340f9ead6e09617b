/**
 * Rows that are decided but not yet in the database, laid over those that are. A steward reads
 * through its overlay, so an operation sees what the ones before it wrote; an operation runs on an
 * overlay of its own, which is dropped whole when the operation fails.
 *
 * *Change*: one row written (`value` set) or deleted. The newest change of a key hides older ones.
 */
import { keyText } from '../../base/index.ts';
import type { RangeOptions, Row } from '../../db/index.ts';

/** Synchronous reads of rows; {@link RangeOptions} of the database. */
export interface Rows {
  /** @param text of the key, where that is known. */
  get(key: Uint8Array, text?: string): Uint8Array | undefined;
  range(options: RangeOptions): Row[];
  /** The slots that are looked through, end exclusive, where an operation is about all of them. */
  readonly slots?: readonly [from: number, to: number] | undefined;
}

export interface Change {
  readonly key: Uint8Array;
  /** `undefined` deletes the row. */
  readonly value: Uint8Array | undefined;
}

/** So many new texts are sorted in with all, fewer one by one. */
const SORTED_ANEW = 32;

export class Overlay implements Rows {
  protected readonly below: Rows;
  readonly #changes = new Map<string, Change>();
  /** The texts of all keys in #changes: ascending, and those that came since it was asked for. */
  #order: string[] = [];
  #unordered: string[] = [];

  constructor(below: Rows) {
    this.below = below;
  }

  /** Changes by the text of their keys. */
  get changes(): ReadonlyMap<string, Change> {
    return this.#changes;
  }

  get slots(): Rows['slots'] {
    return this.below.slots;
  }

  get(key: Uint8Array, text: string = keyText(key)): Uint8Array | undefined {
    const change = this.#changes.get(text);
    return change ? change.value : this.below.get(key, text);
  }

  range(options: RangeOptions): Row[] {
    const local = this.#within(options);
    if (local.length === 0) return this.below.range(options);
    // Rows deleted here are found below, so that many more are asked for.
    const limit = options.limit ?? Number.MAX_SAFE_INTEGER;
    const hidden = local.filter(({ value }) => value === undefined).length;
    const below = this.below.range(
      options.limit === undefined ? options : { ...options, limit: limit + hidden },
    );
    return merge(below, local, options.isReverse ?? false).slice(0, limit);
  }

  /**
   * Says that these rows are read next, which may be another cell's: fetched with one question then
   * instead of one each. The operation runs again when they are there; nothing needs to call this.
   */
  need(_keys: readonly Uint8Array[]): void {}

  /**
   * Whether an operation of many parts may go on with the next part after this error: a row of
   * another cell is not here yet. It runs again when what all the parts miss has been fetched.
   */
  mayGoOn(_error: unknown): boolean {
    return false;
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.set({ key, value });
  }

  /** Puts a row of a key that surely has none: what it was is not looked up. */
  add(key: Uint8Array, value: Uint8Array): void {
    this.put(key, value);
  }

  delete(key: Uint8Array): void {
    this.set({ key, value: undefined });
  }

  /** @param text of its key, where that is known. */
  set(change: Change, text: string = keyText(change.key)): void {
    if (!this.#changes.has(text)) this.#unordered.push(text);
    this.#changes.set(text, change);
  }

  /** Lets go of changes that are below by now, unless newer ones have taken their place. */
  forget(changes: ReadonlyMap<string, Change>): void {
    for (const [text, change] of changes) {
      if (this.#changes.get(text) === change) this.#changes.delete(text);
    }
    this.#order = this.#order.filter((text) => this.#changes.has(text));
    this.#unordered = this.#unordered.filter((text) => this.#changes.has(text));
  }

  clear(): void {
    this.#changes.clear();
    this.#order = [];
    this.#unordered = [];
  }

  #sort(): void {
    const texts = this.#unordered;
    this.#unordered = [];
    if (texts.length > SORTED_ANEW) this.#order = this.#order.concat(texts).sort();
    else for (const text of texts) this.#order.splice(this.#position(text), 0, text);
  }

  /** Index of the first text that is not less. */
  #position(text: string): number {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#order[middle] as string) < text) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #within({ from, to, isReverse }: RangeOptions): Change[] {
    if (this.#changes.size === 0) return [];
    this.#sort();
    const start = this.#position(keyText(from));
    const found = this.#order
      .slice(start, Math.max(start, this.#position(keyText(to))))
      .map((text) => this.#changes.get(text) as Change);
    return isReverse ? found.reverse() : found;
  }
}

/**
 * What one operation works on: an overlay that remembers what it has read, which saves asking again
 * for the values that changes replace.
 */
export class Scratch extends Overlay {
  /** The rows below that were asked for by key, by the text of their keys. */
  readonly seen = new Map<string, Uint8Array | undefined>();

  override get(key: Uint8Array, text: string = keyText(key)): Uint8Array | undefined {
    const change = this.changes.get(text);
    if (change) return change.value;
    const seen = this.seen.get(text);
    if (seen || this.seen.has(text)) return seen;
    const value = this.below.get(key, text);
    this.seen.set(text, value);
    return value;
  }

  override add(key: Uint8Array, value: Uint8Array): void {
    const text = keyText(key);
    this.set({ key, value }, text);
    if (this.changes.has(text) && !this.seen.has(text)) this.seen.set(text, undefined);
  }
}

/** Both lists in the order asked for; where they meet, the change counts. */
function merge(below: readonly Row[], local: readonly Change[], isReverse: boolean): Row[] {
  const sign = isReverse ? -1 : 1;
  const merged: Row[] = [];
  let next = 0;
  for (const { key, value } of local) {
    while (next < below.length) {
      const row = below[next] as Row;
      const order = sign * Buffer.compare(row.key, key);
      if (order > 0) break;
      next += 1;
      if (order < 0) merged.push(row);
    }
    if (value !== undefined) merged.push({ key, value });
  }
  return merged.concat(below.slice(next));
}
