/**
 * The metadata in a ring: the registry in etcd, the cells on many nodes, their snapshots in the
 * pool of all stores. A metadata node reads the registry itself and carries cells; any other node
 * asks a metadata node for the registry, and stewards for what is in cells. None of them is needed:
 * what one did another does when it is gone, the home's part too (home-seat.ts).
 */
import {
  type DeviceId,
  errorCode,
  errorMessage,
  HoldfastError,
  type NodeId,
  type VolumeId,
} from '../../base/index.ts';
import { type Cluster, openCluster } from '../../cluster/index.ts';
import type { LocalDb } from '../../db/index.ts';
import { EtcdLog, EtcdRegistry, type Registry, RemoteRegistry } from '../../log/index.ts';
import {
  type Handles,
  Hosting,
  type Namespace,
  openVolumes,
  type References,
  type Tree,
  type Uploads,
  type VolumeDoors,
} from '../../meta/index.ts';
import type { Network } from '../../net/index.ts';
import type { Repair } from '../../repair/index.ts';
import type { ChunkStore } from '../../store/index.ts';
import type { StaleNames } from '../../volume/index.ts';
import { type Peers, whileOpen } from '../core.ts';
import { type Identity, membersIn } from '../peers/members-in.ts';
import { Rights } from '../peers/rights.ts';
import type { ClosingKv } from './closing-kv.ts';
import { type LocalDevice, statedDevices } from './core-log.ts';
import { HOME, HomeLink } from './home-link.ts';
import type { HomeRecord } from './home-record.ts';
import { HomeSeat } from './home-seat.ts';
import { statingCluster } from './membership.ts';
import {
  type Metadata,
  type MetadataOptions,
  type RepairParts,
  type ServedMetadata,
  whileWanted,
} from './metadata.ts';
import { aborted } from './notice.ts';
import { ObservedRegistry } from './observed-registry.ts';
import { PoolCare } from './pool-care.ts';
import { type PoolParts, poolParts, storesOfAll } from './pool-parts.ts';
import { RingRepair } from './ring-repair.ts';

/** What a metadata node has. */
export interface RingCarrying {
  readonly metadataKey: Uint8Array;
  /** The way to the ring. */
  readonly kv: ClosingKv;
  /** Of all keys in etcd. */
  readonly prefix: string;
  /** Of the ring; rows in databases are of this one. */
  readonly life: number;
  /** The cache of a cell's rows. */
  readonly openDb: (cell: string) => Promise<LocalDb>;
  readonly dropDb: (cell: string) => Promise<void>;
  /** What is to be done at home, as long as it is there. */
  readonly duties: (metadata: RingMetadata) => readonly Duty[];
  /** Whether this node is about to leave: it is not to become home. */
  readonly isLeaving: () => boolean;
}

/** The cells of a metadata node, and who may ask for what of them. */
export interface ServedCells {
  readonly hosting: Hosting;
  readonly rights: Rights;
}

export type Duty = (signal: AbortSignal) => Promise<void>;

export interface RingMetadataOptions extends MetadataOptions {
  readonly generation: number;
  readonly identity: Identity;
  readonly network: Pick<Network, 'self' | 'call' | 'open' | 'links' | 'members' | 'watch'>;
  /** From now on, until the result is disposed, this node answers for these cells. */
  readonly serveCells: (cells: ServedCells) => Disposable;
  /** Metadata nodes that answer, other than this one, as of the call. */
  readonly metadataNodes: () => readonly NodeId[];
  /** Who is home, as far as gossip tells. */
  readonly home: () => NodeId | undefined;
  /** Told who is home whenever the registry says it. */
  readonly noteHome: (record: HomeRecord) => void;
  /** How a node is called in lines for people. */
  readonly tell?: ((node: NodeId) => string) | undefined;
  /** `undefined`: this node only asks. */
  readonly carrying?: RingCarrying | undefined;
  /** The stores of other nodes, by this cluster's topology where nobody knows them yet. */
  readonly peersOf: (cluster: Cluster) => Peers;
}

/** How often volumes are looked for that others have made. */
const FOLLOW_MS = 5000;
/** How often it is read what others may, which other nodes change too. */
const RIGHTS_MS = 1000;

interface Parts {
  readonly options: RingMetadataOptions;
  readonly registry: ObservedRegistry;
  readonly cluster: Cluster;
  readonly peers: Peers;
  readonly hosting: Hosting;
  readonly parts: PoolParts;
  readonly care: PoolCare | undefined;
  readonly rights: Rights | undefined;
  readonly seat: HomeSeat | undefined;
  readonly stack: AsyncDisposableStack;
}

export class RingMetadata implements Metadata {
  readonly registry: ObservedRegistry;
  readonly references: References;
  readonly cluster: Cluster;
  readonly peers: Peers;
  readonly served: ServedMetadata | undefined;
  readonly hosting: Hosting;
  readonly seat: HomeSeat | undefined;
  readonly #parts: Parts;
  readonly #volumes = new Map<string, VolumeDoors>();
  #loops: AsyncDisposable | undefined;

  private constructor(parts: Parts) {
    const { registry, cluster, peers, hosting, seat, rights, options } = parts;
    this.registry = registry;
    this.cluster = cluster;
    this.peers = peers;
    this.hosting = hosting;
    this.seat = seat;
    this.references = hosting.references;
    this.#parts = parts;
    const { tolerance } = options;
    this.served = rights && {
      registry,
      references: this.references,
      tolerance,
      isHomes: false,
      rights,
      volumeOf: (volume) => this.#volumes.get(volume),
    };
  }

  /** @throws HF_UNAVAILABLE while no majority of the ring answers, or no metadata node. */
  static async open(options: RingMetadataOptions): Promise<RingMetadata> {
    const { env, nodeId, tolerance, network, carrying, stores } = options;
    await using stack = new AsyncDisposableStack();
    const registry = stack.use(new ObservedRegistry(registryOf(options)));
    const opened = await openCluster({ env, registry, node: nodeId, tolerance });
    const cluster = statingCluster(opened, options);
    await stateOwn(cluster, options);
    const peers = options.peersOf(cluster);
    const parts = poolParts({ cluster, own: stores, peers, tolerance });
    const all = (): readonly ChunkStore[] => storesOfAll(stores(), peers);
    const rights = carrying && (await rightsOf({ ...options, registry, all }));
    const seat = carrying && seatOf({ ...options, registry, carrying });
    await seat?.look();
    const home = (): NodeId | undefined => seat?.record?.node ?? options.home();
    const place = carrying && placeOf(options, carrying);
    const log = place && stack.use(new EtcdLog({ ...place, parts }));
    const hosting = stack.use(
      await Hosting.open({
        env,
        self: nodeId,
        registry,
        network,
        home,
        carrying: carrying && log && { log, openDb: carrying.openDb, dropDb: carrying.dropDb },
      }),
    );
    if (rights) stack.use(options.serveCells({ hosting, rights }));
    const care = log && new PoolCare({ place, parts, log, stores: all });
    const found = { options, registry, cluster, peers, hosting, parts, care, rights, seat };
    const metadata = new RingMetadata({ ...found, stack: stack.move() });
    await metadata.#lookForVolumes();
    metadata.#begin();
    return metadata;
  }

  #begin(): void {
    const { options, hosting, seat, registry, care } = this.#parts;
    const duties = [...(options.carrying?.duties(this) ?? [])];
    if (care) duties.push((signal) => care.run({ signal }));
    const isWanted = (): boolean => this.isHome;
    const atHome = duties.map(
      (duty) => (signal: AbortSignal) => whileWanted(this, { isWanted, signal }, duty),
    );
    this.#loops = whileOpen(
      (signal) => hosting.run({ signal }),
      async (signal) => await seat?.run({ signal }),
      (signal) => this.#followVolumes(signal),
      ...atHome,
    );
    registry.listen(async (key) => {
      if (key.startsWith('volume/')) await this.#lookForVolumes();
    });
  }

  get isHome(): boolean {
    return this.seat?.isHome ?? false;
  }

  /** Of the registry. */
  get generation(): number {
    return this.#parts.options.generation;
  }

  /** Of the ring, for the rows that are carried here; `undefined` on a node that only asks. */
  get life(): number | undefined {
    return this.#parts.options.carrying?.life;
  }

  async changed(signal: AbortSignal): Promise<void> {
    await (this.seat?.changed(signal) ?? aborted(signal));
  }

  async openNamespace(volume: VolumeId): Promise<Namespace> {
    return (await this.#volume(volume)).namespace;
  }

  async openTree(volume: VolumeId): Promise<Tree> {
    return (await this.#volume(volume)).tree;
  }

  async openHandles(volume: VolumeId): Promise<Handles> {
    return (await this.#volume(volume)).handles;
  }

  async openUploads(volume: VolumeId): Promise<Uploads> {
    return (await this.#volume(volume)).uploads;
  }

  async #volume(volume: VolumeId): Promise<VolumeDoors> {
    if (!this.#volumes.has(volume)) await this.#lookForVolumes();
    const doors = this.#volumes.get(volume);
    if (doors) return doors;
    throw new HoldfastError('HF_NOT_FOUND', `there is no volume ${volume}`);
  }

  openStale(volume: VolumeId): StaleNames {
    const { hosting } = this;
    return {
      namespace: hosting.staleNamespace(volume),
      tree: hosting.staleTree(volume),
      isCut: () => hosting.carrier?.isCut ?? false,
    };
  }

  async #followVolumes(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts.options.env;
    for await (const _ of clock.every(FOLLOW_MS, { signal })) await this.#lookForVolumes();
  }

  /** What is known stays, while the registry does not answer. */
  async #lookForVolumes(): Promise<void> {
    const { registry, hosting, options } = this.#parts;
    try {
      for (const { id } of await openVolumes(registry).list()) {
        if (!this.#volumes.has(id)) this.#volumes.set(id, hosting.volume(id));
      }
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      const reason = errorMessage(error);
      options.env.log.debug('volumes cannot be looked for', { reason });
    }
  }

  openRepair(given: RepairParts): Repair {
    const { options, cluster, parts, seat, hosting } = this.#parts;
    const { env, network, tell } = options;
    return new RingRepair({
      ...given,
      env,
      self: options.nodeId,
      cluster,
      network,
      tell,
      seat,
      references: this.references,
      home: () => seat?.record?.node ?? options.home(),
      cutReason: () => hosting.carrier?.cutReason,
      volumes: () => [...this.#volumes.keys()],
      namespaceOf: (volume) => this.#volumes.get(volume)?.namespace,
      treeOf: (volume) => this.#volumes.get(volume)?.tree,
      uploadsOf: (volume) => this.#volumes.get(volume)?.uploads,
      mendMetadata: () => parts.repair(),
    }).asRepair();
  }

  cellCount(): number {
    return this.hosting.carrier?.states().length ?? 0;
  }

  async resign(): Promise<boolean> {
    return (await this.seat?.resign()) ?? true;
  }

  close(): void {
    this.#parts.options.carrying?.kv.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loops?.[Symbol.asyncDispose]();
    await this.#parts.stack.disposeAsync();
  }
}

function registryOf(options: RingMetadataOptions): Registry {
  const { carrying, network, env, tell } = options;
  if (carrying) return new EtcdRegistry(placeOf(options, carrying));
  const home = anyOf(options.metadataNodes);
  return new RemoteRegistry({
    network: new HomeLink(network, { clock: env.clock, home, tell }),
    node: HOME,
  });
}

function placeOf(
  { env, generation }: RingMetadataOptions,
  { metadataKey, prefix, kv }: RingCarrying,
) {
  return { env, generation, metadataKey, prefix, kv };
}

/** One of several nodes: the same as long as it is among them. */
function anyOf(nodes: () => readonly NodeId[]): () => NodeId | undefined {
  let last: NodeId | undefined;
  return () => {
    const now = nodes();
    if (last === undefined || !now.includes(last)) last = now[0];
    return last;
  };
}

/** What another node has may be a disk that moved here: see care.ts, once the others are seen. */
async function stateOwn(cluster: Cluster, options: RingMetadataOptions): Promise<void> {
  const { nodeId } = options;
  const isOwn = ({ id }: LocalDevice): boolean => (cluster.nodeOf(id) ?? nodeId) === nodeId;
  const stated = statedDevices(options, cluster.devicesOf(nodeId));
  await cluster.setDevices(stated.filter(isOwn));
}

async function rightsOf({
  env,
  identity,
  registry,
  tolerance,
  all,
}: RingMetadataOptions & {
  readonly registry: ObservedRegistry;
  readonly all: () => readonly ChunkStore[];
}): Promise<Rights> {
  const isAlive = (device: DeviceId): boolean => all().some(({ id }) => id === device);
  const lists = membersIn({ env, registry, identity });
  const topology = { tolerance, isAlive };
  return await Rights.open({ env, registry, ...lists, topology, followMs: RIGHTS_MS });
}

function seatOf({
  env,
  nodeId,
  registry,
  metadataNodes,
  noteHome,
  carrying,
}: RingMetadataOptions & {
  readonly registry: Registry;
  readonly carrying: RingCarrying;
}): HomeSeat {
  return new HomeSeat({
    env,
    self: nodeId,
    registry,
    candidates: () => [nodeId, ...metadataNodes()],
    isLeaving: carrying.isLeaving,
    note: noteHome,
  });
}
