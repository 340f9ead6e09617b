/**
 * Aim: a run keeps to its rates, makes way for clients without starving, and lets nothing wait that
 * cannot; what it says of itself is true. Method: virtual time; a rebuild that takes none.
 */
import { describe, expect, it } from 'vitest';
import { stripeOf } from '../../test/suites/meta-makers.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { type DeviceId, parseScheme, schemeNumber } from '../base/index.ts';
import type { RebuildReport } from '../stripes/index.ts';
import { type PaceOptions, Pacer } from './pace.ts';
import type { Step } from './planner.ts';
import type { RepairStatus } from './repair.ts';
import { runSteps } from './run-steps.ts';
import { StatusBoard } from './status-board.ts';

const [one, two] = ['one', 'two'] as [DeviceId, DeviceId];
const MB = 1_000_000;
const number = schemeNumber(parseScheme('rs-4+2'));

function stepsOf(count: number, change: Partial<Step> = {}): Step[] {
  return Array.from({ length: count }, (_, i) => ({
    record: {
      stripe: stripeOf(i),
      schemeNumber: number,
      chunkBytes: MB,
      generation: 1,
      isStored: true,
      referenceCount: 1,
    },
    kind: 'rebuild' as const,
    spare: 1,
    bytes: MB,
    targets: [one],
    ...change,
  }));
}

interface Run {
  /** When each rebuild began. */
  readonly startsMs: number[];
  readonly statuses: RepairStatus[];
  readonly end: RepairStatus;
}

async function run(steps: Step[], options: Omit<PaceOptions, 'clock'>): Promise<Run> {
  const env = virtualEnv(1);
  const { clock } = env;
  const pacer = new Pacer({ clock, ...options });
  const board = new StatusBoard(clock);
  board.stripesAtRisk = steps.length;
  board.bytesAtRisk = 4 * MB * steps.length;
  const startsMs: number[] = [];
  const statuses: RepairStatus[] = [];
  const rebuild = async (): Promise<RebuildReport> => {
    startsMs.push(clock.monotonic());
    statuses.push(board.status());
    return { writtenBytes: MB, health: { places: [], spareCount: 2, isWhole: true } };
  };
  {
    using meter = board.begin('look');
    const stripes = { rebuild };
    const none = { signal: undefined, onProgress: undefined };
    await runSteps({ env, stripes, pacer, board, meter, ...none }, steps);
  }
  return { startsMs, statuses, end: board.status() };
}

describe('pace', () => {
  it('keeps to the rate of the run', async () => {
    const { startsMs } = await run(stepsOf(20), { rates: { run: 2 * MB } });
    expect(startsMs).toEqual(Array.from({ length: 20 }, (_, i) => i * 500));
  });

  it('keeps to the rate of each device', async () => {
    const both = stepsOf(10).flatMap((step) => [step, { ...step, targets: [two] }]);
    const { startsMs } = await run(both, { rates: { device: MB } });
    expect(Math.max(...startsMs)).toBe(9000);
    for (const start of startsMs) expect(start % 1000).toBe(0);
    // A step for two devices takes half of its bytes to each.
    const shared = await run(stepsOf(10, { targets: [one, two] }), { rates: { device: MB } });
    expect(Math.max(...shared.startsMs)).toBe(4500);
  });

  it('does not wait without rates, nor for what can lose nothing more', async () => {
    const free = await run(stepsOf(50), { rates: {} });
    expect(Math.max(...free.startsMs)).toBe(0);
    const urgent = stepsOf(10, { spare: 0 });
    const { startsMs } = await run([...stepsOf(3), ...urgent], {
      rates: { run: 1 },
      isBusy: () => true,
    });
    expect(startsMs.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 0));
    expect(startsMs.at(-1)).toBeGreaterThan(MB);
  });

  it('makes way while clients wait, and not for ever', async () => {
    let looks = 0;
    const isBusy = (): boolean => ++looks <= 10;
    const { startsMs } = await run(stepsOf(1), { rates: {}, isBusy });
    expect(startsMs).toEqual([500]);
    const starved = await run(stepsOf(1), { rates: {}, isBusy: () => true });
    expect(starved.startsMs).toEqual([2000]);
  });

  it('says how far it is, how fast, and for how long', async () => {
    const { statuses, end } = await run(stepsOf(40), { rates: { run: MB } });
    const later = statuses[20]!;
    expect(later).toMatchObject({
      activity: 'repair',
      isWaiting: true,
      totalCount: 40,
      totalBytes: 40 * MB,
      doneCount: 20,
      doneBytes: 20 * MB,
      stripesAtRisk: 20,
      bytesAtRisk: 80 * MB,
    });
    expect(later.bytesPerSecond).toBeGreaterThan(0.85 * MB);
    expect(later.bytesPerSecond).toBeLessThan(1.15 * MB);
    expect(later.leftMs).toBeGreaterThan(17_000);
    expect(later.leftMs).toBeLessThan(24_000);
    expect(end).toMatchObject({ activity: 'rest', doneCount: 0, stripesAtRisk: 0, bytesAtRisk: 0 });
    expect(end.leftMs).toBeUndefined();
  });
});
