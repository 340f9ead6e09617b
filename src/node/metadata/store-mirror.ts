/**
 * The log's mirror on the stores of this machine (ruling 10): each record is a metadata chunk on as
 * many stores as keep it safe from the losses that content bears, on as many disks as there are.
 * Which stores follows from the record's id, as for shards that are handed off, so records spread
 * evenly. How many copies make it count: see quorum.ts.
 */
import {
  type ChunkId,
  type DeviceId,
  errorCode,
  HoldfastError,
  LIMITS,
  mapBounded,
  metadataChunkId,
  toHex,
  UnderWay,
} from '../../base/index.ts';
import { digest } from '../../crypto/index.ts';
import type { Mirror, MirrorRecord, MirrorRef } from '../../log/index.ts';
import type { ChunkStore } from '../../store/index.ts';
import {
  COPY_GENERATION,
  copiesOn,
  firstCopy,
  isRecordScheme,
  removeQuietly,
  rendezvous,
  spreadOver,
} from './copies.ts';
import type { Quorum } from './quorum.ts';

const READS_AT_ONCE = 16;

export interface StoreMirrorOptions {
  /** The stores that are alive, as of the call. */
  readonly stores: () => readonly ChunkStore[];
  /** Losses that a record must survive, where there are stores enough. */
  readonly tolerance: number;
  /** What counts until {@link StoreMirror.prepare} says otherwise. */
  readonly quorum: Quorum;
  /** Whether a store is being drained: it gets copies only where a record needs them to count. */
  readonly isLeaving?: (id: DeviceId) => boolean;
}

export class StoreMirror implements Mirror {
  readonly #options: StoreMirrorOptions;
  /** All that a record must satisfy: two while the members change. */
  #quorums: readonly Quorum[];
  readonly #puts = new UnderWay();
  readonly #full = new Set<DeviceId>();

  constructor(options: StoreMirrorOptions) {
    this.#options = options;
    this.#quorums = [options.quorum];
  }

  /**
   * From here on records satisfy `next` as well; brings those that there are to it.
   * @throws HF_TOO_FEW_STORES when some record cannot be.
   */
  async prepare(next: Quorum): Promise<void> {
    this.#quorums = [this.#quorums[0]!, next];
    // They were put when `next` was not asked for, and may be too late for repair to see.
    await this.#puts.settled();
    await this.#mend({ isStrict: true });
  }

  /** `quorum` is in force, and nothing else. */
  settle(quorum: Quorum): void {
    this.#quorums = [quorum];
  }

  /** Stores that had no room for the last record that was to go there. */
  get fullStores(): ReadonlySet<DeviceId> {
    return this.#full;
  }

  async put(bytes: Uint8Array): Promise<MirrorRef> {
    const id = metadataChunkId(digest(bytes));
    const put = () => this.#putCopies(id, bytes, { isVerified: true });
    this.#assertKept(await this.#puts.run(put));
    return { id };
  }

  #isKept(holders: readonly DeviceId[]): boolean {
    return holders.length > 0 && this.#quorums.every((quorum) => quorum.isKept(holders));
  }

  #assertKept(holders: readonly DeviceId[]): void {
    if (this.#isKept(holders)) return;
    const here = this.#options.stores().map(({ id }) => id);
    const lacking = this.#quorums.find((quorum) => !quorum.isKept(holders)) ?? this.#quorums[0]!;
    const { copiesMin, memberCount } = lacking;
    throw new HoldfastError(
      'HF_TOO_FEW_STORES',
      `metadata could be stored on ${holders.length} stores only and must be on ${copiesMin}; ` +
        `${lacking.away(here).length} of ${memberCount} stores are away`,
    );
  }

  #isStaying({ id }: ChunkStore): boolean {
    return !this.#options.isLeaving?.(id);
  }

  /** Copies that a record is to have, on stores that stay. */
  #wantedCount(): number {
    const staying = this.#options.stores().filter((store) => this.#isStaying(store));
    return Math.min(this.#options.tolerance + 1, staying.length);
  }

  /**
   * Puts copies on the first stores of the record's order that take it. One that is full is passed
   * over like one that is away, as long as the record counts without it (quorum.ts, rule 1).
   * @returns which did. @throws HF_NO_SPACE.
   */
  async #putCopies(
    id: ChunkId,
    bytes: Uint8Array,
    { isVerified }: { isVerified: boolean },
  ): Promise<DeviceId[]> {
    const wanted = this.#wantedCount();
    const candidates = this.#order(id).values();
    const holders: DeviceId[] = [];
    let full: unknown;
    const putOne = async (): Promise<boolean> => {
      for (const store of candidates) {
        try {
          await store.put(id, bytes, { generation: COPY_GENERATION, isVerified });
          holders.push(store.id);
          this.#full.delete(store.id);
          return true;
        } catch (error) {
          if (errorCode(error) === undefined) throw error;
          if (errorCode(error) !== 'HF_NO_SPACE') continue;
          full = error;
          this.#full.add(store.id);
        }
      }
      return false;
    };
    const copies = Array.from({ length: wanted });
    await mapBounded(copies, LIMITS.deviceOperationsMax, putOne);
    // Some may be on stores that do not count, or too many on one disk.
    while (!this.#isKept(holders) && (await putOne()));
    if (full && !this.#isKept(holders)) throw full;
    return holders;
  }

  /**
   * Stores as the record prefers them: each disk once, before any disk a second time; those that
   * are being drained last.
   */
  #order(id: ChunkId): readonly ChunkStore[] {
    const all = rendezvous(this.#options.stores(), id);
    const leaving = all.filter((store) => !this.#isStaying(store));
    const staying = all.filter((store) => this.#isStaying(store));
    return [...spreadOver(staying, (store) => this.#quorums.at(-1)!.diskOf(store.id)), ...leaving];
  }

  async get({ id }: MirrorRef): Promise<Uint8Array | undefined> {
    const chunk = id as ChunkId;
    return await firstCopy(rendezvous(this.#options.stores(), chunk), chunk);
  }

  async remove(refs: readonly MirrorRef[]): Promise<void> {
    await mapBounded(this.#options.stores(), READS_AT_ONCE, async (store) => {
      await mapBounded(refs, READS_AT_ONCE, ({ id }) => removeQuietly(store, id as ChunkId));
    });
  }

  async *list(): AsyncIterable<MirrorRef & MirrorRecord> {
    const ids = new Map<string, ChunkId>();
    for (const store of this.#options.stores()) {
      for await (const { id } of copiesOn(store, isRecordScheme)) ids.set(toHex(id), id);
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
    return await this.#mend({ isStrict: false });
  }

  /** @param isStrict whether a record that cannot have all its copies is an error. */
  async #mend({ isStrict }: { isStrict: boolean }): Promise<number> {
    const wanted = this.#wantedCount();
    const records = new Map<string, HeldRecord>();
    for (const store of this.#options.stores()) {
      const isStaying = this.#isStaying(store);
      for await (const { id, isGood } of copiesOn(store, isRecordScheme)) {
        const record = records.get(toHex(id)) ?? { id, good: [], badAt: [], stayingCount: 0 };
        if (!isGood) record.badAt.push(store);
        else record.good.push(store.id);
        if (isGood && isStaying) record.stayingCount += 1;
        records.set(toHex(id), record);
      }
    }
    const needy = [...records.values()].filter(
      ({ good, badAt, stayingCount }) =>
        stayingCount < wanted || badAt.length > 0 || !this.#isKept(good),
    );
    for (const { id, good, badAt } of needy) {
      const bytes = await this.get({ id });
      if (!bytes) continue; // nothing left to copy; the log knows whether it is missed
      const put = await this.#putCopies(id, bytes, { isVerified: false });
      if (isStrict) this.#assertKept([...good, ...put]);
      for (const store of badAt) {
        if ((await store.stat(id))?.isGood) continue;
        await store.remove(id, { generationMax: COPY_GENERATION });
      }
    }
    return needy.length;
  }
}

interface HeldRecord {
  readonly id: ChunkId;
  /** Stores with a good copy. */
  readonly good: DeviceId[];
  readonly badAt: ChunkStore[];
  /** Those of the good ones that are not being drained. */
  stayingCount: number;
}
