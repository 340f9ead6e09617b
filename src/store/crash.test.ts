/**
 * Aim: whatever a power cut leaves of the unflushed writes, the store mounts and keeps its
 * promises: acknowledged puts are there, acknowledged removes are not undone, anything else
 * happened or did not, no two chunks share blocks, and no damage is reported where there was none.
 * Method: a random load on a simulated device with a tiny journal, so that the ring wraps and
 * checkpoints all the time. At each flush and each acknowledgement the possible media are
 * enumerated (all subsets of up to four unflushed writes, samples of more, torn ones), mounted and
 * compared with what was promised. Four faults planted in the engine show that the test can fail.
 */
import { describe, expect, it } from 'vitest';
import {
  type TestChunk,
  testChunk,
  testEnv,
  TestRandom,
} from '../../test/suites/store-fixtures.ts';
import { bytesEqual, type ClusterId, errorMessage, MiB } from '../base/index.ts';
import { crashImages, type CrashPoint, type Media, SimulatedDevice } from '../device/index.ts';
import { type ExtentStore, formatStore, openStore } from './index.ts';
import type { PlantedFault } from './planted-fault.ts';

const clusterId = 'c'.repeat(32) as ClusterId;
const WORKERS = 4;
const STEPS_PER_WORKER = 12;

/** What has been promised about a chunk. `…ing` says that an operation is under way. */
type Promised = 'present' | 'absent' | 'putting' | 'removing';

interface Snapshot {
  readonly point: CrashPoint;
  readonly promised: ReadonlyMap<TestChunk, Promised>;
}

async function formattedMedia(seed: number): Promise<Media> {
  const device = new SimulatedDevice({ sizeBytes: 16 * MiB });
  const env = testEnv({ seed });
  await formatStore({ env, device, clusterId, journalBlocks: 16, partitionBits: 1 });
  return device.crashPoint().durable;
}

/** One worker's puts, removes and puts again; `promised` says at any moment what holds. */
async function work(
  store: ExtentStore,
  random: TestRandom,
  { promised, acknowledged }: { promised: Map<TestChunk, Promised>; acknowledged: () => void },
): Promise<void> {
  const live: TestChunk[] = [];
  const removed: TestChunk[] = [];
  const settle = (chunk: TestChunk, state: Promised): void => {
    promised.set(chunk, state);
    acknowledged();
  };
  for (let step = 0; step < STEPS_PER_WORKER; step++) {
    const pick = random.below(100);
    if (pick < 55 || live.length === 0) {
      const again = random.below(100) < 40 ? removed.pop() : undefined;
      const isLarge = random.below(100) < 15;
      const lengthBytes = isLarge ? 66_000 + random.below(80_000) : 4 + random.below(12_000);
      const chunk = again ?? testChunk(promised.size * 8 + random.below(8), lengthBytes);
      promised.set(chunk, 'putting');
      await store.put(chunk.id, chunk.bytes, { generation: step });
      live.push(chunk);
      settle(chunk, 'present');
    } else if (pick < 85) {
      const chunk = live.splice(random.below(live.length), 1)[0]!;
      promised.set(chunk, 'removing');
      await store.remove(chunk.id, { generationMax: 1000 });
      removed.push(chunk);
      settle(chunk, 'absent');
    } else {
      // A higher generation: the chunk stays as it is whatever happens.
      const chunk = live[random.below(live.length)]!;
      await store.put(chunk.id, chunk.bytes, { generation: 100 + step });
      acknowledged();
    }
  }
}

/** Runs the load. @returns the moments at which the power may be cut. */
async function record(seed: number, plantedFault: PlantedFault | undefined): Promise<Snapshot[]> {
  const promised = new Map<TestChunk, Promised>();
  const snapshots: Snapshot[] = [];
  let isRecording = false;
  const take = (device: SimulatedDevice): void => {
    if (isRecording) snapshots.push({ point: device.crashPoint(), promised: new Map(promised) });
  };
  const device = new SimulatedDevice({
    media: await formattedMedia(seed),
    onEvent: ({ kind }, from) => {
      if (kind === 'flush-start' || kind === 'flush-end') take(from);
    },
  });
  const env = testEnv({ seed, sleeps: seed % 2 === 0 });
  const store = await openStore({ env, device, plantedFault });
  isRecording = true;
  const workers = Array.from({ length: WORKERS }, (_, worker) =>
    work(store, new TestRandom(seed * WORKERS + worker), {
      promised,
      acknowledged: () => take(device),
    }),
  );
  await Promise.all(workers);
  await store[Symbol.asyncDispose]();
  return snapshots;
}

/** What is wrong with the store on these media, in words. */
async function violations(
  media: Media,
  promised: Snapshot['promised'],
  plantedFault: PlantedFault | undefined,
): Promise<string[]> {
  const device = new SimulatedDevice({ media });
  const env = testEnv({ sleeps: false });
  const found: string[] = [];
  let store: ExtentStore;
  try {
    const isMountFault = plantedFault === 'tail-not-verified';
    store = await openStore({ env, device, plantedFault: isMountFault ? plantedFault : undefined });
  } catch (error) {
    return [`mount: ${errorMessage(error)}`];
  }
  found.push(...(await store.describe()).damage);
  for (const [chunk, state] of promised) {
    const violation = await violationOf(store, chunk, state);
    if (violation) found.push(`${state}: ${violation}`);
  }
  return found;
}

async function violationOf(
  store: ExtentStore,
  chunk: TestChunk,
  state: Promised,
): Promise<string | undefined> {
  const { id, bytes } = chunk;
  const entry = await store.stat(id);
  if (!entry) return state === 'present' ? 'the chunk is gone' : undefined;
  if (state === 'absent') return 'the chunk is back';
  if (!entry.isGood) return state === 'putting' ? undefined : 'the chunk is bad';
  try {
    const read = await store.get(id);
    return read && bytesEqual(read, bytes) ? undefined : 'the chunk has other bytes';
  } catch (error) {
    return `listed as good, but ${errorMessage(error).replace(/^[0-9a-f]+: /, '')}`;
  }
}

interface Outcome {
  states: number;
  readonly violations: Map<string, number>;
}

interface EnumerateOptions {
  readonly seeds: readonly number[];
  /** Of the moments of a load, every so many is looked at. */
  readonly everyNth: number;
  readonly tornCount?: number;
  readonly wants?: (point: CrashPoint) => boolean;
  readonly plantedFault?: PlantedFault;
}

async function lookAt(
  { point, promised }: Snapshot,
  options: EnumerateOptions & { readonly random: TestRandom; readonly outcome: Outcome },
): Promise<void> {
  const { random, outcome, tornCount = 3 } = options;
  for (const { media } of crashImages(point, { random, subsetCountMax: 16, tornCount })) {
    // A planted fault is found or not; how often does not matter.
    if (options.plantedFault && outcome.violations.size > 0) return;
    outcome.states += 1;
    for (const violation of await violations(media, promised, options.plantedFault)) {
      outcome.violations.set(violation, (outcome.violations.get(violation) ?? 0) + 1);
    }
  }
}

/** Enumerates crash states of several loads. */
async function enumerate(options: EnumerateOptions): Promise<Outcome> {
  const outcome: Outcome = { states: 0, violations: new Map() };
  for (const seed of options.seeds) {
    const random = new TestRandom(seed);
    const snapshots = await record(seed, options.plantedFault);
    const wanted = snapshots.filter(({ point }) => options.wants?.(point) ?? true);
    for (const [moment, snapshot] of wanted.entries()) {
      if ((moment + seed) % options.everyNth !== 0) continue;
      await lookAt(snapshot, { ...options, random, outcome });
    }
  }
  return outcome;
}

/** Moments of a mount of what a power cut left. */
async function recordMount(media: Media, promised: Snapshot['promised']): Promise<Snapshot[]> {
  const snapshots: Snapshot[] = [];
  const device = new SimulatedDevice({
    media,
    onEvent: ({ kind }, from) => {
      if (kind === 'flush-start') snapshots.push({ point: from.crashPoint(), promised });
    },
  });
  await openStore({ env: testEnv({ sleeps: false }), device });
  return snapshots;
}

function hasSuperblockPending({ pending }: CrashPoint): boolean {
  return pending.some(({ offset }) => offset === 0);
}

describe('extent store, power cuts', () => {
  it('keeps its promises in every crash state', async () => {
    const { states, violations: found } = await enumerate({ seeds: [1, 2, 3, 4], everyNth: 2 });
    expect(Object.fromEntries(found)).toEqual({});
    expect(states).toBeGreaterThan(500);
  });

  it('keeps them when the power fails again during the mount', async () => {
    const outcome: Outcome = { states: 0, violations: new Map() };
    const random = new TestRandom(9);
    const snapshots = await record(9, undefined);
    for (const { point, promised } of snapshots.filter((_, moment) => moment % 8 === 0)) {
      const [image] = crashImages(point, { random, subsetCountMax: 2 + random.below(3) });
      for (const snapshot of await recordMount(image!.media, promised)) {
        await lookAt(snapshot, { seeds: [], everyNth: 1, tornCount: 1, random, outcome });
      }
    }
    expect(Object.fromEntries(outcome.violations)).toEqual({});
    expect(outcome.states).toBeGreaterThan(50);
  });

  it('would find a mount that does not verify the last batch', async () => {
    const plantedFault = 'tail-not-verified';
    const { violations: found } = await enumerate({ seeds: [1, 2], everyNth: 2, plantedFault });
    expect([...found.keys()].join()).toMatch(/listed as good/);
  });

  it('would find a commit without a flush', async () => {
    const plantedFault = 'commit-not-flushed';
    const { violations: found } = await enumerate({ seeds: [1, 2], everyNth: 2, plantedFault });
    expect(found.size).toBeGreaterThan(0);
  });

  it('would find a checkpoint whose images are not flushed', async () => {
    const { violations: found } = await enumerate({
      seeds: [1, 2, 3],
      everyNth: 1,
      tornCount: 8,
      plantedFault: 'images-not-flushed',
      wants: hasSuperblockPending,
    });
    expect(found.size).toBeGreaterThan(0);
  });

  it('would find superblock copies that are all written at once', async () => {
    const { violations: found } = await enumerate({
      seeds: [1, 2, 3],
      everyNth: 1,
      tornCount: 60,
      plantedFault: 'superblocks-flushed-once',
      wants: hasSuperblockPending,
    });
    expect([...found.keys()]).toEqual([expect.stringMatching(/^mount: .* superblock/)]);
  });
});
