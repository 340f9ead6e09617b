/**
 * Chance that follows from a seed. A generator is *forked* by name: the fork depends on the seed
 * and the name alone, so one part that draws more numbers does not change what another part draws.
 * Source: sfc32 of PractRand, public domain (Chris Doty-Humphrey).
 */
import { assert, utf8, xxh64 } from '../src/base/index.ts';
import type { Random } from '../src/env/index.ts';

export class SeededRandom implements Random {
  readonly #seed: bigint;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: bigint) {
    this.#seed = seed;
    this.#a = Number(seed & 0xffffffffn) | 0;
    this.#b = Number((seed >> 32n) & 0xffffffffn) | 0;
    this.#c = 0;
    for (let round = 0; round < 12; round++) this.#word();
  }

  fork(name: string): SeededRandom {
    return new SeededRandom(xxh64(utf8(name), this.#seed));
  }

  #word(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  bytes(count: number): Uint8Array {
    const words = new Uint32Array(Math.ceil(count / 4));
    for (let i = 0; i < words.length; i++) words[i] = this.#word();
    return new Uint8Array(words.buffer, 0, count);
  }

  below(limit: number): number {
    assert(limit >= 1, 'there is a number below the limit');
    return Math.floor(this.fraction() * limit);
  }

  /** 0 ≤ result < 1. */
  fraction(): number {
    return this.#word() / 2 ** 32;
  }

  /** Whole numbers from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<Item>(items: readonly Item[]): Item {
    assert(items.length > 0, 'there is something to pick from');
    return items[this.below(items.length)]!;
  }

  /** Positive, mostly small: the waiting times of independent events. */
  exponential(mean: number): number {
    return -Math.log(1 - this.fraction()) * mean;
  }
}
