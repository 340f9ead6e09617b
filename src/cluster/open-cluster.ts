/**
 * The cluster as one node sees it. Changes are worked out on what the registry holds, written as
 * new records and made valid by one compare-and-set of the root; who loses the race starts again
 * from what the winner made. Device numbers are given once and never again. The layouts of the last
 * few epochs stay in the registry. With several nodes readers will need an old one until every
 * group has passed it (ruling 11); on one node nothing reads them.
 */
import {
  type DeviceId,
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
  encodeLayout,
  encodeTopology,
  handOffOrder,
  type Layout,
  type LayoutReport,
  nextLayout,
  placeStripe,
  reportLayout,
  type Topology,
} from '../placement/index.ts';
import type { Cluster } from './cluster.ts';
import { type Edit, type StatedDevice, withDevices } from './device-changes.ts';
import type { Root } from './root-record.ts';
import { commit, layoutKeyOf, readSnapshot, type Snapshot, topologyOf } from './snapshot.ts';

export interface ClusterOptions {
  readonly env: Pick<Env, 'random' | 'clock'>;
  readonly registry: Registry;
  /** This node; devices that it adds are kept in its slice. */
  readonly node: NodeId;
  /** Shards of the widest scheme that may be lost; the same on all nodes of a cluster. */
  readonly tolerance: number;
  /** Names of the failure domains, widest first. Heeded only while the cluster has no topology. */
  readonly levels?: readonly string[];
}

const DEFAULT_LEVELS = ['server', 'disk'];
/** Lost races after which a change is given up. */
const ATTEMPTS_MAX = 20;
/** Longest wait after a lost race, so that two nodes do not keep meeting. */
const BACKOFF_MS_MAX = 50;
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
  #report: LayoutReport;

  static async open(options: ClusterOptions): Promise<RegistryCluster> {
    const levels = options.levels ?? DEFAULT_LEVELS;
    return new RegistryCluster(options, await readSnapshot(options.registry, levels));
  }

  private constructor(options: ClusterOptions, snapshot: Snapshot) {
    this.#options = options;
    this.#snapshot = snapshot;
    this.#topology = topologyOf(snapshot);
    this.#report = reportLayout(snapshot.layout, this.#topology, options);
  }

  topology(): Topology {
    return this.#topology;
  }

  layout(): Layout {
    return this.#snapshot.layout;
  }

  report(): LayoutReport {
    return this.#report;
  }

  place(stripe: StripeId, scheme: Scheme): readonly (DeviceId | undefined)[] {
    return placeStripe({ layout: this.layout(), topology: this.#topology }, stripe, scheme);
  }

  handOff(stripe: StripeId, scheme: Scheme): readonly DeviceId[] {
    return handOffOrder({ layout: this.layout(), topology: this.#topology }, stripe, scheme);
  }

  async ensureWidth(width: number): Promise<void> {
    if (width > SHARDS_MAX)
      throw new HoldfastError('HF_BAD_SCHEME', `${width} shards are too many`);
    if (this.layout().width >= width) return; // widths only grow
    await this.#change((before) => {
      if (before.layout.width >= width) return undefined;
      const count = topologyOf(before).devices.filter(({ state }) => state === 'in').length;
      if (count < width) {
        const message = `${width} shards need ${width} stores that take shards; there are ${count}`;
        throw new HoldfastError('HF_BAD_SCHEME', message);
      }
      return { width, devices: before.devices, nextNumber: before.root.nextNumber };
    });
  }

  async setDevices(stated: readonly StatedDevice[]): Promise<void> {
    await this.#change((before) => withDevices(before, stated, this.#options.node));
  }

  /** Makes `edit` true of the registry; `edit` returns `undefined` when nothing is to change. */
  async #change(edit: (before: Snapshot) => Edit | undefined): Promise<void> {
    const { registry, env } = this.#options;
    await this.#changes.run(async () => {
      for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        const before = await readSnapshot(registry, this.#topology.levels);
        this.#take(before);
        const after = edit(before);
        if (!after || (await this.#propose(before, after))) return;
        await env.clock.sleep(env.random.below(BACKOFF_MS_MAX));
      }
      throw new HoldfastError('HF_UNAVAILABLE', 'the topology keeps changing; try again');
    });
  }

  #take(snapshot: Snapshot, report?: LayoutReport): void {
    if (snapshot.rootVersion === this.#snapshot.rootVersion) return;
    this.#snapshot = snapshot;
    this.#topology = topologyOf(snapshot);
    this.#report = report ?? reportLayout(snapshot.layout, this.#topology, this.#options);
  }

  /** Writes the records of the next epoch, then the root. @returns whether the root took it. */
  async #propose(before: Snapshot, { width, devices, nextNumber }: Edit): Promise<boolean> {
    const { registry, env, tolerance } = this.#options;
    const { levels } = before.root;
    const epoch = before.root.epoch + 1;
    const topology = { epoch, levels, devices: [...devices.values()].flat() };
    const { layout, report } = nextLayout(before.layout, topology, { width, tolerance });

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
    const root: Root = { epoch, nextNumber, layoutKey, levels, slices };
    const rootVersion = await commit(registry, { before, root, records });
    if (rootVersion === undefined) return false;
    this.#take({ rootVersion, root, layout, devices }, report);
    return true;
  }
}
