/**
 * A client: asks one call after the other, each until it has an answer. A change that is asked
 * again has the tag of the first time, so that it happens once.
 */
import { type ErrorCode, errorCode } from '../../src/base/index.ts';
import type { Executor } from '../../src/meta/index.ts';
import type { SeededRandom } from '../random.ts';
import { textOf } from '../sim-env.ts';
import { askTree, makeFirst, makeTreeRoot } from './namespace-tree.ts';
import type { PlannedCall } from './plan.ts';
import { operationOf, slotOfCall } from './row-tree.ts';
import { Life } from './time.ts';
import { FIRST_DIRECTORIES, type NodeName, type TreeCall } from './tree-model.ts';
import { isPassing, type World } from './world.ts';

/** Client places begin beyond all machines. */
const FIRST_PLACE = 100;

/** Of the calls that fail at first, so many are given up: what became of them is never known. */
const GIVE_UP_CHANCE = 0.01;

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
  #sequence = 0;

  constructor(world: World, index: number, random: SeededRandom) {
    this.#world = world;
    this.#random = random;
    this.#place = { index: FIRST_PLACE + index, life: new Life({ time: world.time, random }) };
    this.#session = index.toString(16).padStart(32, '0');
  }

  async run(calls: readonly PlannedCall[]): Promise<void> {
    for (const { call, thinkMs } of calls) {
      if (thinkMs > 0) await this.#world.time.sleep(thinkMs);
      await this.ask(call);
    }
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
    for (const node of FIRST_DIRECTORIES) {
      await this.#until(0, (executor) => makeFirst(executor, node, slotOf), patient);
    }
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
    for (let tries = 1; ; tries += 1) {
      const cell = this.#world.cellOfSlot(slot);
      const execute: Executor['execute'] = (operation) =>
        this.#world.ask(this.#place, cell, (host) =>
          host.execute(cell, operation, { slot, retry }),
        );
      try {
        return await ask({ execute });
      } catch (error) {
        const code = errorCode(error);
        if (code && REFUSALS.has(code)) return code;
        if (!isPassing(error)) this.#world.violate(`a call ended with ${textOf(error)}`, error);
      }
      const mayGiveUp = givesUp && !this.#world.isCalm;
      if (mayGiveUp && this.#random.chance(GIVE_UP_CHANCE)) return undefined;
      await this.#world.time.sleep(this.#random.between(5, Math.min(10 * tries, 100)));
    }
  }
}
