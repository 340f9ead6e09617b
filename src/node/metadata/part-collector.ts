/**
 * Lets go of what is left on the stores of metadata that nothing needs: parts and lists of
 * snapshots that nothing names, and the records of the log of one node, after the metadata has
 * moved to a ring. For the home, as long as it is home.
 *
 * Invariants: 1. nothing goes unless the list of every cell that the ring has could be read *after*
 * it was seen on the stores; 2. a part goes when it is older than the grace and no list named it at
 * two looks in a row: one that is just being saved is named before; 3. records of the old log go
 * when the youngest, its seal, is older than the grace and every cell has a snapshot in the pool.
 */
import {
  type ChunkId,
  errorCode,
  errorMessage,
  LIMITS,
  throwIfAborted,
  toHex,
} from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import {
  type EtcdLog,
  type PoolSnapshot,
  type PoolSnapshots,
  REGISTRY_CELL,
} from '../../log/index.ts';
import type { ChunkStore } from '../../store/index.ts';
import { copiesOn, isRecordScheme, removeQuietly } from './copies.ts';
import { listId } from './part-shards.ts';
import type { PoolParts } from './pool-parts.ts';

const LOOK_EVERY_MS = 3_600_000;

export interface PartCollectorOptions {
  readonly env: Pick<Env, 'clock' | 'log'>;
  readonly parts: Pick<PoolParts, 'census' | 'remove'>;
  /** Of the generation that is open. */
  readonly log: Pick<EtcdLog, 'cellIds' | 'snapshotParts'>;
  readonly generation: number;
  /** What the stores have of lists; the newest of the registry is kept. */
  readonly pool: Pick<PoolSnapshots, 'all'>;
  /** All stores of the cluster that can be asked, as of the call. */
  readonly stores: () => readonly ChunkStore[];
  readonly graceMs?: number | undefined;
}

export interface Collected {
  readonly partCount: number;
  readonly recordCount: number;
}

interface Lists {
  readonly named: ReadonlySet<string>;
  /** Whether every cell has a snapshot, and there is a cell. */
  readonly areComplete: boolean;
}

export class PartCollector {
  readonly #options: PartCollectorOptions;
  /** What no list named at the last look. */
  #unnamed: ReadonlySet<string> = new Set();

  constructor(options: PartCollectorOptions) {
    this.#options = options;
  }

  /** Until `signal` is aborted. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { clock, log } = this.#options.env;
    this.#unnamed = new Set();
    for await (const _ of clock.every(LOOK_EVERY_MS, { signal })) {
      try {
        const { partCount, recordCount } = await this.collect({ signal });
        if (partCount + recordCount === 0) continue;
        log.info('metadata that nothing needs was let go', { partCount, recordCount });
      } catch (error) {
        const code = errorCode(error);
        if (code === undefined) throw error;
        const reason = errorMessage(error);
        if (code !== 'HF_INTERRUPTED') log.warn('old metadata could not be let go', { reason });
      }
    }
  }

  /** One look. @throws HF_CORRUPT, HF_FORGED, HF_UNAVAILABLE when not all lists can be read. */
  async collect({ signal }: { readonly signal?: AbortSignal } = {}): Promise<Collected> {
    const { env, parts, graceMs = LIMITS.unnamedChunkGraceMs } = this.#options;
    const beforeMs = env.clock.now() - graceMs;
    const held = await parts.census();
    const records = await this.#oldRecords(beforeMs);
    const { named, areComplete } = await this.#lists();
    const unnamed = held.filter(({ id }) => !named.has(toHex(id)));
    const needless = unnamed.filter(
      ({ id, writtenAtMs }) => writtenAtMs < beforeMs && this.#unnamed.has(toHex(id)),
    );
    this.#unnamed = new Set(unnamed.map(({ id }) => toHex(id)));
    throwIfAborted(signal);
    await parts.remove(needless);
    const old = areComplete ? records : [];
    for (const { store, id } of old) {
      throwIfAborted(signal);
      await removeQuietly(store, id);
    }
    return { partCount: needless.length, recordCount: old.length };
  }

  async #lists(): Promise<Lists> {
    const { log } = this.#options;
    const named = new Set<string>();
    let [cellCount, listCount] = [0, 0];
    for await (const cell of log.cellIds()) {
      const listed = await log.snapshotParts(cell);
      cellCount += 1;
      if (listed) listCount += 1;
      for (const { id } of listed?.parts ?? []) named.add(toHex(id));
      if (listed) named.add(toHex(listId(listed.list)));
    }
    const ofRegistry = await newestRegistry(this.#options);
    for (const { id } of ofRegistry ? [ofRegistry.ref, ...ofRegistry.partRefs] : []) {
      named.add(toHex(id));
    }
    return { named, areComplete: cellCount > 0 && listCount === cellCount };
  }

  /** None while any of them is young, or a store cannot be looked at. */
  async #oldRecords(beforeMs: number): Promise<{ store: ChunkStore; id: ChunkId }[]> {
    const found: { store: ChunkStore; id: ChunkId }[] = [];
    try {
      for (const store of this.#options.stores()) {
        for await (const { id, writtenAtMs } of copiesOn(store, isRecordScheme)) {
          if (writtenAtMs >= beforeMs) return [];
          found.push({ store, id });
        }
      }
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      return [];
    }
    return found;
  }
}

async function newestRegistry({
  pool,
  generation,
}: PartCollectorOptions): Promise<PoolSnapshot | undefined> {
  const all = await pool.all();
  return all.find((one) => one.generation === generation && one.cell === REGISTRY_CELL);
}
