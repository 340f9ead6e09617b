/**
 * Aim: whoever works through held directories meets what the plain tree would say, on whichever
 * node, and what was brought is what the plain tree has. Method: random sequences of operations of
 * two nodes over one cell beside the same over a plain tree, in virtual time.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type HeldNode, openCell, openHeldNode, patient } from '../../../test/suites/held-bed.ts';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { errorCode, HoldfastError, utf8 } from '../../base/index.ts';
import type { Random } from '../../env/index.ts';
import {
  type Inode,
  type InodeStatus,
  type Place,
  ROOT_INODE,
  type Tree,
} from '../../meta/index.ts';
import type { HeldFault } from './holder.ts';

const OWNED = { mode: 0o644, uid: 1, gid: 2 };
const SALT = utf8('salt');

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

/** Answers of batches get lost, some before and some after they were run. */
function losing(random: Random): HeldNode['onBatch'] {
  return () => {
    if (random.below(4) === 0) throw new HoldfastError('HF_UNKNOWN_OUTCOME');
  };
}

async function compare(
  list: readonly { node: number; call: Call }[],
  { fault, losesAnswers }: { fault?: HeldFault; losesAnswers?: boolean } = {},
): Promise<void> {
  const env = virtualEnv(1);
  await using cell = await openCell(env);
  await using plainCell = await openCell(env);
  await using first = await openHeldNode({ env, cell, node: 'a', fault });
  await using second = await openHeldNode({ env, cell, node: 'b', fault });
  if (losesAnswers) for (const each of [first, second]) each.onBatch = losing(env.random);
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

const RUNS = Number(process.env['HELD_RUNS'] ?? 100);
const TIMEOUT_MS = 60_000 + RUNS * 200;

it(
  'says what the plain tree says, on two nodes',
  async () => {
    const property = fc.asyncProperty(calls, (list) => compare(list));
    await fc.assert(property, { numRuns: RUNS });
  },
  TIMEOUT_MS,
);

it(
  'does so when answers of batches are lost',
  async () => {
    const property = fc.asyncProperty(calls, (list) => compare(list, { losesAnswers: true }));
    await fc.assert(property, { numRuns: RUNS });
  },
  TIMEOUT_MS,
);

it.each<HeldFault>(['returns-unbrought', 'reorders', 'asks-anew'])(
  'would not with the fault %s',
  async (fault) => {
    const planted = { fault, losesAnswers: fault === 'asks-anew' };
    const property = fc.asyncProperty(calls, (list) => compare(list, planted));
    const { failed } = await fc.check(property, { numRuns: 500, endOnFailure: true });
    expect(failed).toBe(true);
  },
  TIMEOUT_MS,
);
