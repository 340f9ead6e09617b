/** The metadata on a node that does not carry it: everything is asked of the home. */
import type { NodeId, VolumeId } from '../../base/index.ts';
import { type Cluster, openCluster } from '../../cluster/index.ts';
import { type Registry, RemoteRegistry } from '../../log/index.ts';
import {
  type Handles,
  type Namespace,
  type References,
  remoteReferences,
  remoteVolume,
  type Tree,
  type Uploads,
  type VolumeDoors,
} from '../../meta/index.ts';
import type { Network } from '../../net/index.ts';
import { type Repair, remoteRepair } from '../../repair/index.ts';
import { type LocalDevice, statedDevices } from './core-log.ts';
import { HOME, HomeLink } from './home-link.ts';
import { statingCluster } from './membership.ts';
import type { Metadata, MetadataOptions } from './metadata.ts';

export interface RemoteMetadataOptions extends MetadataOptions {
  readonly network: Pick<Network, 'call' | 'open' | 'links'>;
  /** Who carries the metadata, as of the call; it changes when the cluster is recovered. */
  readonly home: () => NodeId | undefined;
  /** How a node is called in lines for people. */
  readonly tell?: ((node: NodeId) => string) | undefined;
}

export class RemoteMetadata implements Metadata {
  readonly isHome = false;
  readonly served = undefined;
  readonly registry: Registry;
  readonly references: References;
  readonly cluster: Cluster;
  readonly #options: RemoteMetadataOptions;
  readonly #link: HomeLink;
  readonly #volumes = new Map<VolumeId, VolumeDoors>();
  readonly #stack: AsyncDisposableStack;

  private constructor(
    options: RemoteMetadataOptions,
    parts: Pick<Metadata, 'registry' | 'references' | 'cluster'> & {
      readonly link: HomeLink;
      readonly stack: AsyncDisposableStack;
    },
  ) {
    this.#options = options;
    this.registry = parts.registry;
    this.references = parts.references;
    this.cluster = parts.cluster;
    this.#link = parts.link;
    this.#stack = parts.stack;
  }

  /** @throws HF_UNAVAILABLE while the home does not answer. */
  static async open(options: RemoteMetadataOptions): Promise<RemoteMetadata> {
    const { env, nodeId, tolerance, network, home, tell } = options;
    await using stack = new AsyncDisposableStack();
    const link = new HomeLink(network, { clock: env.clock, home, tell });
    const where = { network: link, node: HOME };
    const registry = stack.use(new RemoteRegistry(where));
    const references = stack.use(remoteReferences(where));
    const about = { env, registry, node: nodeId, tolerance };
    const cluster = statingCluster(await openCluster(about), options);
    // What another node has may be a disk that moved here: see care.ts, once the others are seen.
    const isOwn = ({ id }: LocalDevice): boolean => (cluster.nodeOf(id) ?? nodeId) === nodeId;
    const stated = statedDevices(options, cluster.devicesOf(nodeId));
    await cluster.setDevices(stated.filter(isOwn));
    const parts = { registry, references, cluster, link };
    return new RemoteMetadata(options, { ...parts, stack: stack.move() });
  }

  async openNamespace(volume: VolumeId): Promise<Namespace> {
    return this.#volume(volume).namespace;
  }

  async openTree(volume: VolumeId): Promise<Tree> {
    return this.#volume(volume).tree;
  }

  async openHandles(volume: VolumeId): Promise<Handles> {
    return this.#volume(volume).handles;
  }

  async openUploads(volume: VolumeId): Promise<Uploads> {
    return this.#volume(volume).uploads;
  }

  #volume(volume: VolumeId): VolumeDoors {
    const known = this.#volumes.get(volume);
    if (known) return known;
    const opened = this.#stack.use(remoteVolume({ network: this.#link, node: HOME, volume }));
    this.#volumes.set(volume, opened);
    return opened;
  }

  /** Where the home is, the stripes and stores for it are as well. */
  openRepair(): Repair {
    const { network, home, tell } = this.#options;
    return remoteRepair({ network, steward: home, tell });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
