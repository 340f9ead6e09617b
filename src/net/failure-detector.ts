/**
 * Whom to ask for a sign of life, and whom to ask to ask: a pure state machine. Members are probed
 * in turn, in an order shuffled anew each round, so that each is probed within two rounds for sure
 * and by all others together about once in an interval. Those whose connection broke come first.
 * The dead are tried again at a low rate: all nodes together try each about once in
 * DEAD_RETRY_TICKS, so parts of a cluster that were parted find each other, and a dead machine is
 * not flooded.
 * Source: Das, Gupta and Motivala 2002 (SWIM), sections 3 and 4.3.
 */
import type { NodeId } from '../base/index.ts';
import type { Random } from '../env/index.ts';

const DEAD_RETRY_TICKS = 5;
/** Precision of the chance below. */
const CHANCE_PARTS = 1_000_000;

export class FailureDetector {
  readonly #random: Random;
  #round: NodeId[] = [];
  readonly #urgent = new Set<NodeId>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** A connection to it broke. */
  promote(node: NodeId): void {
    this.#urgent.add(node);
  }

  /** The next to probe. @param isProbed those whose turn it can be: alive or suspect. */
  next(
    candidates: () => Iterable<NodeId>,
    isProbed: (node: NodeId) => boolean,
  ): NodeId | undefined {
    for (const node of this.#urgent) {
      this.#urgent.delete(node);
      if (isProbed(node)) return node;
    }
    for (const isNewRound of [false, true]) {
      if (isNewRound) this.#round = this.pick(candidates(), Infinity);
      for (let node = this.#round.pop(); node !== undefined; node = this.#round.pop()) {
        if (isProbed(node)) return node;
      }
    }
    return undefined;
  }

  /** One of the dead, now and then. */
  nextDead(dead: readonly NodeId[], aliveCount: number): NodeId | undefined {
    const chance = dead.length / (DEAD_RETRY_TICKS * (aliveCount + 1));
    const isTime = this.#random.below(CHANCE_PARTS) < chance * CHANCE_PARTS;
    return isTime ? this.pick(dead, 1)[0] : undefined;
  }

  /** Up to `count` of them, each as likely as the other, in a random order. */
  pick(nodes: Iterable<NodeId>, count: number): NodeId[] {
    const all = [...nodes];
    const picked = Math.min(count, all.length);
    for (let index = 0; index < picked; index++) {
      const other = index + this.#random.below(all.length - index);
      [all[index], all[other]] = [all[other]!, all[index]!];
    }
    return all.slice(0, picked);
  }
}
