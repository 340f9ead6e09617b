/**
 * Aim: a store of another node answers as a local one does; whatever happens to the network, an
 * operation ends, and a chunk is there whole or not at all; a peer that breaks the rules gets an
 * error and costs little. Method: the suite over the network in memory, on a store in memory and on
 * extents; then faults one by one, and hostile requests made by hand.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ChunkStoreHarness, chunkStoreSuite } from '../../test/suites/chunk-store.ts';
import { RemoteBed } from '../../test/suites/remote-bed.ts';
import {
  type TestChunk,
  testChunk,
  testEnv,
  testMetadata,
} from '../../test/suites/store-fixtures.ts';
import {
  asBuffer,
  bytesEqual,
  CHUNK_ID_BYTES,
  type ChunkId,
  type ClusterId,
  type DeviceId,
  errorCode,
  KiB,
  LIMITS,
  MiB,
  toHex,
} from '../base/index.ts';
import { SimulatedDevice } from '../device/index.ts';
import type { Network } from '../net/index.ts';
import {
  type ChunkStore,
  formatStore,
  isSilence,
  MemoryChunkStore,
  openStore,
  RemoteChunkStore,
  serveStores,
  type ServeStoresOptions,
} from './index.ts';

const id = 'e'.repeat(32) as DeviceId;
const clusterId = 'c'.repeat(32) as ClusterId;
const { blockBytes } = LIMITS;

function serving(stores: readonly ChunkStore[], options: Partial<ServeStoresOptions> = {}) {
  return (server: Network, { env }: RemoteBed): void =>
    serveStores(server, () => stores, {
      clock: env.clock,
      mayPut: () => true,
      mayRemove: () => true,
      oldestEpoch: () => 0,
      ...options,
    });
}

function remoteOf(bed: RemoteBed, device = id, epoch = 7): RemoteChunkStore {
  const { asker: network, server, env } = bed;
  const { clock } = env;
  return new RemoteChunkStore({
    clock,
    network,
    node: server.self,
    id: device,
    epoch: () => epoch,
  });
}

async function harnessOf(
  store: ChunkStore,
  damage: ChunkStoreHarness['damage'],
): Promise<ChunkStoreHarness> {
  const bed = await RemoteBed.open(serving([store]));
  return {
    store: remoteOf(bed, store.id),
    damage,
    async [Symbol.asyncDispose]() {
      await bed[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    },
  };
}

chunkStoreSuite('of another node, in memory', async () => {
  const store = new MemoryChunkStore({ id });
  return await harnessOf(store, async (chunk) => store.flip(chunk.id, 0));
});

async function flipOnDevice(device: SimulatedDevice, { bytes }: TestChunk): Promise<void> {
  const block = asBuffer(device.allocate(blockBytes));
  const start = bytes.subarray(0, blockBytes);
  for (let offset = 0; offset < device.sizeBytes; offset += blockBytes) {
    await device.read(block, offset);
    if (!bytesEqual(block.subarray(0, start.length), start)) continue;
    block[0]! ^= 1;
    await device.write([block], offset);
    return;
  }
  throw new Error('the bytes are not on the device');
}

chunkStoreSuite('of another node, extents on a simulated device', async () => {
  const device = new SimulatedDevice({ sizeBytes: 32 * MiB });
  const env = testEnv({ sleeps: false });
  await formatStore({ env, device, clusterId });
  const store = await openStore({ env, device, clusterId });
  return await harnessOf(store, (chunk) => flipOnDevice(device, chunk));
});

const SMALL = testChunk(1, 5000);
const LARGE = testChunk(2, 700 * KiB);
const HUGE = testChunk(3, 5 * MiB);

describe('store of another node', () => {
  let store: MemoryChunkStore;
  let bed: RemoteBed;
  let remote: RemoteChunkStore;
  let mayRemove: boolean;
  let oldestEpoch: number;
  const options = {
    mayPut: () => true,
    mayRemove: () => mayRemove,
    oldestEpoch: () => oldestEpoch,
  };

  beforeEach(async () => {
    mayRemove = true;
    oldestEpoch = 0;
    store = new MemoryChunkStore({ id });
    bed = await RemoteBed.open(serving([store], options));
    remote = remoteOf(bed);
  });

  afterEach(async () => {
    await bed[Symbol.asyncDispose]();
  });

  const put = ({ id: chunk, bytes }: TestChunk, signal?: AbortSignal) =>
    remote.put(chunk, bytes, { generation: 1, signal });

  /** Whole, or not there: the store checks bytes against their id. */
  async function holds(chunk: TestChunk): Promise<boolean> {
    const read = await store.get(chunk.id);
    if (read) expect(bytesEqual(read, chunk.bytes)).toBe(true);
    return read !== undefined;
  }

  it('puts the answer into the memory that is given', async () => {
    for (const chunk of [SMALL, LARGE]) {
      await put(chunk);
      const target = new Uint8Array(MiB);
      const read = await remote.get(chunk.id, { target });
      expect(read!.buffer).toBe(target.buffer);
      expect(bytesEqual(read!, chunk.bytes)).toBe(true);
      const tooSmall = new Uint8Array(10);
      expect((await remote.get(chunk.id, { target: tooSmall }))!.length).toBe(chunk.bytes.length);
    }
  });

  it('sends shared memory as well', async () => {
    const bytes = new Uint8Array(new SharedArrayBuffer(LARGE.bytes.length));
    bytes.set(LARGE.bytes);
    await put({ id: LARGE.id, bytes });
    expect(await holds(LARGE)).toBe(true);
  });

  it('says of many chunks at once what is known of them', async () => {
    for (const chunk of [SMALL, LARGE]) await put(chunk);
    store.flip(SMALL.id, 5);
    await store.scrub();
    const ids = [LARGE.id, HUGE.id, SMALL.id];
    const entries = await remote.statMany(ids);
    expect(entries).toEqual(await Promise.all(ids.map((each) => remote.stat(each))));
    expect(entries.map((entry) => entry?.isGood)).toEqual([true, undefined, false]);
    expect(await remote.statMany([])).toEqual([]);
    const tooMany = Array.from({ length: 256 }, () => SMALL.id);
    expect(await remote.statMany(tooMany).catch(errorCode)).toBe('HF_BAD_ARGUMENT');
  });

  it('asks again when the connection broke, but puts and deletes nothing twice', async () => {
    await put(LARGE);
    await put(SMALL);
    for (const name of ['get', 'stat', 'remove'] as const) {
      const inner = store[name].bind(store) as (...args: unknown[]) => Promise<unknown>;
      let askedCount = 0;
      const cutOnce = async (...args: unknown[]): Promise<unknown> => {
        askedCount += 1;
        if (askedCount === 1) {
          bed.net.cut(bed.server.self);
          bed.net.heal();
        }
        return await inner(...args);
      };
      Object.assign(store, { [name]: cutOnce });
      const asked =
        name === 'remove'
          ? remote.remove(SMALL.id, { generationMax: 9 })
          : remote[name](LARGE.id, { lengthBytes: 10 });
      const outcome = await asked.then(() => 'answered', errorCode);
      expect(outcome, name).toBe(name === 'remove' ? 'HF_UNAVAILABLE' : 'answered');
      expect(askedCount, name).toBe(name === 'remove' ? 1 : 2);
      Object.assign(store, { [name]: inner });
    }
  });

  it('deletes for the steward alone', async () => {
    await put(SMALL);
    mayRemove = false;
    const removal = remote.remove(SMALL.id, { generationMax: 9 });
    expect(await removal.catch(errorCode)).toBe('HF_DENIED');
    expect(await holds(SMALL)).toBe(true);
  });

  it('takes no put by a layout older than the one at which the group was whole', async () => {
    oldestEpoch = 8;
    for (const chunk of [SMALL, LARGE]) {
      expect(await put(chunk).catch(errorCode)).toBe('HF_OLD_EPOCH');
      expect(await holds(chunk)).toBe(false);
    }
    oldestEpoch = 7;
    await put(LARGE);
  });

  it('asks again about an epoch when all bytes of a put have come', async () => {
    bed.net.faults.delayMs = 50;
    const work = put(HUGE);
    await bed.env.clock.sleep(400);
    oldestEpoch = 8;
    expect(await work.catch(errorCode)).toBe('HF_OLD_EPOCH');
    expect(await holds(HUGE)).toBe(false);
  });

  it('says how the store is, as of the last answer', async () => {
    store.state = 'draining';
    expect(remote.state).toBe('active');
    await remote.stat(SMALL.id);
    expect(remote.state).toBe('draining');
    store.state = 'failed';
    expect(await remote.get(SMALL.id).catch(errorCode)).toBe('HF_DEVICE_FAILED');
    expect(remote.state).toBe('failed');
  });

  it('asks about usage once a second, and after each change of its own', async () => {
    let asked = 0;
    const usage = store.usage.bind(store);
    store.usage = () => ((asked += 1), usage());
    await Promise.all([remote.usage(), remote.usage()]);
    expect(asked).toBe(1);
    await put(SMALL);
    expect((await remote.usage()).chunkCount).toBe(1);
    expect(asked).toBe(2);
    await bed.env.clock.sleep(1001);
    await remote.usage();
    expect(asked).toBe(3);
  });

  it('reports the progress of a scrub, and hears nothing of it for minutes', async () => {
    await put(SMALL);
    const scrub = store.scrub.bind(store);
    store.scrub = async (given: Parameters<ChunkStore['scrub']>[0] = {}) => {
      given.onProgress?.(10, 20);
      await bed.env.clock.sleep(120_000);
      return await scrub();
    };
    store.flip(SMALL.id, 0);
    const seen = new Set<string>();
    const report = await remote.scrub({ onProgress: (done, all) => seen.add(`${done}/${all}`) });
    expect([...seen]).toEqual(['10/20']);
    expect(report).toMatchObject({ checkedChunks: 1, checkedBytes: 5000 });
    expect(report.findings).toMatchObject([{ kind: 'bad-chunk', id: SMALL.id }]);
  });

  it('lists for a slow consumer, who is not hurried', async () => {
    // Less than a window: all of it has been sent long before it is read.
    const ids = Array.from({ length: 18_000 }, (_, number) => {
      const held = new Uint8Array(CHUNK_ID_BYTES);
      asBuffer(held).writeUInt32LE(number);
      return held as ChunkId;
    });
    const rest = { lengthBytes: 10, generation: 1, writtenAtMs: 1000, isGood: true };
    store.list = async function* list() {
      for (const held of ids) yield { id: held, ...rest };
    };
    const seen: string[] = [];
    for await (const entry of remote.list()) {
      expect(entry).toMatchObject(rest);
      if (seen.push(toHex(entry.id)) % 3000 === 0) await bed.env.clock.sleep(120_000);
    }
    expect(seen).toEqual(ids.map(toHex));
    for await (const _ of remote.list()) break; // and one who has seen enough
  });

  describe('and a fault', () => {
    it('of the link in the middle of a put: whole, or not there', async () => {
      bed.net.faults.delayMs = 10;
      for (let cutAtMs = 5; cutAtMs < 200; cutAtMs += 15) {
        const work = put(HUGE).then(
          () => 'durable' as const,
          (error: unknown) => errorCode(error),
        );
        await bed.env.clock.sleep(cutAtMs);
        bed.net.cut(bed.server.self);
        const outcome = await work;
        expect(['durable', 'HF_UNAVAILABLE']).toContain(outcome);
        await bed.env.clock.sleep(1000);
        if (outcome === 'durable') expect(await holds(HUGE)).toBe(true);
        else await holds(HUGE);
        store.lose(HUGE.id);
        await bed.env.clock.sleep(60_000);
      }
      await put(HUGE);
    });

    it('of a node that does not answer: HF_UNAVAILABLE, in time', async () => {
      await put(LARGE);
      await put(SMALL);
      bed.net.partition(() => true);
      const startMs = bed.env.clock.monotonic();
      const works = [
        put(HUGE),
        put(testChunk(8, 100)),
        remote.get(LARGE.id, { target: new Uint8Array(MiB) }),
        remote.get(SMALL.id),
        remote.stat(SMALL.id),
        remote.remove(SMALL.id, { generationMax: 1 }),
        remote.usage(),
        remote.digests(),
        remote.scrub(),
        Array.fromAsync(remote.list()),
      ];
      const codes = await Promise.all(works.map((work) => work.then(() => 'done', errorCode)));
      expect(codes).toEqual(works.map(() => 'HF_UNAVAILABLE'));
      expect(bed.env.clock.monotonic() - startMs).toBeLessThan(60_000);
      await remote[Symbol.asyncDispose]();
    });

    it('of a node that falls silent: what another can do as well is not waited for', async () => {
      await put(LARGE);
      await put(SMALL);
      bed.net.partition(() => true);
      const { clock } = bed.env;
      const startMs = clock.monotonic();
      const listed = Array.fromAsync(remote.list());
      const usage = remote.usage();
      const elsewhere = (): Promise<unknown>[] => [
        put(HUGE),
        put(testChunk(8, 100)),
        remote.get(LARGE.id, { target: new Uint8Array(MiB) }),
        remote.get(SMALL.id),
        remote.stat(SMALL.id),
        remote.statMany([SMALL.id]),
        remote.remove(testChunk(8, 100).id, { generationMax: 1 }),
      ];
      for (const ms of [3000, 0]) {
        const askedMs = clock.monotonic();
        const works = elsewhere();
        const isSilent = works.map((work) => work.then(() => false, isSilence));
        expect(await Promise.all(isSilent)).toEqual(works.map(() => true));
        expect(clock.monotonic() - askedMs).toBeLessThanOrEqual(ms);
      }
      bed.net.heal();
      // What only this one can say was waited for, and comes.
      expect((await listed).length).toBeGreaterThanOrEqual(2);
      expect((await usage).chunkCount).toBeGreaterThanOrEqual(2);
      expect(await remote.stat(SMALL.id)).toBeDefined();
      expect(clock.monotonic() - startMs).toBeLessThan(LIMITS.remoteCallMs);
      // Of the puts that were given up one may have been carried out all the same: whole.
      await clock.sleep(1000);
      await holds(HUGE);
      await put(HUGE);
      expect(await holds(HUGE)).toBe(true);
    });

    it('of bits on the wire: an error or the right bytes', async () => {
      await put(LARGE);
      bed.net.faults.flipsPerMillion = 300_000;
      for (let turn = 0; turn < 30; turn++) {
        const read = await remote.get(LARGE.id).catch(errorCode);
        if (typeof read === 'string') expect(['HF_UNAVAILABLE', 'HF_DENIED']).toContain(read);
        else expect(bytesEqual(read!, LARGE.bytes)).toBe(true);
        await bed.env.clock.sleep(40_000);
      }
    });

    it('of a node that is started anew: the same object goes on', async () => {
      await put(LARGE);
      await bed.killServer();
      expect(await remote.get(LARGE.id).catch(errorCode)).toBe('HF_UNAVAILABLE');
      await bed.startServer(serving([store], options));
      expect((await remote.get(LARGE.id))?.length).toBe(LARGE.bytes.length);
      await put(SMALL);
    });

    it('of a store that is not open there', async () => {
      const other = remoteOf(bed, 'd'.repeat(32) as DeviceId);
      expect(await other.get(SMALL.id).catch(errorCode)).toBe('HF_UNAVAILABLE');
      await store[Symbol.asyncDispose]();
      expect(await remote.get(SMALL.id).catch(errorCode)).toBe('HF_UNAVAILABLE');
    });

    it('of the store: the code crosses', async () => {
      for (const code of ['HF_NO_SPACE', 'HF_IO', 'HF_CORRUPT'] as const) {
        store.fault = () => code;
        expect(await put(LARGE).catch(errorCode)).toBe(code);
        expect(await put(SMALL).catch(errorCode)).toBe(code);
      }
      // Who has made the bytes knows better, and may try another store.
      const made = remote.put(LARGE.id, LARGE.bytes, { generation: 1, isVerified: true });
      expect(await made.catch(errorCode)).toBe('HF_IO');
    });
  });

  describe('and a caller that gives up', () => {
    it('stops a put, whose memory is free when its bytes have left', async () => {
      bed.net.faults.bytesPerSecond = 10 * MiB;
      const bytes = new Uint8Array(HUGE.bytes);
      const abort = new AbortController();
      let isFree = false;
      const work = put({ id: HUGE.id, bytes }, abort.signal)
        .catch(errorCode)
        .finally(() => (isFree = true));
      await bed.env.clock.sleep(100);
      bed.net.partition(() => true);
      abort.abort();
      await bed.env.clock.sleep(2000);
      expect(isFree).toBe(false);
      bed.net.heal();
      expect(await work).toBe('HF_INTERRUPTED');
      bytes.fill(0);
      await bed.env.clock.sleep(5000);
      expect(await holds(HUGE)).toBe(false);
      // Nothing that was still on its way has been changed: the connection is sound.
      expect(bed.metrics.get('net_violations', { what: 'frame' })).toBe(0);
      await put(HUGE);
    });

    it('stops the work of the store', async () => {
      let stopped = Promise.withResolvers<void>();
      store.get = async (_, given) => {
        given?.signal?.addEventListener('abort', () => stopped.resolve());
        await stopped.promise;
        return undefined;
      };
      store.stat = async () => ({
        id: LARGE.id,
        lengthBytes: LARGE.bytes.length,
        generation: 1,
        writtenAtMs: 0,
        isGood: true,
      });
      for (const target of [new Uint8Array(10), new Uint8Array(MiB)]) {
        stopped = Promise.withResolvers();
        const abort = new AbortController();
        const work = remote.get(LARGE.id, { target, signal: abort.signal });
        await bed.env.clock.sleep(10);
        abort.abort();
        expect(await work.catch(errorCode)).toBe('HF_INTERRUPTED');
        await stopped.promise;
      }
    });
  });

  describe('that lies', () => {
    it('is found out by the id of a metadata chunk, and by the header of a shard', async () => {
      const cases = [
        [testMetadata(1, 500), testMetadata(2, 500)],
        [testMetadata(3, 200_000), testMetadata(4, 200_000)],
        [SMALL, testChunk(9, 5000)],
        [LARGE, HUGE],
      ] as const;
      const get = store.get.bind(store);
      const stat = store.stat.bind(store);
      for (const [asked, given] of cases) {
        await store.put(given.id, given.bytes, { generation: 0 });
        store.get = (_, range) => get(given.id, range);
        store.stat = () => stat(given.id);
        expect(await remote.get(asked.id).catch(errorCode)).toBe('HF_CORRUPT');
      }
    });
  });

  describe('and a hostile peer', () => {
    const deadline = { deadlineMs: 5000 };
    const request = { device: id, id: LARGE.id, generation: 1, epoch: 9 };

    async function upload(arg: unknown, bytes: number): Promise<unknown> {
      const { asker, server } = bed;
      const { stream, reply } = await asker.open(server.self, 'store/put-stream', arg, deadline);
      stream.resume();
      if (bytes > 0) stream.write(new Uint8Array(bytes));
      stream.end();
      return await reply.then(() => 'taken', errorCode);
    }

    it('with lengths that are not so', async () => {
      expect(await upload({ ...request, lengthBytes: 1000 }, 2000)).toBe('HF_BAD_ARGUMENT');
      expect(await upload({ ...request, lengthBytes: 1000 }, 500)).toBe('HF_BAD_ARGUMENT');
      expect(await upload({ ...request, lengthBytes: 1000 }, 1000)).toBe('HF_CORRUPT');
      expect(await upload({ ...request, lengthBytes: 2 ** 40 }, 10)).toBe('HF_BAD_ARGUMENT');
      expect(await upload({ ...request, lengthBytes: -1 }, 10)).toBe('HF_BAD_ARGUMENT');
      expect(await upload({ ...request, id: new Uint8Array(31), lengthBytes: 9 }, 9)).toBe(
        'HF_BAD_ARGUMENT',
      );
      expect((await remote.usage()).chunkCount).toBe(0);
    });

    it('with arguments of other shapes', async () => {
      const { asker, server } = bed;
      for (const method of ['put', 'put-stream', 'get', 'get-stream', 'stat', 'remove', 'list']) {
        for (const arg of [null, 7, {}, { device: 'x' }, { ...request, device: 5 }]) {
          const work = asker.call(server.self, `store/${method}`, arg, deadline);
          expect(await work.catch(errorCode)).toBe('HF_BAD_ARGUMENT');
        }
      }
      // Without the stream that it needs.
      const work = asker.call(server.self, 'store/digests', { device: id }, deadline);
      expect(await work.catch(errorCode)).toBe('HF_BAD_ARGUMENT');
    });

    it('that keeps many uploads open gets no more than its share of memory', async () => {
      const { asker, server, env } = bed;
      const arg = { ...request, lengthBytes: LIMITS.chunkBytesMax };
      const opened = [];
      for (let count = 0; count < 20; count++) {
        opened.push(
          await asker.open(server.self, 'store/put-stream', arg, { deadlineMs: 100_000 }),
        );
      }
      const codes = opened.map(({ reply }) => reply.then(() => 'taken', errorCode));
      // Trickling keeps the network's deadline away, but not that of the whole.
      for (let second = 0; second < 100; second++) {
        for (const { stream } of opened) if (stream.writable) stream.write('x');
        await env.clock.sleep(1000);
      }
      expect(new Set(await Promise.all(codes))).toEqual(new Set(['HF_TIMEOUT']));
      await put(LARGE);
    });

    it('with more at once than is served', async () => {
      const { asker, server } = bed;
      const stuck = Promise.withResolvers<void>();
      store.stat = async () => {
        await stuck.promise;
        return undefined;
      };
      const calls = Array.from({ length: LIMITS.servedPerPeerMax / 2 + 20 }, () =>
        asker
          .call(server.self, 'store/stat', { device: id, id: SMALL.id }, deadline)
          .then(() => 'answered', errorCode),
      );
      await bed.env.clock.sleep(1000);
      stuck.resolve();
      const answers = await Promise.all(calls);
      const refused = answers.filter((answer) => answer === 'HF_BUSY');
      expect(refused.length).toBe(20);
    });

    it('which lists wait for, and looks that come once in a while', async () => {
      const { asker, server, env } = bed;
      await put(SMALL);
      const stuck = Promise.withResolvers<void>();
      store.stat = async () => {
        await stuck.promise;
        return undefined;
      };
      const calls = Array.from({ length: LIMITS.servedPerPeerMax / 2 }, () =>
        asker.call(server.self, 'store/stat', { device: id, id: SMALL.id }, deadline),
      );
      await env.clock.sleep(100);
      expect(await put(LARGE).catch(errorCode)).toBe('HF_BUSY');
      const waiting = Promise.all([
        remote.usage(),
        remote.digests(),
        Array.fromAsync(remote.list()),
      ]);
      await env.clock.sleep(3000);
      stuck.resolve();
      const [usage, digests, entries] = await waiting;
      expect([usage.chunkCount, digests.length, entries.length]).toEqual([1, 1, 1]);
      await Promise.all(calls);
    });
  });
});
