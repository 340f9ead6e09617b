/**
 * Moments at which the power may be cut: of a load, and of a mount of what a power cut left.
 *
 * A *snapshot* is what may be on the media at a moment, with what had been promised by then. They
 * are taken when a flush starts (its predecessors are durable, all else is pending) and whenever
 * something was acknowledged; in between no less is pending and no more is promised.
 */
import type { CrashPoint, Media, SimulatedDevice } from '../../src/device/index.ts';
import { openStore } from '../../src/store/index.ts';
import { type TestChunk, testEnv } from '../suites/store-fixtures.ts';
import { type LoadCounts, runLoad } from './load.ts';
import type { PlantedFault } from './planted-faults.ts';
import { loadDevice, makeMedia, type Profile, profileOf } from './profiles.ts';
import type { Books, Promised, Promises } from './promises.ts';

export interface Snapshot {
  readonly point: CrashPoint;
  readonly promises: Promises;
  readonly books: Readonly<Books>;
}

export interface Recording {
  readonly profile: Profile;
  /** Bytes that the store uses while it is empty. */
  readonly emptyUsedBytes: number;
  readonly counts: Readonly<LoadCounts>;
  readonly snapshots: readonly Snapshot[];
}

/** Runs the load of a seed to its end. */
export async function recordLoad(seed: number, plantedFault?: PlantedFault): Promise<Recording> {
  const profile = profileOf(seed);
  const { media, fillers, emptyUsedBytes } = await makeMedia(seed, profile);
  const promises = new Map<TestChunk, Promised>(
    fillers.map((chunk) => [chunk, { state: 'present', generation: 1 }]),
  );
  const books: Books = { state: ['active'], minBytes: [0] };
  const counts = { refused: 0, markedBad: 0 };
  const snapshots: Snapshot[] = [];
  const take = (from: SimulatedDevice): void => {
    const held = { promises: new Map(promises), books: { ...books } };
    snapshots.push({ point: from.crashPoint(), ...held });
  };
  let isRecording = false;
  const device = loadDevice(profile, {
    media,
    onEvent: ({ kind }, from) => {
      if (kind === 'flush-start' && isRecording) take(from);
    },
  });
  const env = testEnv({ seed, sleeps: seed % 2 === 0 });
  const store = await openStore({ env, device, plantedFault });
  isRecording = true;
  const acknowledged = (): void => take(device);
  await runLoad({ store, device, seed, profile, promises, books, counts, acknowledged });
  await store[Symbol.asyncDispose]();
  take(device);
  return { profile, emptyUsedBytes, counts, snapshots };
}

/** Moments of a mount of these media; what held before holds at each of them. */
export async function recordMount(
  media: Media,
  { promises, books }: Pick<Snapshot, 'promises' | 'books'>,
  profile: Profile,
): Promise<Snapshot[]> {
  const snapshots: Snapshot[] = [];
  const take = (from: SimulatedDevice): void => {
    snapshots.push({ point: from.crashPoint(), promises, books });
  };
  const device = loadDevice(profile, {
    media,
    onEvent: ({ kind }, from) => {
      if (kind === 'flush-start') take(from);
    },
  });
  await openStore({ env: testEnv({ sleeps: false }), device });
  take(device);
  return snapshots;
}
