/**
 * Aim: in a protected volume a file that is written from its beginning to its end is stored so,
 * however late the stores take its beginning, and also when they fail at first. Method: an open
 * file over a real cell and real stripes in memory; what comes first is held up or refused.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  type ChunkId,
  chunkIdParts,
  errorCode,
  HoldfastError,
  MiB,
  toHex,
} from '../../base/index.ts';
import { FilesBed } from '../../../test/suites/files-bed.ts';
import { bytesOf } from '../../../test/suites/store-bed.ts';
import type { OpenFile } from '../index.ts';

/** Three windows. */
const CONTENT = bytesOf(25 * MiB, 1);
/** Shards of a window. */
const SHARDS = 6;

let bed: FilesBed;
let file: OpenFile;

beforeEach(async () => {
  bed = await FilesBed.open({ retention: { retentionMs: undefined } });
  file = await (await bed.node()).open(await bed.make());
});

afterEach(async () => {
  await bed[Symbol.asyncDispose]();
});

async function write(): Promise<void> {
  for (let at = 0; at < CONTENT.length; at += MiB) {
    await file.write(at, CONTENT.subarray(at, at + MiB));
  }
}

async function expectWhole(): Promise<void> {
  expect((await bed.cell.tree.getAttributes(file.inode))!.sizeBytes).toBe(CONTENT.length);
  for (let offset = 0; offset < CONTENT.length; offset += MiB) {
    const bytes = await file.read({ offset, lengthBytes: MiB });
    expect(Buffer.compare(bytes, CONTENT.subarray(offset, offset + MiB))).toBe(0);
  }
  await file.close();
}

it('is stored in its order though its beginning takes longest', async () => {
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  let first: string | undefined;
  bed.bed.onChange = async (_, __, id) => {
    const stripe = toHex(chunkIdParts(id as ChunkId).stripe);
    first ??= stripe;
    if (stripe === first) await gate;
  };
  await write();
  const synced = file.sync();
  for (let turns = 0; turns < 100; turns++) await nextTurn();
  expect(first, 'its beginning is under way').toBeDefined();
  open();
  await synced;
  await expectWhole();
});

it('is stored though its beginning failed at first', async () => {
  let count = 0;
  bed.bed.onChange = async () => {
    count += 1;
    if (count <= 2 * SHARDS) throw new HoldfastError('HF_IO', 'for now');
  };
  await write();
  for (let turns = 0; turns < 1000; turns++) await nextTurn();
  expect(count, 'its beginning was tried').toBeGreaterThan(0);
  await file.sync().catch((error: unknown) => expect(errorCode(error)).toBeDefined());
  await file.sync();
  await expectWhole();
});
