/** The nodes that could take a seat in the ring, as they say of themselves now and then. */
import { mapBounded, type NodeId } from '../../base/index.ts';
import type { Clock } from '../../env/index.ts';
import type { Labels } from '../../net/index.ts';
import type { RingAsks } from './ring-asks.ts';
import { rankCandidates, type RingCandidate, unfitReason } from './ring-choice.ts';

/** They are asked again after this; and who did not take a seat is as good as others again. */
const LIFE_MS = 10 * 60_000;
/** Those that are not fit may be so soon: perhaps they were only busy. */
const UNFIT_LIFE_MS = 60_000;
const ASKED_AT_ONCE = 16;

/** A node with the role for metadata. */
export interface RingNodeView {
  readonly node: NodeId;
  readonly labels: Labels;
  readonly isAlive: boolean;
  readonly rttMs?: number | undefined;
  /** It shall have no seat: it is about to leave. */
  readonly isLeaving?: boolean | undefined;
}

export interface RingCandidatesOptions {
  readonly clock: Clock;
  readonly asks: Pick<RingAsks, 'ability'>;
  readonly nodes: () => readonly RingNodeView[];
}

export class RingCandidates {
  readonly #options: RingCandidatesOptions;
  readonly #known = new Map<NodeId, { candidate: RingCandidate; untilMs: number }>();
  readonly #failures = new Map<NodeId, { count: number; untilMs: number }>();

  constructor(options: RingCandidatesOptions) {
    this.#options = options;
  }

  /** All that are alive and answer, fit or not. */
  async all(): Promise<RingCandidate[]> {
    const { nodes, asks, clock } = this.#options;
    const alive = nodes().filter(({ isAlive, isLeaving }) => isAlive && !isLeaving);
    const found = await mapBounded(alive, ASKED_AT_ONCE, async ({ node, labels }) => {
      const known = this.#known.get(node);
      if (known && known.untilMs > clock.monotonic()) return { ...known.candidate, labels };
      const ability = await asks.ability(node);
      if (!ability) return undefined;
      const candidate = { node, labels, ...ability };
      const lifeMs = unfitReason(candidate) === undefined ? LIFE_MS : UNFIT_LIFE_MS;
      this.#known.set(node, { candidate, untilMs: clock.monotonic() + lifeMs });
      return candidate;
    });
    return found.filter((one) => one !== undefined);
  }

  /**
   * Those that are fit, the best first: those without a seat, but who failed to take one lately
   * after the others; then those with one.
   */
  async ranked(seated: readonly NodeId[] = []): Promise<RingCandidate[]> {
    const all = await this.all();
    const taken = all.filter(({ node }) => seated.includes(node));
    const free = all.filter(({ node }) => !seated.includes(node));
    const ranked: RingCandidate[] = [];
    const counts = new Set(free.map(({ node }) => this.#failureCount(node)));
    for (const count of [...counts].toSorted((a, b) => a - b)) {
      const alike = free.filter(({ node }) => this.#failureCount(node) === count);
      ranked.push(...rankCandidates(alike, [...taken, ...ranked]));
    }
    return [...ranked, ...rankCandidates(taken)];
  }

  /** It was given a seat and did not take it. */
  failed(node: NodeId): void {
    const count = this.#failureCount(node) + 1;
    this.#failures.set(node, { count, untilMs: this.#options.clock.monotonic() + LIFE_MS });
  }

  #failureCount(node: NodeId): number {
    const failure = this.#failures.get(node);
    return failure && failure.untilMs > this.#options.clock.monotonic() ? failure.count : 0;
  }
}
