/**
 * What a client does in a directory that it holds: it says that a call is done as soon as it has
 * noted it, brings all of them later in one batch, and hears then how each went. If the lease was
 * taken meanwhile none of them may ever have happened, and nobody has seen otherwise.
 */
import {
  type DirectoryLease,
  endLease,
  type Executor,
  grantLease,
  type Inode,
  leaseToRecall,
  openSession,
  type TreeBatch,
  treeOf,
} from '../../src/meta/index.ts';
import { CIRCUMSTANCES, inodeOf, stepOf } from './namespace-tree.ts';
import type { PlannedCall } from './plan.ts';
import { NEVER, type NodeName, OK } from './tree-model.ts';
import type { World } from './world.ts';

/** Of batches; other requests have another one. */
const LANE = 1;

/** Asks until there is an answer; `undefined` when it gave up. */
type Ask = <Answer>(
  slot: number,
  ask: (executor: Executor) => Promise<Answer>,
) => Promise<Answer | string | undefined>;

export interface HolderOptions {
  readonly world: World;
  readonly session: string;
  readonly ask: Ask;
}

/** Makes the session known to one cell. */
export async function beginSession(executor: Executor, session: string): Promise<void> {
  const { nowMs } = CIRCUMSTANCES;
  await executor.execute((rows) => openSession(rows, { session, node: 'n', openedAtMs: nowMs }));
}

/** As a steward does at the end of its patience. */
export async function takeLease(executor: Executor, directory: Inode): Promise<void> {
  await executor.execute((rows) => {
    const lease = leaseToRecall(rows, directory);
    if (lease) endLease(rows, directory, lease);
  });
}

export class Holder {
  readonly #options: HolderOptions;
  #sequence = 0;

  constructor(options: HolderOptions) {
    this.#options = options;
  }

  /** @returns whether it held the directory; else nothing was done. */
  async hold(of: NodeName, calls: readonly PlannedCall[]): Promise<boolean> {
    const { world, session, ask } = this.#options;
    const directory = inodeOf(of, (node) => world.slotOf(node));
    const slot = world.slotOf(of);
    const wanted = { session, directory, inodeCount: 1, bytesReserved: 0, rowsReserved: 0 };
    const lease = await ask(slot, (executor) =>
      executor.execute((rows) => grantLease(rows, wanted)),
    );
    if (typeof lease !== 'object') return false;
    await this.#work(lease, slot, calls);
    await ask(slot, (executor) =>
      executor.execute((rows) => endLease(rows, directory, { session, fence: lease.fence })),
    );
    return true;
  }

  async #work(lease: DirectoryLease, slot: number, calls: readonly PlannedCall[]): Promise<void> {
    const { world, session, ask } = this.#options;
    const { history } = world;
    const indexes: number[] = [];
    const ends: number[] = [];
    for (const { call, thinkMs } of calls) {
      const begunAt = world.nextMoment();
      indexes.push(history.length);
      history.push({ call, begunAt, endedAt: Infinity, answer: undefined });
      ends.push(world.nextMoment());
      await world.time.sleep(thinkMs);
    }
    this.#sequence += 1;
    const steps = calls.map(({ call }) => stepOf(call, (node) => world.slotOf(node)));
    const batch: TreeBatch = {
      session,
      leases: [lease],
      lane: LANE,
      sequence: this.#sequence,
      steps,
    };
    const { plant } = world;
    const fault = plant === 'no-lease-fence' ? plant : undefined;
    const answer = await ask(slot, (executor) =>
      treeOf(executor, () => ({ ...CIRCUMSTANCES, fault })).runBatch(batch),
    );
    if (typeof answer !== 'object') return; // what became of it is never known
    for (const [at, index] of indexes.entries()) {
      const text = answer.state === 'done' ? (answer.results[at]?.code ?? OK) : NEVER;
      history[index] = { ...history[index]!, endedAt: ends[at]!, answer: text };
    }
  }
}
