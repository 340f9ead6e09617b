/**
 * A store under load, for benches: chunks of one size, so many in flight, on a fresh store. Their
 * memory is page-aligned, and the store does not check them against their ids, as when the layer
 * above has just made them; *checked* ones are true chunks that it checks.
 */
import { randomFillSync, randomInt } from 'node:crypto';
import {
  type ChunkId,
  chunkId,
  type ClusterId,
  hexId,
  mapBounded,
  parseScheme,
  schemeNumber,
  stripeId,
} from '../src/base/index.ts';
import { digest } from '../src/crypto/index.ts';
import { openDevice } from '../src/device/index.ts';
import { realEnv } from '../src/env/index.ts';
import {
  chunkHeaderBytes,
  chunkMemoryBytes,
  encodeChunkHeader,
  type ExtentStore,
  formatStore,
  openStore,
  stripeIdOf,
} from '../src/store/index.ts';
import { seconds } from './harness.ts';

const CLUSTER = hexId<ClusterId>(new Uint8Array(16).fill(1));
const SCHEME = parseScheme('rs-4+2');

export interface Load {
  readonly chunkBytes: number;
  readonly count: number;
  readonly inFlight: number;
  readonly isChecked?: boolean;
}

/** Formats the disk. @param journalBlocks else as its size asks for. */
export async function formatBenchStore(path: string, journalBlocks?: number): Promise<void> {
  const env = realEnv();
  await using device = await openDevice({ env, path });
  const options = { env, device, clusterId: CLUSTER, replacesStore: true };
  await formatStore(journalBlocks === undefined ? options : { ...options, journalBlocks });
}

export async function openBenchStore(path: string): Promise<ExtentStore> {
  const env = realEnv();
  return await openStore({ env, device: await openDevice({ env, path }) });
}

/** @returns puts a second, and the ids of what is in the store now. */
export async function runPuts(
  store: ExtentStore,
  load: Load,
): Promise<{ readonly rate: number; readonly ids: readonly ChunkId[] }> {
  const { count, inFlight, isChecked = false } = load;
  const ids = isChecked ? [] : randomIds(count);
  const chunks = Array.from({ length: inFlight }, () => alignedMemory(load.chunkBytes));
  for (const chunk of chunks) randomFillSync(chunk);
  const options = { generation: 0, isVerified: !isChecked };
  let next = 0;
  const time = await seconds(() =>
    mapBounded(chunks, inFlight, async (chunk) => {
      const shardDigest = isChecked ? digest(chunk.subarray(chunkHeaderBytes(SCHEME))) : undefined;
      while (next < count) {
        const number = next++;
        if (shardDigest) ids[number] = stamp(chunk, shardDigest, number);
        await store.put(ids[number]!, chunk, options);
      }
    }),
  );
  return { rate: count / time, ids };
}

/** Gets a second, in random order. */
export async function runGets(
  store: ExtentStore,
  ids: readonly ChunkId[],
  { chunkBytes, inFlight }: Load,
): Promise<number> {
  const order = shuffled(ids);
  let next = 0;
  const targets = Array.from({ length: inFlight }, () =>
    alignedMemory(chunkMemoryBytes(chunkBytes)),
  );
  const time = await seconds(() =>
    mapBounded(targets, inFlight, async (target) => {
      while (next < order.length) await store.get(order[next++]!, { target });
    }),
  );
  return order.length / time;
}

/** Whole pages of a buffer of their own; the engine aligns those that could be resized. */
function alignedMemory(bytes: number): Uint8Array {
  return new Uint8Array(new ArrayBuffer(bytes, { maxByteLength: bytes + 1 }), 0, bytes);
}

/** Ids as the first shards of stripes have them. */
function randomIds(count: number): ChunkId[] {
  const bytes = randomFillSync(new Uint8Array(count * 28));
  return Array.from({ length: count }, (_, at) =>
    chunkId(stripeId(bytes.subarray(at * 28, (at + 1) * 28)), schemeNumber(SCHEME), at % SCHEME.n),
  );
}

/** Makes the chunk another: what its header says of the other shards of the stripe is made up. */
function stamp(chunk: Uint8Array, shardDigest: Uint8Array, number: number): ChunkId {
  const other = digest(new Uint8Array(new Float64Array([number]).buffer));
  const header = {
    schemeNumber: schemeNumber(SCHEME),
    matrixId: 0,
    shardBytes: chunk.length - chunkHeaderBytes(SCHEME),
    sealedBytes: SCHEME.k * (chunk.length - chunkHeaderBytes(SCHEME)),
    shardDigests: [shardDigest, ...Array.from({ length: SCHEME.n - 1 }, () => other)],
  };
  encodeChunkHeader(header, chunk);
  return chunkId(stripeIdOf(header), header.schemeNumber, 0);
}

function shuffled<Item>(items: readonly Item[]): Item[] {
  const order = [...items];
  for (let at = order.length - 1; at > 0; at--) {
    const other = randomInt(at + 1);
    [order[at], order[other]] = [order[other]!, order[at]!];
  }
  return order;
}
