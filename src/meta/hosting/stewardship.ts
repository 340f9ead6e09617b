/**
 * What a steward does besides running operations, from the moment it has taken over until it loses
 * the cell: the interfaces over its cell, what they remember of their users, and the root directory
 * of a new volume.
 */
import { errorCode } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { Cell } from '../cells/cell.ts';
import type { Executor } from '../cells/executor.ts';
import { type Inode, ROOT_INODE } from '../namespace/namespace.ts';
import { makeRoot, type NamespaceFault } from '../namespace/namespace-ops.ts';
import { slotOfInode } from '../namespace/namespace-rows.ts';
import type { PlantedFault } from '../references/reference-ops.ts';
import { referencesOf } from '../references/references-cell.ts';
import { volumeApis } from '../volume-cell/volume-apis.ts';
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
  /** `Handles.recallDirectory` of the volume: the directory may be another cell's. */
  readonly recall: (directory: Inode) => Promise<void>;
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

  /** Aborted when it ends. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

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
    const { env, recall } = options;
    const apis = volumeApis({
      env,
      executor: cell,
      view: () => cell.view(),
      recall,
      fault: faults?.namespace,
    });
    const stewardship = new Stewardship(cell, apis.doors);
    stewardship.#running = apis.run({ signal: stewardship.#ending.signal });
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
