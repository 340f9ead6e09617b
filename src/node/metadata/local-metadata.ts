/**
 * The metadata on the node that carries it, the *home*: the log on the mirror over its own stores,
 * the registry, the reference slots, and the cells of all volumes, also of those whose secret is
 * not here. Others ask for them through serve-home.ts.
 *
 * Only devices of this node count for the log (quorum.ts): it stands on no other.
 */
import {
  type DeviceId,
  errorMessage,
  HoldfastError,
  Mutex,
  type NodeId,
  type VolumeId,
} from '../../base/index.ts';
import { type Cluster, labelsOn, LEVELS, openCluster } from '../../cluster/index.ts';
import type { LocalDb } from '../../db/index.ts';
import type { Env } from '../../env/index.ts';
import {
  type CellId,
  type LocalLog,
  LogRegistry,
  type NextGeneration,
  type Registry,
  type SealableRegistry,
  sealedTo,
} from '../../log/index.ts';
import {
  type Handles,
  type Namespace,
  openReferences,
  openVolumeCell,
  openVolumes,
  type References,
  type Tree,
  type Uploads,
  type VolumeCell,
  type VolumeDoors,
} from '../../meta/index.ts';
import type { TopologyDevice } from '../../placement/index.ts';
import { openRepair, type Repair } from '../../repair/index.ts';
import {
  assertLogIsWhole,
  type LocalDevice,
  openLog,
  type Recovery,
  startingQuorum,
  statedDevices,
} from './core-log.ts';
import { readHome, writeHome } from './home-record.ts';
import { guardedCluster } from './membership.ts';
import type { Metadata, MetadataOptions, RepairParts, ServedMetadata } from './metadata.ts';
import { ObservedRegistry } from './observed-registry.ts';
import { Quorum } from './quorum.ts';
import { StoreMirror } from './store-mirror.ts';

export interface LocalMetadataOptions extends MetadataOptions {
  readonly metadataKey: Uint8Array;
  /** Of the log; that of a cluster that never had a ring when left out. */
  readonly generation?: number | undefined;
  readonly recovery?: Recovery | undefined;
  /** The cache of a cell's rows. */
  readonly openDb: (cell: string) => Promise<LocalDb>;
  /** For tests: stands between the node and its reference slots. */
  readonly wrapReferences?: ((references: References) => References) | undefined;
}

/** How often volumes are looked for whose cells are not open. */
const FOLLOW_MS = 5000;

const REFERENCES_CELL: CellId = 'references';

interface Parts {
  readonly env: Env;
  readonly log: LocalLog;
  readonly mirror: StoreMirror;
  readonly registry: ObservedRegistry;
  readonly sealable: SealableRegistry;
  readonly cluster: Cluster;
  readonly cells: Cells;
  readonly tolerance: number;
  readonly references: References;
  /** What serves: stewards, and the databases of cells. */
  readonly serving: AsyncDisposableStack;
  /** What that stands on. */
  readonly stack: AsyncDisposableStack;
}

/** The log of a generation and its registry. */
export interface Carried {
  readonly log: LocalLog;
  readonly registry: SealableRegistry;
}

/** What is to move, and where to. */
export interface Sealed extends Carried, AsyncDisposable {
  readonly next: NextGeneration;
  readonly cluster: Cluster;
}

export class LocalMetadata implements Metadata, ServedMetadata {
  readonly isHome = true;
  readonly isHomes = true;
  readonly registry: ObservedRegistry;
  readonly references: References;
  readonly cluster: Cluster;
  /** As in `ClusterOptions`. */
  readonly tolerance: number;
  readonly #parts: Parts;
  readonly #opening = new Mutex();
  readonly #cells = new Map<string, VolumeCell>();
  #isFrozen = false;

  private constructor(parts: Parts) {
    this.registry = parts.registry;
    this.references = parts.references;
    this.cluster = parts.cluster;
    this.tolerance = parts.tolerance;
    this.#parts = parts;
  }

  /**
   * @throws HF_TOO_FEW_STORES when so many stores are away that newer metadata may be on them
   *   alone; HF_FENCED when another node carries this metadata; HF_MOVED when it has begun to move
   *   to a ring: see `openSealed`; HF_CORRUPT, HF_WRONG_KEY.
   */
  static async open(given: LocalMetadataOptions): Promise<LocalMetadata> {
    const { env, nodeId, stores, tolerance, recovery } = given;
    const options = { ...given, devices: given.devices.map(widened) };
    await using stack = new AsyncDisposableStack();
    let cluster: Cluster | undefined;
    const isLeaving = (id: string): boolean =>
      cluster?.devicesOf(nodeId).some((one) => one.id === id && one.state !== 'in') ?? false;
    const listed = new Quorum(options.devices, tolerance);
    const mirror = new StoreMirror({ stores, tolerance, quorum: listed, isLeaving });
    const log = stack.use(await openLog(mirror, options));
    const about = { env, node: nodeId, tolerance };
    const found = await LogRegistry.peek(log);
    if (await sealedTo(found)) throw new HoldfastError('HF_MOVED', 'the metadata has moved');
    const known = await knownDevices(found, options);
    const devices = statedDevices(options, known.devices);
    const quorum = startingQuorum({ known: known.devices, devices }, options);
    const cells = stack.use(new Cells(given.openDb));
    await cells.prepare([REFERENCES_CELL, ...(await openVolumes(found).list()).map(cellOf)]);
    await assertLogIsWhole(log, cells.databases, options);

    mirror.settle(quorum);
    if (recovery?.acceptsLoss) await mirror.prepare(quorum);
    const sealable = await LogRegistry.open({ log, report: env.log });
    const registry = stack.use(new ObservedRegistry(sealable));
    const unguarded = await openCluster({ ...about, registry, isMigrating: true });
    cluster = guardedCluster(unguarded, { ...options, mirror, quorum });
    await cluster.setDevices(devices);
    if (known.home && known.home !== nodeId) await cluster.setNodeDevices(known.home, 'out');
    await writeHome(registry, nodeId);

    await using serving = new AsyncDisposableStack();
    const opened = serving.use(
      await openReferences({ env, log, ...(await cells.open(REFERENCES_CELL, serving)) }),
    );
    const references = given.wrapReferences?.(opened) ?? opened;
    const parts = { env, log, mirror, registry, sealable, cluster, cells, tolerance, references };
    const stacks = { serving: serving.move(), stack: stack.move() };
    const metadata = new LocalMetadata({ ...parts, ...stacks });
    return await metadata.#opened();
  }

  /**
   * The log and the registry as they are, without anything on them, when the metadata has begun to
   * move away from them. @throws HF_CORRUPT, HF_WRONG_KEY.
   */
  static async openSealed(given: LocalMetadataOptions): Promise<Sealed> {
    const { env, stores, tolerance } = given;
    const options = { ...given, devices: given.devices.map(widened) };
    await using stack = new AsyncDisposableStack();
    const quorum = new Quorum(options.devices, tolerance);
    const mirror = new StoreMirror({ stores, tolerance, quorum });
    const log = stack.use(await openLog(mirror, options));
    const registry = stack.use(await LogRegistry.open({ log, report: env.log }));
    const next = await sealedTo(registry);
    if (!next) throw new HoldfastError('HF_UNSUPPORTED', 'the metadata is where it was');
    const cluster = await openCluster({ env, registry, node: given.nodeId, tolerance });
    const open = stack.move();
    return { log, registry, next, cluster, [Symbol.asyncDispose]: () => open.disposeAsync() };
  }

  /** Serves no more. What it stood on stays open, for the metadata to be moved away from it. */
  async freeze(): Promise<Carried> {
    const { serving, log, sealable } = this.#parts;
    this.#isFrozen = true;
    await this.#opening.run(async () => await serving.disposeAsync());
    return { log, registry: sealable };
  }

  async #opened(): Promise<this> {
    try {
      await this.openCells();
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
    this.registry.listen(async (key) => {
      if (key.startsWith('volume/')) await this.#openCellsPatiently();
    });
    return this;
  }

  get served(): ServedMetadata {
    return this;
  }

  fullStores(): ReadonlySet<DeviceId> {
    return this.#parts.mirror.fullStores;
  }

  /** Ids of all volumes whose cells are open. */
  volumes(): readonly string[] {
    return [...this.#cells.keys()];
  }

  volumeOf(volume: string): VolumeDoors | undefined {
    return this.#cells.get(volume);
  }

  async openNamespace(volume: VolumeId): Promise<Namespace> {
    return (await this.#cell(volume)).namespace;
  }

  async openTree(volume: VolumeId): Promise<Tree> {
    return (await this.#cell(volume)).tree;
  }

  async openHandles(volume: VolumeId): Promise<Handles> {
    return (await this.#cell(volume)).handles;
  }

  async openUploads(volume: VolumeId): Promise<Uploads> {
    return (await this.#cell(volume)).uploads;
  }

  async #cell(volume: VolumeId): Promise<VolumeCell> {
    if (!this.#cells.has(volume)) await this.openCells();
    const cell = this.#cells.get(volume);
    if (cell) return cell;
    throw new HoldfastError('HF_NOT_FOUND', `there is no volume ${volume}`);
  }

  /** Opens the cells of volumes that have been made since. */
  async openCells(): Promise<void> {
    const { env, log, registry, cells, serving } = this.#parts;
    await this.#opening.run(async () => {
      if (this.#isFrozen) return;
      for (const { id } of await openVolumes(registry).list()) {
        if (this.#cells.has(id)) continue;
        const parts = { env, log, ...(await cells.open(cellOf({ id }), serving)) };
        this.#cells.set(id, serving.use(await openVolumeCell(parts)));
      }
    });
  }

  /** Tries again what could not be opened when it was made, until `signal` is aborted. */
  async follow({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { clock } = this.#parts.env;
    for await (const _ of clock.every(FOLLOW_MS, { signal })) await this.#openCellsPatiently();
  }

  /** The volume has been made all the same. */
  async #openCellsPatiently(): Promise<void> {
    await this.openCells().catch((error: unknown) => {
      const reason = errorMessage(error);
      this.#parts.env.log.warn('the cell of a volume cannot be opened', { reason });
    });
  }

  openRepair(parts: RepairParts): Repair {
    const { env, cluster, references } = this.#parts;
    const repair = openRepair({
      ...parts,
      env,
      cluster,
      references,
      volumes: () => this.volumes(),
      namespaceOf: (volume) => this.volumeOf(volume)?.namespace,
      treeOf: (volume) => this.volumeOf(volume)?.tree,
      uploadsOf: (volume) => this.volumeOf(volume)?.uploads,
    });
    return { ...repair, repair: (run) => this.#repairAll(() => repair.repair(run)) };
  }

  /** Copies of metadata and shards of content are lost with the same stores. */
  async #repairAll<Summary>(repairContent: () => Promise<Summary>): Promise<Summary> {
    const [metadata, content] = await Promise.allSettled([this.mend(), repairContent()]);
    // Neither keeps the other from being done.
    if (content.status === 'rejected') throw content.reason;
    if (metadata.status === 'rejected') throw metadata.reason;
    return content.value;
  }

  /** Brings records of the log back to all their copies. @returns how many lacked some. */
  async mend(): Promise<number> {
    return await this.#parts.mirror.repair();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.freeze();
    await this.#parts.stack.disposeAsync();
  }
}

/** The devices that a log stands on, as its registry has them, and the node that had them. */
interface Known {
  readonly home: NodeId | undefined;
  readonly devices: readonly TopologyDevice[];
}

/**
 * After a recovery they are those of the node before, and what a recovery that was interrupted has
 * taken from it already.
 * @throws HF_FENCED when that is another node's log.
 */
async function knownDevices(registry: Registry, options: LocalMetadataOptions): Promise<Known> {
  const { env, nodeId: node, tolerance, recovery, stores } = options;
  const cluster = await openCluster({ env, registry, node, tolerance });
  const all = cluster.topology().devices;
  // Who wrote no record was alone.
  const home = (await readHome(registry)) ?? (all[0] && cluster.nodeOf(all[0].id));
  if (home !== undefined && home !== node && !recovery) {
    const message = `node ${home} carries this metadata; to take over: holdfast up --recover KIT`;
    throw new HoldfastError('HF_FENCED', message);
  }
  const alive = new Set(stores().map(({ id }) => id));
  const isOf = ({ id }: TopologyDevice) =>
    cluster.nodeOf(id) === home || (recovery !== undefined && alive.has(id));
  return { home, devices: all.filter(isOf).map(widened) };
}

function widened<Device extends LocalDevice>(device: Device): Device {
  return { ...device, labels: labelsOn(LEVELS, device.labels) };
}

function cellOf({ id }: { readonly id: VolumeId }): CellId {
  return `volume-${id}`;
}

/** Databases of cells: those that were looked at before the log was seized, and later ones. */
class Cells implements AsyncDisposable {
  readonly databases = new Map<CellId, LocalDb>();
  readonly #openDb: (cell: string) => Promise<LocalDb>;

  constructor(openDb: (cell: string) => Promise<LocalDb>) {
    this.#openDb = openDb;
  }

  async prepare(ids: readonly CellId[]): Promise<void> {
    for (const cell of ids) this.databases.set(cell, await this.#openDb(cell));
  }

  /** The database closes with `owner`: after what is put there later. */
  async open(
    cell: CellId,
    owner: AsyncDisposableStack,
  ): Promise<{ readonly cell: CellId; readonly db: LocalDb }> {
    const db = owner.use(this.databases.get(cell) ?? (await this.#openDb(cell)));
    this.databases.delete(cell);
    return { cell, db };
  }

  /** Closes those that nobody has taken. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const db of this.databases.values()) await db[Symbol.asyncDispose]();
  }
}
