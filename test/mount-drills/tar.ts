/** Unpacks a tree of sources into the mount, compares all of it, and removes it. */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import path from 'node:path';
import { need, ok, timed } from './commands.ts';
import { assertSame, describeTree, makeTree } from './trees.ts';
import type { Drill } from './drill.ts';

const FILES = 50_000;

export async function tarTree({ mounts, seed, size = FILES, say }: Drill): Promise<object> {
  need('tar');
  const source = mounts.bed.path('tree');
  const bytes = await makeTree(source, { seed, fileCount: size });
  const archive = mounts.bed.path('tree.tar');
  // Times to a quarter of a second need the newer of the formats.
  const words = ['--format=posix', '--numeric-owner', '-C', path.dirname(source)];
  await ok('tar', ['-cf', archive, ...words, 'tree']);
  say(`${size} files, ${(bytes / 1e6).toFixed(1)} MB`);
  const expected = await describeTree(source);

  const { directory } = mounts;
  const tree = path.join(directory, 'tree');
  const unpackSeconds = await timed(() =>
    ok('tar', ['-xpf', archive, '--numeric-owner', '-C', directory]),
  );
  say(`unpacked in ${unpackSeconds} s`);
  const compareSeconds = await timed(async () => assertSame(await describeTree(tree), expected));
  say(`compared in ${compareSeconds} s`);
  await mounts.remount(mounts.points[0]!);
  const againSeconds = await timed(async () => assertSame(await describeTree(tree), expected));
  say(`compared in ${againSeconds} s after mounting again`);
  const removeSeconds = await timed(() => ok('rm', ['-rf', tree]));
  assert.deepEqual(await fs.readdir(directory), [], 'nothing is left after rm -rf');
  return { files: size, bytes, unpackSeconds, compareSeconds, againSeconds, removeSeconds };
}
