/**
 * The stores of this node, the missing ones included. A store that cannot be opened is no reason
 * not to start: the others serve, and it is said which is away and why.
 *
 * A store is *away* when it could not be opened or has stopped: it is taken back as soon as it
 * returns. It is *detached* when the user took it away: it comes back when the user says so.
 */
import path from 'node:path';
import {
  type ClusterId,
  type DeviceId,
  errorMessage,
  hexId,
  HoldfastError,
  KeyedLock,
  LIMITS,
  mapBounded,
  type NodeId,
  utf8,
} from '../../base/index.ts';
import { type BlockDevice, diskLabel, makeDevice, openDevice } from '../../device/index.ts';
import { type Env, within } from '../../env/index.ts';
import type { DeviceState, TopologyDevice } from '../../placement/index.ts';
import {
  checkLimits,
  type ChunkStore,
  type ExtentStore,
  formatStore,
  openStore,
  type Pressure,
  readSuperblock,
} from '../../store/index.ts';
import type { StoreEntry } from '../data-directory.ts';
import {
  findSlot,
  isOfOtherCluster,
  type NewStore,
  type OpenSlot,
  retryAfter,
  type Slot,
  unseenSlot,
} from './store-slot.ts';
import { capacityOf, type FoundStore, storeAt } from './store-place.ts';

export interface StoreSetOptions {
  readonly env: Env;
  readonly nodeId: NodeId;
  readonly clusterId: ClusterId;
  /** Of its failure domains, those above the disk: the node itself when left out. */
  readonly labels?: readonly string[] | undefined;
  /** Memory that the index of one store may take. */
  readonly indexBytesMax?: number | undefined;
}

export class StoreSet implements AsyncDisposable {
  #options: StoreSetOptions;
  readonly #slots = new Map<DeviceId, Slot>();
  /**
   * Two that open the same store would find it busy. Each path and each id has its own lock, so
   * that a disk which hangs holds up nothing but itself; a path is locked before an id.
   */
  readonly #locks = new KeyedLock();
  readonly #looks = new Map<DeviceId, Promise<void>>();
  #changeCount = 0;

  constructor(options: StoreSetOptions) {
    this.#options = options;
  }

  /** Rises whenever a store comes or goes. */
  get changeCount(): number {
    return this.#changeCount;
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
    return this.slots.map(({ id, path: where, isDetached }) => ({
      id,
      path: where,
      ...(isDetached ? { isDetached } : {}),
    }));
  }

  /** From now on they stand elsewhere; see {@link StoreSetOptions}. */
  relabel(labels: readonly string[]): void {
    this.#options = { ...this.#options, labels };
  }

  /** The devices as the topology has them. */
  devices(): readonly Omit<TopologyDevice, 'number'>[] {
    return this.slots.map(({ id, sizeBytes, disk, state }) => ({
      id,
      weightBytes: sizeBytes,
      state,
      labels: [...(this.#options.labels ?? [this.#options.nodeId]), disk],
    }));
  }

  /** Opens known stores; those that cannot be opened are listed as away. */
  async openKnown(entries: readonly StoreEntry[]): Promise<void> {
    // However soon each opens, they are listed in this order.
    for (const { id, path: where, isDetached = false } of entries) {
      const slot = unseenSlot(id as DeviceId, where);
      this.#slots.set(slot.id, isDetached ? { ...slot, ...this.#detached() } : slot);
    }
    await Promise.all(this.slots.map(({ id }) => this.#look(id)));
  }

  async #openSlot(id: DeviceId, where: string): Promise<void> {
    try {
      const open = await this.#openStore(where, async (found) => {
        if (found === id) return;
        throw new HoldfastError('HF_NOT_OURS', `${where} is another store than before`);
      });
      await this.#take(open, where);
    } catch (error) {
      this.#markAway(id, error);
    }
  }

  #markAway(id: DeviceId, error: unknown): void {
    const { log, clock } = this.#options.env;
    const reason = errorMessage(error);
    const before = this.#slots.get(id)!;
    const nowMs = clock.monotonic();
    if (!before.reason) log.warn('a store is away', { store: id, reason });
    if (before.open) this.#changeCount += 1;
    this.#slots.set(id, {
      ...before,
      open: undefined,
      reason,
      isForeign: isOfOtherCluster(error),
      awaySinceMs: before.awaySinceMs ?? nowMs,
      retry: retryAfter(error, { before: before.retry, nowMs }),
    });
  }

  /** @param check refuses the store by its id, before anything is written to it. */
  async #openStore(where: string, check: (id: DeviceId) => Promise<void>): Promise<OpenSlot> {
    const device = await openDevice({ env: this.#options.env, path: where });
    try {
      await check((await readSuperblock(device)).superblock.id);
      return { device, store: await this.#mount(device) };
    } catch (error) {
      await device[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #mount(device: BlockDevice): Promise<ExtentStore> {
    const { env, clusterId, indexBytesMax } = this.#options;
    const onPressure = (pressure: Pressure) => {
      env.log.info('a store holds less or more', { store: device.name, pressure });
    };
    return await openStore({ env, device, clusterId, indexBytesMax, onPressure });
  }

  async #take(open: OpenSlot, where: string): Promise<Slot> {
    const { store, device } = open;
    // One that was drained is, also after it was away for a moment; one written off is back.
    const isDraining = [store.state, this.#slots.get(store.id)?.state].includes('draining');
    const slot: Slot = {
      id: store.id,
      path: where,
      kind: device.kind,
      open,
      sizeBytes: (await store.usage()).sizeBytes,
      reason: undefined,
      isDetached: false,
      isForeign: false,
      awaySinceMs: undefined,
      retry: undefined,
      disk: await diskLabel(device.deviceNumber),
      state: isDraining ? 'draining' : 'in',
    };
    this.#slots.set(store.id, slot);
    this.#changeCount += 1;
    return slot;
  }

  /**
   * Makes a new store in what is empty, or in a folder or image that is not there yet.
   * @throws HF_NOT_OURS for foreign content, HF_EXISTS when a store is there, unless they are given
   *   up; HF_BUSY, HF_BAD_ARGUMENT, HF_NO_SPACE, HF_DENIED, HF_IO.
   */
  async create(where: string, about: NewStore = {}): Promise<Slot> {
    using _ = await this.#lock(path.resolve(where));
    const { env, clusterId, nodeId } = this.#options;
    const uuid = hexId<DeviceId>(env.random.bytes(16));
    const { kind, isForced, replacesStore, label, limits } = about;
    if (limits) checkLimits(limits); // before anything is made
    const capacityBytes = await capacityOf(where, about, this.slots);
    const place = { path: where, uuid, capacityBytes, kind, isForced, replacesStore };
    const device = await makeDevice({ env, ...place });
    try {
      const format = { env, device, id: uuid, clusterId, nodeId, label, limits, replacesStore };
      await formatStore(format);
      return await this.#take({ store: await this.#mount(device), device }, where);
    } catch (error) {
      await device[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Takes an existing store into use.
   * @throws HF_EXISTS when a store with the same id is in use; HF_NOT_OURS, HF_NOT_FOUND, HF_BUSY,
   *   HF_CORRUPT, HF_UNSUPPORTED, HF_DENIED, HF_IO.
   */
  async attach(where: string): Promise<Slot> {
    using locks = new DisposableStack();
    locks.use(await this.#lock(path.resolve(where)));
    const open = await this.#openStore(where, async (id) => {
      locks.use(await this.#lock(id));
      const other = this.#slots.get(id);
      if (!other?.open) return;
      const message = `${where} has the id of the store ${other.path}, which is in use`;
      throw new HoldfastError('HF_EXISTS', message);
    });
    return await this.#take(open, where);
  }

  /** The store at a path, as {@link storeAt} finds it. */
  async inspect(where: string): Promise<FoundStore | undefined> {
    using _ = await this.#lock(path.resolve(where));
    return await storeAt(this.#options.env, where);
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

  /**
   * Notices stores that are gone, takes back those that returned. A look that takes longer than
   * `msMax` goes on by itself.
   * @param options.onlyDue leaves out what was tried a moment ago, or is being looked at.
   */
  async refresh(options: { onlyDue?: boolean; msMax?: number } = {}): Promise<void> {
    const { onlyDue = false, msMax = LIMITS.diskLookMsMax } = options;
    const { clock } = this.#options.env;
    const isDue = ({ id, retry }: Slot): boolean =>
      !this.#looks.has(id) && (!retry || retry.atMs <= clock.monotonic());
    const looks = this.slots
      .filter((slot) => !onlyDue || isDue(slot))
      .map(async ({ id }) => {
        await this.#looks.get(id); // it may have begun before what is asked about
        await this.#look(id);
      });
    await within(clock, Promise.all(looks), msMax);
  }

  /** One at a time for each store. */
  #look(id: DeviceId): Promise<void> {
    const look = this.#looks.get(id) ?? this.#lookAt(id).finally(() => this.#looks.delete(id));
    this.#looks.set(id, look);
    return look;
  }

  async #lookAt(id: DeviceId): Promise<void> {
    const where = this.#slots.get(id)?.path;
    if (where === undefined) return;
    using _path = await this.#lock(path.resolve(where));
    using _id = await this.#lock(id);
    const slot = this.#slots.get(id);
    // It may have been detached, forgotten or attached elsewhere meanwhile.
    if (!slot || slot.isDetached || slot.path !== where) return;
    if (!slot.open) return await this.#openSlot(id, where);
    const { store, device } = slot.open;
    try {
      // A flush of nothing is cheap, and the device makes sure that its folder is still there.
      await device.flush();
      if (store.state !== 'failed') return;
      this.#markAway(id, 'it stopped after a failed write');
    } catch (error) {
      this.#markAway(id, error);
    }
    await closeQuietly(store);
  }

  #lock(key: string): Promise<Disposable> {
    return this.#locks.acquire(utf8(key));
  }

  /** Stores that have been away for at least this long and still count as `in`. */
  awayFor(ms: number): readonly DeviceId[] {
    const now = this.#options.env.clock.monotonic();
    return this.slots
      .filter(({ state, awaySinceMs = Infinity }) => state === 'in' && now - awaySinceMs >= ms)
      .map(({ id }) => id);
  }

  /** Stores that a mount found damaged, and nobody has dealt with that. */
  async damaged(): Promise<readonly { readonly path: string; readonly store: ExtentStore }[]> {
    const damaged: { path: string; store: ExtentStore }[] = [];
    for (const { path: where, open } of this.slots) {
      if (!open || (await open.store.describe()).damagedAtMs === 0) continue;
      damaged.push({ path: where, store: open.store });
    }
    return damaged;
  }

  isDetached(id: DeviceId): boolean {
    return this.#slots.get(id)?.isDetached ?? false;
  }

  setState(id: DeviceId, state: DeviceState): void {
    const slot = this.#slots.get(id);
    if (slot) this.#slots.set(id, { ...slot, state });
  }

  /** Notes what a store may grow to, after its limits have changed. */
  async remeasure(id: DeviceId): Promise<void> {
    const usage = await this.#slots.get(id)?.open?.store.usage();
    // As it is now: it may have been detached meanwhile.
    const slot = this.#slots.get(id);
    if (slot && usage) this.#slots.set(id, { ...slot, sizeBytes: usage.sizeBytes });
  }

  /**
   * Closes a store and leaves its device to others; it stays listed.
   * @throws HF_IO, HF_DEVICE_FAILED when not all of it could be flushed; it is detached all the
   *   same.
   */
  async detach(id: DeviceId): Promise<void> {
    // A look under way would take it for lost, and look for it.
    using _ = await this.#lock(id);
    const slot = this.#slots.get(id);
    if (!slot) return;
    this.#slots.set(id, { ...slot, open: undefined, ...this.#detached() });
    this.#changeCount += 1;
    await slot.open?.store[Symbol.asyncDispose]();
  }

  #detached(): Pick<Slot, 'reason' | 'isDetached' | 'awaySinceMs'> {
    const awaySinceMs = this.#options.env.clock.monotonic();
    return { reason: 'detached', isDetached: true, awaySinceMs };
  }

  /** Lets go of a store for good: closes it and forgets its path. */
  async forget(id: DeviceId): Promise<void> {
    using _ = await this.#lock(id);
    const slot = this.#slots.get(id);
    this.#slots.delete(id);
    this.#changeCount += 1;
    if (slot?.open) await closeQuietly(slot.open.store);
  }

  /** @param name an id, the unique beginning of one, or a path. @throws HF_NOT_FOUND. */
  find(name: string): Slot {
    return findSlot(this.slots, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#looks.values()); // they may yet open some
    await mapBounded(this.slots, this.slots.length || 1, async ({ open }) => {
      await open?.store[Symbol.asyncDispose]();
    });
  }
}

/** A store that has failed has nothing left to lose by not closing well. */
async function closeQuietly(store: ChunkStore): Promise<void> {
  await store[Symbol.asyncDispose]().catch(() => {});
}
