/**
 * Aim: repair makes chunk files again byte for byte and never makes anything worse; the standalone
 * restorer reads all that is made. Method: real files; processes that are killed at a write by a
 * limit on file sizes, or at an arbitrary time.
 */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ChunkFileBed, digestOf, flip, type Made } from '../../test/suites/chunk-file-bed.ts';
import { formatShareKey, repairChunkFiles, verifyChunkFiles, chunkFileName } from './index.ts';

const HOLDFAST = fileURLToPath(new URL('../../bin/holdfast.js', import.meta.url));
const RESTORER = fileURLToPath(new URL('../../bin/restore.mjs', import.meta.url));
const key = new Uint8Array(32).fill(7);
let bed: ChunkFileBed;
beforeAll(async () => {
  bed = await ChunkFileBed.open();
});
afterAll(async () => bed[Symbol.asyncDispose]());

async function digests(paths: readonly string[]): Promise<(string | undefined)[]> {
  return await Promise.all(
    paths.slice(0, 14).map((file) => fs.readFile(file).then(digestOf, () => undefined)),
  );
}

function repair(made: Made, paths: readonly string[] = made.paths) {
  return repairChunkFiles({ paths, folders: [made.folder], isDryRun: false });
}

/** Files 1 and 12 are gone, 3 has a bad block, 13 a bad header. */
async function spoil(made: Made): Promise<void> {
  await fs.rm(made.paths[1]!);
  await fs.rm(made.paths[12]!);
  await flip(made.paths[3]!, 4096 + 500);
  await flip(made.paths[13]!, 20);
}

describe('repair', () => {
  test.each([undefined, key])('data and parity come back as they were (key: %s)', async (used) => {
    const made = await bed.make({ sizeBytes: 1_400_000, stripeBytes: 300_000, key: used });
    const before = await digests(made.paths);
    await spoil(made);
    const plan = { paths: made.paths, folders: [made.folder], isDryRun: true };
    const wanted = [1, 3, 12, 13].map((index) => made.paths[index]!);
    const spoiled = await digests(made.paths);
    expect((await repairChunkFiles(plan)).repaired).toEqual(wanted);
    expect(await digests(made.paths)).toEqual(spoiled);
    expect((await repair(made)).repaired).toEqual(wanted);
    expect(await digests(made.paths)).toEqual(before);
    expect((await fs.readdir(made.folder)).length).toBe(14);
    expect((await repair(made)).repaired).toEqual([]);
  });

  test('with threads as well', async () => {
    const large = { sizeBytes: 40 << 20, dataCount: 4, parityCount: 2, stripeBytes: 1 << 20, key };
    const made = await bed.make(large);
    const before = await digests(made.paths);
    await fs.rm(made.paths[0]!);
    for (const at of [5000, 3_000_000]) await flip(made.paths[2]!, at);
    const { out, faults } = await bed.get(made.paths, key);
    expect(out.equals(made.bytes)).toBe(true);
    expect(faults.map(({ stripeIndex }) => stripeIndex)).toEqual([undefined, 0, 11]);
    await repair(made);
    expect(await digests(made.paths)).toEqual(before);
  });

  test('files that are none any more are replaced where their name says so', async () => {
    const made = await bed.make({ sizeBytes: 9001 });
    const before = await digests(made.paths);
    await fs.truncate(made.paths[0]!, 5000);
    await fs.writeFile(made.paths[5]!, 'garbage');
    await fs.appendFile(made.paths[9]!, 'tail');
    await repair(made);
    expect(await digests(made.paths)).toEqual(before);
  });

  test('a chunk file of another file that stands in the way is kept', async () => {
    const made = await bed.make({ sizeBytes: 9001 });
    const other = await bed.make({ sizeBytes: 9001, seed: 2 });
    await fs.copyFile(other.paths[4]!, made.paths[4]!);
    await expect(repair(made)).rejects.toMatchObject({ code: 'HF_EXISTS' });
    expect(await fs.readFile(made.paths[4]!)).toEqual(await fs.readFile(other.paths[4]!));
  });

  test('a file of a newer version that stands in the way is kept', async () => {
    const made = await bed.make({ sizeBytes: 50_000 });
    const newer = await fs.readFile(made.paths[4]!);
    for (const header of [newer.subarray(0, 4096), newer.subarray(-4096)]) {
      header.write('HFCHUNK2');
      header.set(createHash('sha256').update(header.subarray(0, -32)).digest(), 4096 - 32);
    }
    await fs.writeFile(made.paths[4]!, newer);
    const { paths, folder } = made;
    const repaired = repairChunkFiles({ paths, folders: [folder], isDryRun: false });
    await expect(repaired).rejects.toMatchObject({ code: 'HF_EXISTS' });
    expect((await fs.readFile(paths[4]!)).equals(newer)).toBe(true);
  });

  test('five bad in one stripe: refused, nothing touched', async () => {
    const made = await bed.make({ sizeBytes: 9001 });
    for (const file of made.paths.slice(0, 5)) await flip(file, 4200);
    const before = await digests(made.paths);
    await expect(repair(made)).rejects.toMatchObject({ code: 'HF_TOO_FEW_SHARDS' });
    expect(await digests(made.paths)).toEqual(before);
    expect((await fs.readdir(made.folder)).length).toBe(14);
  });

  test('missing ones go to the folders that hold the fewest', async () => {
    const made = await bed.make({ sizeBytes: 9001, dataCount: 2, parityCount: 1 });
    const folders: string[] = [];
    const paths: string[] = [];
    for (const [index, file] of made.paths.entries()) {
      folders.push(bed.fresh('disk'));
      await fs.mkdir(folders[index]!);
      paths.push(path.join(folders[index]!, path.basename(file)));
      if (index !== 1) await fs.rename(file, paths[index]!);
    }
    const found = paths.filter((_, index) => index !== 1);
    const { repaired } = await repairChunkFiles({ paths: found, folders, isDryRun: false });
    expect(repaired).toEqual([paths[1]]);
  });

  test('killed at any write, it leaves all as good as it was', async () => {
    const made = await bed.make({ sizeBytes: 1_400_000, stripeBytes: 300_000 });
    const right = await digests(made.paths);
    await spoil(made);
    const spoiled = await digests(made.paths);
    const holdfast = `"${process.execPath}" "${HOLDFAST}" chunk repair "${made.folder}"`;
    // In KiB: at the first header, within each block, within the table, within the last header.
    for (const limit of [1, 5, 40, 80, 120, 139, 141, 144]) {
      const { code } = await run('bash', ['-c', `ulimit -f ${limit}; exec ${holdfast}`]);
      expect(code, `${limit}`).not.toBe(0);
      expect(await digests(made.paths), `${limit}`).toEqual(spoiled);
    }
    for (const delayMs of [60, 90, 120, 140, 160, 180, 200]) {
      const child = spawn(process.execPath, [HOLDFAST, 'chunk', 'repair', made.folder]);
      // It may be done before it is killed.
      const closed = new Promise((resolve) => child.on('close', resolve));
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      child.kill('SIGKILL');
      await closed;
      for (const [index, digest] of (await digests(made.paths)).entries()) {
        expect([spoiled[index], right[index]], `${index}`).toContain(digest);
      }
    }
    await repair(made);
    expect(await digests(made.paths)).toEqual(right);
    expect((await verifyChunkFiles(made.paths, {})).faults).toEqual([]);
  }, 60_000);
});

describe('restore.mjs', () => {
  test('every scheme 1…8 × 1…4, plain and sealed, from the last k', async () => {
    const keyFile = await writeKey();
    const work: (() => Promise<void>)[] = [];
    for (let dataCount = 1; dataCount <= 8; dataCount++) {
      for (let parityCount = 1; parityCount <= 4; parityCount++) {
        const used = (dataCount + parityCount) % 2 === 0 ? key : undefined;
        const sizeBytes = used ? 200_000 : 5000;
        const scheme = { dataCount, parityCount, stripeBytes: 999 };
        work.push(async () => {
          const made = await bed.make({ sizeBytes, ...scheme, key: used });
          await expectRestored(made, made.paths.slice(-dataCount), used && keyFile);
        });
      }
    }
    for (const some of [work.slice(0, 16), work.slice(16)]) {
      for (let at = 0; at < some.length; at += 4) {
        await Promise.all(some.slice(at, at + 4).map((restoreOne) => restoreOne()));
      }
    }
  }, 60_000);

  test.each([0, 1, 1_400_000])('10+4 of %i bytes with four bad or missing', async (sizeBytes) => {
    const keyFile = await writeKey();
    for (const used of [undefined, key]) {
      const made = await bed.make({ sizeBytes, stripeBytes: 300_000, key: used });
      await flip(made.paths[0]!, 30);
      if (sizeBytes > 0) await flip(made.paths[2]!, 4096);
      await fs.truncate(made.paths[11]!, 4000);
      const paths = made.paths.filter((_, index) => index !== 5);
      const unreadable = [bed.fresh('missing'), made.folder];
      const { stderr } = await expectRestored(made, [...unreadable, ...paths], used && keyFile);
      for (const named of [/011.hfc/, /missing/]) expect(stderr).toMatch(named);
      const few = await run(process.execPath, [RESTORER, bed.fresh(), ...paths.slice(4)]);
      expect(few.code).toBe(1);
      expect(few.stderr).toMatch(/have 8, need 10/);
    }
  });

  test('a wrong key, mixed files and a name that is taken are refused', async () => {
    const made = await bed.make({ sizeBytes: 100, key });
    const other = await bed.make({ sizeBytes: 100, seed: 2 });
    const wrong = path.join(bed.root, 'wrong-key');
    await fs.writeFile(wrong, formatShareKey(new Uint8Array(32)));
    const out = bed.fresh();
    const refused = async (...args: string[]) => (await run(process.execPath, args)).stderr;
    expect(await refused(RESTORER, out, ...made.paths, '--key', wrong)).toMatch(/does not fit/);
    expect(await refused(RESTORER, out, ...made.paths)).toMatch(/give --key/);
    expect(await refused(RESTORER, out, ...made.paths, ...other.paths)).toMatch(/mixed/);
    expect(await fs.stat(out).catch(() => undefined)).toBeUndefined();
    await fs.writeFile(out, 'mine');
    expect(await refused(RESTORER, out, ...other.paths)).toMatch(/exists/);
    expect(await fs.readFile(out, 'utf8')).toBe('mine');
  });

  async function writeKey(): Promise<string> {
    const file = path.join(bed.root, 'key');
    await fs.writeFile(file, formatShareKey(key));
    return file;
  }

  async function expectRestored(made: Made, paths: readonly string[], keyFile?: string) {
    const out = bed.fresh();
    const args = [RESTORER, out, ...paths, ...(keyFile === undefined ? [] : ['--key', keyFile])];
    const result = await run(process.execPath, args);
    expect(result.code, result.stderr).toBe(0);
    expect((await fs.readFile(out)).equals(made.bytes)).toBe(true);
    return result;
  }
});

describe('the command line', () => {
  test('make, lose five, get: one line, exit code 6, no output', async () => {
    const folder = bed.fresh('cli');
    await fs.mkdir(folder);
    const file = path.join(folder, 'f');
    await fs.writeFile(file, 'hello');
    const data = path.join(folder, 'data');
    const holdfast = (...args: string[]) =>
      run(process.execPath, [HOLDFAST, '--data', data, 'chunk', ...args]);
    const made = await holdfast('make', file, '--data', '10', '--parity', '4', '--stripe', '1M');
    expect(made.code, made.stderr).toBe(0);
    expect(made.stdout.trim().split('\n').length).toBe(14);
    expect(await fs.stat(path.join(data, 'share-key'))).toBeDefined();
    const out = path.join(folder, 'out');
    expect((await holdfast('get', '-o', out, folder)).code).toBe(0);
    expect(await fs.readFile(out, 'utf8')).toBe('hello');
    await fs.rm(out);
    for (const index of [0, 3, 9, 10, 13])
      await fs.rm(path.join(folder, chunkFileName('f', index)));
    expect(await holdfast('get', '-o', out, folder)).toMatchObject({
      code: 6,
      stdout: '',
      stderr: 'holdfast: have 9, need 10\n',
    });
    expect(await fs.stat(out).catch(() => undefined)).toBeUndefined();
    expect((await holdfast('verify', folder)).code).toBe(6);
    expect((await holdfast('verify', '--each', folder)).code).toBe(0);
    const two = await holdfast('make', file, '-d', `${folder},${data}`, '--name', 'g');
    expect(two).toMatchObject({ code: 2, stderr: expect.stringMatching(/--share-targets/) });
  });
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(command: string, args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(command, [...args], (_error, stdout, stderr) => {
      resolve({ code: child.exitCode, stdout, stderr });
    });
  });
}
