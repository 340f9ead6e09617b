/**
 * Aim: what is urgent comes first, nothing that is in order is touched, and nobody waits who has
 * nothing to wait for. Method: censuses made at random, and the rules written down once more.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chunkId, type DeviceId, parseScheme, type Scheme, schemeNumber } from '../base/index.ts';
import type { ChunkStore } from '../store/index.ts';
import { stripeOf } from '../../test/suites/meta-makers.ts';
import { bearableLosses, censusOf, type HeldChunk, stateOf, type StripeCensus } from './census.ts';
import { compareSteps, planFor, type PlanContext, type Step } from './planner.ts';

const scheme = parseScheme('rs-4+2');
const number = schemeNumber(scheme);
const stripe = stripeOf(1);
const record = {
  stripe,
  schemeNumber: number,
  chunkBytes: 1000,
  generation: 1,
  isStored: true,
  referenceCount: 1,
};
const DEVICES = Array.from({ length: 9 }, (_, i) => `device ${i}` as DeviceId);

/** The layout wants shard i at device i. */
function censusFrom(
  held: readonly { index: number; device: number; isGood: boolean }[],
  { scheme: of, placeCount }: { scheme: Scheme; placeCount: number } = { scheme, placeCount: 6 },
) {
  const chunks = held.map(({ index, device, isGood }): HeldChunk => ({
    store: { id: DEVICES[device]! } as ChunkStore,
    entry: {
      id: chunkId(stripe, number, index),
      lengthBytes: 1000,
      generation: 1,
      writtenAtMs: 0,
      isGood,
    },
    shardIndex: index,
  }));
  const places = Array.from({ length: of.n }, (_, i) => (i < placeCount ? DEVICES[i] : undefined));
  return censusOf({ ...record, schemeNumber: schemeNumber(of) }, chunks, places);
}

const WHOLE = Array.from({ length: scheme.n }, (_, i) => ({ index: i, device: i, isGood: true }));

const anyHeld = fc.uniqueArray(
  fc.record({ index: fc.nat(5), device: fc.nat(8), isGood: fc.boolean() }),
  { selector: ({ index, device }) => `${index}/${device}`, maxLength: 16 },
);
const anyContext = fc.record({
  alive: fc.array(fc.nat(8)),
  hasLayoutMoved: fc.boolean(),
  waitsForAway: fc.boolean(),
});

function contextOf({
  alive,
  ...rest
}: { alive: number[] } & Omit<PlanContext, 'isAlive' | 'leaving'>): PlanContext {
  const ids = new Set(alive.map((device) => DEVICES[device]));
  return { ...rest, leaving: new Set(), isAlive: (device: DeviceId) => ids.has(device) };
}

const everybody: PlanContext = {
  isAlive: () => true,
  leaving: new Set(),
  hasLayoutMoved: false,
  waitsForAway: false,
};

function stepOf(census: StripeCensus, context: PlanContext): Step {
  const plan = planFor(census, context);
  if (typeof plan === 'string') throw new Error(plan);
  return plan;
}

describe('a plan', () => {
  it('follows the rules, whatever was found', () => {
    fc.assert(
      fc.property(anyHeld, anyContext, (held, arbitrary) => {
        const census = censusFrom(held);
        const context = contextOf(arbitrary);
        const plan = planFor(census, context);
        const state = stateOf(census);
        expect(plan === 'lost').toBe(state === 'lost');
        if (plan === 'nothing') expect(state).toBe('ok');
        if (plan === 'wait') {
          expect(context.waitsForAway && census.apartCount > scheme.k).toBe(true);
        }
        if (typeof plan === 'string') return;
        expect(plan.kind === 'rebuild').toBe(state === 'degraded');
        expect(plan.spare).toBeLessThanOrEqual(census.goodCount - scheme.k);
        for (const target of plan.targets) {
          expect(context.isAlive(target)).toBe(true);
          const index = DEVICES.indexOf(target);
          const isThere = held.some(
            (each) => each.isGood && each.index === index && each.device === index,
          );
          expect(isThere).toBe(false);
        }
        expect(plan.bytes).toBeGreaterThanOrEqual(plan.targets.length * record.chunkBytes);
        expect(plan.bytes).toBeLessThanOrEqual(scheme.n * record.chunkBytes);
      }),
      { numRuns: 500 },
    );
  });

  it('says what kind of work it is, and what it costs', () => {
    expect(planFor(censusFrom(WHOLE), everybody)).toBe('nothing');
    const lacking = censusFrom(WHOLE.slice(1));
    expect(stepOf(lacking, everybody)).toMatchObject({
      kind: 'rebuild',
      spare: 1,
      bytes: 1000,
      targets: [DEVICES[0]],
    });
    const elsewhere = censusFrom([{ index: 0, device: 7, isGood: true }, ...WHOLE.slice(1)]);
    expect(stepOf(elsewhere, everybody).kind).toBe('hand-off');
    expect(stepOf(elsewhere, { ...everybody, hasLayoutMoved: true }).kind).toBe('move');
    const twice = censusFrom([{ index: 0, device: 7, isGood: true }, ...WHOLE]);
    expect(stepOf(twice, everybody)).toMatchObject({ kind: 'surplus', bytes: 0, targets: [] });
    const bad = censusFrom([{ index: 0, device: 7, isGood: false }, ...WHOLE]);
    expect(stepOf(bad, everybody).kind).toBe('surplus');
  });

  it('waits for a device that may come back, while another may be lost', () => {
    const firstIsAway = (device: DeviceId): boolean => device !== DEVICES[0];
    const patient = { ...everybody, isAlive: firstIsAway, waitsForAway: true };
    const lacking = censusFrom(WHOLE.slice(1));
    expect(planFor(lacking, patient)).toBe('wait');
    expect(stepOf(lacking, { ...patient, waitsForAway: false }).kind).toBe('rebuild');
    expect(stepOf(censusFrom(WHOLE.slice(2)), patient)).toMatchObject({ spare: 0 });
    // What stands elsewhere because its device is away has nowhere to go.
    const elsewhere = censusFrom([{ index: 0, device: 7, isGood: true }, ...WHOLE.slice(1)]);
    expect(planFor(elsewhere, patient)).toBe('nothing');
  });

  it('empties a device of copies for which there is no place', () => {
    const copies = censusFrom(WHOLE.slice(0, 3), { scheme: parseScheme('copy-3'), placeCount: 2 });
    expect(planFor(copies, everybody)).toBe('nothing');
    const emptying = { ...everybody, leaving: new Set([DEVICES[2]!]) };
    expect(stepOf(copies, emptying)).toMatchObject({ kind: 'surplus', targets: [] });
    // Another place for a piece may yet come.
    const pieces = censusFrom(WHOLE, { scheme, placeCount: 2 });
    expect(planFor(pieces, emptying)).toBe('nothing');
  });

  it('orders by what may still be lost, then hand-offs, moves, surplus', () => {
    const kinds = fc.constantFrom('surplus', 'move', 'hand-off', 'rebuild');
    const steps = fc.array(fc.record({ kind: kinds, spare: fc.integer({ min: -2, max: 4 }) }));
    fc.assert(
      fc.property(steps, (some) => {
        const sorted = some
          .map(({ kind, spare }): Step => ({ record, kind, spare, bytes: 0, targets: [] }))
          .toSorted(compareSteps);
        const order = ['rebuild', 'hand-off', 'move', 'surplus'];
        for (const [i, step] of sorted.entries()) {
          const next = sorted[i + 1];
          if (!next) continue;
          const [rank, nextRank] = [order.indexOf(step.kind), order.indexOf(next.kind)];
          expect(rank < nextRank || (rank === nextRank && step.spare <= next.spare)).toBe(true);
        }
      }),
    );
  });
});

describe('what a stripe may lose', () => {
  it('counts devices, not shards: of those on one device all go at once', () => {
    const [, , ...four] = WHOLE;
    expect(bearableLosses(censusFrom(WHOLE))).toBe(2);
    expect(bearableLosses(censusFrom(four))).toBe(0);
    expect(bearableLosses(censusFrom([...four, { index: 0, device: 2, isGood: true }]))).toBe(0);
    expect(bearableLosses(censusFrom([...four, { index: 0, device: 8, isGood: true }]))).toBe(1);
    expect(bearableLosses(censusFrom(four.slice(1)))).toBe(-1);
  });

  it('bears the loss of any so many devices', () => {
    fc.assert(
      fc.property(anyHeld, (held) => {
        const bearable = bearableLosses(censusFrom(held));
        if (bearable < 1) return;
        const devices = [...new Set(held.map(({ device }) => device))];
        for (const one of devices) {
          const left = censusFrom(held.filter(({ device }) => device !== one));
          expect(bearableLosses(left)).toBeGreaterThanOrEqual(bearable - 1);
        }
      }),
    );
  });
});
