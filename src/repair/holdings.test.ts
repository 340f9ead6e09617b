/**
 * Aim: what is even is told from what is not, by digests alone. Method: stripes spread as the
 * layout wants, or with one thing wrong; the stores' digests added up as stores do it.
 */
import { describe, expect, it } from 'vitest';
import { stripeOf } from '../../test/suites/meta-makers.ts';
import {
  type DeviceId,
  groupOf,
  METADATA_SCHEME_NUMBER,
  parseScheme,
  type Scheme,
  schemeNumber,
  type StripeId,
  xxh64,
} from '../base/index.ts';
import { contentsText, Holdings, type Places } from './holdings.ts';

const rs = parseScheme('rs-4+2');
const near = parseScheme('near-3');
const DEVICES = Array.from({ length: 9 }, (_, i) => `device ${i}` as DeviceId);
const places: Places = {
  of: (_, { n }) => DEVICES.slice(0, n),
  standingApart: (others) => (device) => !others.includes(device),
};
/** Of one group. */
const STRIPES = [0x1230, 0x1231, 0x1232].map(stripeOf);
const GROUP = groupOf(STRIPES[0]!);

interface Shard {
  readonly stripe: StripeId;
  readonly index: number;
  readonly device: number;
}

function inOrder({ n }: Scheme): Shard[] {
  return STRIPES.flatMap((stripe) =>
    Array.from({ length: n }, (_, index) => ({ stripe, index, device: index })),
  );
}

/** @returns whether the group is even, and what is in it. */
function lookAt(shards: readonly Shard[], scheme: Scheme, at = places): string | undefined {
  const sums = new Map<string, { index: number; device: number; count: number; digest: bigint }>();
  for (const { stripe, index, device } of shards) {
    const key = `${index}/${device}`;
    const { count, digest } = sums.get(key) ?? { count: 0, digest: 0n };
    const sum = BigInt.asUintN(64, digest + xxh64(stripe));
    sums.set(key, { index, device, count: count + 1, digest: sum });
  }
  const holdings = new Holdings();
  for (const { index, device, count, digest } of sums.values()) {
    holdings.add(DEVICES[device]!, {
      group: GROUP,
      schemeNumber: schemeNumber(scheme),
      shardIndex: index,
      count,
      digest,
    });
  }
  const contents = holdings.contentsOf(GROUP, at);
  return contents && contentsText(contents);
}

const isLast =
  (scheme: Scheme) =>
  ({ index }: Shard): boolean =>
    index === scheme.n - 1;

describe('holdings', () => {
  it('are even when every shard is at its place', () => {
    expect(lookAt([], rs)).toBe('');
    expect(lookAt(inOrder(rs), rs)).toMatch(new RegExp(`^${schemeNumber(rs)}:3:\\d+$`));
    // They say what is in the group, not only that it is even.
    const others = inOrder(rs).filter(({ stripe }) => stripe !== STRIPES[0]);
    expect(lookAt(others, rs)).not.toBe(lookAt(inOrder(rs), rs));
  });

  it.each([rs, near])('are not when one thing is wrong: %o', (scheme) => {
    const all = inOrder(scheme);
    for (const [i, shard] of all.entries()) {
      const rest = all.toSpliced(i, 1);
      expect(lookAt(rest, scheme)).toBeUndefined(); // missing
      expect(lookAt([...all, { ...shard, device: 8 }], scheme)).toBeUndefined(); // twice
      const isMovable = scheme.isNear && isLast(scheme)(shard);
      if (!isMovable) expect(lookAt([...rest, { ...shard, device: 8 }], scheme)).toBeUndefined();
      const other = { ...shard, stripe: stripeOf(0x1239) };
      expect(lookAt([...rest, other], scheme)).toBeUndefined(); // another one
    }
    const beyond = all.map((shard) => ({ ...shard, index: shard.index + 1 }));
    expect(lookAt(beyond, scheme)).toBeUndefined();
  });

  it('let the last copy of a near scheme stand anywhere but with another', () => {
    const all = inOrder(near);
    const moved = all.map((shard, i) =>
      isLast(near)(shard) ? { ...shard, device: 3 + i } : shard,
    );
    expect(lookAt(moved, near)).toBe(lookAt(all, near));
    const together = all.map((shard) => (isLast(near)(shard) ? { ...shard, device: 0 } : shard));
    expect(lookAt(together, near)).toBeUndefined();
    const standingApart = () => (device: DeviceId) => device !== DEVICES[5]; // to be emptied
    expect(lookAt(moved, near, { ...places, standingApart })).toBe(undefined);
    expect(lookAt(all, near, { ...places, standingApart })).toBe(lookAt(all, near));
  });

  it('heed neither metadata nor what makes no sense', () => {
    const holdings = new Holdings();
    const digest = { group: GROUP, schemeNumber: 1, shardIndex: 0, count: 1, digest: 1n };
    holdings.add(DEVICES[0]!, { ...digest, schemeNumber: METADATA_SCHEME_NUMBER });
    holdings.add(DEVICES[0]!, { ...digest, count: 0 });
    holdings.add(DEVICES[0]!, { ...digest, group: 4096 });
    expect(holdings.contentsOf(GROUP, places)).toEqual([]);
    holdings.add(DEVICES[0]!, { ...digest, schemeNumber: 0xfffb });
    expect(holdings.contentsOf(GROUP, places)).toBeUndefined();
  });
});
