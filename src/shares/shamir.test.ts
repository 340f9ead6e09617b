/** Aim: any k texts restore a secret, fewer do not, wrong ones are named. Method: properties. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { realEnv } from '../env/index.ts';
import { combineSecret, splitSecret } from './index.ts';

const secret = Buffer.from('holdfast-share-key-1 and so on\n');
const split = (k: number, n: number) =>
  splitSecret(secret, {
    k,
    n,
    random: { bytes: (count) => new Uint8Array(Buffer.alloc(count, 9)) },
  });
const refusal = (code: string, text: string) =>
  expect.objectContaining({ code, message: expect.stringContaining(text) });

describe('key shares', () => {
  it('any k of n restore any secret', () => {
    const anyCase = fc.record({
      bytes: fc.uint8Array({ minLength: 1, maxLength: 300 }),
      k: fc.integer({ min: 1, max: 6 }),
      extra: fc.integer({ min: 0, max: 6 }),
      first: fc.nat(12),
    });
    const { random } = realEnv();
    const property = fc.property(anyCase, ({ bytes, k, extra, first }) => {
      const n = k + extra;
      // Real randomness: the property does not depend on it.
      const lines = splitSecret(bytes, {
        k,
        n,
        random,
      });
      const chosen = Array.from({ length: k }, (_, index) => lines[(first + index) % n]!);
      expect(Buffer.from(combineSecret(chosen)).equals(bytes)).toBe(true);
    });
    fc.assert(property, { numRuns: 50 });
  });

  it('all that number 255, and all that are needed', () => {
    const lines = split(255, 255);
    expect(Buffer.from(combineSecret(lines.toReversed())).equals(secret)).toBe(true);
  });

  it('fewer than k do not, and a repeated one counts once', () => {
    const lines = split(2, 3);
    const tooFew = refusal('HF_TOO_FEW_SHARDS', 'have 1, need 2');
    expect(() => combineSecret(lines.slice(0, 1))).toThrow(tooFew);
    expect(() => combineSecret([lines[1]!, '', ` ${lines[1]} `])).toThrow(tooFew);
    expect(() => combineSecret([])).toThrow(refusal('HF_BAD_ARGUMENT', 'some key shares'));
  });

  it('a mistyped one is named, and those of two sets', () => {
    const lines = split(2, 3);
    const other = splitSecret(secret, {
      k: 2,
      n: 3,
      random: { bytes: (count) => new Uint8Array(count) },
    });
    const mistyped = lines[1]!.replace(/ 2 2 (.)/, ' 2 2 _');
    expect(mistyped).not.toBe(lines[1]);
    expect(() => combineSecret([lines[0]!, mistyped])).toThrow(refusal('HF_CORRUPT', 'line 2'));
    expect(() => combineSecret([lines[0]!, other[1]!])).toThrow(refusal('HF_BAD_ARGUMENT', 'set'));
    expect(() => combineSecret(['hello'])).toThrow(refusal('HF_BAD_ARGUMENT', 'no key share'));
  });

  it('one says nothing: every secret fits it', () => {
    // With k = 2 a share is secret ⊕ number × random, so the random bytes decide it alone.
    const made = (byte: number) =>
      splitSecret(Buffer.from([5]), {
        k: 2,
        n: 2,
        random: { bytes: (c) => new Uint8Array(c).fill(byte) },
      });
    const firsts = Array.from({ length: 256 }, (_, byte) => {
      return Buffer.from(made(byte)[0]!.split(' ')[4]!, 'base64url')[0];
    });
    expect(new Set(firsts).size).toBe(256);
  });
});
