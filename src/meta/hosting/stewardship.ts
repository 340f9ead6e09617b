/**
 * What a steward does besides running operations, from the moment it has taken over until it loses
 * the cell: the interfaces over its cell, what they remember of their users, and the root directory
 * of a new volume.
 */
import { errorCode, errorMessage } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { Cell } from '../cells/cell.ts';
import type { Executor } from '../cells/executor.ts';
import { HandleTable } from '../handles/handle-table.ts';
import { handlesOf } from '../handles/handles-cell.ts';
import type { Circumstances } from '../namespace/inode-ops.ts';
import { type Inode, ROOT_INODE } from '../namespace/namespace.ts';
import { circumstancesOf, namespaceOf } from '../namespace/namespace-cell.ts';
import { makeRoot, type NamespaceFault } from '../namespace/namespace-ops.ts';
import { slotOfInode } from '../namespace/namespace-rows.ts';
import { treeOf } from '../namespace/tree-cell.ts';
import type { PlantedFault } from '../references/reference-ops.ts';
import { referencesOf } from '../references/references-cell.ts';
import { uploadsOf } from '../uploads/uploads-cell.ts';
import { type HostedName, REFERENCES_SPACE } from './hosted-tables.ts';
import { SessionsHeard } from './kept-answers.ts';
import { raiseFence } from './session-fences.ts';

export interface HostedFaults {
  readonly namespace?: NamespaceFault | undefined;
  readonly references?: PlantedFault | undefined;
}

export interface StewardshipOptions {
  readonly env: Env;
  readonly space: string;
  readonly cell: Cell;
  readonly faults?: HostedFaults | undefined;
}

/** An interface over an executor that knows the options of one request. */
export type ApiOf = (executor: Executor) => object;

export class Stewardship implements AsyncDisposable {
  readonly cell: Cell;
  readonly apis: Partial<Record<HostedName, ApiOf>>;
  /** Of the nodes that ask. */
  readonly sessions = new SessionsHeard();
  readonly #ending = new AbortController();
  #running: Promise<void> = Promise.resolve();

  private constructor(cell: Cell, apis: Partial<Record<HostedName, ApiOf>>) {
    this.cell = cell;
    this.apis = apis;
  }

  /** The cell is its own from now on, also when this fails. */
  static async open(options: StewardshipOptions): Promise<Stewardship> {
    const { space, cell, faults } = options;
    if (space === REFERENCES_SPACE) return new Stewardship(cell, referencesApis(faults));
    try {
      await makeRootOf(options);
    } catch (error) {
      await cell[Symbol.asyncDispose]();
      throw error;
    }
    const { apis, handles } = volumeApis(options);
    const stewardship = new Stewardship(cell, apis);
    stewardship.#running = handles.run({ signal: stewardship.#ending.signal });
    return stewardship;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.cell[Symbol.asyncDispose]();
    await this.#running;
  }
}

function referencesApis(faults: HostedFaults | undefined): Partial<Record<HostedName, ApiOf>> {
  return {
    references: (executor) => ({
      ...referencesOf(executor, faults?.references),
      raiseFence: (node: string, fence: number) =>
        executor.execute((rows) => raiseFence(rows, node, fence)),
    }),
  };
}

function volumeApis({ env, cell, faults }: StewardshipOptions): {
  apis: Partial<Record<HostedName, ApiOf>>;
  handles: HandleTable;
} {
  const handles = new HandleTable({
    env,
    executor: cell,
    view: () => cell.view(),
    onClosed: async (inodes) => {
      try {
        await treeOf(cell, now).releaseOrphans(inodes);
      } catch (error) {
        if (errorCode(error) === undefined) throw error;
        env.log.debug('orphans are released later', { reason: errorMessage(error) });
      }
    },
  });
  function now(): Circumstances {
    const isOpen = (inode: Inode): boolean => handles.isOpen(inode);
    return { ...circumstancesOf(env), isOpen, fault: faults?.namespace };
  }
  const apis = {
    namespace: (executor: Executor) => namespaceOf(executor, now),
    tree: (executor: Executor) => treeOf(executor, now),
    handles: (executor: Executor) => handlesOf(executor, { table: handles, clock: env.clock }),
    uploads: (executor: Executor) => uploadsOf(executor, now),
  };
  return { apis, handles };
}

/** Bytes of the root's salt. */
const SALT_BYTES = 16;

/** The root directory of a new volume, by the cell that has its slot. */
async function makeRootOf({ env, cell }: StewardshipOptions): Promise<void> {
  const root = { salt: env.random.bytes(SALT_BYTES), nowMs: env.clock.now() };
  const slot = slotOfInode(ROOT_INODE);
  try {
    await cell.execute((rows) => makeRoot(rows, root), { slot });
  } catch (error) {
    if (errorCode(error) !== 'HF_MOVED') throw error;
  }
}
