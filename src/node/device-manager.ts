/** Stores as the control interface sees them: list, add, query, drain and remove. */
import type { DeviceManager } from '../admin/index.ts';
import type { DeviceDetails, DeviceView } from '../api/index.ts';
import { chunkIdParts, HoldfastError, METADATA_SCHEME_NUMBER } from '../base/index.ts';
import type { Cluster } from '../cluster/index.ts';
import type { HealthSummary } from '../repair/index.ts';
import type { ChunkStore, StoreDescription } from '../store/index.ts';
import { isStoreFolder } from './first-run.ts';
import type { Slot, StoreSet } from './store-set.ts';

export interface LocalDevicesOptions {
  readonly stores: StoreSet;
  readonly cluster: Cluster;
  /** Writes the list of stores down. */
  readonly saveList: () => Promise<void>;
  /** Moves what a store holds to where the layout wants it now. */
  readonly moveOff: () => Promise<void>;
  readonly health: () => Promise<HealthSummary>;
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

  async add(request: {
    path: string;
    capacityBytes?: number;
    isNew: boolean;
  }): Promise<DeviceView> {
    const { stores, cluster, saveList } = this.#options;
    const { path, capacityBytes, isNew } = request;
    if (stores.isOpenAt(path)) {
      throw new HoldfastError('HF_EXISTS', `the store ${path} is in use by this node already`);
    }
    const isMade = isNew && !(await isStoreFolder(path));
    const slot = isMade ? await stores.create(path, capacityBytes) : await stores.attach(path);
    await saveList();
    await cluster.setDevices(stores.devices());
    return await viewOf(slot);
  }

  async query(device: string): Promise<DeviceDetails> {
    const slot = this.#options.stores.find(device);
    const store = slot.open?.store;
    if (!store) {
      throw new HoldfastError('HF_UNAVAILABLE', `the store ${slot.path} is away: ${slot.reason}`);
    }
    const usage = await store.usage();
    const description = await store.describe();
    return {
      ...(await viewOf(slot)),
      freeBytes: usage.freeBytes,
      chunkCount: usage.chunkCount,
      badChunkCount: usage.badChunkCount,
      isDirect: description.isDirect,
      fields: fieldsOf(description),
    };
  }

  async remove({ device, isForced }: { device: string; isForced: boolean }): Promise<DeviceView> {
    const { stores, cluster, saveList, moveOff } = this.#options;
    const slot = stores.find(device);
    stores.setState(slot.id, 'draining');
    await cluster.setDevices(stores.devices());
    try {
      await moveOff();
      if (!isForced) await this.#assertSpare(slot.id);
    } catch (error) {
      if (!isForced) {
        stores.setState(slot.id, slot.state === 'out' ? 'out' : 'in');
        await cluster.setDevices(stores.devices());
        throw error;
      }
    }
    const view = await viewOf(stores.find(slot.id));
    stores.setState(slot.id, 'out');
    await cluster.setDevices(stores.devices());
    await stores.detach(slot.id);
    await saveList();
    return view;
  }

  /** @throws HF_TOO_FEW_STORES when something would be lost, or nearer to it, without the store. */
  async #assertSpare(id: string): Promise<void> {
    const { stores, health } = this.#options;
    // As it is now: it may have come or gone while its shards were moved.
    const { open, path } = stores.find(id);
    if (open) return await assertDrained(open.store, path);
    const { degraded, lost } = (await health()).stripes;
    if (degraded + lost === 0) return;
    throw new HoldfastError(
      'HF_TOO_FEW_STORES',
      `${path} is away, and ${degraded + lost} stripes lack shards that it may hold; ` +
        'bring it back first, or use --force',
    );
  }
}

/** Metadata copies stay on it: repair has made them on the other stores. */
async function assertDrained(store: ChunkStore, path: string): Promise<void> {
  let left = 0;
  for await (const { id } of store.list()) {
    if (chunkIdParts(id).schemeNumber !== METADATA_SCHEME_NUMBER) left += 1;
  }
  if (left === 0) return;
  throw new HoldfastError(
    'HF_TOO_FEW_STORES',
    `${left} shards of ${path} have no other place; add a store first, or use --force`,
  );
}

/** What a store says of itself, as plain numbers and words. */
function fieldsOf(description: StoreDescription): DeviceDetails['fields'] {
  const fields: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(description)) {
    if (typeof value === 'bigint') fields[name] = value.toString();
    else if (['string', 'number', 'boolean'].includes(typeof value)) fields[name] = value;
  }
  return fields;
}

async function viewOf(slot: Slot): Promise<DeviceView> {
  const { id, path, open, reason } = slot;
  if (!open) {
    const away = { state: 'missing' as const, sizeBytes: 0, usedBytes: 0 };
    return { id, path, kind: 'directory', ...away, reason: reason ?? 'it is not open' };
  }
  const { sizeBytes, usedBytes } = await open.store.usage();
  const state = slot.state === 'draining' ? 'draining' : open.store.state;
  return { id, path, kind: 'directory', state, sizeBytes, usedBytes };
}
