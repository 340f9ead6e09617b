/**
 * Aim: readers get the bytes of the stripe, each stripe is read as little as will do, memory stays
 * bounded, and what failed is tried again. Method: stripes that count what is read of them.
 */
import { describe, expect, it } from 'vitest';
import {
  errorCode,
  HoldfastError,
  KiB,
  LIMITS,
  MiB,
  parseScheme,
  schemeNumber,
  stripeId,
} from '../../base/index.ts';
import type { StripeRef } from '../../stripes/index.ts';
import { StripeCache } from './stripe-cache.ts';

const RS = schemeNumber(parseScheme('rs-4+2'));

class Stripes {
  reads: { offset: number; lengthBytes: number }[] = [];
  fails = false;
  readonly cache: StripeCache;

  constructor(bytesMax: number) {
    this.cache = new StripeCache(
      { read: async (...given) => await this.#read(...given) },
      bytesMax,
    );
  }

  async #read(
    ref: StripeRef,
    range = { offset: 0, lengthBytes: ref.contentBytes },
    { target }: { readonly target?: Uint8Array | undefined } = {},
  ): Promise<Uint8Array> {
    this.reads.push(range);
    await Promise.resolve();
    if (this.fails) throw new HoldfastError('HF_TOO_FEW_SHARDS');
    const bytes = (target ?? new Uint8Array(range.lengthBytes)).subarray(0, range.lengthBytes);
    for (let at = 0; at < bytes.length; at++) bytes[at] = byteAt(ref, range.offset + at);
    return bytes;
  }

  async check(ref: StripeRef, start: number, lengthBytes: number, isWhole = false): Promise<void> {
    const target = new Uint8Array(lengthBytes);
    await this.cache.copy(ref, { start, end: start + lengthBytes }, { target, isWhole });
    expect(target.every((byte, at) => byte === byteAt(ref, start + at))).toBe(true);
  }
}

function byteAt({ stripe }: StripeRef, at: number): number {
  return (stripe[0]! * 31 + (at >> 3)) & 0xff;
}

function refOf(name: number, contentBytes: number): StripeRef {
  const stripe = stripeId(new Uint8Array(32).fill(name));
  return { stripe, schemeNumber: RS, key: new Uint8Array(32), contentBytes };
}

describe('opened stripes', () => {
  it('are read by segments, and once, however many ask', async () => {
    const stripes = new Stripes(4 * MiB);
    const ref = refOf(1, MiB + 10);
    await Promise.all([0, 1, 2].map((at) => stripes.check(ref, 70_000 + at, 5000)));
    expect(stripes.reads).toEqual([{ offset: 64 * KiB, lengthBytes: 64 * KiB }]);
    await stripes.check(ref, MiB, 10);
    expect(stripes.reads.at(-1)).toEqual({ offset: MiB, lengthBytes: 10 });
    stripes.cache.prefetch(ref);
    await stripes.check(ref, 200_000, 500_000);
    expect(stripes.reads).toHaveLength(3);
    await stripes.check(refOf(2, 50_000), 100, 10);
    expect(stripes.reads.at(-1)).toEqual({ offset: 0, lengthBytes: 50_000 });
  });

  it('take no more memory than they may', async () => {
    const stripes = new Stripes(2 * MiB);
    for (let step = 0; step < 300; step++) {
      const ref = refOf(1 + (step % 5), MiB);
      if (step % 7 === 0) stripes.cache.prefetch(refOf(9, MiB));
      await stripes.check(ref, (step * 7919) % (MiB - 9000), 9000, step % 50 === 0);
      expect(stripes.cache.bytes).toBeLessThanOrEqual(2 * MiB + 2 * LIMITS.segmentBytes);
    }
    expect(stripes.reads.length).toBeLessThan(290);
  });

  it('give their memory to others, but not while somebody reads it', async () => {
    const stripes = new Stripes(25 * MiB);
    const whole = [1, 2, 3, 4, 5, 6].map((name) => refOf(name, LIMITS.stripeBytesMax));
    await Promise.all(whole.map((ref) => stripes.check(ref, 1000, 100, true)));
    await Promise.all(whole.map((ref) => stripes.check(ref, 1000, 100, true)));
  });

  it('are asked for again when they could not be read', async () => {
    const stripes = new Stripes(MiB);
    stripes.fails = true;
    const failed = stripes.check(refOf(1, MiB), 0, 10).catch(errorCode);
    expect(await failed).toBe('HF_TOO_FEW_SHARDS');
    expect(stripes.cache.bytes).toBe(0);
    stripes.fails = false;
    await stripes.check(refOf(1, MiB), 0, 10);
  });
});
