/**
 * The stores that crash tests put loads on.
 *
 * - *profile*: what a seed's store is like, and its load. They take turns, so that a few seeds in a
 *   row see all. The journals are tiny, so that the ring wraps and checkpoints come all the time.
 * - *filler*: a chunk that is there before the load, so that little room is left.
 */
import { type ClusterId, MiB } from '../../src/base/index.ts';
import { type Media, SimulatedDevice } from '../../src/device/index.ts';
import { formatStore, openStore } from '../../src/store/index.ts';
import { type TestChunk, testChunk, testEnv } from '../suites/store-fixtures.ts';

const clusterId = 'c'.repeat(32) as ClusterId;

export interface Profile {
  readonly name: 'plain' | 'growing' | 'shrinking' | 'full' | 'limited' | 'rotting';
  readonly capacityBytes: number;
  readonly journalBlocks: number;
  /** 0: none. */
  readonly hardMaxBytes: number;
  readonly fillerBytes: readonly number[];
  /** The load begins by removing the fillers, so that the device gives room back. */
  readonly removesFillers: boolean;
  readonly rots: boolean;
  /** Of a hundred puts, so many are large. */
  readonly largePercent: number;
}

const PLAIN: Profile = {
  name: 'plain',
  capacityBytes: 16 * MiB,
  journalBlocks: 8,
  hardMaxBytes: 0,
  fillerBytes: [],
  removesFillers: false,
  rots: false,
  largePercent: 15,
};

/** The device of a profile. */
export function loadDevice(
  { capacityBytes }: Profile,
  options: Omit<ConstructorParameters<typeof SimulatedDevice>[0], 'capacityBytes' | 'kind'>,
): SimulatedDevice {
  // Only directories grow, and give room back.
  return new SimulatedDevice({ ...options, capacityBytes, kind: 'directory' });
}

export const PROFILES: readonly Profile[] = [
  PLAIN,
  {
    ...PLAIN,
    name: 'growing',
    capacityBytes: 64 * MiB,
    fillerBytes: [6 * MiB, 6 * MiB, 1.75 * MiB],
    largePercent: 60,
  },
  {
    ...PLAIN,
    name: 'shrinking',
    capacityBytes: 64 * MiB,
    fillerBytes: [20 * MiB, 10 * MiB],
    removesFillers: true,
  },
  { ...PLAIN, name: 'full', fillerBytes: [5 * MiB, 5 * MiB, 4 * MiB], largePercent: 50 },
  { ...PLAIN, name: 'limited', hardMaxBytes: 200 * 4096, largePercent: 30 },
  { ...PLAIN, name: 'rotting', journalBlocks: 16, rots: true },
];

export function profileOf(seed: number): Profile {
  return PROFILES[seed % PROFILES.length]!;
}

/** Makes the same chunks for every seed; they are large. */
function fillersOf({ fillerBytes }: Profile): TestChunk[] {
  return fillerBytes.map((lengthBytes, index) => testChunk(900_000 + index, lengthBytes));
}

export interface LoadMedia {
  readonly media: Media;
  readonly fillers: readonly TestChunk[];
  /** Bytes that the store uses while it is empty. */
  readonly emptyUsedBytes: number;
}

/** A formatted store with its fillers, closed. */
export async function makeMedia(seed: number, profile: Profile): Promise<LoadMedia> {
  const { hardMaxBytes } = profile;
  const device = loadDevice(profile, { sizeBytes: 16 * MiB });
  const env = testEnv({ seed });
  await formatStore({
    env,
    device,
    clusterId,
    journalBlocks: profile.journalBlocks,
    partitionBits: 1,
    limits: { hardMaxBytes },
  });
  const fillers = fillersOf(profile);
  const store = await openStore({ env, device });
  const { usedBytes: emptyUsedBytes } = await store.usage();
  for (const { id, bytes } of fillers) {
    await store.put(id, bytes, { generation: 1, isVerified: true });
  }
  await store[Symbol.asyncDispose]();
  return { media: device.crashPoint().durable, fillers, emptyUsedBytes };
}
