/**
 * A cluster in one process: cores of several nodes over a network in memory, each with stores in
 * memory, in virtual time. Node 1 is the home. A node can be killed and started again: its stores
 * keep what they have, all else it reads anew.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import {
  assert,
  chunkIdParts,
  type DeviceId,
  errorCode,
  hexId,
  METADATA_SCHEME_NUMBER,
  type NodeId,
  type VolumeId,
} from '../../src/base/index.ts';
import {
  CertificateAdmission,
  Members,
  registerSelf,
  VolumeGrants,
} from '../../src/cluster/index.ts';
import { adminKeyring, type Keyring, NodeKey } from '../../src/crypto/index.ts';
import { MemoryDb } from '../../src/db/index.ts';
import type { Env } from '../../src/env/index.ts';
import { gossipMembers, MemoryNet, Network, parseAddress } from '../../src/net/index.ts';
import {
  connectCore,
  type Core,
  LocalMetadata,
  memberGrants,
  type Metadata,
  openCore,
  RemoteMetadata,
  Serving,
  type ServingOptions,
  startCare,
} from '../../src/node/index.ts';
import { type ChunkStore, MemoryChunkStore } from '../../src/store/index.ts';
import { addressOf, founderKeyring, memberKeyring, seedOf } from './admission-bed.ts';
import { bytesOf, rs42, streamOf } from './store-bed.ts';
import { virtualEnv } from './virtual-env.ts';

const TOLERANCE = 2;
const STORE_BYTES = 64 * 2 ** 20;
/** Virtual seconds until something that should happen counts as not happening. */
const PATIENCE_MS = 120_000;

export interface ClusterBedOptions {
  readonly nodes?: number;
  readonly storesPerNode?: number;
  readonly nodeGraceMs?: number;
  /** What a test breaks. */
  readonly serving?: Partial<ServingOptions>;
}

export class BedNode {
  readonly number: number;
  readonly stores: MemoryChunkStore[] = [];
  readonly away = new Set<ChunkStore>();
  keyring: Keyring;
  network: Network | undefined;
  serving: Serving | undefined;
  /** Of the life that it has; `undefined` while it is down, or waits. */
  core: Core | undefined;
  life: AsyncDisposableStack | undefined;

  constructor(number: number, keyring: Keyring) {
    this.number = number;
    this.keyring = keyring;
  }

  get id(): NodeId {
    return new NodeKey(this.keyring.nodeSeed).nodeId;
  }

  readonly alive = (): readonly ChunkStore[] =>
    this.stores.filter((store) => !this.away.has(store) && store.state !== 'failed');

  devices() {
    return this.stores.map(({ id }) => ({
      id,
      weightBytes: STORE_BYTES,
      state: 'in' as const,
      labels: [`server-${this.number}`, `disk-${id}`],
    }));
  }

  /** Keys of volumes as a keyring file has them. */
  readonly secrets = {
    get: (volume: VolumeId) => this.keyring.volumes.get(volume),
    add: async (volume: VolumeId, secret: Uint8Array) => {
      const volumes = new Map(this.keyring.volumes).set(volume, secret);
      this.keyring = { ...this.keyring, volumes };
    },
  };

  /** @throws when it is down. */
  get up(): Core {
    if (this.core) return this.core;
    throw new Error(`node ${this.number} is down`);
  }

  async chunkCount(): Promise<number> {
    let count = 0;
    for (const store of this.stores) count += (await store.usage()).chunkCount;
    return count;
  }
}

export class ClusterBed implements AsyncDisposable {
  readonly env: Env;
  readonly net: MemoryNet;
  readonly nodes: BedNode[] = [];
  readonly #options: ClusterBedOptions;

  private constructor(options: ClusterBedOptions) {
    this.#options = options;
    this.env = virtualEnv(1);
    this.net = new MemoryNet(this.env, { delayMs: 1 });
  }

  static async open(options: ClusterBedOptions = {}): Promise<ClusterBed> {
    const bed = new ClusterBed(options);
    const { nodes = 3 } = options;
    for (let i = 0; i < nodes; i++) await bed.add();
    await bed.eventually(() => {
      for (const { up } of bed.nodes) {
        if (up.stores().length !== bed.storeCount) throw new Error('not all stores are seen');
      }
    });
    return bed;
  }

  get home(): BedNode {
    return this.nodes[0]!;
  }

  get storeCount(): number {
    return this.nodes.reduce((sum, { stores }) => sum + stores.length, 0);
  }

  node(number: number): BedNode {
    return this.nodes[number - 1]!;
  }

  /** A new member with its stores, started. */
  async add(): Promise<BedNode> {
    const number = this.nodes.length + 1;
    const node = new BedNode(number, await this.#admit(number));
    const { storesPerNode = 2 } = this.#options;
    for (let i = 0; i < storesPerNode; i++) this.addStore(node);
    this.nodes.push(node);
    await this.start(node);
    return node;
  }

  addStore({ number, stores }: BedNode): MemoryChunkStore {
    const id = hexId<DeviceId>(new Uint8Array(16).fill(16 * number + stores.length));
    const now = () => this.env.clock.now();
    const store = new MemoryChunkStore({ id, now, sizeBytes: STORE_BYTES });
    stores.push(store);
    return store;
  }

  /** What an admin node does for one that joins, without the talk. */
  async #admit(number: number): Promise<Keyring> {
    const founder = { ...founderKeyring(1), volumes: new Map() };
    if (number === 1) return founder;
    const keyring = memberKeyring(founder, seedOf(number), number);
    const wishes = { name: `node-${number}`, labels: {} };
    await this.members().put(keyring.certificate, wishes);
    await this.grants().grantDefaults(this.home.keyring.volumes);
    return keyring;
  }

  /** The members as the home has them. */
  members(): Members {
    const { env } = this;
    const { registry } = this.home.up;
    const { clusterId, clusterPublicKey } = this.home.keyring;
    return new Members({ env, registry, clusterId, clusterPublicKey });
  }

  grants(): VolumeGrants {
    const { env } = this;
    return new VolumeGrants({ env, registry: this.home.up.registry, members: this.members() });
  }

  /** @throws what opening throws; then the node is down. */
  async start(node: BedNode, recovery?: { acceptsLoss: boolean }): Promise<void> {
    await using life = new AsyncDisposableStack();
    const { env } = this;
    const { nodeGraceMs } = this.#options;
    const network = life.use(await this.#openNetwork(node));
    node.network = network;
    // A node tries until the home answers; so long nobody waits here.
    if (node !== this.home) {
      await network.connect(parseAddress(addressOf(1))).catch((error: unknown) => {
        if (errorCode(error) === undefined) throw error;
      });
    }
    const home = (): NodeId => this.home.id;
    const about = { env, network, stores: node.alive, home, ...this.#options.serving };
    const serving = new Serving(about);
    node.serving = serving;
    const core = life.use(await this.#openCore(node, { network, life, recovery }));
    const { registry } = core;
    const { keyring } = node;
    if (node === this.home) {
      await registerSelf({ env, registry, keyring }, { name: 'node-1', labels: {} });
    }
    life.use(await connectCore({ env, core, network, serving, identity: keyring }));
    const stores = {
      alive: node.alive,
      refresh: async () => {},
      awayFor: () => [],
      changeCount: 0,
      isDetached: () => false,
      setState() {},
      devices: () => node.devices(),
    };
    life.use(startCare({ env, core, stores, repair: core.repair, nodeGraceMs }));
    node.core = core;
    node.life = life.move();
  }

  async #openNetwork({ number, keyring }: BedNode): Promise<Network> {
    const { env, net } = this;
    const key = new NodeKey(keyring.nodeSeed);
    const admission = new CertificateAdmission({ env, identity: keyring });
    return await Network.open({
      env,
      key,
      admission,
      transports: [net.transport(key.nodeId)],
      listen: [parseAddress(addressOf(number))],
      seeds: this.nodes.map((node) => parseAddress(addressOf(node.number))),
      membership: gossipMembers({ admission }),
    });
  }

  async #openCore(
    node: BedNode,
    {
      network,
      life,
      recovery,
    }: {
      readonly network: Network;
      readonly life: AsyncDisposableStack;
      readonly recovery: { acceptsLoss: boolean } | undefined;
    },
  ): Promise<Core> {
    const { env } = this;
    const { id: nodeId, alive } = node;
    const about = { env, nodeId, stores: alive, devices: node.devices(), tolerance: TOLERANCE };
    const openDb = async () => new MemoryDb();
    const { metadataKey } = node.keyring;
    const metadata: Metadata = metadataKey
      ? await LocalMetadata.open({ ...about, metadataKey, recovery, openDb })
      : await RemoteMetadata.open({ ...about, network, home: () => this.home.id });
    life.use(metadata);
    const { registry } = metadata;
    return await openCore({
      env,
      nodeId,
      metadata,
      secrets: node.secrets,
      localStores: alive,
      grants: memberGrants({ env, self: nodeId, registry, keyring: () => node.keyring }),
      threadCount: 0,
      slotCount: 4,
    });
  }

  /** The home from its stores and the kit: a node with a new identity. */
  async recover(): Promise<void> {
    const { home } = this;
    const { clusterId, clusterKey, metadataKey, volumes } = home.keyring;
    assert(clusterKey && metadataKey, 'the home has all keys');
    const nodeSeed = seedOf(99);
    home.keyring = adminKeyring({ clusterId, clusterKey, metadataKey, nodeSeed, volumes }, 0);
    await this.start(home, { acceptsLoss: false });
  }

  /** Its process ends without a word; what it holds stays. */
  async kill(node: BedNode): Promise<void> {
    const { life, network } = node;
    node.life = undefined;
    node.core = undefined;
    node.network = undefined;
    this.net.cut(node.id);
    await network?.[Symbol.asyncDispose]();
    await life?.disposeAsync();
  }

  /** Lets time pass. */
  async sleep(ms: number): Promise<void> {
    await this.env.clock.sleep(ms);
  }

  /** @throws what `check` throws when it has not held for two minutes. */
  async eventually(check: () => void | Promise<void>): Promise<void> {
    const untilMs = this.env.clock.monotonic() + PATIENCE_MS;
    for (;;) {
      try {
        return await check();
      } catch (error) {
        if (this.env.clock.monotonic() > untilMs) throw error;
      }
      await this.sleep(200);
      await nextTurn();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The others first: they have something to ask of the home.
    for (const node of this.nodes.toReversed()) if (node.life) await this.kill(node);
  }
}

/** A bed of the test that runs: it goes when that ends. */
export async function openClusterBed(options: ClusterBedOptions = {}): Promise<ClusterBed> {
  const bed = await ClusterBed.open(options);
  onTestFinished(() => bed[Symbol.asyncDispose]());
  return bed;
}

/** What most tests make at the home. */
export const volume = { name: 'v', policy: [rs42] as const, isDeduplicating: true };

/** Four nodes, the first three of which serve {@link volume}. */
export async function openServingBed(): Promise<ClusterBed> {
  const bed = await openClusterBed({ nodes: 4 });
  await bed.home.up.volumes.create(volume);
  for (const number of [2, 3]) {
    const { volumes } = bed.node(number).up;
    await bed.eventually(() => expect(volumes.records).toHaveLength(1));
  }
  return bed;
}

/** Puts {@link contentOf} that size. @returns what the put was degraded to. */
export async function put(core: Core, key: string, size = 100_000): Promise<number | undefined> {
  const objects = core.volumes.objects('v');
  return (await objects.put(streamOf(bytesOf(size, size)), { key })).degradedTo;
}

export async function get(core: Core, key: string): Promise<Buffer> {
  const { bytes } = await core.volumes.objects('v').get(key);
  return Buffer.concat(await Array.fromAsync(bytes));
}

export function contentOf(size = 100_000): Buffer {
  return Buffer.from(bytesOf(size, size));
}

/** Chunks on the stores of these nodes, without those of metadata. */
export async function contentChunks(...nodes: readonly BedNode[]): Promise<number> {
  let count = 0;
  for (const store of nodes.flatMap(({ stores }) => stores)) {
    for await (const { id } of store.list()) {
      if (chunkIdParts(id).schemeNumber !== METADATA_SCHEME_NUMBER) count += 1;
    }
  }
  return count;
}
