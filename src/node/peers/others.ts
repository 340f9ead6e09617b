/**
 * What a node has to do with others: its settings towards them, its network, and the connection of
 * its core with that. A node that is alone has no network. It gets one when it is told an address
 * to listen on, when it invites, and when it has joined; without a restart.
 */
import { errorCode, HoldfastError, Mutex, type NodeId } from '../../base/index.ts';
import { leaveCluster, registerSelf, type RemovalOptions } from '../../cluster/index.ts';
import type { Env } from '../../env/index.ts';
import type { ClientWork } from './client-work.ts';
import { connectCore } from './connect-core.ts';
import { membersIn } from './members-in.ts';
import type { Core } from '../core.ts';
import { CurrentRegistry } from '../metadata/current-registry.ts';
import type { DataDirectory } from '../data-directory.ts';
import type { Keeper } from '../keeper.ts';
import type { DiskEntry } from './disk-list.ts';
import { DiskNews } from './disk-news.ts';
import { wasRefused } from '../metadata/home-link.ts';
import { readHomeRecord } from '../metadata/home-record.ts';
import { MetadataNode } from './metadata-node.ts';
import { type MakeTransport, NetworkPart, supersededBy } from './network-part.ts';
import {
  type ConfigChanges,
  DEFAULT_LISTEN,
  deviceLabels,
  type NodeConfig,
  wishesOf,
  withPorts,
} from '../node-config.ts';
import { Serving } from './serving.ts';
import { findEtcd } from '../ring/etcd-process.ts';
import type { StoreSet } from '../stores/store-set.ts';
import type { Whereabouts } from '../metadata/whereabouts.ts';
import { succeeding, type Succession, successionOf } from '../metadata/succession.ts';

/** A node that has been drained asks the home to take it out. */
const LEAVE_METHOD = 'node.leave';
const LEAVE_DEADLINE_MS = 20_000;
const LEAVE_RETRY_MS = 500;
/** It is not home (any more), or whether it was asked is not known. */
const LEAVE_RETRIED: readonly (string | undefined)[] = [
  'HF_UNSUPPORTED',
  'HF_UNAVAILABLE',
  'HF_UNKNOWN_OUTCOME',
];

/** Where programs are when nothing was said. */
const SEARCH_PATH = '/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/opt/homebrew/bin';

export interface OthersOptions {
  readonly env: Env;
  readonly data: DataDirectory;
  readonly keeper: Keeper;
  readonly stores: StoreSet;
  readonly config: NodeConfig;
  readonly whereabouts: Whereabouts;
  /** What of it was said with this start. */
  readonly said?: ConfigChanges | undefined;
  readonly work: ClientWork;
  /** Which disks and stores are on this machine now. */
  readonly lookAtDisks: () => Promise<readonly DiskEntry[]>;
  /** Whether this start begins a cluster. */
  readonly isFirstRun: boolean;
  /** Folders in which programs are looked for, as PATH has them. */
  readonly searchPath?: string | undefined;
  /** Beside TLS and WebSocket. */
  readonly transports?: readonly MakeTransport[] | undefined;
}

/** The network of a node that is not alone, and what answers and tells by way of it. */
interface Net {
  readonly part: NetworkPart;
  readonly serving: Serving;
  readonly diskNews: DiskNews;
  readonly metadataNode: MetadataNode;
}

export class Others implements AsyncDisposable {
  readonly #options: OthersOptions;
  readonly #changing = new Mutex();
  #config: NodeConfig;
  #net: Net | undefined;
  #core: Core | undefined;
  #connection: AsyncDisposable | undefined;
  #succession: Succession | undefined;
  readonly #fence = new AbortController();

  constructor(options: OthersOptions) {
    this.#options = options;
    this.#config = options.config;
  }

  get config(): NodeConfig {
    return this.#config;
  }

  /** `undefined` while the node is alone. */
  get part(): NetworkPart | undefined {
    return this.#net?.part;
  }

  /** `undefined` while the node is alone. */
  get diskNews(): DiskNews | undefined {
    return this.#net?.diskNews;
  }

  /** `undefined` while the node is alone. */
  get metadataNode(): MetadataNode | undefined {
    return this.#net?.metadataNode;
  }

  /** `undefined` while the node is alone. */
  get serving(): Serving | undefined {
    return this.#net?.serving;
  }

  /** @throws HF_UNSUPPORTED while the node is alone. */
  needPart(): NetworkPart {
    if (this.part) return this.part;
    throw new HoldfastError('HF_UNSUPPORTED', 'this node is alone: it knows no others');
  }

  /** Whether the log of the metadata is on the stores of this node. */
  get isCarrier(): boolean {
    return this.#options.whereabouts.isCarrier;
  }

  /** Whether this node is the home now. */
  get isHome(): boolean {
    return this.isCarrier || (this.#core?.metadata.isHome ?? false);
  }

  /** Who is the home, as far as it is known. */
  get home(): NodeId | undefined {
    // A home knows of another one when that has taken over.
    return this.part?.home ?? (this.isHome ? this.#options.keeper.nodeId : undefined);
  }

  get whereabouts(): Whereabouts {
    return this.#options.whereabouts;
  }

  /** Aborted, with an error, when this node was home and another one is it since. */
  get fenced(): AbortSignal {
    return this.#fence.signal;
  }

  /**
   * Opens the network of a node that is not alone. A home whose generation only its log knows
   * follows when its core is open.
   * @throws HF_UNAVAILABLE for its addresses; HF_FENCED when another node is home since.
   */
  async open(): Promise<void> {
    if (!this.isCarrier) {
      const part = await this.listen();
      // In a ring nobody is waited for.
      return this.metadataNode?.ring?.record ? undefined : await part.meetHome();
    }
    const { data, isFirstRun } = this.#options;
    const { home, homeGeneration } = await data.readCluster();
    if (home !== undefined) throw supersededBy(home);
    const isKnown = isFirstRun || homeGeneration !== undefined;
    if (this.#config.listen.length === 0 || !isKnown) return;
    await (await this.listen()).askForOtherHomes();
  }

  /**
   * Has the node listen, if it does not yet: from now on, also after a restart.
   * @throws HF_UNAVAILABLE, also while it is home and its core waits.
   */
  async listen(): Promise<NetworkPart> {
    return await this.#changing.run(async () => {
      if (this.part) return this.part;
      if (this.#config.listen.length === 0) {
        const listen = await withPorts([DEFAULT_LISTEN], { mayMove: true });
        this.#config = { ...this.#config, listen };
        await this.#options.data.writeConfig(this.#config);
      }
      const part = await this.#openPart();
      await this.#connect();
      return part;
    });
  }

  async #openPart(): Promise<NetworkPart> {
    const { env, data, keeper, stores, work, whereabouts } = this.#options;
    const homeGeneration = this.isCarrier ? await this.#generation() : undefined;
    const part = await NetworkPart.open({
      ...this.#options,
      config: this.#config,
      keyring: () => keeper.keyring,
      homeGeneration,
      isMovable: () => whereabouts.engine === 'etcd',
      registry: new CurrentRegistry(() => this.#core?.registry),
    });
    const home = (): NodeId | undefined => this.home;
    const { network } = part;
    const isMetadataNode = (node: NodeId) => part.claims.isMetadataNode(node);
    const about = { env, network, stores: () => stores.alive(), home, work, isMetadataNode };
    const serving = new Serving(about);
    network.handle(LEAVE_METHOD, {}, async (_, { from }) => {
      if (!this.isHome) throw new HoldfastError('HF_UNSUPPORTED', 'this node is not the home');
      await leaveCluster(this.removal(), from);
      return null;
    });
    // A node that is not to tell says that there is nothing; what it told before ends so.
    const look = async () => (this.#config.disks ? await this.#options.lookAtDisks() : []);
    const diskNews = new DiskNews({ env, network, look });
    part.fenced.addEventListener('abort', () => this.#fence.abort(part.fenced.reason));
    const metadataNode = await MetadataNode.open({
      env,
      keeper,
      whereabouts,
      part,
      config: this.#config,
      registry: new CurrentRegistry(() => this.#core?.registry),
      folder: data.ringPath,
      program: findEtcd(this.#options.searchPath ?? SEARCH_PATH),
      isLeaving: () => isLeaving(stores),
    });
    this.#net = { part, serving, diskNews, metadataNode };
    return part;
  }

  /** How many nodes have been home, this one included. @throws HF_UNAVAILABLE. */
  async #generation(): Promise<number> {
    const { data, isFirstRun } = this.#options;
    if (isFirstRun) return 1;
    const { homeGeneration } = await data.readCluster();
    const record = this.#core && (await readHomeRecord(this.#core.registry));
    const generation = record?.generation ?? homeGeneration;
    if (generation !== undefined) return generation;
    throw new HoldfastError('HF_UNAVAILABLE', 'this node waits');
  }

  /** What this start has taken over of the node that was home before; see `succeed`. */
  get succession(): Succession | undefined {
    return this.#succession;
  }

  /** After a recovery, before `attach`: takes the place of the node that was home before. */
  async succeed(core: Core): Promise<void> {
    const { env, data, keeper, stores, said = {} } = this.#options;
    const { nodeId, keyring } = keeper;
    const { members } = membersIn({ env, registry: core.registry, identity: keyring });
    this.#succession = await successionOf(members, nodeId);
    this.#config = await succeeding(this.#config, this.#succession, said);
    await data.writeConfig(this.#config);
    stores.relabel(deviceLabels(this.#config, nodeId));
    await core.cluster.setDevices(stores.devices());
  }

  /** The core is open, and is to be one among many where there is a network. */
  async attach(core: Core): Promise<void> {
    await this.#changing.run(async () => {
      this.#core = core;
      await this.#connect();
    });
  }

  /** The core has been closed. */
  async detach(): Promise<void> {
    await this.#changing.run(async () => {
      this.#core = undefined;
      const connection = this.#connection;
      this.#connection = undefined;
      await connection?.[Symbol.asyncDispose]();
    });
  }

  async #connect(): Promise<void> {
    if (this.#core && !this.#net && this.#config.listen.length > 0) await this.#openPart();
    if (!this.#core || !this.#net || this.#connection) return;
    const { env, keeper } = this.#options;
    const { keyring } = keeper;
    const { registry } = this.#core;
    if (this.isCarrier) await registerSelf({ env, registry, keyring }, wishesOf(this.#config));
    const { part, serving } = this.#net;
    const parts = { env, core: this.#core, network: part.network, serving, identity: keyring };
    this.#connection = await connectCore(parts);
    if (this.isCarrier) await this.removal().grants.grantDefaults(keyring.volumes);
  }

  /** What taking a node out needs. @throws HF_UNAVAILABLE while the core waits. */
  removal(): RemovalOptions {
    if (!this.#core) throw new HoldfastError('HF_UNAVAILABLE', 'this node waits');
    const { env, keeper } = this.#options;
    const { cluster, registry, references } = this.#core;
    const endSession = async (node: NodeId): Promise<void> => {
      await references.openSession(node);
    };
    const lists = membersIn({ env, registry, identity: keeper.keyring });
    return { env, registry, cluster, ...lists, endSession };
  }

  /** See Serving; nobody puts by way of a network that is not there. */
  async refusePutsBefore(epoch: number): Promise<void> {
    await this.#net?.serving.refusePutsBefore(epoch);
  }

  /**
   * Has the home take this node out of the cluster, and tells everybody.
   * @throws HF_DENIED when it is the home, or a volume is granted to it alone; HF_UNAVAILABLE.
   */
  async leave(): Promise<void> {
    const part = this.needPart();
    const { clock } = this.#options.env;
    const untilMs = clock.monotonic() + LEAVE_DEADLINE_MS;
    for (;;) {
      try {
        await this.#askToLeave(part);
        return await part.leave();
      } catch (error) {
        // Who is out is talked with no more, and that may have cut off the answer.
        if (wasRefused(error)) return await part.leave();
        // A node that has just become home learns it within seconds.
        const code = errorCode(error);
        const mayAskAgain = LEAVE_RETRIED.includes(code) || this.home === undefined;
        if (this.isCarrier || !mayAskAgain || clock.monotonic() >= untilMs) throw error;
        await clock.sleep(LEAVE_RETRY_MS);
      }
    }
  }

  async #askToLeave({ network }: NetworkPart): Promise<void> {
    const { home } = this;
    if (home === undefined) throw new HoldfastError('HF_UNAVAILABLE', 'the home is not known');
    await network.call(home, LEAVE_METHOD, null, { deadlineMs: LEAVE_DEADLINE_MS });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.detach();
    await this.#net?.metadataNode[Symbol.asyncDispose]();
    await this.#net?.diskNews[Symbol.asyncDispose]();
    await this.#net?.part[Symbol.asyncDispose]();
  }
}

/** Also after it was stopped in the midst of it. */
export function isLeaving({ slots }: Pick<StoreSet, 'slots'>): boolean {
  const used = slots.filter(({ state }) => state !== 'out');
  return used.length > 0 && used.every(({ state }) => state === 'draining');
}
