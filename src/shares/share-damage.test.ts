/**
 * Aim: whatever is wrong with shares is named, and no wrong file ever comes out. Method: flips,
 * cuts and extensions all over a share, shares of other files, forged shares, repeated ones.
 */
import { createHash } from 'node:crypto';
import { truncateSync } from 'node:fs';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { addShares, combineShares, digestOfShares, splitFile, verifyShares } from './index.ts';
import { locateWrong } from './locate.ts';
import { shareField } from './share-field.ts';
import { cauchyRow, columnOf } from './share-points.ts';
import type { Protection } from './split.ts';

let folder: string;
const shareKey = new Uint8Array(32).fill(7);
const sealed: Protection = { shareKey };
const plain: Protection = {
  shareKey: undefined,
  random: { bytes: (count) => noise('points', count) },
};
const content = Buffer.from(noise('content', 70_001));

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-damage-'));
});

afterEach(async () => {
  await fs.rm(folder, { recursive: true });
});

/** Bytes that look random and are the same every time. */
function noise(seed: string, count: number): Uint8Array {
  const parts = Array.from({ length: Math.ceil(count / 32) }, (_, index) =>
    createHash('sha256').update(`${seed}/${index}`).digest(),
  );
  return new Uint8Array(Buffer.concat(parts).subarray(0, count));
}

interface Options {
  readonly name?: string;
  readonly bytes?: Uint8Array;
  readonly protection?: Protection;
}

async function split(
  [k, n]: readonly [number, number],
  { name = 'file', bytes = content, protection = sealed }: Options = {},
): Promise<string[]> {
  const file = path.join(folder, name);
  await fs.writeFile(file, bytes);
  const scheme = { k, n, width: 1 as const };
  return [...(await splitFile({ file, scheme, protection, folders: [folder] })).paths];
}

const output = () => path.join(folder, 'output');

/** The bytes that came out, and the names of bad shares. */
async function combine(paths: readonly string[], key = shareKey) {
  const result = await combineShares({ paths, output: output(), shareKey: async () => key });
  const bytes = await fs.readFile(output());
  await fs.rm(output());
  return { ...result, bytes, badPaths: result.bad.map((bad) => bad.path) };
}

/** That it fails with this code, and that nothing is left behind. */
async function expectRefusal(paths: readonly string[], code: string, text: string, key = shareKey) {
  const before = await fs.readdir(folder);
  const message = expect.stringContaining(text);
  await expect(combine(paths, key)).rejects.toMatchObject({ code, message });
  expect(await fs.readdir(folder)).toEqual(before);
}

/** Runs `work` for each way to damage a share; the share is whole again afterwards. */
async function forEachDamage(file: string, work: (damage: string) => Promise<void>) {
  const whole = await fs.readFile(file);
  const places = Array.from({ length: 20 }, (_, index) => {
    if (index < 6) return index;
    if (index < 12) return whole.length - 1 - 13 * (index - 6);
    return Math.floor((whole.length * (index - 11)) / 10);
  });
  for (const place of places) {
    const flipped = Buffer.from(whole);
    flipped[place]! ^= 0x10;
    await fs.writeFile(file, flipped);
    await work(`a flip at ${place} of ${whole.length}`);
  }
  for (const length of [0, 1, 5, 20, whole.length - 144, whole.length - 1]) {
    await fs.writeFile(file, whole.subarray(0, Math.max(0, length)));
    await work(`${length} of ${whole.length} bytes`);
  }
  for (const extra of [1, 144, 5000]) {
    await fs.writeFile(file, Buffer.concat([whole, Buffer.alloc(extra)]));
    await work(`${extra} bytes more`);
  }
  await fs.writeFile(file, whole);
}

it('sealed shares whose trailers were all cut off combine with a doubt', async () => {
  const text = Buffer.from('text in lines\n'.repeat(20_000));
  const paths = await split([3, 4], { bytes: text });
  for (const file of paths) await fs.truncate(file, (await fs.stat(file)).size - 144);
  for (const given of [paths, paths.slice(1)]) {
    const { looksSealed, isSealed, bytes } = await combine(given);
    expect({ looksSealed, isSealed, isText: bytes.equals(text) }).toEqual({
      looksSealed: true,
      isSealed: false,
      isText: false,
    });
  }
  const whole = await split([3, 4], { name: 'plain', bytes: text, protection: plain });
  expect(await combine(whole)).toMatchObject({ looksSealed: false, isVerified: true });
});

describe('a damaged sealed share', () => {
  it('is named, and the others restore the file', async () => {
    const paths = await split([3, 4]);
    await forEachDamage(paths[1]!, async (damage) => {
      const { bytes, badPaths } = await combine(paths);
      expect({ damage, badPaths, isRight: bytes.equals(content) }).toEqual({
        damage,
        badPaths: [paths[1]],
        isRight: true,
      });
      const { bad, isRestorable } = await verifyShares(paths, {});
      expect({ bad: bad.map((share) => share.path), isRestorable }).toEqual({
        bad: [paths[1]],
        isRestorable: true,
      });
    });
  });

  it('leaves too few: the number is said, and no file is made', async () => {
    const paths = (await split([3, 4])).slice(0, 3);
    const share = await fs.readFile(paths[2]!);
    share[1000]! ^= 1;
    await fs.writeFile(paths[2]!, share);
    await expectRefusal(paths, 'HF_TOO_FEW_SHARDS', 'have 2, need 3');
    await expectRefusal(paths.slice(0, 2), 'HF_TOO_FEW_SHARDS', 'have 2, need 3');
  });

  it('says what it will of its range: mirrors with one bad header', async () => {
    const paths = await split([1, 3]);
    const mirror = await fs.readFile(paths[0]!);
    mirror[3]! ^= 4; // that the stream ends with this range
    await fs.writeFile(paths[0]!, mirror);
    const { bytes, badPaths } = await combine(paths);
    expect(badPaths).toEqual([paths[0]]);
    expect(bytes.equals(content)).toBe(true);
  });

  it('up to n − k of them', async () => {
    const paths = await split([4, 9]);
    for (const index of [0, 2, 3, 6, 8]) {
      const share = await fs.readFile(paths[index]!);
      share[100 * (index + 1)]! ^= 0x80;
      await fs.writeFile(paths[index]!, share);
    }
    const { bytes, badPaths } = await combine(paths);
    expect(bytes.equals(content)).toBe(true);
    expect(badPaths).toEqual([0, 2, 3, 6, 8].map((index) => paths[index]));
  });

  it('is named though its sum was made anew by somebody without the key', async () => {
    const paths = await split([3, 4]);
    const share = await fs.readFile(paths[0]!);
    share[500]! ^= 1;
    const digest = createHash('sha256').update(share.subarray(0, -48)).digest();
    const sum = createHash('sha256').update(digest).update(share.subarray(-48, -32)).digest();
    sum.copy(share, share.length - 32);
    await fs.writeFile(paths[0]!, share);
    const { bytes, bad } = await combine(paths);
    expect(bytes.equals(content)).toBe(true);
    expect(bad).toEqual([{ path: paths[0], reason: expect.stringContaining('altered') }]);
  });
});

describe('a share that cannot be read', () => {
  it('is named, whatever stands in its place, and the others restore the file', async () => {
    const [first, second, third, fourth] = await split([2, 4]);
    await fs.rm(first!);
    await fs.rm(second!);
    await fs.mkdir(second!);
    const { bytes, bad } = await combine([first!, second!, third!, fourth!]);
    expect(bytes.equals(content)).toBe(true);
    expect(bad).toEqual([
      { path: first, reason: 'it is not there' },
      { path: second, reason: 'it is a directory' },
    ]);
    await expectRefusal([first!, second!], 'HF_TOO_FEW_SHARDS', 'it is not there');
  });

  it('from some place on: a plain one is done without from there on', async () => {
    const part = Buffer.from(noise('long', 999_983));
    const long = Buffer.concat(Array(6).fill(part)); // more strips than are read ahead
    for (const count of [4, 3, 2]) {
      const all = await split([2, 4], { name: `f${count}`, bytes: long, protection: plain });
      const paths = all.slice(0, count);
      const result = combineShares({
        paths,
        output: output(),
        progress: () => truncateSync(paths[1]!, 600_000),
      });
      if (count === 2) {
        const refusal = { code: 'HF_TOO_FEW_SHARDS', message: expect.stringContaining('have 1') };
        await expect(result).rejects.toMatchObject(refusal);
        continue;
      }
      const bad = [{ path: paths[1], reason: 'it is cut short' }];
      expect(await result).toMatchObject({ bad, isVerified: count === 4 });
      expect((await fs.readFile(output())).equals(long)).toBe(true);
      await fs.rm(output());
    }
  });
});

describe('shares that do not belong together', () => {
  it('chunks of different splits: a doubt is said, though each agrees in itself', async () => {
    const random = { bytes: (count: number) => noise('other points', count) };
    const names = await Promise.all(
      [plain, { shareKey: undefined, random }].map(async (protection, index) => {
        const file = path.join(folder, `chunked-${index}`);
        await fs.writeFile(file, noise(`${index}`, 1000));
        const scheme = { k: 2, n: 3, width: 1 } as const;
        const chunking = { chunkCount: 2 };
        return await splitFile({ file, scheme, protection, folders: [folder], chunking });
      }),
    );
    const [mine, theirs] = names.map(({ paths }) => paths);
    expect(await combine(mine!)).toMatchObject({ isVerified: true, isOneSplit: true });
    const mixture = [...mine!.slice(0, 3), ...theirs!.slice(3)];
    expect(await combine(mixture)).toMatchObject({ isVerified: false, isOneSplit: false });
  });

  it('a wrong key is said to be wrong', async () => {
    const paths = await split([3, 4]);
    const other = new Uint8Array(32).fill(8);
    await expectRefusal(paths, 'HF_WRONG_KEY', 'another share key', other);
  });

  it('of two sealed files: the strangers are named', async () => {
    const mine = await split([3, 4]);
    const other = await split([3, 4], { name: 'other', bytes: noise('other', 70_001) });
    const { bytes, badPaths } = await combine([...other.slice(0, 2), ...mine.slice(1)]);
    expect(bytes.equals(content)).toBe(true);
    expect(badPaths).toEqual(other.slice(0, 2));
    await expectRefusal([...mine.slice(2), other[0]!], 'HF_TOO_FEW_SHARDS', 'have 2, need 3');
    await expectRefusal([...mine, ...other], 'HF_BAD_ARGUMENT', 'different files');
  });

  it('of two plain files: refused where it shows', async () => {
    const protection = plain;
    const mine = await split([3, 4], { protection });
    const same = await split([3, 4], { name: 'b', bytes: noise('b', 70_001), protection });
    const longer = await split([3, 4], { name: 'c', bytes: noise('c', 70_002), protection });
    await expectRefusal([...mine.slice(1), same[0]!], 'HF_CORRUPT', 'disagree');
    await expectRefusal([...mine, ...longer], 'HF_BAD_ARGUMENT', 'different files');
    const { bytes, badPaths } = await combine([...mine, longer[0]!]);
    expect(bytes.equals(content)).toBe(true);
    expect(badPaths).toEqual([longer[0]]);
  });

  it('a share that is given twice counts once, and is named', async () => {
    for (const protection of [plain, sealed]) {
      const paths = await split([3, 4], { protection });
      await fs.copyFile(paths[0]!, path.join(folder, 'copy.sf'));
      const copy = path.join(folder, 'copy.sf');
      const two = [paths[0]!, paths[1]!];
      await expectRefusal([...two, copy], 'HF_TOO_FEW_SHARDS', 'have 2, need 3');
      await expectRefusal([...two, paths[0]!], 'HF_TOO_FEW_SHARDS', 'have 2, need 3');
      const { repeated, bytes } = await combine([...paths, copy]);
      expect(repeated.map((share) => share.path)).toEqual([copy]);
      expect(bytes.equals(content)).toBe(true);
      for (const name of await fs.readdir(folder)) await fs.rm(path.join(folder, name));
    }
  });
});

describe('damaged plain shares', () => {
  it('k of them: nothing vouches for them, and that is said', async () => {
    const paths = await split([3, 5], { protection: plain });
    expect(await combine(paths.slice(0, 3))).toMatchObject({ isVerified: false });
    expect(await combine(paths.slice(0, 4))).toMatchObject({ isVerified: true });
  });

  it('one more: never a wrong file', async () => {
    const paths = await split([3, 4], { protection: plain });
    await forEachDamage(paths[1]!, async () => {
      const outcome = await combine(paths).catch((error: { code: string }) => error);
      if ('bytes' in outcome) {
        expect(outcome.bytes.equals(content)).toBe(true);
        expect(outcome.badPaths).toEqual([paths[1]]);
      } else expect(outcome.code).toBe('HF_CORRUPT');
    });
  });

  it('two more: the bad one is found', async () => {
    const paths = await split([3, 5], { protection: plain });
    await forEachDamage(paths[4]!, async (damage) => {
      const { bytes, badPaths } = await combine(paths);
      expect({ damage, badPaths, isRight: bytes.equals(content) }).toEqual({
        damage,
        badPaths: [paths[4]],
        isRight: true,
      });
    });
  });

  it('several, at different places', async () => {
    const paths = await split([4, 11], { protection: plain });
    for (const [index, place] of [
      [1, 17_000],
      [5, 30],
      [9, 17_000],
    ] as const) {
      const share = await fs.readFile(paths[index]!);
      share.fill(0x55, place, place + 100);
      await fs.writeFile(paths[index]!, share);
    }
    const { bytes, badPaths, isVerified } = await combine(paths);
    expect(bytes.equals(content)).toBe(true);
    expect(new Set(badPaths)).toEqual(new Set([paths[1], paths[5], paths[9]]));
    expect(isVerified).toBe(true);
    const { bad } = await verifyShares(paths, {});
    expect(new Set(bad.map((share) => share.path))).toEqual(new Set(badPaths));
  });
});

describe('a digest of shares', () => {
  it('is that of the file; nothing is written', async () => {
    for (const protection of [plain, sealed]) {
      const name = `digest-${protection === plain}`;
      const paths = await split([3, 4], { name, protection });
      const before = await fs.readdir(folder);
      const { digest, bad } = await digestOfShares({ paths, shareKey: async () => shareKey });
      expect(Buffer.from(digest)).toEqual(createHash('sha256').update(content).digest());
      expect(bad).toEqual([]);
      expect(await fs.readdir(folder)).toEqual(before);
    }
  });
});

describe('more shares from damaged ones', () => {
  it('with the file: a bad share is named and does not matter', async () => {
    const paths = await split([2, 3], { protection: plain });
    const bytes = await fs.readFile(paths[0]!);
    bytes[100]! ^= 1;
    await fs.writeFile(paths[0]!, bytes);
    const random = { bytes: (count: number) => noise('more', count) };
    const file = path.join(folder, 'file');
    const added = await addShares({ paths, file, random });
    expect(added.bad.map((bad) => bad.path)).toEqual([paths[0]]);
    const restored = await combine([paths[1]!, paths[2]!, ...added.paths]);
    expect(restored).toMatchObject({ isVerified: true, bad: [] });
    expect(restored.bytes.equals(content)).toBe(true);
  });

  it('numbers are different, and such as a split can have', async () => {
    const paths = await split([2, 3]);
    const random = { bytes: (count: number) => noise('more', count) };
    for (const wish of [{ shareNumbers: [7, 7] }, { shareNumbers: [255] }, { count: 256 }]) {
      const added = addShares({ paths, random, shareKey: async () => shareKey, ...wish });
      await expect(added).rejects.toMatchObject({ code: 'HF_BAD_ARGUMENT' });
    }
  });
});

describe('locating', () => {
  it('finds any ⌊(s − k) / 2⌋ wrong values, in every field', () => {
    const anyCase = fc.record({
      width: fc.constantFrom(1 as const, 2 as const, 4 as const),
      k: fc.integer({ min: 1, max: 6 }),
      extra: fc.integer({ min: 0, max: 6 }),
      seed: fc.integer({ min: 1, max: 0x7fff_ffff }),
    });
    const property = fc.property(anyCase, ({ width, k, extra, seed }) => {
      const field = shareField(width);
      const count = k + extra;
      const y = Array.from({ length: k }, (_, index) => index);
      const rows = Array.from({ length: count }, (_, index) => cauchyRow(field, k + index, y));
      const data = y.map((index) => (seed * (index + 1)) % field.order);
      const values = columnOf(field, rows, data);
      const wrongMax = Math.floor(extra / 2);
      const wrong = new Set(Array.from({ length: wrongMax }, (_, i) => (seed + i * i) % count));
      for (const index of wrong) values[index] = (values[index]! ^ 0x5a) >>> 0;
      const found = locateWrong(field, { rows, values, wrongMax });
      expect(new Set(found)).toEqual(wrong);
    });
    fc.assert(property, { numRuns: 60 });
  });
});
