/**
 * Rows of a database that were read or written lately, in memory, and where there is none. Whoever
 * alone writes the database says what it wrote; so what is here is what is there.
 *
 * Bounded by two generations: what is used moves to the young one; when that is full it becomes the
 * old one, whose rows go.
 */
import { keyText } from '../../base/index.ts';
import type { RangeOptions, Row } from '../../db/index.ts';
import type { Change, Rows } from './overlay.ts';

const GENERATION_ROWS_MAX = 2048;
/** Of a value; larger ones are read again. What is pooled may keep eight times as much. */
const VALUE_BYTES_MAX = 1024;

export class RowCache implements Rows {
  readonly #below: Rows;
  #young = new Map<string, Uint8Array | undefined>();
  #old = new Map<string, Uint8Array | undefined>();

  constructor(below: Rows) {
    this.#below = below;
  }

  get(key: Uint8Array, text: string = keyText(key)): Uint8Array | undefined {
    const young = this.#young.get(text);
    if (young || this.#young.has(text)) return young;
    const value = this.#old.has(text) ? this.#old.get(text) : this.#below.get(key);
    this.#keep(text, value);
    return value;
  }

  range(options: RangeOptions): Row[] {
    return this.#below.range(options);
  }

  /** They are in the database now. @param changes by the texts of their keys. */
  written(changes: ReadonlyMap<string, Change>): void {
    for (const [text, { value }] of changes) this.#keep(text, value);
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
  }

  #keep(text: string, value: Uint8Array | undefined): void {
    if (value && value.length > VALUE_BYTES_MAX) {
      this.#young.delete(text);
      this.#old.delete(text);
      return;
    }
    if (this.#young.size >= GENERATION_ROWS_MAX && !this.#young.has(text)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(text, value);
  }
}
