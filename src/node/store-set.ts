/**
 * The stores of this node, the missing ones included. A store that cannot be opened is no reason
 * not to start: the others serve, and it is said which is away and why.
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
  Mutex,
  type NodeId,
} from '../base/index.ts';
import { type BlockDevice, DirectoryDevice, filesystemOf } from '../device/index.ts';
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

/** A store that is open, and what it lies on. */
interface OpenSlot {
  readonly store: ExtentStore;
  readonly device: BlockDevice;
}

export interface Slot {
  readonly id: DeviceId;
  readonly path: string;
  readonly open: OpenSlot | undefined;
  /** What it may grow to, as last seen. */
  readonly sizeBytes: number;
  /** Why it is away. */
  readonly reason: string | undefined;
  /** Whether it is away because it is a store of another cluster. */
  readonly isForeign: boolean;
  /** When it was first seen to be away, by the monotonic clock. */
  readonly awaySinceMs: number | undefined;
  /** The filesystem that it is on: stores on one filesystem are one disk (ruling 26). */
  readonly disk: string;
  readonly state: DeviceState;
}

export class StoreSet implements AsyncDisposable {
  readonly #options: StoreSetOptions;
  readonly #slots = new Map<DeviceId, Slot>();
  readonly #refreshing = new Mutex();

  constructor(options: StoreSetOptions) {
    this.#options = options;
  }

  get slots(): readonly Slot[] {
    return [...this.#slots.values()];
  }

  /** Stores that are alive now. */
  alive(): readonly ChunkStore[] {
    return this.slots.flatMap(({ open }) =>
      open && open.store.state !== 'failed' ? [open.store] : [],
    );
  }

  entries(): readonly StoreEntry[] {
    return this.slots.map(({ id, path: where }) => ({ id, path: where }));
  }

  /** The devices as the topology has them. */
  devices(): readonly Omit<TopologyDevice, 'number'>[] {
    return this.slots.map(({ id, sizeBytes, disk, state }) => ({
      id,
      weightBytes: sizeBytes,
      state,
      labels: [this.#options.nodeId, disk],
    }));
  }

  /** Opens known stores; those that cannot be opened are listed as away. */
  async openKnown(entries: readonly StoreEntry[]): Promise<void> {
    // However soon each opens, they are listed in this order.
    for (const { id, path: where } of entries) {
      this.#slots.set(id as DeviceId, unseenSlot(id as DeviceId, where));
    }
    await mapBounded(entries, entries.length || 1, async ({ id, path: where }) => {
      await this.#openSlot(id as DeviceId, where);
    });
  }

  async #openSlot(id: DeviceId, where: string): Promise<void> {
    try {
      const open = await this.#openStore(where);
      if (open.store.id !== id) {
        await open.store[Symbol.asyncDispose]();
        throw new HoldfastError('HF_NOT_OURS', `${where} is another store than before`);
      }
      await this.#take(open, where);
    } catch (error) {
      this.#markAway(id, where, error);
    }
  }

  #markAway(id: DeviceId, where: string, error: unknown): void {
    const reason = errorMessage(error);
    const before = this.#slots.get(id);
    if (!before?.reason) this.#options.env.log.warn('a store is away', { store: id, reason });
    this.#slots.set(id, {
      ...(before ?? unseenSlot(id, where)),
      open: undefined,
      reason,
      isForeign: isOfOtherCluster(error),
      awaySinceMs: before?.awaySinceMs ?? this.#options.env.clock.monotonic(),
    });
  }

  async #openStore(where: string): Promise<OpenSlot> {
    const { env, clusterId } = this.#options;
    const device = await DirectoryDevice.open({ env, path: where });
    try {
      return { device, store: await openStore({ env, device, clusterId }) };
    } catch (error) {
      await device[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #take(open: OpenSlot, where: string): Promise<Slot> {
    const { store } = open;
    // One that was drained is, also after it was away for a moment; one written off is back.
    const isDraining = [store.state, this.#slots.get(store.id)?.state].includes('draining');
    const slot: Slot = {
      id: store.id,
      path: where,
      open,
      sizeBytes: (await store.usage()).sizeBytes,
      reason: undefined,
      isForeign: false,
      awaySinceMs: undefined,
      disk: await diskOf(where),
      state: isDraining ? 'draining' : 'in',
    };
    this.#slots.set(store.id, slot);
    return slot;
  }

  /** As large as the largest store on the same disk, which plans with the same space. */
  async #fittingCapacity(where: string): Promise<number> {
    const share = await shareOfSpace(where, 1);
    const disk = await diskOf(await nearestFolder(where));
    const peers = this.slots.filter((slot) => slot.open && slot.disk === disk);
    if (peers.length === 0) return share;
    return Math.min(share, Math.max(...peers.map(({ sizeBytes }) => sizeBytes)));
  }

  /** Makes a new store in a folder that is empty or not there. */
  async create(where: string, capacityBytes?: number): Promise<Slot> {
    const { env, clusterId, nodeId } = this.#options;
    const uuid = hexId<DeviceId>(env.random.bytes(16));
    const capacity = capacityBytes ?? (await this.#fittingCapacity(where));
    const device = await DirectoryDevice.create({
      env,
      path: where,
      uuid,
      capacityBytes: capacity,
    });
    try {
      await formatStore({ env, device, id: uuid, clusterId, nodeId });
      const store = await openStore({ env, device, clusterId });
      return await this.#take({ store, device }, where);
    } catch (error) {
      await device[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Takes an existing store into use. @throws HF_NOT_OURS, HF_NOT_FOUND, HF_BUSY. */
  async attach(where: string): Promise<Slot> {
    return await this.#take(await this.#openStore(where), where);
  }

  /** What the topology remembers: which are drained, and of stores away since the start all. */
  recall(known: readonly TopologyDevice[]): void {
    for (const slot of this.slots) {
      const device = known.find(({ id }) => id === slot.id);
      if (!device) continue;
      if (slot.open) {
        if (device.state === 'draining') this.setState(slot.id, 'draining');
        continue;
      }
      const { weightBytes: sizeBytes, state } = device;
      const disk = device.labels.at(-1) ?? slot.disk;
      this.#slots.set(slot.id, { ...slot, sizeBytes, disk, state });
    }
  }

  isOpenAt(where: string): boolean {
    const full = path.resolve(where);
    return this.slots.some((slot) => slot.open && path.resolve(slot.path) === full);
  }

  /** Notices stores that are gone, takes back those that returned. @returns whether any changed. */
  async refresh(): Promise<boolean> {
    // One at a time: two that open the same store would find it busy.
    return await this.#refreshing.run(() => this.#refresh());
  }

  async #refresh(): Promise<boolean> {
    const changes = await mapBounded(this.slots, this.slots.length || 1, async (slot) => {
      if (!slot.open) {
        await this.#openSlot(slot.id, slot.path);
        return this.#slots.get(slot.id)?.open !== undefined;
      }
      const { store, device } = slot.open;
      try {
        // A flush of nothing is cheap, and the device makes sure that its folder is still there.
        await device.flush();
        if (store.state !== 'failed') return false;
        this.#markAway(slot.id, slot.path, 'it stopped after a failed write');
      } catch (error) {
        this.#markAway(slot.id, slot.path, error);
      }
      await closeQuietly(store);
      return true;
    });
    return changes.includes(true);
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
    // A refresh under way would take it for lost, and list it again.
    await this.#refreshing.run(async () => {
      const slot = this.#slots.get(id);
      this.#slots.delete(id);
      if (slot?.open) await closeQuietly(slot.open.store);
    });
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
    await mapBounded(this.slots, this.slots.length || 1, async ({ open }) => {
      await open?.store[Symbol.asyncDispose]();
    });
  }
}

/** As opening a store says it. */
export function isOfOtherCluster(error: unknown): boolean {
  const { code, details } = error as Partial<HoldfastError>;
  return code === 'HF_NOT_OURS' && details?.['clusterId'] !== undefined;
}

/** A store of which only the list speaks. */
function unseenSlot(id: DeviceId, where: string): Slot {
  return {
    id,
    path: where,
    open: undefined,
    sizeBytes: LIMITS.deviceBytesMin,
    reason: undefined,
    isForeign: false,
    awaySinceMs: undefined,
    disk: 'unknown',
    state: 'in',
  };
}

/** What each of `count` new stores under a path may grow to. */
export async function shareOfSpace(where: string, count: number): Promise<number> {
  const { freeBytes } = await filesystemOf(await nearestFolder(where));
  return Math.floor((freeBytes * SPACE_SHARE) / count);
}

/** The label of the disk that a path is on: its filesystem (ruling 26). */
async function diskOf(where: string): Promise<string> {
  return `disk-${(await filesystemOf(where)).id}`;
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
