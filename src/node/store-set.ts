/**
 * The stores of this node, the missing ones included. A store that cannot be opened is no reason not
 * to start: the others serve, and it is said which is away and why.
 */
import path from 'node:path';
import {
  type ClusterId,
  type DeviceId,
  errorCode,
  errorMessage,
  hexId,
  HoldfastError,
  LIMITS,
  mapBounded,
  type NodeId,
} from '../base/index.ts';
import { DirectoryDevice, filesystemOf } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import type { DeviceState, TopologyDevice } from '../placement/index.ts';
import { type ChunkStore, type ExtentStore, formatStore, openStore } from '../store/index.ts';
import type { StoreEntry } from './data-directory.ts';

/** Part of a filesystem's free space that new stores may plan with. */
const SPACE_SHARE = 0.9;

/** Levels of this machine's topology, widest first. */
export const LEVELS = ['server', 'disk'] as const;

export interface StoreSetOptions {
  readonly env: Env;
  readonly nodeId: NodeId;
  readonly clusterId: ClusterId;
}

export interface Slot {
  readonly id: DeviceId;
  readonly path: string;
  readonly store: ExtentStore | undefined;
  /** Why it is away. */
  readonly reason: string | undefined;
  /** When it was first seen to be away, by the monotonic clock. */
  readonly awaySinceMs: number | undefined;
  /** The filesystem that it is on: stores on one filesystem are one disk (ruling 26). */
  readonly disk: string;
  readonly state: DeviceState;
}

export class StoreSet implements AsyncDisposable {
  readonly #options: StoreSetOptions;
  readonly #slots = new Map<DeviceId, Slot>();

  constructor(options: StoreSetOptions) {
    this.#options = options;
  }

  get slots(): readonly Slot[] {
    return [...this.#slots.values()];
  }

  /** Stores that are alive now. */
  alive(): readonly ChunkStore[] {
    return this.slots.flatMap(({ store }) => (store && store.state !== 'failed' ? [store] : []));
  }

  entries(): readonly StoreEntry[] {
    return this.slots.map(({ id, path: where }) => ({ id, path: where }));
  }

  /** The devices as the topology has them. */
  devices(): readonly Omit<TopologyDevice, 'number'>[] {
    return this.slots.map(({ id, store, disk, state }) => ({
      id,
      weightBytes: store?.describe().sizeBytes ?? LIMITS.deviceBytesMin,
      state,
      labels: [this.#options.nodeId, disk],
    }));
  }

  /** Opens known stores; those that cannot be opened are listed as away. */
  async openKnown(entries: readonly StoreEntry[]): Promise<void> {
    await mapBounded(entries, entries.length || 1, async ({ id, path: where }) => {
      await this.#openSlot(id as DeviceId, where);
    });
  }

  async #openSlot(id: DeviceId, where: string): Promise<void> {
    try {
      const store = await this.#openStore(where);
      if (store.id !== id) {
        await store[Symbol.asyncDispose]();
        throw new HoldfastError('HF_NOT_OURS', `${where} is another store than before`);
      }
      await this.#take(store, where);
    } catch (error) {
      this.#markAway(id, where, errorMessage(error));
    }
  }

  #markAway(id: DeviceId, where: string, reason: string): void {
    const before = this.#slots.get(id);
    if (!before?.reason) this.#options.env.log.warn('a store is away', { store: id, reason });
    this.#slots.set(id, {
      id,
      path: where,
      store: undefined,
      reason,
      awaySinceMs: before?.awaySinceMs ?? this.#options.env.clock.monotonic(),
      disk: before?.disk ?? 'unknown',
      state: before?.state ?? 'in',
    });
  }

  async #openStore(where: string): Promise<ExtentStore> {
    const { env, clusterId } = this.#options;
    const device = await DirectoryDevice.open({ env, path: where });
    try {
      return await openStore({ env, device, clusterId });
    } catch (error) {
      await device[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #take(store: ExtentStore, where: string): Promise<Slot> {
    const slot: Slot = {
      id: store.id,
      path: where,
      store,
      reason: undefined,
      awaySinceMs: undefined,
      disk: `disk-${(await filesystemOf(where)).id}`,
      state: store.state === 'draining' ? 'draining' : 'in',
    };
    this.#slots.set(store.id, slot);
    return slot;
  }

  /** Makes a new store in a folder that is empty or not there. */
  async create(where: string, capacityBytes?: number): Promise<Slot> {
    const { env, clusterId, nodeId } = this.#options;
    const uuid = hexId<DeviceId>(env.random.bytes(16));
    const capacity = capacityBytes ?? (await shareOfSpace(where, 1));
    const device = await DirectoryDevice.create({ env, path: where, uuid, capacityBytes: capacity });
    try {
      await formatStore({ env, device, clusterId, nodeId });
      return await this.#take(await openStore({ env, device, clusterId }), where);
    } catch (error) {
      await device[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Takes an existing store into use. @throws HF_NOT_OURS, HF_NOT_FOUND, HF_BUSY. */
  async attach(where: string): Promise<Slot> {
    const store = await this.#openStore(where);
    return await this.#take(store, where);
  }

  /** Looks after the stores: notices those that failed, takes back those that returned. */
  async refresh(): Promise<boolean> {
    let hasChanged = false;
    for (const { id, path: where, store } of this.slots) {
      if (store?.state === 'failed') {
        await closeQuietly(store);
        this.#markAway(id, where, store.describe().failure ?? 'the store failed');
        hasChanged = true;
      } else if (!store) {
        await this.#openSlot(id, where);
        if (this.#slots.get(id)?.store) hasChanged = true;
      }
    }
    return hasChanged;
  }

  /** Stores that have been away for at least this long and still count as `in`. */
  awayFor(ms: number): readonly DeviceId[] {
    const now = this.#options.env.clock.monotonic();
    return this.slots
      .filter(({ state, awaySinceMs = Infinity }) => state === 'in' && now - awaySinceMs >= ms)
      .map(({ id }) => id);
  }

  setState(id: DeviceId, state: DeviceState): void {
    const slot = this.#slots.get(id);
    if (slot) this.#slots.set(id, { ...slot, state });
  }

  /** Lets go of a store: closes it and forgets its path. */
  async detach(id: DeviceId): Promise<void> {
    const slot = this.#slots.get(id);
    this.#slots.delete(id);
    if (slot?.store) await closeQuietly(slot.store);
  }

  /** @param name an id, the unique beginning of one, or a path. @throws HF_NOT_FOUND. */
  find(name: string): Slot {
    const full = path.resolve(name);
    const byPath = this.slots.find((slot) => path.resolve(slot.path) === full);
    if (byPath) return byPath;
    const matches = this.slots.filter(({ id }) => id.startsWith(name));
    if (matches.length === 1) return matches[0]!;
    throw new HoldfastError(
      'HF_NOT_FOUND',
      matches.length === 0
        ? `"${name}" is no store of this node; see: holdfast dev list`
        : `"${name}" fits ${matches.length} stores; write more of the id`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await mapBounded(this.slots, this.slots.length || 1, async ({ store }) => {
      if (store) await store[Symbol.asyncDispose]();
    });
  }
}

/** What each of `count` new stores under a path may grow to. */
export async function shareOfSpace(where: string, count: number): Promise<number> {
  const { freeBytes } = await filesystemOf(await nearestFolder(where));
  return Math.floor((freeBytes * SPACE_SHARE) / count);
}

/** The path itself, or the nearest folder above it that exists. */
async function nearestFolder(where: string): Promise<string> {
  for (let folder = path.resolve(where); ; folder = path.dirname(folder)) {
    try {
      await filesystemOf(folder);
      return folder;
    } catch (error) {
      if (errorCode(error) !== 'HF_NOT_FOUND' || folder === path.dirname(folder)) throw error;
    }
  }
}

/** A store that has failed has nothing left to lose by not closing well. */
async function closeQuietly(store: ChunkStore): Promise<void> {
  await store[Symbol.asyncDispose]().catch(() => {});
}
