/**
 * Policies: how an object is stored. One scheme, or a *hybrid* of several: encodings of the same
 * content side by side, each whole in itself. Any of them serves a read, each repairs the others.
 *
 * *Encoding*: one of them; its number is its position in the policy, from 0. As text the schemes of
 * a policy are joined by commas: `rs-4+2,copy-1`.
 */
import { assert } from './assert.ts';
import { HoldfastError } from './errors.ts';
import { LIMITS } from './limits.ts';
import { formatScheme, parseScheme, type Scheme, schemeNumber, schemeOfNumber } from './scheme.ts';

/** The schemes of the encodings, in their order; no two the same. */
export type Policy = readonly [Scheme, ...Scheme[]];

/** @throws HF_BAD_SCHEME with one line that says what is wrong. */
export function parsePolicy(text: string): Policy {
  const schemes = text.split(',').map((part) => parseScheme(part.trim()));
  if (schemes.length > LIMITS.encodingsMax) {
    throw bad(text, `an object has at most ${LIMITS.encodingsMax} encodings`);
  }
  if (hasTwins(schemes.map(schemeNumber))) throw bad(text, 'each encoding is named once');
  return nonEmpty(schemes);
}

function bad(text: string, reason: string): HoldfastError {
  return new HoldfastError('HF_BAD_SCHEME', `"${text}": ${reason}`);
}

function hasTwins(numbers: readonly number[]): boolean {
  return new Set(numbers).size < numbers.length;
}

function nonEmpty(schemes: readonly Scheme[]): Policy {
  const [first, ...rest] = schemes;
  assert(first, 'a policy has an encoding');
  return [first, ...rest];
}

export function formatPolicy(policy: Policy): string {
  return policy.map(formatScheme).join(',');
}

/** The numbers of the schemes, as records keep them. */
export function policyNumbers(policy: Policy): number[] {
  return policy.map(schemeNumber);
}

/** @throws HF_CORRUPT when the numbers are those of no policy. */
export function policyOfNumbers(numbers: readonly number[]): Policy {
  if (numbers.length < 1 || numbers.length > LIMITS.encodingsMax || hasTwins(numbers)) {
    throw new HoldfastError('HF_CORRUPT', `schemes ${numbers.join(', ')} are no policy`);
  }
  return nonEmpty(numbers.map(schemeOfNumber));
}

export function isSamePolicy(a: Policy, b: Policy): boolean {
  return formatPolicy(a) === formatPolicy(b);
}

/**
 * The numbers of the encodings, the one that is cheapest to read first: a copy, of which one may be
 * near, is one request; Reed–Solomon gathers k shards; dispersal must decode them as well.
 */
export function readingOrder(policy: Policy): number[] {
  const cost = ({ kind, k, isNear }: Scheme): number => {
    if (kind === 'copy') return isNear ? 0 : 1;
    return (kind === 'rs' ? 1000 : 2000) + k;
  };
  return [...policy.keys()].toSorted((a, b) => cost(policy[a]!) - cost(policy[b]!) || a - b);
}

/** Shards of the widest encoding: so many devices give each a place of its own. */
export function widthOf(policy: Policy): number {
  return Math.max(...policy.map(({ n }) => n));
}

/**
 * Devices without which nothing of this policy can be stored as it says: copies may be fewer for a
 * while, until devices appear; pieces may not.
 */
export function neededWidthOf(policy: Policy): number {
  return Math.max(0, ...policy.map(({ kind, n }) => (kind === 'copy' ? 0 : n)));
}
