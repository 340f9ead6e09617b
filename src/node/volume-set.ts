/**
 * The volumes that this node serves: for each its keys, its cell and its objects. A volume whose
 * secret is not in the keyring is known but cannot be opened here.
 */
import {
  formatScheme,
  hexId,
  HoldfastError,
  parseScheme,
  type Scheme,
  type VolumeId,
} from '../base/index.ts';
import type { VolumeManager, VolumeStatus } from '../admin/index.ts';
import type { Cluster } from '../cluster/index.ts';
import { volumeKeys } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import {
  checkVolumeName,
  type Namespace,
  type References,
  type Session,
  type VolumeRecord,
  type Volumes,
} from '../meta/index.ts';
import type { Repair } from '../repair/index.ts';
import type { StripeStore } from '../stripes/index.ts';
import { type ObjectStore, openObjects } from '../volume/index.ts';

/** Secrets by volume; `add` is durable when it resolves. */
export interface VolumeSecrets {
  get(volume: VolumeId): Uint8Array | undefined;
  add(volume: VolumeId, secret: Uint8Array): Promise<void>;
}

export interface VolumeSetOptions {
  readonly env: Env;
  readonly volumes: Volumes;
  readonly secrets: VolumeSecrets;
  readonly references: References;
  readonly session: Session;
  readonly stripes: StripeStore;
  readonly cluster: Cluster;
  /** The namespace closes with `owner`. */
  readonly openNamespace: (volume: VolumeId, owner: AsyncDisposableStack) => Promise<Namespace>;
}

interface OpenVolume {
  record: VolumeRecord;
  readonly namespace: Namespace;
  readonly objects: ObjectStore;
}

/** What a new volume gets when nothing is said: bears the loss of two stores, where it can. */
function fittingScheme(cluster: Cluster): Scheme {
  const count = cluster.topology().devices.filter(({ state }) => state === 'in').length;
  if (count >= 4) return parseScheme(`rs-${Math.min(4, count - 2)}+2`);
  return parseScheme(`copy-${Math.max(1, count)}`);
}

export class VolumeSet implements VolumeManager, AsyncDisposable {
  readonly #options: VolumeSetOptions;
  readonly #repair: Pick<Repair, 'release' | 'abandon'>;
  readonly #open = new Map<VolumeId, OpenVolume>();
  readonly #locked: string[] = [];
  readonly #stack = new AsyncDisposableStack();
  #degradedPuts = 0;

  /** @param repair built over {@link namespaceOf} of this very set, hence a second argument. */
  constructor(options: VolumeSetOptions, repair: Pick<Repair, 'release' | 'abandon'>) {
    this.#options = options;
    this.#repair = repair;
  }

  /** Opens every volume whose secret is known. */
  async openAll(): Promise<void> {
    for (const record of await this.#options.volumes.list()) {
      const secret = this.#options.secrets.get(record.id);
      if (secret) await this.#openVolume(record, secret);
      else this.#locked.push(record.name);
    }
  }

  /** Names of the volumes whose secret is not here. */
  get locked(): readonly string[] {
    return this.#locked;
  }

  async #openVolume(record: VolumeRecord, secret: Uint8Array): Promise<OpenVolume> {
    const namespace = await this.#options.openNamespace(record.id, this.#stack);
    const open: Omit<OpenVolume, 'objects'> & { objects?: ObjectStore } = { record, namespace };
    const objects = openObjects({
      ...this.#options,
      repair: this.#repair,
      volume: () => open.record,
      keys: volumeKeys(secret),
      namespace,
      onDegraded: () => (this.#degradedPuts += 1),
    });
    const volume = Object.assign(open, { objects: this.#stack.use(objects) });
    this.#open.set(record.id, volume);
    return volume;
  }

  /** Puts since the start that were acknowledged with fewer shards than they should have. */
  get degradedPuts(): number {
    return this.#degradedPuts;
  }

  /** Of the volumes that are open. */
  get records(): readonly VolumeRecord[] {
    return [...this.#open.values()].map(({ record }) => record);
  }

  /** Ids of the volumes that are open. */
  ids(): readonly VolumeId[] {
    return [...this.#open.keys()];
  }

  namespaceOf(volume: string): Namespace | undefined {
    return this.#open.get(volume as VolumeId)?.namespace;
  }

  async list(): Promise<readonly VolumeStatus[]> {
    return await Promise.all([...this.#open.values()].map(statusOf));
  }

  async create(request: {
    name: string;
    scheme: Scheme | undefined;
    isDeduplicating: boolean;
  }): Promise<VolumeStatus> {
    const { env, volumes, secrets, cluster } = this.#options;
    const { name, scheme = fittingScheme(cluster), isDeduplicating } = request;
    checkVolumeName(name);
    if (await volumes.get(name)) throw new HoldfastError('HF_EXISTS', `volume "${name}" exists`);
    await cluster.ensureWidth(scheme.n);
    const id = hexId<VolumeId>(env.random.bytes(16));
    const secret = env.random.bytes(32);
    // The secret first: a volume without its secret could never be opened.
    await secrets.add(id, secret);
    const record = { id, name, scheme, isDeduplicating, createdAtMs: env.clock.now() };
    await volumes.create(record);
    env.log.info('volume made', { volume: id, scheme: formatScheme(scheme) });
    return await statusOf(await this.#openVolume(record, secret));
  }

  async setScheme(name: string, scheme: Scheme): Promise<VolumeStatus> {
    const volume = this.#named(name);
    await this.#options.cluster.ensureWidth(scheme.n);
    volume.record = await this.#options.volumes.setScheme(name, scheme);
    return await statusOf(volume);
  }

  objects(name: string): ObjectStore {
    return this.#named(name).objects;
  }

  #named(name: string): OpenVolume {
    for (const volume of this.#open.values()) if (volume.record.name === name) return volume;
    throw new HoldfastError('HF_NOT_FOUND', `there is no volume "${name}"`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

async function statusOf({ record, namespace }: OpenVolume): Promise<VolumeStatus> {
  return { record, ...(await namespace.usage()) };
}
