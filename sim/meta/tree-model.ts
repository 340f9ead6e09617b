/**
 * What a tree of names promises, one call after the other: the sequential specification that the
 * histories of clients are compared with.
 *
 * A *node* is named by the call that made it: `f7` a file, `d3` a directory; `d0` … are there from
 * the start and have no parent. A file may have several entries (links); a node that no entry names
 * is dead. Where a call may fail for several reasons, each of them is right.
 */
import type { ErrorCode } from '../../src/base/index.ts';
import type { Model } from './linearizable.ts';

export type NodeName = string;

export type TreeCall =
  | { readonly do: 'create'; readonly at: Entry; readonly node: NodeName }
  | { readonly do: 'mkdir'; readonly at: Entry; readonly node: NodeName }
  | { readonly do: 'lookup'; readonly at: Entry }
  | { readonly do: 'unlink'; readonly at: Entry }
  | { readonly do: 'rmdir'; readonly at: Entry }
  | { readonly do: 'link'; readonly at: Entry; readonly node: NodeName }
  | { readonly do: 'rename'; readonly at: Entry; readonly to: Entry; readonly mayReplace: boolean }
  | { readonly do: 'list'; readonly directory: NodeName };

export interface Entry {
  readonly directory: NodeName;
  readonly name: string;
}

/** `directory/name` → node; a value. */
export type TreeState = ReadonlyMap<string, NodeName>;

/** Directories that are there from the start. */
export const FIRST_DIRECTORIES: readonly NodeName[] = ['d0', 'd1', 'd2', 'd3'];

export const OK = 'ok';
/** Of what was said to be done under a lease that was taken: it must not have happened. */
export const NEVER = 'never';

/** A directory that is gone may still be read by whoever holds it: it is empty. */
const NOTHING = '';

type Refusal = ErrorCode | typeof NOTHING;

export const treeModel: Model<TreeState, TreeCall> = {
  initial: new Map(),
  step(state, call, answer) {
    const errors = errorsOf(state, call);
    if (errors.length > 0) {
      return answer === undefined || errors.some((code) => code === answer) ? state : undefined;
    }
    if (answer !== undefined && answer !== answerOf(state, call)) return undefined;
    return changed(state, call);
  },
  textOf(state) {
    return Array.from(state, ([at, node]) => `${at}=${node}`)
      .sort()
      .join();
  },
};

function textOf({ directory, name }: Entry): string {
  return `${directory}/${name}`;
}

export function isDirectory(node: NodeName): boolean {
  return node.startsWith('d');
}

function linkCount(state: TreeState, node: NodeName): number {
  let count = 0;
  for (const named of state.values()) if (named === node) count += 1;
  return count;
}

function isDead(state: TreeState, directory: NodeName): boolean {
  return !FIRST_DIRECTORIES.includes(directory) && linkCount(state, directory) === 0;
}

function hasEntries(state: TreeState, directory: NodeName): boolean {
  for (const at of state.keys()) if (directoryOf(at) === directory) return true;
  return false;
}

function directoryOf(at: string): NodeName {
  return at.slice(0, at.indexOf('/'));
}

/** Whether `node` is `directory` or above it. */
function isWithin(state: TreeState, directory: NodeName, node: NodeName): boolean {
  for (let at: NodeName | undefined = directory; at; at = parentOf(state, at)) {
    if (at === node) return true;
  }
  return false;
}

function parentOf(state: TreeState, node: NodeName): NodeName | undefined {
  for (const [at, named] of state) if (named === node) return directoryOf(at);
  return undefined;
}

/** Each of the reasons for which the call may fail; without any it succeeds. */
function errorsOf(state: TreeState, call: TreeCall): Refusal[] {
  if (call.do === 'list') return isDead(state, call.directory) ? ['HF_NOT_FOUND', NOTHING] : [];
  if (call.do === 'rename') return renameErrors(state, call);
  const { at } = call;
  const present = state.get(textOf(at));
  const errors: Refusal[] = [];
  if (isDead(state, at.directory)) errors.push('HF_NOT_FOUND');
  if (call.do === 'create' || call.do === 'mkdir' || call.do === 'link') {
    if (present !== undefined) errors.push('HF_EXISTS');
    if (call.do === 'link' && linkCount(state, call.node) === 0) errors.push('HF_NOT_FOUND');
    return errors;
  }
  if (present === undefined) return ['HF_NOT_FOUND'];
  if (call.do === 'unlink' && isDirectory(present)) errors.push('HF_IS_DIRECTORY');
  if (call.do === 'rmdir') {
    if (!isDirectory(present)) errors.push('HF_NOT_DIRECTORY');
    else if (hasEntries(state, present)) errors.push('HF_NOT_EMPTY');
  }
  return errors;
}

function renameErrors(
  state: TreeState,
  { at, to, mayReplace }: TreeCall & { do: 'rename' },
): ErrorCode[] {
  const source = state.get(textOf(at));
  const target = state.get(textOf(to));
  const errors: ErrorCode[] = [];
  if (source === undefined || isDead(state, to.directory)) errors.push('HF_NOT_FOUND');
  if (target !== undefined && !mayReplace) errors.push('HF_EXISTS');
  if (source === undefined) return errors;
  if (isDirectory(source) && isWithin(state, to.directory, source)) errors.push('HF_BAD_ARGUMENT');
  if (target === undefined || !mayReplace || target === source) return errors;
  if (isDirectory(target)) {
    if (!isDirectory(source)) errors.push('HF_IS_DIRECTORY');
    if (hasEntries(state, target)) errors.push('HF_NOT_EMPTY');
  } else if (isDirectory(source)) errors.push('HF_NOT_DIRECTORY');
  return errors;
}

/** Of a call that succeeds. */
function answerOf(state: TreeState, call: TreeCall): string {
  if (call.do === 'lookup') return nodeText(state, state.get(textOf(call.at))!);
  if (call.do !== 'list') return OK;
  const texts: string[] = [];
  for (const [at, node] of state) {
    if (directoryOf(at) !== call.directory) continue;
    texts.push(`${at.slice(call.directory.length + 1)}=${nodeText(state, node)}`);
  }
  return texts.sort().join();
}

/** A file with its links: they are counted elsewhere than where its entry is. */
function nodeText(state: TreeState, node: NodeName): string {
  return seenNode(node, linkCount(state, node));
}

/** How an answer names a node. */
export function seenNode(node: NodeName, links: number): string {
  return isDirectory(node) ? node : `${node}*${links}`;
}

function changed(state: TreeState, call: TreeCall): TreeState {
  if (call.do === 'lookup' || call.do === 'list') return state;
  const next = new Map(state);
  const at = textOf(call.at);
  if (call.do === 'create' || call.do === 'mkdir' || call.do === 'link') next.set(at, call.node);
  else if (call.do !== 'rename') next.delete(at);
  else if (state.get(at) !== state.get(textOf(call.to))) {
    next.set(textOf(call.to), state.get(at)!);
    next.delete(at);
  }
  return next;
}

/**
 * Cuts a history into parts that share no directory, which are linearizable if and only if the
 * whole is (Herlihy and Wing 1990: linearizability is local). Links are counted over all
 * directories, so that a file's are together.
 */
export function partsOf<Item extends { readonly call: TreeCall }>(
  items: readonly Item[],
): Item[][] {
  const groups = new Groups();
  for (const { call } of items) {
    const names = namesOf(call);
    for (const name of names) groups.unite(names[0]!, name);
  }
  const parts = Map.groupBy(items, ({ call }) => groups.rootOf(namesOf(call)[0]!));
  return [...parts.values()];
}

function namesOf(call: TreeCall): NodeName[] {
  if (call.do === 'list') return [call.directory];
  if (call.do === 'rename') return [call.at.directory, call.to.directory];
  return 'node' in call ? [call.at.directory, call.node] : [call.at.directory];
}

/** Sets of names that grow together. */
class Groups {
  readonly #above = new Map<NodeName, NodeName>();

  rootOf(name: NodeName): NodeName {
    let root = name;
    for (let above = this.#above.get(root); above; above = this.#above.get(root)) root = above;
    return root;
  }

  unite(a: NodeName, b: NodeName): void {
    const [rootA, rootB] = [this.rootOf(a), this.rootOf(b)];
    if (rootA !== rootB) this.#above.set(rootB, rootA);
  }
}
