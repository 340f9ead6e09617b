/**
 * The cluster as one node sees it. Changes are worked out on what the registry holds, written as
 * new records and made valid by one compare-and-set of the root; who loses the race starts again
 * from what the winner made. Device numbers are given once and never again. The layouts of the last
 * few epochs stay in the registry.
 *
 * A node goes by the epoch that it read last. It looks for a newer one twice a second ({@link
 * Cluster.follow}), and at once when somebody refused it for its old one.
 */
import {
  type DeviceId,
  errorCode,
  HoldfastError,
  Mutex,
  type NodeId,
  type Scheme,
  SHARDS_MAX,
  type StripeId,
  toHex,
} from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { Registry } from '../log/index.ts';
import {
  type DeviceState,
  encodeLayout,
  encodeTopology,
  handOffOrder,
  type Layout,
  nextLayout,
  placeStripe,
  type Topology,
  type TopologyDevice,
} from '../placement/index.ts';
import { untilWon } from './change-key.ts';
import type { Cluster } from './cluster.ts';
import {
  type Edit,
  type StatedDevice,
  withDevices,
  withLevels,
  withNodeState,
} from './device-changes.ts';
import { LEVELS } from './levels.ts';
import type { Root } from './root-record.ts';
import {
  commit,
  isOutdated,
  layoutKeyOf,
  readSnapshot,
  type Snapshot,
  topologyOf,
} from './snapshot.ts';

export interface ClusterOptions {
  readonly env: Pick<Env, 'random' | 'clock'>;
  readonly registry: Registry;
  /** This node; devices that it adds are kept in its slice. */
  readonly node: NodeId;
  /** Shards of the widest scheme that may be lost; the same on all nodes of a cluster. */
  readonly tolerance: number;
  /** Names of the failure domains, widest first. Heeded only while the cluster has no topology. */
  readonly levels?: readonly string[];
  /** Gives a cluster of an older release these levels: on the node that carries its metadata. */
  readonly isMigrating?: boolean;
}

/** How often a node looks for a new epoch. */
const FOLLOW_MS = 500;
/** A cluster of few stores may be meant to grow: so many shards are not too many for any. */
const SCARCE_COUNT = 4;
/** Random bytes that keep apart what two nodes propose for the same epoch. */
const TOKEN_BYTES = 8;

/** @throws HF_CORRUPT, HF_UNSUPPORTED when the registry's records cannot be read. */
export async function openCluster(options: ClusterOptions): Promise<Cluster> {
  return await RegistryCluster.open(options);
}

class RegistryCluster implements Cluster {
  readonly #options: ClusterOptions;
  readonly #changes = new Mutex();
  #snapshot: Snapshot;
  #topology: Topology;
  #nodes: ReadonlyMap<DeviceId, NodeId>;

  static async open(options: ClusterOptions): Promise<RegistryCluster> {
    const { registry, levels = LEVELS, isMigrating = false } = options;
    const cluster = new RegistryCluster(options, await readSnapshot(registry, levels));
    if (isMigrating) await cluster.#change((before) => withLevels(before, levels));
    return cluster;
  }

  private constructor(options: ClusterOptions, snapshot: Snapshot) {
    this.#options = options;
    this.#snapshot = snapshot;
    this.#topology = topologyOf(snapshot);
    this.#nodes = nodesOf(snapshot);
  }

  topology(): Topology {
    return this.#topology;
  }

  layout(): Layout {
    return this.#snapshot.layout;
  }

  place(stripe: StripeId, scheme: Scheme): readonly (DeviceId | undefined)[] {
    return placeStripe({ layout: this.layout(), topology: this.#topology }, stripe, scheme);
  }

  handOff(stripe: StripeId, scheme: Scheme, taken?: Iterable<DeviceId>): readonly DeviceId[] {
    const at = { layout: this.layout(), topology: this.#topology };
    return handOffOrder(at, { stripe, scheme, taken });
  }

  nodeOf(device: DeviceId): NodeId | undefined {
    return this.#nodes.get(device);
  }

  devicesOf(node: NodeId): readonly TopologyDevice[] {
    return this.#snapshot.devices.get(node) ?? [];
  }

  async refresh(): Promise<void> {
    const { registry } = this.#options;
    await this.#changes.run(async () => {
      if (!(await isOutdated(registry, this.#snapshot))) return;
      this.#take(await readSnapshot(registry, this.#topology.levels));
    });
  }

  async follow({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    for await (const _ of this.#options.env.clock.every(FOLLOW_MS, { signal })) {
      await this.refresh().catch((error: unknown) => {
        if (errorCode(error) === undefined) throw error; // else it is asked again soon
      });
    }
  }

  async ensureWidth(width: number, neededCount: number = width): Promise<void> {
    if (width > SHARDS_MAX)
      throw new HoldfastError('HF_BAD_SCHEME', `${width} shards are too many`);
    const isWide = (snapshot: Snapshot): boolean => wantedWidth(snapshot) >= width;
    // Another node may have stated devices just now: only the registry says that there are too few.
    if (isWide(this.#snapshot) && countIn(this.#topology) >= neededCount) return;
    await this.#change((before) => {
      const count = countIn(topologyOf(before));
      if (count < neededCount) {
        const message =
          `${neededCount} shards need ${neededCount} stores that take shards; ` +
          `there are ${count}`;
        throw new HoldfastError('HF_BAD_SCHEME', message);
      }
      if (isWide(before)) return undefined; // widths only grow
      if (width > 2 * count + SCARCE_COUNT) {
        const message = `${width} copies are far more than the ${count} stores that take shards`;
        throw new HoldfastError('HF_BAD_SCHEME', `${message}: add stores first, or take fewer`);
      }
      const { devices, root } = before;
      return { wantedWidth: width, devices, nextNumber: root.nextNumber };
    });
  }

  async setDevices(stated: readonly StatedDevice[]): Promise<void> {
    await this.#change((before) => withDevices(before, stated, this.#options.node));
  }

  async setNodeDevices(node: NodeId, state: DeviceState): Promise<void> {
    await this.#change((before) => withNodeState(before, node, state));
  }

  /** Makes `edit` true of the registry; `edit` returns `undefined` when nothing is to change. */
  async #change(edit: (before: Snapshot) => Edit | undefined): Promise<void> {
    const { registry, env } = this.#options;
    await this.#changes.run(async () => {
      await untilWon(env, 'the topology', async () => {
        const before = await readSnapshot(registry, this.#topology.levels);
        this.#take(before);
        const after = edit(before);
        return !after || (await this.#propose(before, after));
      });
    });
  }

  #take(snapshot: Snapshot): void {
    if (snapshot.rootVersion === this.#snapshot.rootVersion) return;
    this.#snapshot = snapshot;
    this.#topology = topologyOf(snapshot);
    this.#nodes = nodesOf(snapshot);
  }

  /** Writes the records of the next epoch, then the root. @returns whether the root took it. */
  async #propose(before: Snapshot, edit: Edit): Promise<boolean> {
    const { registry, env, tolerance } = this.#options;
    const { devices, nextNumber, levels = before.root.levels } = edit;
    const wanted = edit.wantedWidth ?? wantedWidth(before);
    const epoch = before.root.epoch + 1;
    const topology = { epoch, levels, devices: [...devices.values()].flat() };
    // Wider than there are devices it would be no use, and cost who is content with fewer.
    const width = Math.max(before.layout.width, Math.min(wanted, countIn(topology)));
    const { layout } = nextLayout(before.layout, topology, { width, tolerance });

    const token = toHex(env.random.bytes(TOKEN_BYTES));
    const layoutKey = layoutKeyOf(epoch, token);
    const slices = new Map(before.root.slices);
    const records = new Map([[layoutKey, encodeLayout(layout)]]);
    for (const [node, slice] of devices) {
      if (slice === before.devices.get(node)) continue;
      const key = `topology/node/${node}/${token}`;
      slices.set(node, key);
      records.set(key, encodeTopology({ epoch, levels, devices: slice }));
    }
    const root: Root = { epoch, nextNumber, wantedWidth: wanted, layoutKey, levels, slices };
    const rootVersion = await commit(registry, { before, root, records });
    if (rootVersion === undefined) return false;
    this.#take({ rootVersion, root, layout, devices });
    return true;
  }
}

/** Of roots of older releases it was the layout's. */
function wantedWidth({ root, layout }: Snapshot): number {
  return Math.max(root.wantedWidth, layout.width);
}

function countIn({ devices }: Topology): number {
  return devices.filter(({ state }) => state === 'in').length;
}

function nodesOf({ devices }: Snapshot): ReadonlyMap<DeviceId, NodeId> {
  return new Map([...devices].flatMap(([node, slice]) => slice.map(({ id }) => [id, node])));
}
