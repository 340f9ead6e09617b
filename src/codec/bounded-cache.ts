/** Values made on demand; beyond the bound, the one used longest ago is forgotten. */
import { assert, remember } from '../base/index.ts';

export class BoundedCache<Key, Value> {
  /** In order of last use. */
  readonly #entries = new Map<Key, Value>();
  readonly #entriesMax: number;

  constructor(entriesMax: number) {
    assert(entriesMax >= 1, 'the cache holds at least one entry');
    this.#entriesMax = entriesMax;
  }

  getOrMake(key: Key, make: () => Value): Value {
    const value = this.#entries.has(key) ? this.#entries.get(key)! : make();
    remember(this.#entries, key, value, this.#entriesMax);
    return value;
  }
}
