/** Clusters for tests of admission: whole networks in memory over one registry in memory. */
import type { ClusterId, VolumeId } from '../../src/base/index.ts';
import {
  CertificateAdmission,
  Invitations,
  joinCluster,
  type Joined,
  Members,
  registerSelf,
  RevocationFollower,
  serveJoin,
  VolumeGrants,
} from '../../src/cluster/index.ts';
import {
  adminKeyring,
  BoxKey,
  decodeInvitation,
  issueCertificate,
  type Keyring,
  NodeKey,
  ROLES,
  SigningKey,
} from '../../src/crypto/index.ts';
import type { Env } from '../../src/env/index.ts';
import { MemoryRegistry, type Registry } from '../../src/log/index.ts';
import { linkedMembers, MemoryNet, Network, parseAddress } from '../../src/net/index.ts';

export const HOUR_MS = 3_600_000;
export const VOLUME = '0123456789abcdef0123456789abcdef' as VolumeId;
export const SECRET: Uint8Array = new Uint8Array(32).fill(0x77);

export function seedOf(number: number): Uint8Array {
  return new Uint8Array(32).fill(number);
}

export function nodeIdOfNumber(number: number) {
  return new NodeKey(seedOf(number)).nodeId;
}

export function addressOf(number: number): string {
  return `memory://node-${number}:1`;
}

/** All keys of a cluster, as its first node has them. */
export function founderKeyring(number: number, cluster = 0xc1): Keyring {
  const keys = {
    clusterId: cluster.toString(16).repeat(16) as ClusterId,
    clusterKey: new Uint8Array(32).fill(cluster),
    metadataKey: new Uint8Array(32).fill(cluster + 1),
    nodeSeed: seedOf(number),
    volumes: new Map([[VOLUME, SECRET]]),
  };
  return adminKeyring(keys, 0);
}

/** Of a member that holds shards: what an admin node gives it, without the talk. */
export function memberKeyring(
  { clusterId, clusterPublicKey, clusterSecret, clusterKey }: Keyring,
  nodeSeed: Uint8Array,
  issuedAtMs: number,
): Keyring {
  const certificate = issueCertificate(new SigningKey(clusterKey!), {
    clusterId,
    publicKey: new NodeKey(nodeSeed).publicKey,
    boxKey: BoxKey.ofNode(nodeSeed).publicKey,
    roles: ROLES.store,
    serial: 1,
    issuedAtMs,
    notAfterMs: 0,
  });
  const volumes = new Map<VolumeId, Uint8Array>();
  return { clusterId, clusterPublicKey, clusterSecret, nodeSeed, certificate, volumes };
}

export interface BedNode {
  readonly network: Network;
  readonly admission: CertificateAdmission;
  readonly follower: RevocationFollower | undefined;
  readonly keyring: Keyring | undefined;
}

export class AdmissionBed implements AsyncDisposable {
  readonly env: Env;
  readonly net: MemoryNet;
  readonly registry: Registry;
  readonly #stack = new AsyncDisposableStack();

  constructor(env: Env, registry: Registry = new MemoryRegistry()) {
    this.env = env;
    this.net = new MemoryNet(env, { delayMs: 1 });
    this.registry = registry;
  }

  /** A node on its address; with a keyring it is a member, and serves those that want to join. */
  async open(number: number, keyring?: Keyring): Promise<BedNode> {
    const { env, net, registry } = this;
    const admission = new CertificateAdmission({ env, identity: keyring });
    const key = new NodeKey(seedOf(number));
    const network = await Network.open({
      env,
      key,
      admission,
      transports: [net.transport(key.nodeId)],
      listen: [parseAddress(addressOf(number))],
      membership: linkedMembers,
    });
    this.#stack.use(network);
    network.handle('secret', {}, () => 'for members');
    if (!keyring) return { network, admission, follower: undefined, keyring };
    serveJoin({ env, registry, network, keyring: () => keyring });
    const follower = new RevocationFollower({ env, registry, admission, network });
    return { network, admission, follower, keyring };
  }

  /** The first node of a cluster. */
  async found(number: number, cluster?: number): Promise<BedNode & { keyring: Keyring }> {
    const { env, registry } = this;
    const keyring = founderKeyring(number, cluster);
    await registerSelf({ env, registry, keyring }, { name: `node-${number}`, labels: {} });
    return { ...(await this.open(number, keyring)), keyring };
  }

  /** A token by which one node can join. */
  async invite(
    keyring: Keyring,
    inviter: number,
    options: { roles?: number; lifeMs?: number } = {},
  ): Promise<string> {
    const { roles = ROLES.store | ROLES.metadata, lifeMs = HOUR_MS } = options;
    return await this.invitations(keyring).create({
      clusterKey: new SigningKey(keyring.clusterKey!),
      inviter: nodeIdOfNumber(inviter),
      addresses: [addressOf(inviter)],
      roles,
      lifeMs,
    });
  }

  async join(number: number, network: Network, token: string): Promise<Joined> {
    return await joinCluster({
      network,
      invitation: decodeInvitation(token),
      nodeSeed: seedOf(number),
      wishes: { name: `node-${number}`, labels: { rack: 'r1' } },
    });
  }

  /** Opens a stranger, joins, and opens the node anew as a member. */
  async add(number: number, token: string): Promise<BedNode & { keyring: Keyring }> {
    const stranger = await this.open(number);
    const { keyring } = await this.join(number, stranger.network, token);
    await stranger.network[Symbol.asyncDispose]();
    return { ...(await this.open(number, keyring)), keyring };
  }

  members({ clusterId, clusterPublicKey }: Keyring): Members {
    const { env, registry } = this;
    return new Members({ env, registry, clusterId, clusterPublicKey });
  }

  invitations({ clusterId, clusterPublicKey }: Keyring): Invitations {
    const { env, registry } = this;
    return new Invitations({ env, registry, clusterId, clusterPublicKey });
  }

  grants(keyring: Keyring): VolumeGrants {
    const { env, registry } = this;
    return new VolumeGrants({ env, registry, members: this.members(keyring) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
