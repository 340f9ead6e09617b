/**
 * Rename. Both entries, the inodes they name and the directories they are in change in one step. A
 * directory never gets into itself: the way up from where it goes is read, and in a tree of several
 * cells stays locked until the rename is committed. After POSIX.1-2024 and Linux rename(2).
 */
import { HoldfastError } from '../../base/index.ts';
import { type Circumstances, quotaWithin, saveInode } from './inode-ops.ts';
import {
  addLink,
  changedRow,
  findEntry,
  isEmpty,
  letGo,
  linksOf,
  posixOf,
  removeLink,
  statusOf,
  touchDirectory,
  unlinkEntry,
} from './link-ops.ts';
import type { Inode } from './namespace.ts';
import type { BackLink, InodeRow } from './namespace-rows.ts';
import { checkReplaceable, checkUnlinkable, retentionOf } from './retention.ts';
import { checkPlace, givenAt, type Seen, seenAt } from './tree-ops.ts';
import type { Place, Removal, Tree } from './tree.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';

/** Directories on the way up that are looked at: deeper ones can be made, but not renamed into. */
const DEPTH_MAX = 4096;

type RenameRequest = Parameters<Tree['rename']>[0];

export function rename(
  rows: Overlay,
  request: RenameRequest,
  circumstances: Circumstances,
): Removal | undefined {
  const { from, to, flag } = request;
  const source = givenAt(rows, from, circumstances);
  checkPlace(rows, to, circumstances);
  const target = seenAt(rows, to);
  if (flag === 'noReplace' && target) throw new HoldfastError('HF_EXISTS');
  if (flag === 'exchange' && !target) throw new HoldfastError('HF_NOT_FOUND');
  if (target?.row.inode === source.row.inode) return undefined;
  checkNotIntoItself(rows, source.row, to);
  const move = { row: withPosix(rows, source.row), name: source.name, from, to };
  if (flag === 'exchange') exchange(rows, move, { target: target as Seen, circumstances });
  else return moveOver(rows, move, { target, circumstances });
  return undefined;
}

/** One link on its way. */
interface Move {
  readonly row: InodeRow;
  readonly name: Uint8Array;
  readonly from: Place;
  readonly to: Place;
}

function moveOver(
  rows: Overlay,
  move: Move,
  { target, circumstances }: { target: Seen | undefined; circumstances: Circumstances },
): Removal | undefined {
  const { row, from, to } = move;
  if (target) checkReplacement(rows, { source: row, target: target.row }, circumstances);
  checkMovable(rows, move, circumstances);
  const removal = target && replaced(rows, to, { target, circumstances });
  removeLink(rows, linkAt(from, move.name), row.inode);
  addMoved(rows, move, circumstances);
  const directories = row.type === 'directory' ? 1 : 0;
  touchDirectory(rows, from.directory, circumstances, {
    directories: -directories,
    isOfTree: true,
  });
  touchDirectory(rows, to.directory, circumstances, {
    directories: directories - (target?.row.type === 'directory' ? 1 : 0),
    isOfTree: true,
  });
  return removal;
}

function exchange(
  rows: Overlay,
  move: Move,
  { target, circumstances }: { target: Seen; circumstances: Circumstances },
): void {
  const { row, from, to } = move;
  const back = { row: withPosix(rows, target.row), name: target.name, from: to, to: from };
  checkNotIntoItself(rows, target.row, from);
  checkNotHiding(rows, row, back);
  checkNotHiding(rows, target.row, move);
  for (const each of [move, back]) checkMovable(rows, each, circumstances);
  for (const each of [move, back]) {
    removeLink(rows, linkAt(each.from, each.name), each.row.inode);
  }
  for (const each of [move, back]) addMoved(rows, each, circumstances);
  const gained = Number(row.type === 'directory') - Number(target.row.type === 'directory');
  touchDirectory(rows, from.directory, circumstances, { directories: -gained, isOfTree: true });
  touchDirectory(rows, to.directory, circumstances, { directories: gained, isOfTree: true });
}

/** As it is while all its links are there, by which some are counted. */
function withPosix(rows: Rows, row: InodeRow): InodeRow {
  return { ...row, posix: posixOf(rows, row) };
}

/** What a directory hides is in the way when what is none takes its name. @throws HF_EXISTS. */
function checkNotHiding(rows: Rows, comes: InodeRow, { row, from }: Move): void {
  if (comes.type === 'directory' || row.type !== 'directory') return;
  if (findEntry(rows, from.directory, from.name)) throw new HoldfastError('HF_EXISTS');
}

function linkAt({ directory }: Place, name: Uint8Array): BackLink {
  return { directory, name };
}

function addMoved(rows: Overlay, { row, from, to }: Move, circumstances: Circumstances): void {
  const { directory, name, directoryName } = to;
  const isNear = from.directory === directory;
  const charged = isNear
    ? {}
    : { quotaDirectory: quotaWithin(rows, checkPlace(rows, to, circumstances)) };
  saveInode(rows, changedRow(rows, row, circumstances.nowMs, charged));
  const asDirectory = row.type === 'directory';
  addLink(rows, { directory, name: asDirectory ? directoryName : name }, row.inode);
}

/** @throws HF_IS_DIRECTORY, HF_NOT_DIRECTORY, HF_NOT_EMPTY, HF_WORM. */
function checkReplacement(
  rows: Rows,
  { source, target }: { source: InodeRow; target: InodeRow },
  circumstances: Circumstances,
): void {
  const isDirectory = target.type === 'directory';
  if (isDirectory && source.type !== 'directory') throw new HoldfastError('HF_IS_DIRECTORY');
  if (!isDirectory && source.type === 'directory') throw new HoldfastError('HF_NOT_DIRECTORY');
  if (isDirectory && !isEmpty(rows, target.inode, circumstances)) {
    throw new HoldfastError('HF_NOT_EMPTY');
  }
  if (!isDirectory) checkReplaceable(rows, [target]);
}

function replaced(
  rows: Overlay,
  to: Place,
  { target, circumstances }: { target: Seen; circumstances: Circumstances },
): Removal {
  const { name, row } = target;
  const at = linkAt(to, name);
  if (row.type !== 'directory') {
    const left = unlinkEntry(rows, { row, at }, circumstances);
    return { status: statusOf(rows, left.row), release: left.release };
  }
  removeLink(rows, at, row.inode);
  const left = letGo(rows, row, circumstances);
  return { status: statusOf(rows, left.row), release: left.release };
}

/**
 * In a protected volume names are kept with what they name. Across the border of a quota only what
 * can be charged at once may go.
 *
 * @throws HF_WORM, HF_CROSS_TREE.
 */
function checkMovable(rows: Rows, { row, from, to }: Move, circumstances: Circumstances): void {
  checkUnlinkable(rows, row, circumstances.nowMs);
  const isFull = (): boolean =>
    row.type === 'directory' && !isEmpty(rows, row.inode, circumstances);
  if (retentionOf(rows) && isFull()) {
    throw new HoldfastError('HF_WORM', 'the volume is WORM: only empty directories are renamed');
  }
  if (from.directory === to.directory) return;
  const { quotaDirectory, linkCount } = posixOf(rows, row);
  if (quotaWithin(rows, checkPlace(rows, to, circumstances)) === quotaDirectory) return;
  if (isFull() || (row.type !== 'directory' && linkCount > 1)) {
    throw new HoldfastError('HF_CROSS_TREE', 'it is under another quota there');
  }
}

/** @throws HF_BAD_ARGUMENT when the directory is the place's, or one above it. */
function checkNotIntoItself(rows: Rows, { inode, type }: InodeRow, { directory }: Place): void {
  if (type !== 'directory') return;
  let at: Inode | undefined = directory;
  for (let depth = 0; at !== undefined; depth++) {
    if (at === inode)
      throw new HoldfastError('HF_BAD_ARGUMENT', 'a directory is not moved into itself');
    if (depth > DEPTH_MAX) throw new HoldfastError('HF_BAD_ARGUMENT', 'directories lie too deep');
    at = linksOf(rows, at)[0]?.directory;
  }
}
