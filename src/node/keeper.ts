/**
 * What a node keeps secret, in memory and in its keyring file, and the recovery kit made from it.
 */
import {
  type ClusterId,
  hexId,
  HoldfastError,
  Mutex,
  type NodeId,
  type VolumeId,
} from '../base/index.ts';
import {
  adminKeyring,
  encodeRecoveryKit,
  type Keyring,
  NodeKey,
  ownCertificate,
  type RecoveryKit,
} from '../crypto/index.ts';
import type { MetadataRole } from '../cluster/index.ts';
import type { Env } from '../env/index.ts';
import type { DataDirectory } from './data-directory.ts';
import { isSelfMade } from './metadata/succession.ts';
import type { VolumeSecrets } from './volumes/volume-set.ts';

const KEY_BYTES = 32;

export class Keeper implements VolumeSecrets {
  readonly nodeId: NodeId;
  readonly #data: DataDirectory;
  /** From reading the keyring until its successor is durable: no secret is lost to another's. */
  readonly #changing = new Mutex();
  #keyring: Keyring;

  constructor(data: DataDirectory, keyring: Keyring) {
    this.#data = data;
    this.#keyring = keyring;
    // A new seed would be a new node; deriving the id anew at each question would cost.
    this.nodeId = new NodeKey(keyring.nodeSeed).nodeId;
  }

  get clusterId(): ClusterId {
    return this.#keyring.clusterId;
  }

  /** As it is now; secret. */
  get keyring(): Keyring {
    return this.#keyring;
  }

  /** @throws HF_WRONG_KEY on a node that is no metadata node. */
  get metadataKey(): Uint8Array {
    const { metadataKey } = this.#keyring;
    if (metadataKey) return metadataKey;
    throw new HoldfastError('HF_WRONG_KEY', 'this node does not hold the metadata key');
  }

  /** Whether the node began the cluster, or recovered it: it made its certificate itself. */
  get beganCluster(): boolean {
    const { clusterKey, metadataKey } = this.#keyring;
    return (
      clusterKey !== undefined &&
      metadataKey !== undefined &&
      isSelfMade(ownCertificate(this.#keyring))
    );
  }

  get(volume: VolumeId): Uint8Array | undefined {
    return this.#keyring.volumes.get(volume);
  }

  async add(volume: VolumeId, secret: Uint8Array): Promise<void> {
    await this.#changing.run(async () => {
      const volumes = new Map(this.#keyring.volumes).set(volume, secret);
      const keyring = { ...this.#keyring, volumes };
      await this.#data.writeKeyring(keyring);
      this.#keyring = keyring;
    });
  }

  /** Becomes a metadata node: from now on, and after a restart. */
  async takeRole({ certificate, metadataKey }: MetadataRole): Promise<void> {
    await this.#changing.run(async () => {
      const keyring = { ...this.#keyring, certificate, metadataKey };
      await this.#data.writeKeyring(keyring);
      this.#keyring = keyring;
    });
  }

  /** Makes the keys durable as they are. */
  async save(): Promise<void> {
    await this.#changing.run(() => this.#data.writeKeyring(this.#keyring));
  }

  /**
   * The recovery kit as of now; from here on `status` no longer asks for it.
   * @throws HF_DENIED on a node that does not hold all keys of the cluster.
   */
  async exportKit(about: {
    names: ReadonlyMap<VolumeId, string>;
    storePaths: readonly string[];
    nowMs: number;
  }): Promise<string> {
    const { clusterId, clusterKey, metadataKey, volumes } = this.#keyring;
    if (!clusterKey || !metadataKey) {
      const message = 'only an admin node can make the recovery kit: that which began the cluster';
      throw new HoldfastError('HF_DENIED', message);
    }
    const kit = encodeRecoveryKit({
      clusterId,
      clusterKey,
      metadataKey,
      volumes: [...volumes].map(([id, secret]) => ({
        id,
        name: about.names.get(id) ?? '',
        secret,
      })),
      storePaths: about.storePaths,
      madeAtMs: about.nowMs,
    });
    await this.#data.writeKitMark([...volumes.keys()]);
    return kit;
  }

  /** Whether the last exported kit opens every volume; `stale` when one was made since. */
  async kitState(): Promise<'none' | 'stale' | 'current'> {
    const exported = new Set(await this.#data.readKitMark());
    if (exported.size === 0) return 'none';
    const isCurrent = [...this.#keyring.volumes.keys()].every((volume) => exported.has(volume));
    return isCurrent ? 'current' : 'stale';
  }
}

/** Fresh secrets for a new cluster. */
export function newKeyring({ random, clock }: Env): Keyring {
  const keys = {
    clusterId: hexId<ClusterId>(random.bytes(16)),
    clusterKey: random.bytes(KEY_BYTES),
    metadataKey: random.bytes(KEY_BYTES),
    nodeSeed: random.bytes(KEY_BYTES),
    volumes: new Map(),
  };
  return adminKeyring(keys, clock.now());
}

/** The secrets of a kit, for a node with a new identity. */
export function recoveredKeyring({ random, clock }: Env, kit: RecoveryKit): Keyring {
  const { clusterId, clusterKey, metadataKey } = kit;
  const nodeSeed = random.bytes(KEY_BYTES);
  const volumes = new Map(kit.volumes.map(({ id, secret }) => [id, secret]));
  return adminKeyring({ clusterId, clusterKey, metadataKey, nodeSeed, volumes }, clock.now());
}
