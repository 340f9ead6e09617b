/**
 * Repair while the home moves: done here while this node is home, asked of the home else. What was
 * begun here ends when another node has become home, and what is begun later begins anew: what an
 * earlier time at home had found out may not be so any more.
 */
import type { NodeId } from '../../base/index.ts';
import type { Network } from '../../net/index.ts';
import { openRepair, remoteRepair, type Repair, type RepairOptions } from '../../repair/index.ts';
import type { HomeSeat } from './home-seat.ts';

export interface RingRepairOptions extends RepairOptions {
  readonly self: NodeId;
  readonly network: Pick<Network, 'call' | 'open'>;
  readonly home: () => NodeId | undefined;
  /** Why this node is cut off from the registry, while it is. */
  readonly cutReason: () => string | undefined;
  readonly tell?: ((node: NodeId) => string) | undefined;
  /** `undefined` on a node that is never home. */
  readonly seat: HomeSeat | undefined;
  /** Brings copies of metadata back. */
  readonly mendMetadata: () => Promise<unknown>;
}

interface Tenure {
  readonly repair: Repair;
  readonly over: AbortSignal;
}

export class RingRepair {
  readonly #options: RingRepairOptions;
  readonly #elsewhere: Repair;
  #tenure: Tenure | undefined;

  constructor(options: RingRepairOptions) {
    this.#options = options;
    const { self, network, home, cutReason, tell } = options;
    // Who is named as home, and does not know whether it still is, asks nobody.
    const steward = (): NodeId | undefined => (home() === self ? undefined : home());
    this.#elsewhere = remoteRepair({ network, steward, whyNobody: cutReason, tell });
  }

  asRepair(): Repair {
    const here = () => this.#here();
    const run = <Run extends { readonly signal?: AbortSignal | undefined }>(
      given: Run,
      over: AbortSignal,
    ): Run => ({
      ...given,
      signal: given.signal ? AbortSignal.any([given.signal, over]) : over,
    });
    return {
      scrub: async (given = {}) => {
        const at = here();
        return await (at ? at.repair.scrub(run(given, at.over)) : this.#elsewhere.scrub(given));
      },
      health: async (given = {}) => {
        const at = here();
        return await (at ? at.repair.health(run(given, at.over)) : this.#elsewhere.health(given));
      },
      repair: async (given = {}) => {
        const at = here();
        if (!at) return await this.#elsewhere.repair(given);
        return await this.#repairAll(() => at.repair.repair(run(given, at.over)));
      },
      collect: async (given) => {
        const at = here();
        return await (at ? at.repair.collect(run(given, at.over)) : this.#elsewhere.collect(given));
      },
      release: async (...release) => await (here()?.repair ?? this.#elsewhere).release(...release),
      releaseLoose: async (...of) => await (here()?.repair ?? this.#elsewhere).releaseLoose(...of),
      abandon: async (...write) => await (here()?.repair ?? this.#elsewhere).abandon(...write),
      status: async () => await (here()?.repair ?? this.#elsewhere).status(),
    };
  }

  /** Copies of metadata and shards of content are lost with the same stores. */
  async #repairAll<Summary>(repairContent: () => Promise<Summary>): Promise<Summary> {
    const { mendMetadata } = this.#options;
    const [metadata, content] = await Promise.allSettled([mendMetadata(), repairContent()]);
    // Neither keeps the other from being done.
    if (content.status === 'rejected') throw content.reason;
    if (metadata.status === 'rejected') throw metadata.reason;
    return content.value;
  }

  /** What is done here; `undefined` while this node is not home. */
  #here(): Tenure | undefined {
    const { seat } = this.#options;
    if (!seat?.isHome) return undefined;
    if (!this.#tenure || this.#tenure.over.aborted) this.#tenure = this.#begin(seat);
    return this.#tenure;
  }

  #begin(seat: HomeSeat): Tenure {
    return { repair: openRepair(this.#options), over: seat.tenure };
  }
}
