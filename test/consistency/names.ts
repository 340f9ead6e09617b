/**
 * The workload `names`: creates, moves, links and takes away names in four directories, which lie
 * in cells of their own, as far as there are as many. The model is that of the simulator.
 *
 * A path is looked up step by step and then used, so two steps may see two states: therefore the
 * four directories stay where they are, and what a link is made for is a file whose first name
 * nobody touches. Who a node is tells its owner: uid n is what the n-th call has made.
 */
import type { FileView } from '../../src/api/index.ts';
import {
  type Entry,
  FIRST_DIRECTORIES,
  OK,
  seenNode,
  treeModel,
} from '../../sim/meta/tree-model.ts';
import type { NodeName, TreeCall, TreeState } from '../../sim/meta/tree-model.ts';
import type { Model } from '../../sim/meta/linearizable.ts';
import { below } from '../e2e/content.ts';
import type { Caller, Kind } from './clients.ts';

const NAMES = ['a', 'b', 'c'];
/** Files for links: their owners are above those of all calls. */
const FIRST_FILES = FIRST_DIRECTORIES.map((directory, index) => ({
  at: { directory, name: 'first' },
  uid: 1_000_000 + index,
}));

const ANSWERS: ReadonlySet<string> = new Set([
  'HF_NOT_FOUND',
  'HF_EXISTS',
  'HF_IS_DIRECTORY',
  'HF_NOT_DIRECTORY',
  'HF_NOT_EMPTY',
  'HF_BAD_ARGUMENT',
]);

type Making = 'create' | 'mkdir' | 'link' | 'rename' | 'unlink' | 'rmdir' | 'lookup' | 'list';
const MIX: Readonly<Record<Making, number>> = {
  create: 5,
  mkdir: 2,
  link: 3,
  rename: 7,
  unlink: 4,
  rmdir: 2,
  lookup: 3,
  list: 1,
};
const DRAWN: readonly Making[] = Object.entries(MIX).flatMap(([one, count]) =>
  Array.from({ length: count }, () => one as Making),
);

/** @param root under which the directories are; '' or ending with '/'. */
export function namesKind(root: string): Kind<TreeCall> {
  return {
    answers: ANSWERS,
    plan,
    changes: ({ do: what }) => what !== 'lookup' && what !== 'list',
    ask: (client, call, signal) => new Asking(client, root, signal).ask(call),
    survey: FIRST_DIRECTORIES.map((directory) => ({ do: 'list', directory })),
  };
}

/** Makes the four directories and the files for links. */
export async function prepareNames(client: Caller, root: string): Promise<void> {
  for (const directory of FIRST_DIRECTORIES) {
    await client.call('tree.makeDirectory', { path: root + directory });
  }
  for (const { at, uid } of FIRST_FILES) {
    await client.call('tree.makeFile', { path: pathOf(root, at), uid });
  }
}

export const namesModel: Model<TreeState, TreeCall> = {
  ...treeModel,
  initial: new Map(
    FIRST_FILES.map(({ at, uid }) => [`${at.directory}/${at.name}`, `f${uid}`] as const),
  ),
};

function plan(random: () => number, number: number): TreeCall {
  const one = <Item>(items: readonly Item[]): Item => items[below(random, items.length)]!;
  const entry = (): Entry => ({ directory: one(FIRST_DIRECTORIES), name: one(NAMES) });
  const what = one(DRAWN);
  const at = entry();
  switch (what) {
    case 'create':
      return { do: what, at, node: `f${number}` };
    case 'mkdir':
      return { do: what, at, node: `d${number + FIRST_DIRECTORIES.length}` };
    case 'link':
      return { do: what, at, node: `f${one(FIRST_FILES).uid}` };
    case 'rename':
      return { do: what, at, to: entry(), mayReplace: random() < 0.7 };
    case 'list':
      return { do: what, directory: at.directory };
    case 'unlink':
    case 'rmdir':
    case 'lookup':
      return { do: what, at };
  }
}

function pathOf(root: string, { directory, name }: Entry): string {
  return `${root}${directory}/${name}`;
}

function uidOf(node: NodeName): number {
  return Number(node.slice(1));
}

class Asking {
  readonly #client: Caller;
  readonly #root: string;
  readonly #options: { readonly signal: AbortSignal };

  constructor(client: Caller, root: string, signal: AbortSignal) {
    this.#client = client;
    this.#root = root;
    this.#options = { signal };
  }

  async ask(call: TreeCall): Promise<string> {
    if (call.do === 'list') return await this.#list(call.directory);
    const path = pathOf(this.#root, call.at);
    if (call.do === 'lookup') {
      return seen(await this.#client.call('tree.status', { path }, this.#options));
    }
    await this.#change(call, path);
    return OK;
  }

  async #change(call: Exclude<TreeCall, { do: 'list' | 'lookup' }>, path: string): Promise<void> {
    const options = this.#options;
    switch (call.do) {
      case 'create':
        await this.#client.call('tree.makeFile', { path, uid: uidOf(call.node) }, options);
        return;
      case 'mkdir':
        await this.#client.call('tree.makeDirectory', { path, uid: uidOf(call.node) }, options);
        return;
      case 'link': {
        const first = FIRST_FILES.find(({ uid }) => uid === uidOf(call.node))!;
        const existing = pathOf(this.#root, first.at);
        await this.#client.call('tree.link', { path, existing }, options);
        return;
      }
      case 'rename': {
        const places = { from: path, to: pathOf(this.#root, call.to) };
        const flag = call.mayReplace ? {} : { flag: 'noReplace' as const };
        await this.#client.call('tree.rename', { ...places, ...flag }, options);
        return;
      }
      case 'unlink':
        await this.#client.call('tree.unlink', { path }, options);
        return;
      case 'rmdir':
        await this.#client.call('tree.removeDirectory', { path }, options);
        return;
    }
  }

  async #list(directory: NodeName): Promise<string> {
    const texts: string[] = [];
    const path = this.#root + directory;
    const onItem = (view: FileView): void => {
      texts.push(`${view.path.slice(path.length + 1)}=${seen(view)}`);
    };
    await this.#client.call('tree.list', { path }, { ...this.#options, onItem });
    return texts.sort().join();
  }
}

function seen({ type, uid, linkCount }: FileView): string {
  return seenNode(`${type === 'directory' ? 'd' : 'f'}${uid}`, linkCount);
}
