/**
 * The volumes that this node serves: for each its keys, its cell and its objects. A volume whose
 * secret is not in the keyring is known but cannot be opened here, until it is granted.
 */
import {
  errorCode,
  errorMessage,
  formatPolicy,
  hexId,
  HoldfastError,
  Mutex,
  type NodeId,
  parsePolicy,
  type Policy,
  type VolumeId,
} from '../../base/index.ts';
import type { VolumeManager, VolumeStatus } from '../../admin/index.ts';
import type { Cluster } from '../../cluster/index.ts';
import { type VolumeKeys, volumeKeys } from '../../crypto/index.ts';
import type { Env } from '../../env/index.ts';
import {
  checkVolumeName,
  type Handles,
  type Namespace,
  type References,
  type Session,
  type Tree,
  type VolumeRecord,
  type Volumes,
} from '../../meta/index.ts';
import type { Repair } from '../../repair/index.ts';
import type { ChunkStore } from '../../store/index.ts';
import type { StripeStore } from '../../stripes/index.ts';
import {
  ensureFits,
  type FileTree,
  type MountableVolume,
  type ObjectStore,
  openFileTree,
  openObjects,
  type ReencodeReport,
  type RunOptions,
  type StaleNames,
  StaleReads,
} from '../../volume/index.ts';
import { Mountables, type WaitingWrites } from './mountable.ts';
import { PolicyRuns, type PolicyWork } from './policy-runs.ts';

/** Secrets by volume; `add` is durable when it resolves. */
export interface VolumeSecrets {
  get(volume: VolumeId): Uint8Array | undefined;
  add(volume: VolumeId, secret: Uint8Array): Promise<void>;
}

/** Secrets of volumes as they travel between members. */
export interface GrantedSecrets {
  /** A volume that this node has just made: to itself, and to others that are to serve it. */
  share(volume: VolumeId, secret: Uint8Array): Promise<void>;
  /** Those that this node was granted. */
  collect(): Promise<ReadonlyMap<VolumeId, Uint8Array>>;
}

export interface VolumeSetOptions {
  readonly env: Env;
  readonly volumes: Volumes;
  readonly secrets: VolumeSecrets;
  readonly grants?: GrantedSecrets | undefined;
  readonly self: NodeId;
  readonly references: References;
  /** As of the call. */
  readonly session: () => Session;
  readonly stripes: StripeStore;
  /** All stores that can be asked now. */
  readonly stores: () => readonly Pick<ChunkStore, 'id' | 'usage'>[];
  readonly cluster: Cluster;
  readonly repair: Pick<Repair, 'release' | 'releaseLoose' | 'abandon'>;
  /** It stays the caller's. */
  readonly openNamespace: (volume: VolumeId) => Promise<Namespace>;
  readonly openTree: (volume: VolumeId) => Promise<Tree>;
  readonly openHandles: (volume: VolumeId) => Promise<Handles>;
  /** As `Metadata.openStale`. */
  readonly openStale?: ((volume: VolumeId) => StaleNames | undefined) | undefined;
}

/** How often volumes are looked for that others have made, changed or granted. */
const FOLLOW_MS = 500;
/** As much of a node's id as commands need. */
const ID_CHARS = 8;

interface OpenVolume {
  record: VolumeRecord;
  readonly keys: VolumeKeys;
  readonly namespace: Namespace;
  readonly tree: Tree;
  readonly objects: ObjectStore;
  readonly files: FileTree;
  readonly staleReads: StaleReads;
  /** Its grant was taken back: the home answers no questions about it. */
  isRefused: boolean;
}

/** What a new volume gets when nothing is said: bears the loss of two stores, where it can. */
function fittingPolicy(cluster: Cluster): Policy {
  const count = cluster.topology().devices.filter(({ state }) => state === 'in').length;
  if (count >= 4) return parsePolicy(`rs-${Math.min(4, count - 2)}+2`);
  return parsePolicy(`copy-${Math.max(1, count)}`);
}

export class VolumeSet implements VolumeManager, AsyncDisposable {
  readonly #options: VolumeSetOptions;
  readonly #open = new Map<VolumeId, OpenVolume>();
  readonly #opening = new Mutex();
  readonly #stack = new AsyncDisposableStack();
  /** All that there are, as last seen. */
  #known: readonly VolumeRecord[] = [];
  readonly #runs: PolicyRuns;
  readonly #mountables: Mountables;
  #degradedPuts = 0;
  readonly #onDegraded = (): void => void (this.#degradedPuts += 1);

  constructor(options: VolumeSetOptions) {
    this.#options = options;
    this.#runs = new PolicyRuns(options.env);
    this.#mountables = new Mountables({ ...options, onDegraded: this.#onDegraded });
  }

  /** Sees what others have changed: opens every volume whose secret is known by now. */
  async refresh(): Promise<void> {
    await this.#opening.run(async () => {
      const { volumes, secrets } = this.#options;
      const records = await volumes.list();
      for (const record of records) {
        const volume = this.#open.get(record.id);
        if (volume) volume.record = record;
      }
      // What follows may fail for one volume, and is tried again.
      if (records.some(({ id }) => !secrets.get(id))) await this.#takeGrants();
      for (const record of records) {
        const volume = this.#open.get(record.id);
        const secret = secrets.get(record.id);
        if (!volume && secret) await this.#openVolume(record, secret);
        if (volume?.isRefused) await this.#begin(volume);
      }
      this.#known = records;
    });
  }

  async #takeGrants(): Promise<void> {
    const { grants, secrets } = this.#options;
    for (const [volume, secret] of (await grants?.collect()) ?? []) {
      if (!secrets.get(volume)) await secrets.add(volume, secret);
    }
  }

  /** {@link refresh} every now and then, until `signal` is aborted. */
  async follow({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { env } = this.#options;
    for await (const _ of env.clock.every(FOLLOW_MS, { signal })) {
      await this.refresh().catch((error: unknown) => {
        if (errorCode(error) === undefined) throw error;
        env.log.debug('volumes cannot be looked for', { reason: errorMessage(error) });
      });
    }
  }

  /** Names of the volumes whose secret is not here, or whose grant was taken back. */
  get locked(): readonly string[] {
    return this.#known
      .filter(({ id }) => this.#open.get(id)?.isRefused ?? true)
      .map(({ name }) => name);
  }

  get #served(): readonly OpenVolume[] {
    return [...this.#open.values()].filter(({ isRefused }) => !isRefused);
  }

  async #openVolume(record: VolumeRecord, secret: Uint8Array): Promise<OpenVolume> {
    const { env, openNamespace, openTree, openStale } = this.#options;
    const { id } = record;
    const keys = volumeKeys(secret);
    const staleReads = new StaleReads({ env, stale: () => openStale?.(id) });
    const namespace = staleReads.heard(await openNamespace(id));
    const tree = staleReads.heard(await openTree(id));
    const files = openFileTree({ env, volume: id, keys, namespace, tree, staleReads });
    const open: Omit<OpenVolume, 'objects'> & { objects?: ObjectStore } = {
      record,
      keys,
      namespace,
      tree,
      files,
      staleReads,
      isRefused: false,
    };
    const objects = openObjects({
      ...this.#options,
      volume: () => open.record,
      keys,
      namespace,
      tree,
      staleReads,
      onDegraded: this.#onDegraded,
    });
    const volume = Object.assign(open, { objects: this.#stack.use(objects) });
    await this.#begin(volume);
    this.#open.set(record.id, volume);
    return volume;
  }

  /** Who holds a secret may have no grant any more: then the volume stays locked. */
  async #begin(volume: OpenVolume): Promise<void> {
    const { record, namespace } = volume;
    const usage = await granted(async () => {
      if (record.retention) await namespace.protect(record.retention);
      return await namespace.usage();
    });
    volume.isRefused = usage === undefined;
    if (usage && record.reencodedBy === this.#options.self) {
      this.#runs.resume(record.name, this.#workOf(volume));
    }
  }

  /** Puts since the start that were acknowledged with fewer shards than they should have. */
  get degradedPuts(): number {
    return this.#degradedPuts;
  }

  /** Since names were read last as they were a while ago; Infinity when they are not any more. */
  get staleReadAgoMs(): number {
    return Math.min(Infinity, ...this.#served.map(({ staleReads }) => staleReads.agoMs));
  }

  /** Reads since the start that were answered by names as they were a while ago. */
  get staleReadCount(): number {
    return this.#served.reduce((sum, { staleReads }) => sum + staleReads.count, 0);
  }

  /** Of the volumes that are open. */
  get records(): readonly VolumeRecord[] {
    return this.#served.map(({ record }) => record);
  }

  /** Ids of the volumes that are open. */
  ids(): readonly VolumeId[] {
    return [...this.#open.keys()];
  }

  namespaceOf(volume: string): Namespace | undefined {
    return this.#open.get(volume as VolumeId)?.namespace;
  }

  /** What could not be stored a moment ago, and waits. */
  get waitingWrites(): readonly WaitingWrites[] {
    return this.#mountables.waitingWrites;
  }

  async list(): Promise<readonly VolumeStatus[]> {
    await this.refresh();
    const found = this.#served.map(async (volume) => {
      const status = await granted(() => statusOf(volume));
      volume.isRefused = status === undefined;
      return status;
    });
    return (await Promise.all(found)).filter((status) => status !== undefined);
  }

  async create(request: Parameters<VolumeManager['create']>[0]): Promise<VolumeStatus> {
    const { env, volumes, secrets, grants, cluster } = this.#options;
    const { name, policy = fittingPolicy(cluster), isDeduplicating, retention } = request;
    checkVolumeName(name);
    if (await volumes.get(name)) throw new HoldfastError('HF_EXISTS', `volume "${name}" exists`);
    await ensureFits(cluster, policy);
    const id = hexId<VolumeId>(env.random.bytes(16));
    const secret = env.random.bytes(32);
    // The secret first: a volume without its secret could never be opened.
    await secrets.add(id, secret);
    await grants?.share(id, secret);
    const record: VolumeRecord = {
      id,
      name,
      policy,
      isDeduplicating,
      retention,
      reencodedBy: undefined,
      createdAtMs: env.clock.now(),
    };
    await volumes.create(record);
    env.log.info('volume made', { volume: id, scheme: formatPolicy(policy) });
    // A refresh may have found it meanwhile.
    const volume = await this.#opening.run(
      async () => this.#open.get(id) ?? (await this.#openVolume(record, secret)),
    );
    return await statusOf(volume);
  }

  async setPolicy(
    name: string,
    { policy, retention }: Parameters<VolumeManager['setPolicy']>[1],
  ): Promise<VolumeStatus> {
    const volume = this.#named(name);
    if (policy) await ensureFits(this.#options.cluster, policy);
    const change = { ...(policy && { policy }), ...(retention && { retention }) };
    volume.record = await this.#options.volumes.change(name, change);
    if (retention) await volume.namespace.protect(retention);
    return await statusOf(volume);
  }

  async applyPolicy(name: string, options: RunOptions): Promise<ReencodeReport> {
    const volume = this.#named(name);
    if (!this.#runs.has(name)) {
      const reencodedBy = this.#options.self;
      volume.record = await this.#options.volumes.change(name, { reencodedBy });
      this.#runs.start(name, this.#workOf(volume));
    }
    return await this.#runs.follow(name, options);
  }

  #workOf(volume: OpenVolume): PolicyWork {
    const { name } = volume.record;
    return {
      objects: volume.objects,
      policy: () => volume.record.policy,
      isDue: () => volume.record.reencodedBy === this.#options.self,
      hasAllStores: () => this.#hasAllStores(),
      finish: async () => {
        volume.record = await this.#options.volumes.change(name, { reencodedBy: undefined });
      },
    };
  }

  #hasAllStores(): boolean {
    const here = new Set(this.#options.stores().map(({ id }) => id));
    const { devices } = this.#options.cluster.topology();
    return devices.every(({ id, state }) => state !== 'in' || here.has(id));
  }

  /**
   * Makes what one encoding of hybrid objects has lost again from the others.
   * @returns stripes that are whole again.
   */
  async mend({ signal }: Pick<RunOptions, 'signal'>): Promise<number> {
    let count = 0;
    for (const { objects } of this.#served) {
      count += (await objects.mendAll({ signal })).mended;
    }
    return count;
  }

  /** @throws HF_NOT_FOUND, HF_WRONG_KEY. */
  recordOf(name: string): VolumeRecord {
    return this.#named(name).record;
  }

  objects(name: string): ObjectStore {
    return this.#named(name).objects;
  }

  files(name: string): FileTree {
    return this.#named(name).files;
  }

  /** For mounts of it, which share it. @throws HF_NOT_FOUND, HF_WRONG_KEY, HF_UNAVAILABLE. */
  async mountable(name: string): Promise<MountableVolume> {
    const open = this.#named(name);
    return await this.#mountables.open({ ...open, volume: () => open.record });
  }

  #named(name: string): OpenVolume {
    for (const volume of this.#served) if (volume.record.name === name) return volume;
    if (this.locked.includes(name)) {
      const grant = `holdfast volume grant ${name} ${this.#options.self.slice(0, ID_CHARS)}`;
      const message = `this node does not hold the keys of volume "${name}"; on one that serves it`;
      throw new HoldfastError('HF_WRONG_KEY', `${message}: ${grant}`);
    }
    const advice = 'holdfast volume list names them, holdfast volume create makes one';
    throw new HoldfastError('HF_NOT_FOUND', `there is no volume "${name}": ${advice}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#runs[Symbol.asyncDispose]();
    await this.#mountables[Symbol.asyncDispose]();
    await this.#stack[Symbol.asyncDispose]();
  }
}

/** @returns `undefined` when the home refuses it: the volume is not granted to this node. */
async function granted<Result>(ask: () => Promise<Result>): Promise<Result | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (errorCode(error) === 'HF_DENIED') return undefined;
    throw error;
  }
}

async function statusOf({ record, namespace }: OpenVolume): Promise<VolumeStatus> {
  return { record, ...(await namespace.usage()) };
}
