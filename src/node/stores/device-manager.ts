/**
 * Stores as the control interface sees them: list, add, query, limit, detach, drain and remove.
 */
import type { DeviceManager, ShardLocation } from '../../admin/index.ts';
import type { ControlRequest, DeviceChange, DeviceDetails, DeviceView } from '../../api/index.ts';
import { chunkId, errorMessage, HoldfastError, schemeNumber } from '../../base/index.ts';
import type { ChunkStore } from '../../store/index.ts';
import type { StripePlaces } from '../../volume/index.ts';
import { detailsOf, viewOf } from './device-views.ts';
import type { Heart } from '../heart.ts';
import { checkOutside } from '../mounts/places.ts';
import { contentOf, noteState, type Slot } from './store-slot.ts';
import type { StoreSet } from './store-set.ts';
import { unreadableObjects } from './unreadable.ts';
import { frailVolumes } from '../warnings.ts';

export interface LocalDevicesOptions {
  readonly stores: StoreSet;
  readonly heart: Pick<Heart, 'core' | 'open' | 'waitsFor'>;
  readonly clusterId: string;
  /** Writes the list of stores down. */
  readonly saveList: () => Promise<void>;
}

export class LocalDevices implements DeviceManager {
  readonly #options: LocalDevicesOptions;

  constructor(options: LocalDevicesOptions) {
    this.#options = options;
  }

  async list(): Promise<readonly DeviceView[]> {
    const { stores } = this.#options;
    await stores.refresh();
    return await Promise.all(stores.slots.map(viewOf));
  }

  async add(request: ControlRequest<'device.add'>): Promise<DeviceChange> {
    const { stores, heart, saveList } = this.#options;
    const isFirst = stores.slots.length === 0;
    const { id } = await this.#makeOrAttach(request);
    await saveList();
    if (heart.core) await this.#stateDevices();
    else await heart.open();
    const warnings = heart.waitsFor === undefined ? [] : [`the node waits: ${heart.waitsFor}`];
    if (isFirst && heart.core) warnings.push(...frailVolumes(heart.core));
    return { ...(await viewOf(stores.find(id))), warnings };
  }

  async #makeOrAttach(request: ControlRequest<'device.add'>): Promise<Slot> {
    const { stores } = this.#options;
    const { path, isNew, isForced, replacesStore } = request;
    await checkOutside(path);
    if (stores.isOpenAt(path)) {
      throw new HoldfastError('HF_EXISTS', `the store ${path} is in use by this node already`);
    }
    if (isForced && replacesStore) return await stores.create(path, newStore(request));
    const found = await stores.inspect(path);
    if (found && isForced) throw this.#storeInTheWay(path, found);
    if (!found && isNew) return await stores.create(path, newStore(request));
    if (hasFormat(request)) {
      const message = `${path} is a store already; limits are set with: holdfast dev limits`;
      throw new HoldfastError('HF_BAD_ARGUMENT', found ? message : 'nothing is formatted here');
    }
    return await this.#attach(path);
  }

  #storeInTheWay(path: string, found: { id: string; clusterId: string }): HoldfastError {
    const isOurs = found.clusterId === this.#options.clusterId;
    const message = isOurs
      ? `${path} is a store of this cluster, ${found.id}: add it without --force`
      : `${path} is a store of another cluster, ${found.id}`;
    const advice = 'to give up all that it holds, say --force --replace-store';
    return new HoldfastError('HF_EXISTS', `${message}; ${advice}`);
  }

  /** One that was drained and removed is to be used again; one that is being drained goes on. */
  async #attach(path: string): Promise<Slot> {
    const { stores } = this.#options;
    const known = new Set(stores.slots.map(({ id }) => id));
    const slot = await stores.attach(path);
    if (slot.state !== 'draining' || known.has(slot.id)) return slot;
    await slot.open?.store.setState('active');
    stores.setState(slot.id, 'in');
    return slot;
  }

  async #stateDevices(): Promise<void> {
    const { stores, heart } = this.#options;
    await heart.core?.cluster.setDevices(stores.devices());
  }

  async query(device: string): Promise<DeviceDetails> {
    return await detailsOf(this.#options.stores.find(device));
  }

  async setLimits(request: ControlRequest<'device.limits'>): Promise<DeviceDetails> {
    const { stores } = this.#options;
    const { device, ...given } = request;
    const { id, open } = stores.find(device);
    // Without limits it only asks.
    if (open && Object.keys(given).length > 0) {
      const { limits } = await open.store.describe();
      const { minBytes = limits.minBytes, maxBytes = limits.maxBytes } = given;
      const { hardMaxBytes = limits.hardMaxBytes } = given;
      await open.store.setLimits({ minBytes, maxBytes, hardMaxBytes });
      await stores.remeasure(id);
      await this.#stateDevices();
    }
    return await this.query(id);
  }

  async detach(device: string): Promise<DeviceChange> {
    const { stores, heart, saveList } = this.#options;
    const { id, path, isDetached } = stores.find(device);
    if (isDetached) throw new HoldfastError('HF_EXISTS', `the store ${path} is detached already`);
    const warnings: string[] = [];
    await stores.detach(id).catch((error) => {
      warnings.push(`not all of ${path} could be flushed: ${errorMessage(error)}`);
    });
    await saveList();
    const count = heart.core ? await unreadableObjects(heart.core) : 0;
    if (count > 0) {
      const objects = `${count} object${count === 1 ? '' : 's'}`;
      warnings.push(`${objects} cannot be read until ${path} is back: holdfast dev attach ${path}`);
    }
    return { ...(await viewOf(stores.find(id))), warnings };
  }

  async remove(request: ControlRequest<'device.remove'>): Promise<DeviceChange> {
    const { stores, heart, saveList } = this.#options;
    const { isForced } = request;
    const slot = stores.find(request.device);
    await this.#setDraining(slot.id, 'draining');
    try {
      await heart.core?.repair.repair();
      if (!isForced) await this.#assertSpare(slot.id);
    } catch (error) {
      if (!isForced) {
        await this.#setDraining(slot.id, slot.state === 'out' ? 'out' : 'in');
        throw error;
      }
    }
    const view = await viewOf(stores.find(slot.id));
    stores.setState(slot.id, 'out');
    await this.#stateDevices();
    await stores.forget(slot.id);
    await saveList();
    return { ...view, warnings: [] };
  }

  /** Also on the store itself: whoever finds it knows that it was on its way out. */
  async #setDraining(id: Slot['id'], state: 'draining' | 'in' | 'out'): Promise<void> {
    const { stores } = this.#options;
    stores.setState(id, state);
    await noteState(stores.find(id), state);
    await this.#stateDevices();
  }

  /** @throws HF_TOO_FEW_STORES when something would be lost, or nearer to it, without the store. */
  async #assertSpare(id: string): Promise<void> {
    const { stores, heart } = this.#options;
    // As it is now: it may have come or gone while its shards were moved.
    const { open, path } = stores.find(id);
    if (open) return await assertDrained(open.store, path);
    if (!heart.core) throw new HoldfastError('HF_TOO_FEW_STORES', `${path} is away: bring it back`);
    const { degraded, lost } = (await heart.core.repair.health()).stripes;
    if (degraded + lost === 0) return;
    throw new HoldfastError(
      'HF_TOO_FEW_STORES',
      `${path} is away, and ${degraded + lost} stripes lack shards that it may hold; ` +
        'bring it back first, or use --force',
    );
  }

  async locate({ stripe, scheme, shards }: StripePlaces): Promise<ShardLocation | undefined> {
    for (const { shardIndex, foundAt } of shards) {
      const holder = this.#options.stores.slots.find(({ id }) => foundAt.includes(id));
      const id = chunkId(stripe, schemeNumber(scheme), shardIndex);
      const block = await holder?.open?.store.locate(id);
      if (holder && block !== undefined) return { device: holder.path, storeId: holder.id, block };
    }
    return undefined;
  }
}

function newStore(request: ControlRequest<'device.add'>) {
  const { capacityBytes, kind, isForced, replacesStore, label } = request;
  const { minBytes = 0, maxBytes = 0, hardMaxBytes = 0 } = request;
  const limits = { minBytes, maxBytes, hardMaxBytes };
  return { capacityBytes, kind, isForced, replacesStore, label, limits };
}

/** Whether something is said that only a new store takes. */
function hasFormat(request: ControlRequest<'device.add'>): boolean {
  const { capacityBytes, label, minBytes, maxBytes, hardMaxBytes } = request;
  return [capacityBytes, label, minBytes, maxBytes, hardMaxBytes].some((it) => it !== undefined);
}

/** Metadata copies stay on it: repair has made them on the other stores. */
async function assertDrained(store: ChunkStore, path: string): Promise<void> {
  let left = 0;
  for await (const _ of contentOf(store)) left += 1;
  if (left === 0) return;
  throw new HoldfastError(
    'HF_TOO_FEW_STORES',
    `${left} shards of ${path} have no other place; add a store first, or use --force`,
  );
}
