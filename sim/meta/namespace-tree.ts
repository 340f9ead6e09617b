/**
 * The tree of `meta/namespace`, asked as the model's calls say. A node's inode number follows from
 * its name and slot, and its user id is the number in its name, so that answers can be told apart.
 */
import { fromUtf8, utf8 } from '../../src/base/index.ts';
import {
  type Circumstances,
  type Executor,
  type Inode,
  makeRoot,
  namespaceOf,
  type Place,
  ROOT_INODE,
  type Tree,
  type TreeEntry,
  treeOf,
  type TreeStep,
} from '../../src/meta/index.ts';
import { type Entry, isDirectory, type NodeName, OK, seenNode } from './tree-model.ts';
import type { SlotOf } from './row-tree.ts';
import type { TreeCall } from './tree-model.ts';

const SALT = new Uint8Array(16);
/** Of all operations. */
export const CIRCUMSTANCES: Circumstances = { nowMs: 1_800_000_000_000 };
const MODE = 0o644;
/** Numbers of a slot from here on are given out by plans, so many. */
const FIRST_COUNTER = 2n;
const PLANNED_NUMBERS = 1000;
const SLOT_SHIFT = 52n;

export function inodeOf(node: NodeName, slotOf: SlotOf): Inode {
  return (BigInt(slotOf(node)) << SLOT_SHIFT) | (FIRST_COUNTER + BigInt(numberOf(node)));
}

function numberOf(node: NodeName): number {
  return Number(node.slice(1));
}

/** The answer as the model has it. @throws as the tree does. */
export async function askTree(executor: Executor, call: TreeCall, slotOf: SlotOf): Promise<string> {
  const tree = treeOf(executor, () => CIRCUMSTANCES);
  const placeOf = ({ directory, name }: Entry): Place => placeIn(inodeOf(directory, slotOf), name);
  if (call.do === 'list') {
    const entries = await tree.listAttributes({ directory: inodeOf(call.directory, slotOf) });
    return entries
      .map((entry) => `${nameOf(entry)}=${seen(entry)}`)
      .sort()
      .join();
  }
  const place = placeOf(call.at);
  if (call.do === 'lookup') {
    const entry = await tree.lookup(place);
    return entry ? seen(entry) : 'HF_NOT_FOUND';
  }
  if (call.do === 'create') {
    const inode = inodeOf(call.node, slotOf);
    await tree.makeNode({ place, inode, type: 'file', ...ownerOf(call.node) });
  } else if (call.do === 'mkdir') await makeDirectory(tree, place, call.node, slotOf);
  else if (call.do === 'link') await tree.link(inodeOf(call.node, slotOf), place);
  else if (call.do === 'unlink') await tree.unlink(place);
  else if (call.do === 'rmdir') await tree.removeDirectory(place);
  else {
    const flag = call.mayReplace ? undefined : 'noReplace';
    await tree.rename({ from: place, to: placeOf(call.to), flag });
  }
  return OK;
}

/** The call as a step of a batch, where there is one. */
export function stepOf(call: TreeCall, slotOf: SlotOf): TreeStep {
  const placeOf = ({ directory, name }: Entry): Place => placeIn(inodeOf(directory, slotOf), name);
  if (call.do === 'create') {
    const parts = { place: placeOf(call.at), inode: inodeOf(call.node, slotOf) };
    return { do: 'makeNode', args: [{ ...parts, type: 'file', ...ownerOf(call.node) }] };
  }
  if (call.do === 'unlink') return { do: 'unlink', args: [placeOf(call.at)] };
  if (call.do !== 'rename') throw new Error(`a holder does no ${call.do}`);
  const flag = call.mayReplace ? undefined : 'noReplace';
  return { do: 'rename', args: [{ from: placeOf(call.at), to: placeOf(call.to), flag }] };
}

/** The root, which is the same for all. */
export async function makeTreeRoot(executor: Executor): Promise<void> {
  await executor.execute((rows) => makeRoot(rows, { salt: SALT, ...CIRCUMSTANCES }));
}

/** Takes the numbers of a slot that the plan gives to its nodes. */
export async function takeNumbers(executor: Executor, slot: number): Promise<void> {
  const near = { inode: BigInt(slot) << SLOT_SHIFT };
  await namespaceOf(executor, () => CIRCUMSTANCES).allocateInodes(PLANNED_NUMBERS, near);
}

/** One of the directories that are there from the start. */
export async function makeFirst(executor: Executor, node: NodeName, slotOf: SlotOf): Promise<void> {
  const tree = treeOf(executor, () => CIRCUMSTANCES);
  await makeDirectory(tree, placeIn(ROOT_INODE, node), node, slotOf);
}

async function makeDirectory(
  tree: Tree,
  place: Place,
  node: NodeName,
  slotOf: SlotOf,
): Promise<void> {
  const inode = inodeOf(node, slotOf);
  await tree.makeDirectory({ place, inode, salt: SALT, ...ownerOf(node) });
}

function ownerOf(node: NodeName): { mode: number; uid: number; gid: number } {
  return { mode: MODE, uid: numberOf(node), gid: 0 };
}

function placeIn(directory: Inode, name: string): Place {
  return { directory, name: utf8(name), directoryName: utf8(`${name}/`) };
}

function nameOf({ name }: TreeEntry): string {
  return fromUtf8(name).replace(/\/$/, '');
}

function seen({ status }: TreeEntry): string {
  const node = `${status.type === 'directory' ? 'd' : 'f'}${status.uid}`;
  return seenNode(node, isDirectory(node) ? 1 : status.linkCount);
}
