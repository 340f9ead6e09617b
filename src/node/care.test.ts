/**
 * Aim: what lacks shards is mended without being asked, whenever it came to lack them, and a store
 * that is written off is so in the topology. Method: a whole core over memory stores; a clock that
 * passes a round whenever nobody works, so that nothing is waited for.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { HoldfastError } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { Repair, RepairStatus, RepairSummary } from '../repair/index.ts';
import {
  bytesOf,
  type Core,
  CoreBed,
  eventually,
  rs42,
  streamOf,
} from '../../test/suites/store-bed.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import {
  type CareOptions,
  dealWithDamage,
  repairClearingDamage,
  startCare,
  statusSoon,
} from './care.ts';

/** How often the healer looks; only its rounds let time pass. */
const HEALER_ROUND_MS = 10_000;

const cleanup: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of cleanup.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

interface Opened {
  readonly bed: CoreBed;
  readonly core: Core;
  readonly options: CareOptions;
  readonly clock: { nowMs: number };
}

async function open(): Promise<Opened> {
  const bed = new CoreBed(6);
  const core = await bed.open();
  cleanup.push(core);
  await core.volumes.create({ name: 'v', policy: [rs42], isDeduplicating: true });
  const clock = { nowMs: 0 };
  async function* every(ms: number, { signal }: { signal: AbortSignal }): AsyncGenerator<void> {
    for (; !signal.aborted; await nextTurn()) {
      if (ms === HEALER_ROUND_MS) clock.nowMs += ms;
      yield;
    }
  }
  const real = bed.bed.env;
  const env: Env = { ...real, clock: { ...real.clock, monotonic: () => clock.nowMs, every } };
  const stores = {
    alive: bed.bed.alive,
    refresh: async () => {},
    awayFor: () => [],
    changeCount: 0,
    isDetached: () => false,
    setState() {},
    devices: () => bed.bed.devices(),
  };
  return { bed, core, clock, options: { env, core, stores, repair: core.repair } };
}

/** A repair that is counted and may fail; it mends nothing. */
function countedRepair({ options, clock }: Opened, answer: () => Partial<RepairSummary>) {
  const runsAt: number[] = [];
  const nothing = { repaired: 0, incomplete: 0, skipped: 0, lost: 0, writtenBytes: 0 };
  const repair = async () => {
    runsAt.push(clock.nowMs / 1000);
    return { ...nothing, ...answer() };
  };
  return { runsAt, options: { ...options, repair: { ...options.repair, repair } } };
}

async function untilTime(clock: { nowMs: number }, seconds: number): Promise<void> {
  while (clock.nowMs < seconds * 1000) await nextTurn();
}

describe('care', () => {
  it('mends what was put while a store was away and nobody noticed', async () => {
    const { bed, core, options } = await open();
    const care = startCare(options);
    cleanup.push(care);
    await eventually(async () => expect(await core.repair.repair()).toMatchObject({ skipped: 0 }));
    bed.bed.away.add(bed.bed.stores[0]!);
    const put = core.volumes.objects('v').put(streamOf(bytesOf(200_000)), { key: 'k' });
    expect((await put).degradedTo).toBe(1);
    bed.bed.away.clear();
    await eventually(async () => {
      expect((await core.repair.health()).stripes).toEqual({ ok: 1, degraded: 0, lost: 0 });
    });
  });

  it.each([
    ['incomplete', () => ({ incomplete: 1 })],
    ['skipped', () => ({ skipped: 1 })],
    [
      'failing',
      () => {
        throw new HoldfastError('HF_UNAVAILABLE');
      },
    ],
  ])('tries again, ever more seldom, after a run that was %s', async (_, answer) => {
    let isDone = false;
    const opened = await open();
    const { runsAt, options } = countedRepair(opened, () => (isDone ? {} : answer()));
    cleanup.push(startCare(options));
    await untilTime(opened.clock, 3000);
    expect(runsAt.slice(0, 9)).toEqual([10, 20, 40, 80, 160, 320, 640, 1240, 1840]);
    isDone = true;
    await untilTime(opened.clock, 20_000);
    // The last one was done; then once an hour, for what nobody has told.
    const [done, ...later] = runsAt.filter((at) => at > 3000);
    expect(done).toBe(3040);
    expect(later.map((at, i) => Math.round((at - done!) / (i + 1) / 100))).toEqual([
      36, 36, 36, 36,
    ]);
  });

  it('looks again at once when the stores change', async () => {
    const opened = await open();
    const { runsAt, options } = countedRepair(opened, () => ({ incomplete: 1 }));
    const stores = { ...options.stores, changeCount: 0 };
    cleanup.push(startCare({ ...options, stores }));
    await untilTime(opened.clock, 700);
    const count = runsAt.length;
    stores.changeCount += 1;
    await untilTime(opened.clock, 750);
    expect(runsAt.length).toBeGreaterThan(count);
  });

  it('states again what the topology did not take', async () => {
    const { bed, core, options } = await open();
    const [store] = bed.bed.stores;
    let isOut = false;
    let failures = 2;
    const stores = {
      ...options.stores,
      // As a set of stores does: one that is out is not named again.
      awayFor: () => (isOut ? [] : [store!.id]),
      setState: () => void (isOut = true),
      devices: () =>
        bed.bed.stores.map((each) =>
          bed.bed.deviceOf(each, isOut && each === store ? 'out' : 'in'),
        ),
    };
    const cluster = {
      ...core.cluster,
      async setDevices(devices: Parameters<typeof core.cluster.setDevices>[0]) {
        if (failures-- > 0) throw new HoldfastError('HF_UNAVAILABLE');
        await core.cluster.setDevices(devices);
      },
    };
    cleanup.push(startCare({ ...options, stores, core: { ...core, cluster } }));
    await eventually(() => {
      const device = core.cluster.topology().devices.find(({ id }) => id === store!.id);
      expect(device?.state).toBe('out');
    });
  });
});

describe('repair', () => {
  it('clears the damage of stores that were here when it began, and of no others', async () => {
    const done = { repaired: 0, incomplete: 0, skipped: 0, lost: 0, writtenBytes: 0 };
    const cleared: string[] = [];
    const damagedStore = (name: string, error?: Error) => ({
      store: {
        async clearDamage() {
          if (error) throw error;
          cleared.push(name);
        },
      },
    });
    const gone = damagedStore('gone', new HoldfastError('HF_CLOSED'));
    const damaged = [gone, damagedStore('here')];
    let summary: RepairSummary = { ...done, incomplete: 1 };
    const inner = {
      async repair() {
        damaged.push(damagedStore('late'));
        return summary;
      },
    } as unknown as Repair;
    const repair = repairClearingDamage(inner, { damaged: async () => [...damaged] });
    await repair.repair();
    expect(cleared).toEqual([]);
    damaged.pop();
    summary = done;
    expect(await repair.repair()).toEqual(done);
    expect(cleared).toEqual(['here']);
  });
});

describe('a node that does not repair', () => {
  it('has the home look while a store of its own is damaged, ever more seldom', async () => {
    const env = virtualEnv(3);
    let damaged = ['store'];
    const askedAt: number[] = [];
    const repair = async (run?: { isAutomatic?: boolean | undefined }) => {
      expect(run?.isAutomatic).toBe(true);
      askedAt.push(Math.round(env.clock.monotonic() / 10_000) * 10);
      if (askedAt.length === 2) throw new HoldfastError('HF_UNAVAILABLE');
      return { repaired: 0, incomplete: 1, skipped: 0, lost: 0, writtenBytes: 0 };
    };
    const end = new AbortController();
    const about = { env, repair: { repair }, stores: { damaged: async () => damaged } };
    const loop = dealWithDamage(about, end.signal);
    await env.clock.sleep(205_000);
    const [first = 0] = askedAt;
    expect(askedAt.map((at) => at - first)).toEqual([0, 10, 30, 70, 150]);
    damaged = [];
    await env.clock.sleep(1_000_000);
    expect(askedAt).toHaveLength(5);
    end.abort();
    await loop;
  });

  it('does not wait long for what the home repairs', async () => {
    const env = virtualEnv(4);
    const hanging = { status: () => new Promise<RepairStatus>(() => {}) };
    const startMs = env.clock.monotonic();
    expect(await statusSoon(env, hanging)).toBeUndefined();
    expect(env.clock.monotonic() - startMs).toBeLessThan(5000);
    const failing = { status: () => Promise.reject(new HoldfastError('HF_UNAVAILABLE')) };
    expect(await statusSoon(env, failing)).toBeUndefined();
    expect(await statusSoon(env, undefined)).toBeUndefined();
  });
});
