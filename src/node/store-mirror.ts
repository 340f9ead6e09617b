/**
 * The log's mirror on the stores of this machine (ruling 10): each record is a metadata chunk on as
 * many stores as keep it safe from the losses that content bears. Which stores follows from the
 * record's id, as for shards that are handed off, so records spread evenly.
 */
import {
  asBuffer,
  type ChunkId,
  type DeviceId,
  chunkIdParts,
  errorCode,
  HoldfastError,
  LIMITS,
  mapBounded,
  METADATA_GROUP,
  METADATA_SCHEME_NUMBER,
  metadataChunkId,
  toHex,
  xxh64,
} from '../base/index.ts';
import { digest } from '../crypto/index.ts';
import type { Mirror, MirrorRecord, MirrorRef } from '../log/index.ts';
import type { ChunkStore } from '../store/index.ts';

/** Records are never put again after a delete, so one generation does. */
const GENERATION = 1;

const READS_AT_ONCE = 16;

export interface StoreMirrorOptions {
  /** The stores that are alive, as of the call. */
  readonly stores: () => readonly ChunkStore[];
  /** Losses that a record must survive. */
  readonly tolerance: number;
  /** Whether a store is being drained: it gets no copies, and those that it has do not count. */
  readonly isLeaving?: (id: DeviceId) => boolean;
}

export class StoreMirror implements Mirror {
  readonly #options: StoreMirrorOptions;

  constructor(options: StoreMirrorOptions) {
    this.#options = options;
  }

  async put(bytes: Uint8Array): Promise<MirrorRef> {
    const id = metadataChunkId(digest(bytes));
    const copies = await this.#putCopies(id, bytes, { isVerified: true });
    const alive = this.#staying().length;
    // One copy would be no mirror, unless one store is all there is.
    if (copies < Math.min(2, alive) || copies === 0) {
      throw new HoldfastError(
        'HF_TOO_FEW_STORES',
        `metadata could be stored on ${copies} of ${alive} stores only`,
      );
    }
    return { id };
  }

  /** Stores that records are put on. */
  #staying(): readonly ChunkStore[] {
    const { stores, isLeaving } = this.#options;
    const alive = stores();
    const staying = alive.filter(({ id }) => !isLeaving?.(id));
    return staying.length > 0 ? staying : alive;
  }

  /** Puts copies on the first stores of the record's order that take it. @returns how many did. */
  async #putCopies(
    id: ChunkId,
    bytes: Uint8Array,
    { isVerified }: { isVerified: boolean },
  ): Promise<number> {
    const order = rendezvous(this.#staying(), id);
    const wanted = Math.min(this.#options.tolerance + 1, order.length);
    const candidates = order.values();
    let full: unknown;
    const copies = Array.from({ length: wanted });
    const taken = await mapBounded(copies, LIMITS.deviceOperationsMax, async () => {
      for (const store of candidates) {
        try {
          await store.put(id, bytes, { generation: GENERATION, isVerified });
          return true;
        } catch (error) {
          if (errorCode(error) === 'HF_NO_SPACE') full = error;
          else if (errorCode(error) === undefined) throw error;
        }
      }
      return false;
    });
    const takenCount = taken.filter(Boolean).length;
    if (takenCount < wanted && full) throw full;
    return takenCount;
  }

  async get({ id }: MirrorRef): Promise<Uint8Array | undefined> {
    for (const store of rendezvous(this.#options.stores(), id as ChunkId)) {
      try {
        const bytes = await store.get(id as ChunkId);
        if (bytes) return bytes;
      } catch (error) {
        if (errorCode(error) === undefined) throw error; // a bad or failed copy: ask the next
      }
    }
    return undefined;
  }

  async remove(refs: readonly MirrorRef[]): Promise<void> {
    await mapBounded(this.#options.stores(), READS_AT_ONCE, async (store) => {
      await mapBounded(refs, READS_AT_ONCE, async ({ id }) => {
        try {
          await store.remove(id as ChunkId, { generationMax: GENERATION });
        } catch (error) {
          if (errorCode(error) === undefined) throw error; // the store is going; so is its copy
        }
      });
    });
  }

  async *list(): AsyncIterable<MirrorRef & MirrorRecord> {
    const ids = new Map<string, ChunkId>();
    for (const store of this.#options.stores()) {
      for await (const { id } of metadataEntries(store)) ids.set(toHex(id), id);
    }
    for (const id of ids.values()) {
      const bytes = await this.get({ id });
      if (bytes) yield { id, bytes };
    }
  }

  /**
   * Brings records back to their full number of copies, and lets go of bad ones.
   * @returns how many records lacked some.
   */
  async repair(): Promise<number> {
    const staying = new Set(this.#staying());
    const wanted = Math.min(this.#options.tolerance + 1, staying.size);
    const records = new Map<string, { id: ChunkId; goodCount: number; badAt: ChunkStore[] }>();
    for (const store of this.#options.stores()) {
      for await (const { id, isGood } of metadataEntries(store)) {
        const record = records.get(toHex(id)) ?? { id, goodCount: 0, badAt: [] };
        if (!isGood) record.badAt.push(store);
        else if (staying.has(store)) record.goodCount += 1;
        records.set(toHex(id), record);
      }
    }
    const needy = [...records.values()].filter(
      ({ goodCount, badAt }) => goodCount < wanted || badAt.length > 0,
    );
    for (const { id, badAt } of needy) {
      const bytes = await this.get({ id });
      if (!bytes) continue; // nothing left to copy; the log knows whether it is missed
      await this.#putCopies(id, bytes, { isVerified: false });
      for (const store of badAt) {
        if ((await store.stat(id))?.isGood) continue;
        await store.remove(id, { generationMax: GENERATION });
      }
    }
    return needy.length;
  }
}

async function* metadataEntries(store: ChunkStore) {
  for await (const entry of store.list({ group: METADATA_GROUP })) {
    if (chunkIdParts(entry.id).schemeNumber === METADATA_SCHEME_NUMBER) yield entry;
  }
}

/** Stores in the order in which this record prefers them. */
function rendezvous(stores: readonly ChunkStore[], id: ChunkId): ChunkStore[] {
  const weigh = (store: ChunkStore): bigint =>
    xxh64(asBuffer(id), BigInt(`0x${store.id.slice(0, 16)}`));
  return stores
    .map((store) => ({ store, weight: weigh(store) }))
    .toSorted((a, b) => (a.weight < b.weight ? -1 : 1))
    .map(({ store }) => store);
}
