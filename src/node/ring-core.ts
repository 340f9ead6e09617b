/** Builds what a node has to do with the metadata in a ring, and what brings it there. */
import { assert, type DeviceId, errorCode, HoldfastError, type NodeId } from '../base/index.ts';
import { type Cluster, openCluster } from '../cluster/index.ts';
import { SqliteDb, type SqliteThread } from '../db/index.ts';
import type { Env } from '../env/index.ts';
import {
  EtcdConnection,
  EtcdLog,
  type EtcdPlace,
  EtcdRegistry,
  PrefixedKv,
  type Registry,
  sealedTo,
} from '../log/index.ts';
import { Warden } from '../meta/index.ts';
import type { Core, Peers } from './core.ts';
import type { LocalDevice } from './metadata/core-log.ts';
import { ClosingKv } from './metadata/closing-kv.ts';
import { moveToRing } from './metadata/engine-change.ts';
import { readHome } from './metadata/home-record.ts';
import {
  type Carried,
  LocalMetadata,
  type LocalMetadataOptions,
} from './metadata/local-metadata.ts';
import type { Metadata } from './metadata/metadata.ts';
import type { MoverOptions } from './metadata/mover.ts';
import { type PoolParts, poolParts } from './metadata/pool-parts.ts';
import { type Duty, type RingCarrying, RingMetadata } from './metadata/ring-metadata.ts';
import type { HeardPlace } from './metadata/whereabouts.ts';
import type { Foundation } from './node-core.ts';
import type { MetadataNode } from './peers/metadata-node.ts';
import { tellNode } from './peers/node-names.ts';
import { isLeaving } from './peers/others.ts';
import { PeerStores } from './peers/peer-stores.ts';
import { dialsOf } from './ring/named-etcd.ts';
import { claimNamed } from './ring/named-look.ts';
import { RingKeeper, type RingKeeperOptions } from './ring/ring-keeper.ts';
import type { RingPart } from './ring/ring-part.ts';
import { FIRST_LIFE } from './ring/ring-record.ts';
import { becomeNamed } from './ring/use-etcd.ts';
import { adoptFrom, hearOfRing } from './ring-news.ts';
import { METADATA_TOLERANCE } from './warnings.ts';

/** A seat or a place in a cell is given to another node when its own is away for longer. */
const GRACE_MS = 10 * 60_000;

/** Who lost a race waits so long, and as long again by chance. */
const RACE_MS = 500;

export interface RingCoreOptions extends Foundation {
  readonly thread: SqliteThread;
  /** The core of the moment; `undefined` until it is open. */
  readonly core: () => Core | undefined;
}

/** The stores of other nodes, for metadata that needs them before there is a core. */
export class EarlyPeers implements AsyncDisposable {
  readonly #options: Pick<RingCoreOptions, 'env' | 'others' | 'core'>;
  #cluster: Pick<Cluster, 'topology' | 'nodeOf'> | undefined;
  #stores: PeerStores | undefined;

  constructor(options: Pick<RingCoreOptions, 'env' | 'others' | 'core'>) {
    this.#options = options;
  }

  /** From now on this cluster tells where they are. */
  follow(cluster: Cluster): void {
    this.#cluster = cluster;
  }

  /** Those of the core, or by this cluster from now on. */
  of(cluster: Cluster): Peers {
    const { env, others, core } = this.#options;
    const known = core()?.peers();
    if (known && !this.#stores) return known;
    this.#cluster = cluster;
    const { network } = others.needPart();
    this.#stores ??= new PeerStores({
      env,
      network,
      cluster: {
        topology: () => this.#cluster!.topology(),
        nodeOf: (device: DeviceId) => this.#cluster!.nodeOf(device),
      },
    });
    return this.#stores;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stores?.[Symbol.asyncDispose]();
  }
}

export class RingCore {
  readonly #options: RingCoreOptions & { readonly peers: EarlyPeers };

  /** While there is no ring. */
  #former: RingKeeper | undefined;

  constructor(options: RingCoreOptions & { readonly peers: EarlyPeers }) {
    this.#options = options;
  }

  /** What the parts of metadata know of this node. */
  about(): {
    readonly env: Env;
    readonly nodeId: NodeId;
    readonly stores: LocalMetadataOptions['stores'];
    readonly devices: readonly LocalDevice[];
    readonly nameOf: (id: string) => string | undefined;
    readonly tolerance: number;
  } {
    const { env, keeper, stores } = this.#options;
    return {
      env,
      nodeId: keeper.nodeId,
      stores: () => stores.alive(),
      devices: stores.devices(),
      nameOf: (id) => stores.slots.find((slot) => slot.id === id)?.path,
      tolerance: METADATA_TOLERANCE,
    };
  }

  /** @throws HF_UNAVAILABLE while the ring does not answer. */
  async open(): Promise<RingMetadata> {
    const { keeper, others, peers } = this.#options;
    const part = others.needPart();
    const { network } = part;
    const node = this.#node();
    await hearOfRing(node, others.whereabouts.generation);
    await this.#finishMoveOn();
    const { serving, whereabouts } = others;
    assert(serving, 'a node among others serves');
    return await RingMetadata.open({
      ...this.about(),
      generation: whereabouts.generation,
      identity: keeper.keyring,
      network,
      serveCells: (cells) => serving.serveCells(cells),
      metadataNodes: () => node.others(),
      home: () => others.home,
      noteHome: (record) => part.noteHome(record),
      tell: (id) => tellNode(id, network.members()),
      carrying: this.#carrying(node),
      peersOf: (cluster) => peers.of(cluster),
    });
  }

  #node(): MetadataNode {
    const { metadataNode } = this.#options.others;
    assert(metadataNode, 'a node among others may be a metadata node');
    return metadataNode;
  }

  #prefix(generation: number): string {
    return `holdfast/${this.#options.keeper.clusterId}/${generation}/`;
  }

  /** The cache of a cell's rows: its own flushes are not waited for, as the log has them. */
  async openDb(cell: string): Promise<SqliteDb> {
    const { data, thread } = this.#options;
    return await SqliteDb.open({ path: data.cellPath(cell), thread });
  }

  #carrying(node: MetadataNode): RingCarrying | undefined {
    const { keeper, data, others, stores } = this.#options;
    const { ring } = node;
    if (!ring) return undefined;
    const life = ring.record?.life ?? FIRST_LIFE;
    return {
      metadataKey: keeper.metadataKey,
      kv: new ClosingKv(ring.kvOf(others.whereabouts.generation)),
      prefix: this.#prefix(others.whereabouts.generation),
      life,
      openDb: (cell) => this.openDb(dbNameOf(cell, life)),
      dropDb: (cell) => data.dropCell(dbNameOf(cell, life)),
      duties: (metadata) => this.#duties(metadata, node),
      isLeaving: () => isLeaving(stores),
    };
  }

  #duties({ registry, hosting, served }: RingMetadata, node: MetadataNode): readonly Duty[] {
    const { env } = this.#options;
    const warden = new Warden({ env, registry, hosting });
    const members = () => served?.rights?.metadataMembers ?? [];
    const all = () => node.viewsOf(members());
    const metadataNodes = () =>
      all().flatMap((one) => (one.isLeaving ? [] : [{ ...one, weight: 1 }]));
    const isRemoved = (id: NodeId): boolean =>
      members().length > 0 && !members().some(({ certificate }) => certificate.nodeId === id);
    const keeper = this.#keeper(registry, node, { metadataNodes: all, isRemoved });
    return [
      async (signal) => await warden.run({ metadataNodes, graceMs: GRACE_MS, signal }),
      async (signal) => await keeper.run({ signal }),
    ];
  }

  #keeper(
    registry: Registry,
    node: MetadataNode,
    about: Pick<RingKeeperOptions, 'metadataNodes' | 'isRemoved'>,
  ): RingKeeper {
    const { env, others } = this.#options;
    const { network } = others.needPart();
    const { ring } = node;
    if (!ring) throw new HoldfastError('HF_UNAVAILABLE', 'this node is no metadata node');
    return new RingKeeper({ env, registry, part: ring, network, graceMs: GRACE_MS, ...about });
  }

  /** For {@link MetadataMover}. */
  mover(registry: Registry): Omit<MoverOptions, 'env' | 'metadata' | 'openRemote'> {
    const { others } = this.#options;
    return {
      whereabouts: others.whereabouts,
      heard: () => this.#heard(),
      form: async (generation, signal) => {
        const { metadataNode: node } = others;
        if (!node) throw new HoldfastError('HF_UNAVAILABLE', 'this node is alone');
        this.#former ??= this.#keeper(registry, node, {
          metadataNodes: () => node.views(),
        });
        const { named } = await this.#former.form(generation, { signal });
        // Once it moves there is no way back.
        if (named) await claimNamed(named, this.#claim());
      },
      moveToRing: async (from, { generation, signal }) => {
        await this.#move(await from.freeze(), { cluster: from.cluster, generation, signal });
      },
      isToMoveOn: () => this.#isToMoveOn(),
      moveOn: async ({ cluster }) => await this.#moveOn(cluster),
      openRing: () => this.open(),
      isRight: (metadata) => this.#isRight(metadata),
    };
  }

  #claim() {
    const { env, keeper } = this.#options;
    return { clusterId: keeper.clusterId, clock: env.clock };
  }

  #isRight(metadata: Metadata): boolean {
    const { generation, engine } = this.#options.others.whereabouts;
    const isOfRing = metadata instanceof RingMetadata;
    if (engine === 'local') return !isOfRing;
    return isOfRing && metadata.generation === generation && this.#isCarryingRightly(metadata);
  }

  /** A metadata node carries cells, with rows of the life of the ring that is now. */
  #isCarryingRightly({ life }: RingMetadata): boolean {
    const { ring } = this.#options.others.metadataNode ?? {};
    return !ring || life === (ring.record?.life ?? FIRST_LIFE);
  }

  /** What metadata nodes say; and what the ring itself says, should they all be gone. */
  async #heard(): Promise<HeardPlace> {
    const { others } = this.#options;
    const told = this.told();
    const { ring } = others.metadataNode ?? {};
    const generation = ring?.record?.generation ?? 0;
    if (!ring || generation <= Math.max(others.whereabouts.generation, told.generation)) {
      return told;
    }
    const place = this.#placeOf(ring, generation);
    await using registry = new EtcdRegistry(place);
    const isOpen = await readHome(registry).then(
      () => true,
      () => false, // it is being formed, or does not answer
    );
    return isOpen ? { generation, engine: 'etcd' } : told;
  }

  /** What metadata nodes say. */
  told(): HeardPlace {
    const places = this.#options.others.part?.claims.known() ?? [];
    const newest = places.toSorted((a, b) => b.generation - a.generation)[0];
    return newest ?? { generation: 0, engine: 'local' };
  }

  async #move(
    from: Carried,
    {
      cluster,
      generation,
      signal,
    }: {
      readonly cluster: Cluster;
      readonly generation: number;
      readonly signal?: AbortSignal | undefined;
    },
  ): Promise<void> {
    const { env, keeper } = this.#options;
    const { ring } = this.#node();
    if (!ring) throw new HoldfastError('HF_UNAVAILABLE', 'this node is no metadata node');
    await adoptFrom(from.registry, ring);
    const { kv } = ring;
    const parts = this.#parts(cluster);
    const { metadataKey } = keeper;
    const prefix = this.#prefix(generation);
    await moveToRing({ env, from, kv, prefix, metadataKey, generation, parts, signal });
  }

  #parts(cluster: Cluster): PoolParts {
    const { stores, peers } = this.#options;
    const own = () => stores.alive();
    return poolParts({ cluster, own, peers: peers.of(cluster), tolerance: METADATA_TOLERANCE });
  }

  #placeOf(ring: RingPart, generation: number): EtcdPlace {
    const { env, keeper } = this.#options;
    const kv = ring.kvOf(generation);
    const { metadataKey } = keeper;
    return { env, kv, prefix: this.#prefix(generation), metadataKey, generation };
  }

  /** One metadata node does it, the same for all that see the same ones. */
  #isToMoveOn(): boolean {
    const { others } = this.#options;
    const { ring } = others.metadataNode ?? {};
    const record = ring?.record;
    if (!ring || !record?.next || record.generation !== others.whereabouts.generation) return false;
    return [...this.#node().others()].every((other) => ring.self < other);
  }

  /** From the ring to the etcd that its record names as the next; may be begun again by anyone. */
  async #moveOn(cluster: Cluster): Promise<void> {
    const { env, keeper, others } = this.#options;
    const { ring } = this.#node();
    const { record } = ring ?? {};
    assert(ring && record?.next, 'the ring says where to');
    const named = record.next;
    await claimNamed(named, this.#claim());
    const generation = record.generation + 1;
    const parts = this.#parts(cluster);
    const old = this.#placeOf(ring, record.generation);
    await using registry = new EtcdRegistry(old);
    await using log = new EtcdLog({ ...old, parts });
    await using connection = new EtcdConnection({ members: dialsOf(named), clock: env.clock });
    await moveToRing({
      ...old,
      from: { log, registry },
      kv: new PrefixedKv(connection, named.prefix),
      prefix: this.#prefix(generation),
      generation,
      parts,
      cells: async () => await Array.fromAsync(log.cellIds()),
    });
    await becomeNamed(named, record, {
      part: ring,
      clusterId: keeper.clusterId,
      others: this.#node().others(),
    });
    await others.whereabouts.noteRing(generation);
  }

  /**
   * Who is started when the ring is sealed already, and the next one not there yet, goes on.
   * @throws HF_UNAVAILABLE when another node does that.
   */
  async #finishMoveOn(): Promise<void> {
    const { others, env, keeper } = this.#options;
    const { whereabouts } = others;
    const { ring } = this.#node();
    const record = ring?.record;
    if (!ring || !record) return;
    // It is open: only then the record says so.
    if (record.named) await whereabouts.noteRing(record.generation);
    if (!record.next || record.generation !== whereabouts.generation) return;
    await using registry = new EtcdRegistry(this.#placeOf(ring, record.generation));
    const about = { env, registry, node: keeper.nodeId, tolerance: METADATA_TOLERANCE };
    while (ring.record?.next && (await sealedTo(registry))) {
      if (!this.#isToMoveOn()) throw new HoldfastError('HF_UNAVAILABLE', 'the metadata moves');
      try {
        return await this.#moveOn(await openCluster(about));
      } catch (error) {
        // Nodes that have just started do not see each other yet, and do it both.
        if (errorCode(error) !== 'HF_FENCED') throw error;
        await env.clock.sleep(RACE_MS + env.random.below(RACE_MS));
      }
    }
  }

  /** Goes on with a move that was cut short after the log was sealed; then opens the ring. */
  async finishMove(options: LocalMetadataOptions): Promise<RingMetadata> {
    const { others } = this.#options;
    await using from = await LocalMetadata.openSealed(options);
    const { cluster, next } = from;
    await this.#move(from, { cluster, generation: next.generation });
    await others.whereabouts.noteRing(next.generation);
    return await this.open();
  }
}

/** Rows of an earlier life of the ring may know what was lost with it: they are left aside. */
function dbNameOf(cell: string, life: number): string {
  return life === FIRST_LIFE ? cell : `${cell}.life-${life}`;
}
