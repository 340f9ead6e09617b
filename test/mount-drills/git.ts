/**
 * The project's own history: cloned into the mount, checked, committed to, packed anew and checked
 * again; the tree of the last commit is the one that the project has.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Missing, need, ok, runCommand, timed } from './commands.ts';
import type { Drill } from './drill.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const COMMITS = 5;
const WHO = ['-c', 'user.name=drill', '-c', 'user.email=drill@localhost'];

export async function gitHistory({ mounts, size = COMMITS, say }: Drill): Promise<object> {
  need('git');
  if ((await runCommand('git', ['-C', PROJECT, 'rev-parse', 'HEAD'])).exit !== 0) {
    throw new Missing('needs the history of the project; this copy has none');
  }
  const clone = path.join(mounts.directory, 'clone');
  const git = (...words: string[]) => ok('git', ['-C', clone, ...WHO, ...words]);
  // Through the protocol: else a clone from a path copies files, and index-pack checks nothing.
  const cloneSeconds = await timed(() => ok('git', ['clone', '-q', `file://${PROJECT}`, clone]));
  say(`cloned in ${cloneSeconds} s`);
  const treeOf = async (folder: string) => await ok('git', ['-C', folder, 'rev-parse', 'HEAD:']);
  assert.equal(await treeOf(clone), await treeOf(PROJECT));
  const check = async () => {
    await git('fsck', '--full', '--strict');
    assert.equal(await git('status', '--porcelain'), '', 'the work tree is clean');
  };
  const checkSeconds = await timed(check);
  say(`checked in ${checkSeconds} s`);
  for (let number = 0; number < size; number += 1) {
    await fs.appendFile(path.join(clone, 'README.md'), `line ${number}\n`);
    await fs.writeFile(path.join(clone, `new-${number}`), `content ${number}\n`.repeat(1000));
    await git('mv', number === 0 ? 'LICENSE' : `moved-${number - 1}`, `moved-${number}`);
    await git('add', '-A');
    await git('commit', '-q', '-m', `commit ${number}`);
  }
  await git('checkout', '-q', '-b', 'side', 'HEAD~1');
  await git('checkout', '-q', '-');
  const gcSeconds = await timed(() => git('gc', '-q', '--prune=now'));
  say(`packed in ${gcSeconds} s`);
  await mounts.remount(mounts.points[0]!);
  await check();
  const count = Number(await git('rev-list', '--count', 'HEAD'));
  const before = Number(await ok('git', ['-C', PROJECT, 'rev-list', '--count', 'HEAD']));
  assert.equal(count, before + size);
  // Reads every blob again, and compares with what the project's repository has of it.
  await fs.rm(path.join(clone, '.git', 'index'));
  await git('reset', '-q', '--hard');
  await check();
  return { cloneSeconds, checkSeconds, gcSeconds, commits: count };
}
