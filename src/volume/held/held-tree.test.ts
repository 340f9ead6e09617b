/**
 * Aim: whoever works through held directories meets what the plain tree would say, on whichever
 * node, and what was brought is what the plain tree has. Method: random sequences of operations of
 * two nodes over one cell beside the same over a plain tree, in virtual time.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { errorCode, utf8 } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import type { Env } from '../../env/index.ts';
import { MemoryLog } from '../../log/index.ts';
import {
  type Inode,
  type InodeStatus,
  openVolumeCell,
  type Place,
  ROOT_INODE,
  type Tree,
  type VolumeCell,
} from '../../meta/index.ts';
import { Background } from '../background.ts';
import { OpenInodes } from '../open-inodes.ts';
import { HeldTree } from './held-tree.ts';

const OWNED = { mode: 0o644, uid: 1, gid: 2 };
const SALT = utf8('salt');

interface Node extends AsyncDisposable {
  readonly tree: Tree;
  readonly held: HeldTree;
}

async function nodeOf(env: Env, cell: VolumeCell, node: string): Promise<Node> {
  const stack = new AsyncDisposableStack();
  const background = new Background(env.log);
  const opens = stack.use(
    await OpenInodes.open({ env, handles: cell.handles, node, release: async () => {} }),
  );
  const { namespace } = cell;
  let ids = 0;
  const inodes = {
    take: async (near: Parameters<typeof namespace.allocateInodes>[1]) =>
      await namespace.allocateInodes(1, near),
    newId: () => (ids++).toString(16).padStart(32, '0') as never,
  };
  const held = stack.use(
    new HeldTree({
      env,
      handles: cell.handles,
      tree: patient(cell.tree),
      opens,
      inodes,
      background,
      mayHold: () => true,
      release: async () => {},
      storeContent: async () => {},
    }),
  );
  stack.defer(() => background.settle());
  return { tree: held.tree, held, [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose]() };
}

/** As a node asks a cell: again, while a directory is on its way. */
function patient(tree: Tree): Tree {
  const entries = Object.entries(tree).map(([name, method]) => [
    name,
    async (...args: never[]) => {
      for (;;) {
        try {
          return await (method as (...all: never[]) => Promise<unknown>)(...args);
        } catch (error) {
          if (errorCode(error) !== 'HF_LEASED') throw error;
        }
      }
    },
  ]);
  return Object.fromEntries(entries) as Tree;
}

function at(directory: Inode, name: string): Place {
  return { directory, name: utf8(name), directoryName: utf8(`${name}/`) };
}

const NAMES = ['a', 'b', 'c'];

type Call =
  | {
      readonly do: 'make' | 'mkdir' | 'unlink' | 'rmdir' | 'look';
      readonly path: readonly string[];
    }
  | { readonly do: 'list' | 'chmod'; readonly path: readonly string[] }
  | {
      readonly do: 'rename' | 'exchange' | 'link';
      readonly path: readonly string[];
      readonly to: readonly string[];
    }
  | { readonly do: 'wait'; readonly ms: number };

/** A tree by paths, as a mount walks it; each answer is text without numbers and times. */
class Walker {
  readonly #tree: Tree;

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  async run(call: Exclude<Call, { do: 'wait' }>): Promise<string> {
    try {
      return await this.#run(call);
    } catch (error) {
      const code = errorCode(error);
      if (code === undefined) throw error;
      return code;
    }
  }

  async #run(call: Exclude<Call, { do: 'wait' }>): Promise<string> {
    const tree = this.#tree;
    const place = await this.#placeOf(call.path);
    if (call.do === 'make')
      return told((await tree.makeNode({ ...OWNED, type: 'file', place })).status);
    if (call.do === 'mkdir') {
      return told((await tree.makeDirectory({ ...OWNED, place, salt: SALT })).status);
    }
    if (call.do === 'unlink') return told((await tree.unlink(place)).status);
    if (call.do === 'rmdir') return told(await tree.removeDirectory(place));
    const entry = await tree.lookup(place);
    if (call.do === 'look') return entry ? told(entry.status) : 'none';
    if (!entry) return 'none';
    const { inode } = entry.status;
    if (call.do === 'chmod') return told(await tree.setAttributes(inode, { mode: 0o600 }));
    if (call.do === 'list') {
      const names = (await tree.listAttributes({ directory: inode })).map(
        ({ name, status }) => `${Buffer.from(name).toString()}:${told(status)}`,
      );
      return names.join();
    }
    const to = await this.#placeOf((call as { to: readonly string[] }).to);
    if (call.do === 'link') return told(await tree.link(inode, to));
    const flag = call.do === 'exchange' ? 'exchange' : undefined;
    const removal = await tree.rename({ from: place, to, flag });
    return removal ? told(removal.status) : 'moved';
  }

  async #placeOf(path: readonly string[]): Promise<Place> {
    let directory = ROOT_INODE;
    for (const name of path.slice(0, -1)) {
      const entry = await this.#tree.lookup(at(directory, name));
      if (!entry) throw Object.assign(new Error(name), { code: 'HF_NOT_FOUND' });
      directory = entry.status.inode;
    }
    return at(directory, path.at(-1)!);
  }
}

/** What does not depend on when and where. Of a directory that is gone only that. */
function told({ type, mode, linkCount, changeCount }: InodeStatus): string {
  return `${type} ${mode.toString(8)} ${linkCount} ${linkCount > 0 ? changeCount : ''}`;
}

const path = fc.array(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 3 });
const calls = fc.array(
  fc.record({
    node: fc.nat(1),
    call: fc.oneof(
      fc.record({
        do: fc.constantFrom('make', 'mkdir', 'unlink', 'rmdir', 'look', 'list', 'chmod'),
        path,
      }) as fc.Arbitrary<Call>,
      fc.record({
        do: fc.constantFrom('rename', 'link', 'exchange'),
        path,
        to: path,
      }) as fc.Arbitrary<Call>,
      fc.record({
        do: fc.constant('wait'),
        ms: fc.constantFrom(100, 700, 31_000, 62_000),
      }) as fc.Arbitrary<Call>,
    ),
  }),
  { minLength: 20, maxLength: 120 },
);

/** Mostly the same node for a while, as people work. */
function inRuns(list: readonly { node: number; call: Call }[]): { node: number; call: Call }[] {
  let node = 0;
  return list.map(({ node: wanted, call }, index) => {
    if (index % 7 === 0) node = wanted;
    return { node, call };
  });
}

async function compare(list: readonly { node: number; call: Call }[]): Promise<number> {
  const env = virtualEnv(1);
  const open = () => openVolumeCell({ env, cell: 'v', log: new MemoryLog(), db: new MemoryDb() });
  await using cell = await open();
  await using plainCell = await open();
  await using first = await nodeOf(env, cell, 'a');
  await using second = await nodeOf(env, cell, 'b');
  const walkers = [new Walker(first.tree), new Walker(second.tree)];
  const plain = new Walker(plainCell.tree);
  for (const [index, { node, call }] of inRuns(list).entries()) {
    if (call.do === 'wait') {
      await env.clock.sleep(call.ms);
      continue;
    }
    const answer = await walkers[node]!.run(call);
    const wanted = await plain.run(call);
    expect(answer, `${index}: ${JSON.stringify(call)} on ${node}`).toBe(wanted);
  }
  for (const { held } of [first, second]) await held.bringAll();
  const [here, there] = [await whole(patient(cell.tree)), await whole(plainCell.tree)];
  expect(here).toEqual(there);
  return list.length;
}

/** All of a tree, as text. */
async function whole(tree: Tree, directory = ROOT_INODE, prefix = ''): Promise<string[]> {
  const lines: string[] = [];
  for (const { name, status } of await tree.listAttributes({ directory })) {
    const shown = `${prefix}${Buffer.from(name).toString()}`;
    lines.push(`${shown} ${told(status)}`);
    if (status.type === 'directory') lines.push(...(await whole(tree, status.inode, shown)));
  }
  return lines;
}

it('says what the plain tree says, on two nodes', async () => {
  await fc.assert(
    fc.asyncProperty(calls, async (list) => void (await compare(list))),
    {
      numRuns: Number(process.env['HELD_RUNS'] ?? 150),
    },
  );
}, 120_000);
