/**
 * What an operation has read of its own cell, watched until it has read the rest elsewhere: if none
 * of it changed meanwhile, all that it has read was so at one moment.
 */
import type { Change } from '../overlay.ts';
import { type KeyRange, textRange, type TextRange } from './locks.ts';

/** Tells whether rows that were read have been changed since. */
export class Watch implements Disposable {
  readonly #keys: ReadonlySet<string>;
  readonly #ranges: readonly TextRange[];
  readonly #end: () => void;
  #isChanged = false;

  constructor(keys: Iterable<string>, ranges: readonly KeyRange[], end: () => void) {
    this.#keys = new Set(keys);
    this.#ranges = ranges.map(textRange);
    this.#end = end;
  }

  get isChanged(): boolean {
    return this.#isChanged;
  }

  look(changes: ReadonlyMap<string, Change>): void {
    for (const text of changes.keys()) this.#isChanged ||= this.#has(text);
  }

  /** Nobody can say any more whether something has changed. */
  spoil(): void {
    this.#isChanged = true;
  }

  /** Whether all of this was read when the watch began. */
  covers(keys: Iterable<string>, ranges: readonly KeyRange[]): boolean {
    for (const text of keys) if (!this.#has(text)) return false;
    return ranges
      .map(textRange)
      .every(({ from, to }) => this.#ranges.some((r) => r.from <= from && r.to >= to));
  }

  #has(text: string): boolean {
    return this.#keys.has(text) || this.#ranges.some((r) => text >= r.from && text < r.to);
  }

  [Symbol.dispose](): void {
    this.#end();
  }
}
