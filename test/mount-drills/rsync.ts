/**
 * A tree with hard links, extended attributes and, where the mount has them, access control lists,
 * copied into the mount by rsync. A second run finds nothing to do; one that compares all bytes
 * neither; after some changes exactly those are taken.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import path from 'node:path';
import { below, pick, seededRandom } from '../e2e/content.ts';
import { isThere, need, ok, runCommand, timed } from './commands.ts';
import type { Drill } from './drill.ts';
import { assertSame, describeTree, makeTree } from './trees.ts';

const FILES = 1000;

export async function rsyncTwice({ mounts, seed, size = FILES, say }: Drill): Promise<object> {
  need('rsync', 'setfattr');
  const source = mounts.bed.path('tree');
  const target = path.join(mounts.directory, 'tree');
  const bytes = await makeTree(source, { seed, fileCount: size });
  const hasLists = isThere('setfacl') && (await takesLists(mounts.directory));
  if (!hasLists) say('NOT CHECKED: access control lists (the mount has none, or no setfacl here)');
  const files = await decorate(source, { seed, hasLists });
  // By itself it takes times within one second for the same.
  const exactly = ['--modify-window=-1', '--itemize-changes', '--delete'];
  const words = [hasLists ? '-aHAX' : '-aHX', ...exactly];
  const copy = async (...more: string[]) =>
    await ok('rsync', [...words, ...more, `${source}/`, target]);

  const firstSeconds = await timed(() => copy());
  say(`copied in ${firstSeconds} s`);
  assertSame(await describeTree(target), await describeTree(source));
  const secondSeconds = await timed(async () => assert.equal(await copy(), '', 'nothing is to do'));
  assert.equal(await copy('--checksum'), '', 'all bytes, attributes and links are the same');
  say(`nothing to do, seen in ${secondSeconds} s`);

  const random = seededRandom(seed);
  const changed = pick(random, { from: files, count: Math.min(20, files.length) });
  for (const file of changed) await fs.appendFile(file, 'changed');
  const lines = (await copy()).trimEnd().split('\n');
  // Of several links to one file rsync tells of all.
  const told = lines.filter((line) => line.startsWith('>f')).length;
  assert.ok(
    told >= changed.length,
    `${told} taken of ${changed.length} changed: ${lines.join(';')}`,
  );
  await mounts.remount(mounts.points[0]!);
  assertSame(await describeTree(target), await describeTree(source));
  assert.equal(await copy(), '', 'nothing is to do after mounting again');
  await fs.rm(target, { recursive: true });
  return { files: size, bytes, hasLists, firstSeconds, secondSeconds };
}

/** @returns regular files without a second name. */
async function decorate(
  root: string,
  { seed, hasLists }: { seed: number; hasLists: boolean },
): Promise<string[]> {
  const random = seededRandom(seed + 1);
  const entries = await fs.readdir(root, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .toSorted();
  const chosen = pick(random, { from: files, count: Math.ceil(files.length / 10) });
  for (const [index, file] of chosen.entries()) {
    await fs.link(file, path.join(root, `second-name-${index}`));
    if (index % 3 === 0) await fs.link(file, `${path.dirname(file)}/third-name-${index}`);
    const value = 'v'.repeat(below(random, 3000) + 1);
    await ok('setfattr', ['-n', `user.drill.${index}`, '-v', value, file]);
    if (hasLists) await ok('setfacl', ['-m', `u:${1000 + index}:r,g:${index}:rw`, file]);
  }
  const [directory] = entries.filter((entry) => entry.isDirectory());
  if (hasLists && directory) {
    const full = path.join(directory.parentPath, directory.name);
    await ok('setfacl', ['-d', '-m', 'u:1000:rwx', full]);
  }
  return files.filter((file) => !chosen.includes(file));
}

async function takesLists(directory: string): Promise<boolean> {
  const probe = path.join(directory, 'probe');
  await fs.writeFile(probe, '');
  const { exit } = await runCommand('setfacl', ['-m', 'u:1:r', probe]);
  await fs.rm(probe);
  return exit === 0;
}
