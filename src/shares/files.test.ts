/**
 * Aim: files are read whole or not, and appear whole or not at all. Method: real files, links,
 * pipes, and a file of the kernel that cannot be read.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { assertRoom, findFiles, InputFile, OutputFile } from './files.ts';

const UNREADABLE = '/proc/self/mem';
let folder: string;

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-files-'));
});

afterEach(async () => {
  await fs.rm(folder, { recursive: true });
});

const inFolder = (name: string) => path.join(folder, name);

describe('an input', () => {
  it.runIf(existsSync(UNREADABLE))('says which file cannot be read', async () => {
    await using input = await InputFile.open(UNREADABLE);
    const message = expect.stringContaining(UNREADABLE);
    const read = input.read(new Uint8Array(1), 0);
    await expect(read).rejects.toMatchObject({ code: 'HF_IO', message });
  });

  it('is no pipe, even when nobody writes to it', async () => {
    execFileSync('mkfifo', [inFolder('pipe')]);
    await expect(InputFile.open(inFolder('pipe'))).rejects.toMatchObject({
      code: 'HF_BAD_ARGUMENT',
    });
  });
});

describe('an output', () => {
  it('is not written through what a stranger left in its place', async () => {
    await fs.writeFile(inFolder('theirs'), 'theirs');
    await fs.symlink(inFolder('theirs'), inFolder(`mine.${process.pid}.part`));
    await using output = await OutputFile.create(inFolder('mine'), { mode: 0o600 });
    await output.write(Buffer.from('mine'), 0);
    await output.commit();
    expect(await fs.readFile(inFolder('theirs'), 'utf8')).toBe('theirs');
    expect(await fs.readFile(inFolder('mine'), 'utf8')).toBe('mine');
    expect((await fs.lstat(inFolder('mine'))).mode & 0o777).toBe(0o600);
    expect((await fs.readdir(folder)).toSorted()).toEqual(['mine', 'theirs']);
  });
});

it('more than there is room for is refused beforehand, with the place and the number', async () => {
  const few = { path: inFolder('few'), bytes: 10 };
  await assertRoom([few, { path: inFolder('none/x'), bytes: 2 ** 60 }]);
  const message = expect.stringMatching(
    new RegExp(`^${folder} has room for \\d+ bytes, and ${2 ** 60} are needed`),
  );
  const files = [
    { path: inFolder('one'), bytes: 2 ** 59 },
    { path: inFolder('two'), bytes: 2 ** 59 },
  ];
  await expect(assertRoom(files)).rejects.toMatchObject({ code: 'HF_NO_SPACE', message });
});

describe('finding', () => {
  it('lists folders by ending, names each once, and keeps what is no folder', async () => {
    for (const name of ['b.sf', 'a.sf', 'other']) await fs.writeFile(inFolder(name), '');
    const places = [inFolder('other'), folder, inFolder('a.sf'), inFolder('none')];
    const names = ['other', 'a.sf', 'b.sf', 'none'].map(inFolder);
    expect(await findFiles(places, '.sf')).toEqual(names);
  });
});
