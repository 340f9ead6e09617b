/** What the home does for the metadata in the pool, as long as it is home. */
import { EtcdRegistry, type EtcdLog, type EtcdPlace, PoolSnapshots } from '../../log/index.ts';
import type { ChunkStore } from '../../store/index.ts';
import { PartCollector } from './part-collector.ts';
import type { PoolParts } from './pool-parts.ts';
import { RegistryBackup } from './registry-backup.ts';

export interface PoolCareOptions {
  readonly place: EtcdPlace;
  readonly parts: PoolParts;
  readonly log: EtcdLog;
  /** All stores of the cluster that can be asked, as of the call. */
  readonly stores: () => readonly ChunkStore[];
}

export class PoolCare {
  readonly #collector: PartCollector;
  readonly #backup: RegistryBackup;

  constructor({ place, parts, log, stores }: PoolCareOptions) {
    const { env, generation } = place;
    const pool = new PoolSnapshots({ ...place, parts });
    const registry = new EtcdRegistry(place);
    this.#collector = new PartCollector({ env, parts, log, generation, pool, stores });
    this.#backup = new RegistryBackup({ env, registry, generation, pool, parts });
  }

  /** Until `signal` is aborted. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    await Promise.all([this.#collector.run({ signal }), this.#backup.run({ signal })]);
  }
}
