/**
 * Aim: paths lead where a file system would have them lead, and nothing below can read a name.
 * Method: a tree over a cell in memory; its rows are searched for what must not be there.
 */
import { beforeEach, expect, it } from 'vitest';
import { errorCode, hexId, type VolumeId } from '../base/index.ts';
import { volumeKeys } from '../crypto/index.ts';
import { MemoryDb } from '../db/index.ts';
import { realEnv } from '../env/index.ts';
import { MemoryLog } from '../log/index.ts';
import { Cell, circumstancesOf, makeRoot, namespaceOf, treeOf } from '../meta/index.ts';
import type { FileTree } from './file-tree.ts';
import { openFileTree } from './open-file-tree.ts';

const env = realEnv();
let files: FileTree;
let db: MemoryDb;

beforeEach(async () => {
  db = new MemoryDb();
  const peers = { ofSlot: noPeer, ofCell: noPeer, cellOfSlot: noPeer };
  const cell = await Cell.open({ env, cell: 'v', log: new MemoryLog({ env }), db, peers });
  const salt = env.random.bytes(16);
  await cell.execute((rows) => makeRoot(rows, { salt, nowMs: env.clock.now() }));
  const now = () => circumstancesOf(env);
  files = openFileTree({
    env,
    volume: hexId<VolumeId>(env.random.bytes(16)),
    keys: volumeKeys(env.random.bytes(32)),
    namespace: namespaceOf(cell, now),
    tree: treeOf(cell, now),
  });
});

function noPeer(): never {
  throw new Error('there is one cell');
}

async function names(path: string): Promise<string[]> {
  return (await Array.fromAsync(files.list(path))).map((entry) => entry.path);
}

const codeOf = (work: Promise<unknown>): Promise<unknown> => work.then(() => 'ok', errorCode);

it('makes, lists, links, moves and removes', async () => {
  await files.makeDirectory('a/b/c', { makesParents: true });
  await files.makeFile('/a/b/file');
  const linked = await files.link('a/b/file', 'a/second');
  expect(linked.linkCount).toBe(2);
  expect((await files.makeSymlink('b/file', 'a/soft')).target).toBe('b/file');
  expect((await files.status('a/soft')).target).toBe('b/file');
  expect(await names('a')).toEqual(['a/b', 'a/second', 'a/soft']);
  await files.rename('a/b', 'moved');
  expect(await names('')).toEqual(['a', 'moved']);
  expect((await files.status('moved/file')).inode).toBe(linked.inode);
  await files.unlink('moved/file');
  expect((await files.status('a/second')).linkCount).toBe(1);
  await files.removeDirectory('moved/c');
  await files.removeDirectory('moved');
  expect(await names('/')).toEqual(['a']);
  expect((await files.setOwnership('a', { mode: 0o700, uid: 7 })).mode).toBe(0o700);
});

it('refuses what a file system refuses', async () => {
  await files.makeDirectory('d/e', { makesParents: true });
  await files.makeFile('f');
  const refused = [
    [() => files.makeDirectory('d'), 'HF_EXISTS'],
    [() => files.makeFile('d'), 'HF_EXISTS'],
    [() => files.makeDirectory('f'), 'HF_EXISTS'],
    [() => files.makeDirectory('f/g', { makesParents: true }), 'HF_NOT_DIRECTORY'],
    [() => files.removeDirectory('d'), 'HF_NOT_EMPTY'],
    [() => files.removeDirectory('f'), 'HF_NOT_DIRECTORY'],
    [() => files.unlink('d'), 'HF_IS_DIRECTORY'],
    [() => files.unlink('nothing'), 'HF_NOT_FOUND'],
    [() => files.rename('d', 'd/e/inside'), 'HF_BAD_ARGUMENT'],
    [() => files.rename('f', 'd', { flag: 'noReplace' }), 'HF_EXISTS'],
    [() => files.rename('f', ''), 'HF_BAD_ARGUMENT'],
    [() => files.status('a//b'), 'HF_BAD_ARGUMENT'],
    [() => files.makeSymlink('', 's'), 'HF_BAD_ARGUMENT'],
  ] as const;
  for (const [work, code] of refused) expect(await codeOf(work())).toBe(code);
});

it('shows names and targets to nobody below', async () => {
  await files.makeDirectory('Gartenhaus');
  await files.makeSymlink('Regenwasser', 'Gartenhaus/Zisterne');
  const rows = db.range({ from: new Uint8Array(), to: new Uint8Array([0xff, 0xff, 0xff]) });
  const all = Buffer.concat(rows.flatMap(({ key, value }) => [key, value]));
  for (const secret of ['Gartenhaus', 'Zisterne', 'Regenwasser']) {
    expect(all.includes(secret)).toBe(false);
  }
});
