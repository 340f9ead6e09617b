/**
 * Aim: an object leaves the store as chunk files that need no node, and comes back (issue 4,
 * part 3). Method: commands against one node; chunk files are lost; the standalone restorer and
 * `import` give the same bytes, and strangers see nothing in sealed ones.
 */
import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PutAnswer } from '../../src/api/index.ts';
import { seededBytes } from './content.ts';
import { Bed } from './harness.ts';

const RESTORER = path.resolve(import.meta.dirname, '../../bin/restore.mjs');
/** Of the bed, in its folder. */
const DATA = 'data';
/** As the help has it: a number after `--data` is a count. */
const SCHEME = ['--data', '4', '--parity', '2'];
const run = promisify(execFile);

let bed: Bed;

beforeAll(async () => {
  bed = await Bed.open();
  await bed.up();
});

afterAll(async () => {
  await bed[Symbol.asyncDispose]();
});

/** Exports to six folders and loses two of the chunk files. @returns those that are left. */
async function exported(name: string, id: string, more: readonly string[]): Promise<string[]> {
  const folders = Array.from({ length: 6 }, (_, index) => bed.path(`${name}-${index}`));
  for (const folder of folders) await fs.mkdir(folder);
  await bed.ok(['export', id, '--shares', folders.join(','), ...SCHEME, ...more]);
  const files: string[] = [];
  for (const folder of folders) {
    const names = await fs.readdir(folder);
    expect(names, 'one chunk file to each folder').toHaveLength(1);
    files.push(path.join(folder, names[0]!));
  }
  await fs.rm(files[0]!);
  await fs.rm(files[5]!);
  return files.slice(1, 5);
}

describe('export', () => {
  it.each([
    ['sealed', []],
    ['plain', ['--plain']],
  ])('gives %s chunk files that restore.mjs and import turn back', async (name, more) => {
    const content = await seededBytes(`export-${name}`, 3_210_987);
    const put = ['put', '-', '--name', `reports/${name}.bin`];
    const { object } = await bed.json<PutAnswer>(put, { input: content });
    const left = await exported(name, object.id, more);

    const keyFile = bed.path(DATA, 'share-key');
    const out = bed.path(`${name}.restored`);
    const key = more.length === 0 ? ['--key', keyFile] : [];
    await run(process.execPath, [RESTORER, out, ...left, ...key]);
    expect((await fs.readFile(out)).equals(content)).toBe(true);

    const again = await bed.json<PutAnswer>(['import', ...left, '--name', `again/${name}.bin`]);
    expect(again.object.address, 'the same content').toBe(object.address);
    const { stdout } = await bed.run(['get', `again/${name}.bin`, '-o', '-']);
    expect(stdout.equals(content)).toBe(true);
    const passing = (await fs.readdir(bed.path(DATA))).filter((entry) =>
      entry.startsWith('passing-'),
    );
    expect(passing, 'nothing in plain is left behind').toEqual([]);
  });

  it('comes back by the name of its chunk files, out of folders with others', async () => {
    const names = ['first.bin', 'second.bin'];
    const folders = Array.from({ length: 6 }, (_, index) => bed.path(`two-${index}`));
    for (const folder of folders) await fs.mkdir(folder);
    for (const name of names) {
      const input = await seededBytes(name, 50_000);
      const put = ['put', '-', '--name', `two/${name}`];
      const { object } = await bed.json<PutAnswer>(put, { input });
      await bed.ok(['export', object.id, '--shares', folders.join(','), ...SCHEME]);
    }
    const both = await bed.run(['import', ...folders]);
    expect(both.stderr.toString()).toContain('first.bin, second.bin');
    const one = await bed.json<PutAnswer>(['import', ...folders, '--file', 'second.bin']);
    const query = await bed.ok(['query', one.object.id]);
    expect(query, 'its name is kept').toContain('second.bin');
  });

  it('restore.mjs has help, takes folders, and says which key file is missing', async () => {
    const help = await run(process.execPath, [RESTORER, '--help']);
    expect(help.stdout).toContain('usage: node restore.mjs');
    const { object } = await bed.json<PutAnswer>(['put', '-'], { input: Buffer.alloc(9999, 'x') });
    const folder = bed.path('in-one');
    await fs.mkdir(folder);
    await bed.ok(['export', object.id, '--shares', folder, '--share-targets', ...SCHEME]);
    const out = bed.path('from-folder');
    const without = run(process.execPath, [RESTORER, out, folder, '--key', bed.path('no-key')]);
    await expect(without).rejects.toThrow(`there is no key file ${bed.path('no-key')}`);
    await run(process.execPath, [RESTORER, out, folder, '--key', bed.path(DATA, 'share-key')]);
    expect((await fs.readFile(out)).equals(Buffer.alloc(9999, 'x'))).toBe(true);
  });

  it('shows strangers nothing of a sealed object', async () => {
    const text = 'a line that nobody else may read\n';
    const input = Buffer.from(text.repeat(5000));
    const put = ['put', '-', '--name', 'secret-plan.txt'];
    const { object } = await bed.json<PutAnswer>(put, { input });
    for (const file of await exported('strangers', object.id, [])) {
      const bytes = await fs.readFile(file);
      expect(bytes.includes(text.slice(0, 16))).toBe(false);
      expect(bytes.includes('secret-plan')).toBe(false);
    }
  });

  it('leaves no object and no file when too few are left', async () => {
    const input = await seededBytes('too-few', 100_000);
    const { object } = await bed.json<PutAnswer>(['put', '-'], { input });
    const left = (await exported('few', object.id, [])).slice(1);
    const { exitCode, stderr } = await bed.run(['import', ...left, '--name', 'few']);
    expect(exitCode).toBe(6);
    expect(stderr.toString()).toMatch(/have 3, need 4/);
    expect((await bed.run(['query', 'few'])).exitCode).toBe(3);
  });
});
