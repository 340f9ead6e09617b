/**
 * Aim: a store in a folder whose filesystem is full refuses a put before any byte of it is written,
 * still removes and makes checkpoints, and takes puts again after a remove (row E2, trap 35).
 * Method: a folder on a small filesystem in memory, which only root can mount: without that the
 * test is skipped, and says so. What else is on the filesystem fills it up.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { bytesEqual, type ClusterId, type DeviceId, errorCode } from '../../src/base/index.ts';
import { makeDevice, openDevice } from '../../src/device/index.ts';
import { realEnv, silentLog } from '../../src/env/index.ts';
import { checkStore, type ExtentStore, formatStore, openStore } from '../../src/store/index.ts';
import { numberedChunk } from '../suites/numbered-chunk.ts';
import { filesUnder } from './content.ts';
import { Bed } from './harness.ts';
import { mountSmallDisk, type SmallDisk } from './small-disk.ts';

const DISK_MIB = 60;
const CAPACITY_BYTES = 2 ** 30;

const env = { ...realEnv(), log: silentLog };
let bed: Bed;
let disk: SmallDisk;

beforeEach(async () => {
  bed = await Bed.open();
  disk = await mountSmallDisk(bed.path('disk'), DISK_MIB);
});

afterEach(async () => {
  disk[Symbol.dispose]();
  await bed[Symbol.asyncDispose]();
});

async function put(store: ExtentStore, number: number): Promise<string | undefined> {
  const { id, bytes } = numberedChunk(number);
  try {
    await store.put(id, bytes, { generation: 1, isVerified: true });
    return undefined;
  } catch (error) {
    return errorCode(error);
  }
}

/** Names, sizes and contents of all files of the store. */
async function contentOf(folder: string): Promise<string[]> {
  const files = await filesUnder(folder);
  return await Promise.all(
    files.map(async (file) => {
      const bytes = await fs.readFile(file);
      return `${file} ${bytes.length} ${createHash('sha256').update(bytes).digest('hex')}`;
    }),
  );
}

it('refuses what does not fit before a byte is written, and goes on', async (context) => {
  if (!disk.isMounted) {
    console.warn('SKIPPED: no test of a full folder, because only root can mount a small disk');
    context.skip();
  }
  const folder = bed.path('disk', 'store');
  const uuid = '7'.repeat(32) as DeviceId;
  const device = await makeDevice({ env, path: folder, uuid, capacityBytes: CAPACITY_BYTES });
  await formatStore({ env, device, id: uuid, clusterId: 'c'.repeat(32) as ClusterId });
  await device[Symbol.asyncDispose]();
  const store = await openStore({ env, device: await openDevice({ env, path: folder }) });
  const there: number[] = [];
  let number = 1;
  for (; (await put(store, number)) === undefined; number += 1) there.push(number);
  expect(await put(store, number), 'the filesystem has no more room').toBe('HF_NO_SPACE');
  expect(there.length).toBeGreaterThan(50);

  // The idle seal and what a checkpoint may still write.
  await new Promise((resolve) => setTimeout(resolve, 300));
  const before = await contentOf(folder);
  for (let round = 0; round < 3; round += 1) {
    expect(await put(store, 6 * (100 + round))).toBe('HF_NO_SPACE');
  }
  expect(await contentOf(folder)).toEqual(before);

  for (const victim of there.splice(0, 20)) {
    const { id } = numberedChunk(victim);
    expect(await store.remove(id, { generationMax: 1 })).toBe(true);
  }
  for (const again of [7, 8, 9, 10]) {
    expect(await put(store, again)).toBeUndefined();
    there.push(again);
  }
  await store[Symbol.asyncDispose]();

  {
    await using closed = await openDevice({ env, path: folder });
    const { findings } = await checkStore({ env, device: closed });
    expect(findings).toEqual([]);
  }
  await using later = await openStore({ env, device: await openDevice({ env, path: folder }) });
  for (const each of there) {
    const { id, bytes } = numberedChunk(each);
    const read = await later.get(id);
    expect(read && bytesEqual(read, bytes)).toBe(true);
  }
});
