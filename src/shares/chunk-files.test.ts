/**
 * Aim: k chunk files restore the file, whatever is lost, bad or mixed up; what cannot be restored
 * is refused with a reason and leaves nothing. Method: real files in a temporary folder, small
 * stripes; every pattern of four losses, damage at seeded places.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  bytesOf,
  ChunkFileBed,
  digestOf,
  flip,
  stateOf,
} from '../../test/suites/chunk-file-bed.ts';
import {
  chunkFileName,
  faultLines,
  findChunkFiles,
  getFromChunkFiles,
  makeChunkFiles,
  planChunkFiles,
  verifyChunkFiles,
} from './index.ts';

let bed: ChunkFileBed;
const key = new Uint8Array(32).fill(7);
beforeAll(async () => {
  bed = await ChunkFileBed.open();
});
afterAll(async () => bed[Symbol.asyncDispose]());

const SEGMENT = 65_536;

describe('sizes and schemes', () => {
  const sizes = [0, 1, 9, 10, 11, 4095, 4096, 4097, 4099, 4100, 4101, 12_300, 50_001];
  test.each(sizes)('%i bytes, plain: data chunks are the file, any k restore', async (size) => {
    const made = await bed.make({ sizeBytes: size });
    const plan = planChunkFiles(
      { sizeBytes: size, isSealed: false },
      { dataCount: 10, parityCount: 4, stripeBytes: 4096 },
    );
    for (const file of made.paths) expect((await fs.stat(file)).size).toBe(plan.chunkFileBytes);
    expect(plan.stripeBytes).toBe(4100);
    const parts: Buffer[] = [];
    for (let stripe = 0; stripe < plan.stripeCount; stripe++) {
      const left = size - stripe * 4100;
      const block = Math.min(410, Math.ceil(left / 10));
      for (const file of made.paths.slice(0, 10)) {
        const at = 4096 + stripe * 410;
        parts.push((await fs.readFile(file)).subarray(at, at + block));
      }
    }
    expect(Buffer.concat(parts).subarray(0, size).equals(made.bytes)).toBe(true);
    expect((await bed.get(made.paths.slice(4))).out.equals(made.bytes)).toBe(true);
  });

  const sealedSizes = [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT, 700_000];
  test.each(sealedSizes)('%i bytes, sealed: restored with the key only', async (size) => {
    const options = { sizeBytes: size, dataCount: 3, parityCount: 2, stripeBytes: 100_000, key };
    const made = await bed.make(options);
    const scheme = { dataCount: 3, parityCount: 2, stripeBytes: 100_000 };
    const plan = planChunkFiles({ sizeBytes: size, isSealed: true }, scheme);
    for (const file of made.paths) expect((await fs.stat(file)).size).toBe(plan.chunkFileBytes);
    const { out } = await bed.get([made.paths[4]!, made.paths[1]!, made.paths[3]!], key);
    expect(out.equals(made.bytes)).toBe(true);
    await expect(bed.get(made.paths)).rejects.toMatchObject({ code: 'HF_WRONG_KEY' });
    const other = new Uint8Array(32).fill(8);
    await expect(bed.get(made.paths, other)).rejects.toMatchObject({ code: 'HF_WRONG_KEY' });
    const again = await bed.make(options);
    for (const [index, file] of made.paths.entries()) {
      expect(await fs.readFile(file)).toEqual(await fs.readFile(again.paths[index]!));
    }
  });

  test('a sealed chunk file shows nothing of the file, nor its digest', async () => {
    const made = await bed.make({ sizeBytes: 300_000, dataCount: 2, parityCount: 1, key });
    for (const file of made.paths) {
      const stored = await fs.readFile(file);
      for (const at of [0, 70_000, 299_900]) {
        expect(stored.includes(made.bytes.subarray(at, at + 16))).toBe(false);
      }
      expect(stored.includes(Buffer.from(digestOf(made.bytes), 'hex'))).toBe(false);
    }
  });

  test('all schemes 1…8 × 1…4 and threads: the last k restore', async () => {
    for (let dataCount = 1; dataCount <= 8; dataCount++) {
      for (let parityCount = 1; parityCount <= 4; parityCount++) {
        const made = await bed.make({ sizeBytes: 5000, dataCount, parityCount, stripeBytes: 999 });
        const { out } = await bed.get(made.paths.slice(-dataCount));
        expect(out.equals(made.bytes)).toBe(true);
      }
    }
    const large = { sizeBytes: 34 << 20, dataCount: 4, parityCount: 2, stripeBytes: 1 << 20 };
    const made = await bed.make({ ...large, key });
    const { out } = await bed.get(made.paths.slice(-4), key);
    expect(out.equals(made.bytes)).toBe(true);
  });

  test('bad requests are refused before anything is written', async () => {
    const folder = bed.fresh('none');
    await fs.mkdir(folder);
    const file = path.join(bed.root, 'source');
    await fs.writeFile(file, bytesOf(100, 1));
    const request = { file, name: 'x', folders: [folder], key: undefined };
    const scheme = { dataCount: 10, parityCount: 4, stripeBytes: 4096 };
    const make = (changed: object) =>
      makeChunkFiles({ ...request, scheme: { ...scheme, ...changed } });
    await expect(make({ parityCount: 0 })).rejects.toMatchObject({ code: 'HF_BAD_SCHEME' });
    await expect(make({ dataCount: 252 })).rejects.toMatchObject({ code: 'HF_BAD_SCHEME' });
    await expect(make({ stripeBytes: 2 ** 30 })).rejects.toMatchObject({ code: 'HF_TOO_LARGE' });
    await expect(make({ stripeBytes: 0 })).rejects.toMatchObject({ code: 'HF_BAD_ARGUMENT' });
    expect(await fs.readdir(folder)).toEqual([]);
    const taken = path.join(folder, chunkFileName('x', 13));
    await fs.writeFile(taken, 'mine');
    await expect(make({})).rejects.toMatchObject({ code: 'HF_EXISTS' });
    expect(await fs.readdir(folder)).toEqual([path.basename(taken)]);
  });
});

describe('losses', () => {
  test('all 1,001 patterns of four lost restore; sources stay as they are', async () => {
    const made = await bed.make({ sizeBytes: 9001 });
    const before = await stateOf(made.folder);
    let patterns = 0;
    for (const lost of subsets(14, 4)) {
      const left = made.paths.filter((_, index) => !lost.includes(index));
      const { out, faults } = await bed.get(left);
      expect(out.equals(made.bytes) && faults.length === 0, `lost ${lost.join()}`).toBe(true);
      patterns += 1;
    }
    expect(patterns).toBe(1001);
    expect(await stateOf(made.folder)).toEqual(before);
  }, 120_000);

  test('five lost: have 9, need 10, no output', async () => {
    const made = await bed.make({ sizeBytes: 9001 });
    const output = bed.fresh();
    const request = { output, replaces: false, key: undefined };
    await expect(
      getFromChunkFiles({ ...request, paths: made.paths.slice(5) }),
    ).rejects.toMatchObject({ code: 'HF_TOO_FEW_SHARDS', message: 'have 9, need 10' });
    const twice = [...made.paths.slice(5), made.paths[7]!.replace('chunks', './chunks')];
    const copy = path.join(made.folder, 'copy.hfc');
    await fs.copyFile(made.paths[7]!, copy);
    await expect(getFromChunkFiles({ ...request, paths: [...twice, copy] })).rejects.toMatchObject({
      message: expect.stringMatching(/have 9, need 10.*counts once/),
    });
    await expect(fs.stat(output)).rejects.toMatchObject({ code: 'ENOENT' });
    expect((await fs.readdir(bed.root)).filter((name) => name.endsWith('.part'))).toEqual([]);
  });
});

describe('damage', () => {
  test('a flip anywhere is found and named; four flipped files restore', async () => {
    const made = await bed.make({ sizeBytes: 9001 });
    const { size } = await fs.stat(made.paths[0]!);
    for (const [index, file] of made.paths.entries()) {
      const places = Array.from({ length: 17 }, (_, i) => (i * 7919 + index * 104_729) % size);
      for (const offset of [0, size - 1, size - 40, ...places]) {
        await flip(file, offset);
        const { faults, lacking } = await verifyChunkFiles(made.paths, {});
        expect(
          faults.map((fault) => fault.path),
          `${offset}`,
        ).toContain(file);
        expect(lacking, `${offset}`).toEqual([index]);
        const others = [0, 1, 2].map((i) => made.paths[(index + 3 + i) % 14]!);
        const left = made.paths.filter((path_) => !others.includes(path_));
        const { out } = await bed.get(left);
        expect(out.equals(made.bytes), `${offset}`).toBe(true);
        await flip(file, offset);
      }
    }
    expect((await verifyChunkFiles(made.paths, {})).faults).toEqual([]);
  }, 60_000);

  test('a fault names the stripe; damage counts by stripe', async () => {
    const made = await bed.make({ sizeBytes: 9001 });
    // Stripe 1 of five files: lost. Then in different stripes: restored.
    for (const file of made.paths.slice(0, 5)) await flip(file, 4096 + 410 + 3);
    const output = bed.fresh();
    const request = { paths: made.paths, output, replaces: false, key: undefined };
    await expect(getFromChunkFiles(request)).rejects.toMatchObject({
      code: 'HF_TOO_FEW_SHARDS',
      message: expect.stringMatching(
        /^have 9, need 10 of stripe 1: .*000.hfc: stripe 1: its block/,
      ),
    });
    await expect(fs.stat(output)).rejects.toMatchObject({ code: 'ENOENT' });
    await flip(made.paths[0]!, 4096 + 410 + 3);
    await flip(made.paths[0]!, 4096 + 3);
    const { out, faults } = await bed.get(made.paths);
    expect(out.equals(made.bytes)).toBe(true);
    expect(faults.map(({ stripeIndex }) => stripeIndex ?? -1).toSorted((a, b) => a - b)).toEqual([
      0, 1, 1, 1, 1,
    ]);
    const verified = await verifyChunkFiles(made.paths, {});
    expect(verified).toMatchObject({ goodCount: 10, lacking: [0, 1, 2, 3, 4] });
  });

  test('faults of a file are told in one line for each reason', () => {
    const fault = (path: string, stripeIndex: number | undefined, reason = 'bad') => {
      return { path, stripeIndex, reason };
    };
    const stripes = [7, 3, 4, 5].map((stripeIndex) => fault('a', stripeIndex));
    const faults = [...stripes, fault('b', 0), fault('c', undefined)];
    expect(faultLines(faults)).toEqual(['a: stripes 3-5, 7: bad', 'b: stripe 0: bad', 'c: bad']);
  });

  test('cut, extended, empty, foreign and absent files are named and do no harm', async () => {
    const made = await bed.make({ sizeBytes: 9001 });
    await fs.truncate(made.paths[0]!, 5000);
    await fs.appendFile(made.paths[1]!, 'x');
    await fs.writeFile(made.paths[2]!, '');
    await fs.rm(made.paths[3]!);
    const { out, faults } = await bed.get(made.paths);
    expect(out.equals(made.bytes)).toBe(true);
    const named = Object.fromEntries(faults.map((fault) => [fault.path, fault.reason]));
    expect(named[made.paths[0]!]).toMatch(/cut short: 5000 of/);
    expect(named[made.paths[1]!]).toMatch(/1 bytes too many/);
    expect(named[made.paths[2]!]).toMatch(/no header/);
    expect(named[made.paths[3]!]).toMatch(/not there/);
    expect((await verifyChunkFiles(made.paths, {})).lacking).toEqual([0, 1, 2, 3]);
  });
});

describe('mixed up', () => {
  test('of two files or two generations: named, never combined', async () => {
    const one = await bed.make({ sizeBytes: 9001 });
    for (const change of [{ seed: 2 }, { seed: 1, stripeBytes: 2048 }]) {
      const other = await bed.make({ sizeBytes: 9001, ...change });
      const both = await getAll([...one.paths, ...other.paths]);
      expect(both).toMatchObject({ code: 'HF_BAD_ARGUMENT' });
      const few = await getAll([...one.paths.slice(0, 9), ...other.paths.slice(9)]);
      expect(few.message).toMatch(/^have 9, need 10: .*of another file or make/);
      const { out, faults } = await bed.get([...other.paths.slice(0, 4), ...one.paths.slice(4)]);
      expect(out.equals(one.bytes)).toBe(true);
      expect(faults.map((fault) => fault.path)).toEqual(other.paths.slice(0, 4));
    }
  });

  test('names do not matter: a chunk file is what its header says', async () => {
    const made = await bed.make({ sizeBytes: 9001 });
    const folder = bed.fresh('renamed');
    await fs.mkdir(folder);
    for (const [index, file] of made.paths.entries()) {
      await fs.copyFile(file, path.join(folder, chunkFileName('z', 13 - index)));
    }
    const { out } = await bed.get(await findChunkFiles([folder]));
    expect(out.equals(made.bytes)).toBe(true);
  });

  async function getAll(paths: readonly string[]): Promise<Error> {
    return await bed.get(paths).then(
      () => new Error('it was combined'),
      (error: Error) => error,
    );
  }
});

function* subsets(count: number, size: number, from = 0): Generator<number[]> {
  if (size === 0) yield [];
  else {
    for (let first = from; first < count; first++) {
      for (const rest of subsets(count, size - 1, first + 1)) yield [first, ...rest];
    }
  }
}
