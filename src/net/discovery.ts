/**
 * Which addresses to try, and when, to meet other nodes: a pure state machine. The *seeds* are
 * configured or remembered by the caller. Some are tried at once while nobody is known, with pauses
 * that double; later one now and then, unless who listens there is known to be alive, so that
 * clusters that have forgotten each other, or never met, meet.
 */
import { LIMITS, type NodeId } from '../base/index.ts';
import type { Random } from '../env/index.ts';
import { formatAddress, type NetAddress } from './address.ts';

const PAUSE_MS_MIN = 1000;

export class Discovery {
  /** Address as text → address, and who was met there. */
  readonly #seeds: Map<string, { readonly address: NetAddress; node: NodeId | undefined }>;
  readonly #random: Random;
  #tryCount = 0;
  #nextAtMs = 0;

  /** @param own addresses of this node; it need not meet itself. */
  constructor(
    { seeds, own }: { seeds: readonly NetAddress[]; own: readonly NetAddress[] },
    random: Random,
  ) {
    const all = seeds.map((address) => [formatAddress(address), address] as const);
    this.#seeds = new Map(all.map(([text, address]) => [text, { address, node: undefined }]));
    for (const address of own) this.#seeds.delete(formatAddress(address));
    this.#random = random;
  }

  /** Tries seeds at once. */
  beginAgain(): void {
    this.#tryCount = 0;
    this.#nextAtMs = 0;
  }

  met(address: NetAddress, node: NodeId): void {
    const seed = this.#seeds.get(formatAddress(address));
    if (seed) seed.node = node;
  }

  /** @param alive nodes known to be alive; asked only when it is time for a try. */
  due(nowMs: number, alive: () => ReadonlySet<NodeId>): readonly NetAddress[] {
    if (this.#seeds.size === 0 || nowMs < this.#nextAtMs) return [];
    const known = alive();
    const isAlone = known.size === 0;
    if (!isAlone) this.#tryCount = 0;
    const doubledMs = PAUSE_MS_MIN * 2 ** Math.min(this.#tryCount, 20);
    const pauseMs = isAlone ? Math.min(doubledMs, LIMITS.seedPauseMsMax) : LIMITS.seedPauseMsMax;
    this.#tryCount += 1;
    this.#nextAtMs = nowMs + pauseMs / 2 + this.#random.below(Math.ceil(pauseMs / 2));
    const unknown = [...this.#seeds.values()].filter(({ node }) => !node || !known.has(node));
    return this.#pick(
      unknown.map(({ address }) => address),
      isAlone ? LIMITS.seedsPerTryMax : 1,
    );
  }

  /** Up to `count` that follow each other, from anywhere. */
  #pick(addresses: readonly NetAddress[], count: number): readonly NetAddress[] {
    if (addresses.length <= count) return addresses;
    const start = this.#random.below(addresses.length);
    return [...addresses.slice(start), ...addresses.slice(0, start)].slice(0, count);
  }
}
