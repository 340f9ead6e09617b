/**
 * A client: asks one call after the other, each until it has an answer. A change that is asked
 * again has the tag of the first time, so that it happens once.
 */
import { type ErrorCode, errorCode } from '../../src/base/index.ts';
import { type Executor, type Inode, leasedDirectory, slotOfInode } from '../../src/meta/index.ts';
import type { SeededRandom } from '../random.ts';
import { textOf } from '../sim-env.ts';
import { beginSession, Holder, takeLease } from './holding.ts';
import { askTree, makeFirst, makeTreeRoot, takeNumbers } from './namespace-tree.ts';
import type { PlannedCall } from './plan.ts';
import { operationOf, slotOfCall } from './row-tree.ts';
import { Life } from './time.ts';
import { FIRST_DIRECTORIES, type NodeName, type TreeCall } from './tree-model.ts';
import { isPassing, type World } from './world.ts';

/** Client places begin beyond all machines. */
const FIRST_PLACE = 100;

/** Of the calls that fail at first, so many are given up: what became of them is never known. */
const GIVE_UP_CHANCE = 0.01;

/** Who meets a lease takes it as often as it waits for its holder. */
const TAKE_CHANCE = 0.3;

/** What a tree answers when it refuses. */
const REFUSALS: ReadonlySet<string> = new Set([
  'HF_NOT_FOUND',
  'HF_EXISTS',
  'HF_IS_DIRECTORY',
  'HF_NOT_DIRECTORY',
  'HF_NOT_EMPTY',
  'HF_BAD_ARGUMENT',
]);

export class Client {
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #place: { readonly index: number; readonly life: Life };
  readonly #session: string;
  readonly #holder: Holder;
  #sequence = 0;

  constructor(world: World, index: number, random: SeededRandom) {
    this.#world = world;
    this.#random = random;
    this.#place = { index: FIRST_PLACE + index, life: new Life({ time: world.time, random }) };
    this.#session = index.toString(16).padStart(32, '0');
    this.#holder = new Holder({
      world,
      session: this.#session,
      ask: (slot, ask) => this.#until(slot, ask, { isRead: true }),
    });
  }

  async run(calls: readonly PlannedCall[]): Promise<void> {
    for (let at = 0; at < calls.length;) {
      const together = heldTogether(calls.slice(at));
      if (!(await this.#hold(together))) {
        for (const { call, thinkMs } of together) {
          if (thinkMs > 0) await this.#world.time.sleep(thinkMs);
          await this.ask(call);
        }
      }
      at += together.length;
    }
  }

  async #hold(calls: readonly PlannedCall[]): Promise<boolean> {
    const directory = heldDirectory(calls[0]);
    return directory !== undefined && (await this.#holder.hold(directory, calls));
  }

  /** Asks until there is an answer; what is asked and answered goes into the history. */
  async ask(call: TreeCall): Promise<void> {
    const { history } = this.#world;
    const index = history.length;
    const begunAt = this.#world.nextMoment();
    history.push({ call, begunAt, endedAt: Infinity, answer: undefined });
    const answer = await this.#answer(call);
    if (answer === undefined) return;
    history[index] = { call, begunAt, endedAt: this.#world.nextMoment(), answer };
  }

  /** Makes what every tree of `meta/namespace` begins with. */
  async prepare(): Promise<void> {
    const slotOf = (node: NodeName): number => this.#world.slotOf(node);
    const patient = { givesUp: false };
    await this.#until(0, makeTreeRoot, patient);
    for (const slot of new Set(this.#world.plan.slots.values())) {
      await this.#until(slot, (executor) => takeNumbers(executor, slot), patient);
    }
    for (const node of FIRST_DIRECTORIES) {
      await this.#until(0, (executor) => makeFirst(executor, node, slotOf), patient);
    }
  }

  /** Makes its session known to all cells. */
  async beginSession(): Promise<void> {
    const { plan } = this.#world;
    for (const slot of plan.cuts.slice(0, -1)) {
      await this.#until(slot, (executor) => beginSession(executor, this.#session), {
        isRead: true,
        givesUp: false,
      });
    }
  }

  /** Somebody holds the directory: it has to give way, but not always at once. */
  async #meetLease(directory: Inode | undefined): Promise<void> {
    if (directory === undefined || !this.#random.chance(TAKE_CHANCE)) return;
    const take = (executor: Executor): Promise<void> => takeLease(executor, directory);
    await this.#until(slotOfInode(directory), take, { isRead: true });
  }

  async #answer(call: TreeCall): Promise<string | undefined> {
    const slotOf = (node: NodeName): number => this.#world.slotOf(node);
    const isRead = call.do === 'lookup' || call.do === 'list';
    const ask = async (executor: Executor): Promise<string> =>
      this.#world.plan.tree === 'rows'
        ? await executor.execute(operationOf(call, slotOf))
        : await askTree(executor, call, slotOf);
    return await this.#until(slotOfCall(call, slotOf), ask, { isRead });
  }

  /** Asks until there is an answer, or until it is given up. */
  async #until<Answer>(
    slot: number,
    ask: (executor: Executor) => Promise<Answer>,
    { isRead = false, givesUp = true } = {},
  ): Promise<Answer | ErrorCode | undefined> {
    this.#sequence += 1;
    const sequence = this.#sequence;
    const retry = isRead ? undefined : { session: this.#session, lane: 0, sequence };
    /** As the steward says; it would recall it by itself. */
    let leased: Inode | undefined;
    for (let tries = 1; ; tries += 1) {
      const cell = this.#world.cellOfSlot(slot);
      const execute: Executor['execute'] = (operation) =>
        this.#world.ask(this.#place, cell, (host) =>
          host.execute(cell, operation, { slot, retry }).catch((error: unknown) => {
            leased = leasedDirectory(error);
            throw error;
          }),
        );
      try {
        return await ask({ execute });
      } catch (error) {
        const code = errorCode(error);
        if (code && REFUSALS.has(code)) return code;
        if (code === 'HF_LEASED') await this.#meetLease(leased);
        else if (!isPassing(error))
          this.#world.violate(`a call ended with ${textOf(error)}`, error);
      }
      const mayGiveUp = givesUp && !this.#world.isCalm;
      if (mayGiveUp && this.#random.chance(GIVE_UP_CHANCE)) return undefined;
      await this.#world.time.sleep(this.#random.between(5, Math.min(10 * tries, 100)));
    }
  }
}

/** The directory in which a call is done that its client wants to hold. */
function heldDirectory(planned: PlannedCall | undefined): NodeName | undefined {
  if (!planned?.isHeld || !('at' in planned.call)) return undefined;
  return planned.call.at.directory;
}

/** The first calls that are done under one lease; at least one. */
function heldTogether(calls: readonly PlannedCall[]): readonly PlannedCall[] {
  const directory = heldDirectory(calls[0]);
  const end = calls.findIndex((call) => heldDirectory(call) !== directory);
  if (directory === undefined) return calls.slice(0, 1);
  return end < 0 ? calls : calls.slice(0, end);
}
