/**
 * Aim: new superblocks take nothing away that a salvage needs, also when it is interrupted and
 * begun anew, or when the ring was smaller than one of a device of this size is; what was adopted
 * stays. Method: stores that lose all superblocks, with small metadata chunks, which only the
 * journal or old index pages name.
 */
import { expect, it } from 'vitest';
import {
  type TestChunk,
  testChunk,
  testEnv,
  testMetadata,
  testStripe,
} from '../../test/suites/store-fixtures.ts';
import { bytesEqual, type ClusterId, type DeviceId, LIMITS, MiB } from '../base/index.ts';
import { type Media, SimulatedDevice } from '../device/index.ts';
import { SUPERBLOCK_BLOCKS } from './geometry.ts';
import { type ExtentStore, formatStore, openStore, salvageStore } from './index.ts';

const clusterId = 'c'.repeat(32) as ClusterId;
const id = 'd'.repeat(32) as DeviceId;
const { blockBytes } = LIMITS;
const small = Array.from({ length: 40 }, (_, number) => testMetadata(number, 900));

async function openNew(
  journalBlocks?: number,
): Promise<{ device: SimulatedDevice; store: ExtentStore }> {
  const device = new SimulatedDevice({ sizeBytes: 32 * MiB });
  const env = testEnv({ sleeps: false });
  await formatStore({ env, device, clusterId, id, journalBlocks });
  return { device, store: await openStore({ env, device }) };
}

async function putAll(store: ExtentStore, chunks: readonly TestChunk[]): Promise<void> {
  for (const chunk of chunks) await store.put(chunk.id, chunk.bytes, { generation: 1 });
}

function withoutSuperblocks(media: Media): Media {
  for (const block of SUPERBLOCK_BLOCKS)
    media.write(new Uint8Array(blockBytes), block * blockBytes);
  return media;
}

async function openOn(media: Media): Promise<ExtentStore> {
  const env = testEnv({ sleeps: false });
  return await openStore({ env, device: new SimulatedDevice({ media }) });
}

async function expectAll(store: ExtentStore, chunks: readonly TestChunk[]): Promise<void> {
  for (const chunk of chunks) {
    const read = await store.get(chunk.id);
    expect(read && bytesEqual(read, chunk.bytes)).toBe(true);
  }
}

it.each([
  ['a known', id],
  ['an unknown', undefined],
])('knows what the journal said when it is begun anew, with %s id', async (_, given) => {
  const { device, store } = await openNew();
  const [removed] = testStripe(7, { kind: 'rs', k: 4, n: 6 }, 9000) as [TestChunk];
  await putAll(store, [removed, ...small]);
  await store.remove(removed.id, { generationMax: 1 });
  const media = withoutSuperblocks(device.powerOff().durable);
  const stop = new AbortController();
  const options = { env: testEnv({ sleeps: false }), clusterId, id: given };
  const first = new SimulatedDevice({ media });
  const onProgress = (): void => stop.abort();
  await expect(
    salvageStore({ ...options, device: first, onProgress, signal: stop.signal }),
  ).rejects.toMatchObject({ code: 'HF_INTERRUPTED' });
  const second = new SimulatedDevice({ media: first.crashPoint().durable });
  const report = await salvageStore({ ...options, device: second });
  expect(report).toMatchObject({ isNewSuperblock: false, adopted: small.length, removed: 1 });
  const again = await openOn(second.crashPoint().durable);
  await expectAll(again, small);
  expect(await again.get(removed.id)).toBeUndefined();
  // What the old ring still holds is never taken for new.
  const late = testChunk(8, 9000);
  await putAll(again, [late]);
  expect((await again.describe()).damage).toEqual([]);
});

it('ends the ring before small metadata chunks, which only index pages name', async () => {
  const { device, store } = await openNew(64);
  // The blocks before the ring are used first.
  for (let number = 0; ; number++) {
    const filler = testChunk(1000 + number, 4000);
    await putAll(store, [filler]);
    if ((await store.locate(filler.id))! >= 2040) break;
  }
  await putAll(store, small);
  const places = await Promise.all(small.map(({ id: chunkId }) => store.locate(chunkId)));
  expect(places.filter((block) => block! > 2080 + 64 && block! < 2080 + 1024)).not.toEqual([]);
  // The journal forgets them.
  await putAll(
    store,
    Array.from({ length: 200 }, (_, number) => testChunk(5000 + number, 4000)),
  );
  await store[Symbol.asyncDispose]();
  const damaged = new SimulatedDevice({ media: withoutSuperblocks(device.crashPoint().durable) });
  await salvageStore({ env: testEnv({ sleeps: false }), device: damaged, clusterId, id });
  await expectAll(await openOn(damaged.crashPoint().durable), small);
});

it('keeps the older copy of a chunk whose newer one a power cut has torn', async () => {
  const { device, store } = await openNew();
  const [chunk] = testStripe(1, { kind: 'rs', k: 4, n: 6 }, 9000) as [TestChunk];
  await putAll(store, [chunk]);
  await store.remove(chunk.id, { generationMax: 1 });
  await putAll(store, [chunk]);
  const torn = new SimulatedDevice({ media: device.powerOff().durable });
  torn.flipBit((await store.locate(chunk.id))! * blockBytes + 999, 1);
  const damaged = new SimulatedDevice({ media: torn.crashPoint().durable });
  const env = testEnv({ sleeps: false });
  expect(await salvageStore({ env, device: damaged, clusterId })).toMatchObject({ adopted: 1 });
  const again = await openOn(damaged.crashPoint().durable);
  await expectAll(again, [chunk]);
  expect((await again.describe()).damage).toEqual([]);
});
