/**
 * Chunks to and from the store of another process over mutual TLS on loopback, beside the same
 * store in this process; both on memory. Eight operations are under way at a time, as when stripes
 * are spread. The chunks lie in shared memory, as those of `stripes` do.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type ChunkId, KiB, mapBounded, MiB } from '../src/base/index.ts';
import { NodeKey } from '../src/crypto/index.ts';
import { realEnv } from '../src/env/index.ts';
import { parseAddress } from '../src/net/index.ts';
import { type ChunkStore, chunkMemoryBytes, RemoteChunkStore } from '../src/store/index.ts';
import { testChunk } from '../test/suites/store-fixtures.ts';
import { type Bench, type BenchRow, interleave, rateRow, seconds } from './harness.ts';
import { openBenchNetwork } from './mux-parts.ts';
import { type BenchStorePorts, openBenchStore } from './remote-store-parts.ts';

const AT_ONCE = 8;
const SIZES = [
  { name: '64 KiB', lengthBytes: 64 * KiB, count: 400 },
  { name: '1 MiB', lengthBytes: MiB, count: 100 },
] as const;

interface SharedChunk {
  readonly id: ChunkId;
  readonly bytes: Uint8Array;
}

function sharedChunks(lengthBytes: number, count: number): SharedChunk[] {
  const pages = Math.ceil((lengthBytes * count) / (64 * KiB));
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  return Array.from({ length: count }, (_, number) => {
    const { id, bytes } = testChunk(number, lengthBytes);
    const shared = new Uint8Array(memory.buffer, number * lengthBytes, lengthBytes);
    shared.set(bytes);
    return { id, bytes: shared };
  });
}

/** Puts each second, which none of the stores has; leaves nothing behind. */
async function putSeconds(store: ChunkStore, chunks: readonly SharedChunk[]): Promise<number> {
  const took = await seconds(() =>
    mapBounded(chunks, AT_ONCE, ({ id, bytes }) =>
      store.put(id, bytes, { generation: 0, isVerified: true }),
    ),
  );
  await mapBounded(chunks, AT_ONCE, ({ id }) => store.remove(id, { generationMax: 0 }));
  return took;
}

async function getSeconds(store: ChunkStore, chunks: readonly SharedChunk[]): Promise<number> {
  const bytes = chunkMemoryBytes(chunks[0]!.bytes.length);
  const targets = Array.from({ length: AT_ONCE }, () => new Uint8Array(bytes));
  for (const { id, bytes: chunk } of chunks) await store.put(id, chunk, { generation: 0 });
  const took = await seconds(() =>
    mapBounded(chunks, AT_ONCE, async ({ id }) => {
      const target = targets.pop()!;
      const read = await store.get(id, { target });
      if (!read) throw new Error('a chunk is not there');
      targets.push(target);
    }),
  );
  await mapBounded(chunks, AT_ONCE, ({ id }) => store.remove(id, { generationMax: 0 }));
  return took;
}

async function measure(ours: ChunkStore, local: ChunkStore): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const { name, lengthBytes, count } of SIZES) {
    const chunks = sharedChunks(lengthBytes, count);
    for (const [what, run] of [['put', putSeconds] as const, ['get', getSeconds] as const]) {
      const took = await interleave({
        remote: () => run(ours, chunks),
        local: () => run(local, chunks),
      });
      const rate = (each: number): number => (lengthBytes * count) / each / 1e6;
      const title = `${what} ${name}, remote`;
      const peer = 'the store in this process';
      rows.push(
        rateRow({
          name: title,
          unit: 'MB/s',
          value: rate(took.remote),
          peer,
          peerValue: rate(took.local),
        }),
        rateRow({
          name: title,
          unit: '1/s',
          value: count / took.remote,
          peer,
          peerValue: count / took.local,
        }),
      );
    }
  }
  return rows;
}

export const bench: Bench = async () => {
  const env = realEnv();
  const child = fork(fileURLToPath(new URL('./store-peer.ts', import.meta.url)));
  try {
    const [ports] = (await once(child, 'message')) as [BenchStorePorts];
    await using network = await openBenchNetwork(env, new NodeKey(new Uint8Array(32).fill(1)));
    const { node } = await network.connect(parseAddress(ports.address));
    const { clock } = env;
    const remote = new RemoteChunkStore({ clock, network, node, id: ports.device, epoch: () => 1 });
    await using local = await openBenchStore(env);
    return await measure(remote, local);
  } finally {
    child.kill();
  }
};
