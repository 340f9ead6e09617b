/** Nodes that work in one volume cell through held directories, in virtual time. */
import { errorCode, type ObjectId } from '../../src/base/index.ts';
import { MemoryDb } from '../../src/db/index.ts';
import type { Env } from '../../src/env/index.ts';
import { MemoryLog } from '../../src/log/index.ts';
import { type Nearness, openVolumeCell, type Tree, type VolumeCell } from '../../src/meta/index.ts';
import { type HeldFault, HeldTree, OpenInodes } from '../../src/volume/index.ts';

/** From a node to the cell. */
interface Way {
  /** The cell does not hear of it, nor it of the cell, while this is true. */
  isCutOff: boolean;
  /** Asked before and after each batch is run; what it throws is all that the node hears. */
  onBatch: (when: 'before' | 'after') => void;
  /** Arguments of all that a door has answered, in the order of the answers. */
  readonly answered: (door: string) => (readonly unknown[])[];
}

export interface HeldNode extends Way, AsyncDisposable {
  readonly held: HeldTree;
  /** As `held.tree`. */
  readonly tree: Tree;
  readonly opens: OpenInodes;
  readonly released: bigint[];
}

export async function openCell(env: Env): Promise<VolumeCell> {
  return await openVolumeCell({ env, cell: 'v', log: new MemoryLog(), db: new MemoryDb() });
}

export interface HeldNodeOptions {
  readonly env: Env;
  readonly cell: VolumeCell;
  readonly node: string;
  readonly fault?: HeldFault | undefined;
  /** Nothing by default. */
  readonly storeContent?: () => Promise<void>;
}

export async function openHeldNode(options: HeldNodeOptions): Promise<HeldNode> {
  const { env, cell, node, fault, storeContent = async () => {} } = options;
  const stack = new AsyncDisposableStack();
  const released: bigint[] = [];
  const calls: { door: string; args: readonly unknown[] }[] = [];
  const way: Way = {
    isCutOff: false,
    onBatch: () => {},
    answered: (wanted) => calls.filter(({ door }) => door === wanted).map(({ args }) => args),
  };
  const reach = <Doors extends object>(doors: Doors): Doors =>
    wrapped(doors, async (door, ask, args) => {
      while (way.isCutOff) await env.clock.sleep(100);
      if (door === 'runBatch') way.onBatch('before');
      const answer = await ask();
      calls.push({ door, args });
      if (door === 'runBatch') way.onBatch('after');
      return answer;
    });
  const handles = reach(patient(cell.handles));
  const opens = stack.use(
    await OpenInodes.open({
      env,
      handles,
      node,
      release: (inode, about) => held.release(inode, about),
    }),
  );
  let ids = 0;
  const inodes = {
    take: async (near: Nearness) => await cell.namespace.allocateInodes(1, near),
    newId: () => (ids++).toString(16).padStart(32, '0') as ObjectId,
  };
  const held: HeldTree = stack.use(
    new HeldTree({
      env,
      handles,
      tree: reach(patient(cell.tree)),
      opens,
      inodes,
      mayHold: () => true,
      release: async (inode) => void released.push(inode),
      storeContent,
      fault,
    }),
  );
  const parts = { held, tree: held.tree, opens, released };
  return Object.assign(way, parts, {
    [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
  });
}

/** As a node asks a cell: again, while a directory is on its way. */
export function patient<Doors extends object>(doors: Doors): Doors {
  return wrapped(doors, async (_, ask) => {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (errorCode(error) !== 'HF_LEASED') throw error;
      }
    }
  });
}

function wrapped<Doors extends object>(
  doors: Doors,
  around: (name: string, ask: () => Promise<unknown>, args: readonly unknown[]) => Promise<unknown>,
): Doors {
  const entries = Object.entries(doors).map(([name, method]) => [
    name,
    async (...args: never[]) =>
      await around(name, () => (method as (...all: never[]) => Promise<unknown>)(...args), args),
  ]);
  return Object.fromEntries(entries) as Doors;
}
