/**
 * Reads a tree while two of the six stores are away, each pair in its turn: all that rs-4+2 bears.
 * Nothing is answered from what the mount remembers.
 */
import path from 'node:path';
import { ok } from './commands.ts';
import type { Drill } from './drill.ts';
import { assertSame, describeTree, makeTree } from './trees.ts';

const FILES = 300;
const PAIRS = [
  [0, 1],
  [2, 3],
  [4, 5],
  [1, 4],
] as const;

export async function readWithout({ mounts, seed, size = FILES, say }: Drill): Promise<object> {
  const source = mounts.bed.path('tree');
  const bytes = await makeTree(source, { seed, fileCount: size });
  const tree = path.join(mounts.directory, 'tree');
  await ok('cp', ['-a', source, tree]);
  const expected = await describeTree(source);
  for (const pair of PAIRS) {
    const lost = pair.map((index) => mounts.stores[index]!);
    await mounts.remount(mounts.points[0]!);
    await mounts.takeAway(lost);
    assertSame(await describeTree(tree), expected);
    await mounts.bringBack(lost);
    say(`read without ${lost.map((store) => path.basename(store)).join(' and ')}`);
  }
  return { files: size, bytes };
}
