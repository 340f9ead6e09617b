/**
 * The stores of other nodes: one for each device of the topology that is not `out` and whose node
 * gossip takes for alive, or suspects. A store that does not answer on a node that does is set
 * aside until it answers again.
 *
 * Invariant: while a device stays with its node its store is the same object, also when the node
 * was dead in between: who holds it may go on.
 */
import { type DeviceId, errorCode, mapBounded, type NodeId, unlessBug } from '../../base/index.ts';
import type { Cluster } from '../../cluster/index.ts';
import type { Env } from '../../env/index.ts';
import type { MemberChange, MemberView, Network } from '../../net/index.ts';
import type { Topology } from '../../placement/index.ts';
import { PeerTurns, RemoteChunkStore } from '../../store/index.ts';
import { isThere } from '../member-views.ts';

export interface PeerStoresOptions {
  readonly env: Env;
  readonly network: Pick<Network, 'self' | 'call' | 'open' | 'members' | 'watch' | 'links'>;
  readonly cluster: Pick<Cluster, 'topology' | 'nodeOf'>;
}

/** How often each store is asked whether it is there. */
const LOOK_MS = 5000;
const LOOKS_AT_ONCE = 16;
/** Before one that gave no answer is asked once more. */
const AGAIN_MS = 250;

export class PeerStores implements AsyncDisposable {
  readonly #options: PeerStoresOptions;
  readonly #stores = new Map<DeviceId, RemoteChunkStore>();
  readonly #turns = new Map<NodeId, PeerTurns>();
  /** Stores that gave no answer when they were looked for. */
  readonly #silent = new Set<DeviceId>();
  readonly #closing = new Set<Promise<void>>();
  readonly #end = new AbortController();
  readonly #loops: readonly Promise<void>[];
  #nodes: ReadonlySet<NodeId> = new Set();
  /** Of the nodes that were there, as last heard. */
  readonly #incarnations = new Map<NodeId, number>();
  /** How often a node was silent, as last heard. */
  readonly #silences = new Map<NodeId, number>();
  #topology: Topology | undefined;
  #alive: readonly RemoteChunkStore[] = [];
  #changeCount = 0;

  constructor(options: PeerStoresOptions) {
    this.#options = options;
    const there = options.network.members().filter(isThere);
    this.#nodes = new Set(there.map(({ node }) => node));
    for (const { node, incarnation } of there) this.#incarnations.set(node, incarnation);
    this.#loops = [this.#followMembers(), this.#lookForStores()];
  }

  /**
   * Rises whenever a store comes or goes, also when that was too short for anybody to take its node
   * for dead, and when its node was silent: what was put and deleted meanwhile has passed it by.
   */
  get changeCount(): number {
    this.alive();
    this.#noteSilences();
    return this.#changeCount;
  }

  /** Those that can be asked now. */
  alive(): readonly RemoteChunkStore[] {
    const topology = this.#options.cluster.topology();
    if (topology !== this.#topology) this.#settle(topology);
    return this.#alive;
  }

  /** Whether gossip takes the node for alive, or suspects it. */
  isThere(node: NodeId): boolean {
    return this.#nodes.has(node);
  }

  /** Makes and drops stores as the topology says, and picks those that can be asked. */
  #settle(topology: Topology): void {
    const { env, network, cluster } = this.#options;
    this.#topology = topology;
    const gone = new Set(this.#stores.keys());
    for (const { id, state } of topology.devices) {
      const node = cluster.nodeOf(id);
      if (state === 'out' || !node || node === network.self) continue;
      gone.delete(id);
      if (this.#stores.get(id)?.node === node) continue;
      this.#drop(id);
      const epoch = (): number => cluster.topology().epoch;
      const { clock } = env;
      const turns = this.#turns.get(node) ?? new PeerTurns();
      this.#turns.set(node, turns);
      this.#stores.set(id, new RemoteChunkStore({ clock, network, node, id, epoch, turns }));
    }
    for (const id of gone) this.#drop(id);
    const alive = [...this.#stores.values()].filter(
      ({ id, node }) => this.#nodes.has(node) && !this.#silent.has(id),
    );
    const isSame =
      alive.length === this.#alive.length && alive.every((one, i) => one === this.#alive[i]);
    if (isSame) return;
    this.#alive = alive;
    this.#changeCount += 1;
  }

  #drop(id: DeviceId): void {
    const store = this.#stores.get(id);
    this.#stores.delete(id);
    this.#silent.delete(id);
    if (!store) return;
    const closing = store[Symbol.asyncDispose]().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  async #followMembers(): Promise<void> {
    for await (const change of this.#options.network.watch({ signal: this.#end.signal })) {
      this.#hear(change);
    }
  }

  #hear({ node, member }: MemberChange): void {
    const isThereNow = member !== undefined && isThere(member);
    if (isThereNow) this.#noteReturn(member);
    if (isThereNow === this.#nodes.has(node)) return;
    const nodes = new Set(this.#nodes);
    if (isThereNow) nodes.add(node);
    else nodes.delete(node);
    this.#nodes = nodes;
    this.#settle(this.#options.cluster.topology());
  }

  /**
   * Who was started again, or was suspected and is not any more, has another incarnation. Its
   * stores can be asked again at once.
   */
  #noteReturn({ node, incarnation }: MemberView): void {
    const before = this.#incarnations.get(node);
    this.#incarnations.set(node, incarnation);
    if (before === undefined || before === incarnation) return;
    this.#changeCount += 1;
    for (const { id, node: of } of this.#stores.values()) if (of === node) this.#silent.delete(id);
    this.#settle(this.#options.cluster.topology());
  }

  #noteSilences(): void {
    for (const { node, silenceCount } of this.#options.network.links()) {
      if (silenceCount === (this.#silences.get(node) ?? 0)) continue;
      this.#silences.set(node, silenceCount);
      this.#changeCount += 1;
    }
  }

  async #lookForStores(): Promise<void> {
    const { signal } = this.#end;
    for await (const _ of this.#options.env.clock.every(LOOK_MS, { signal })) {
      this.alive();
      const there = [...this.#stores.values()].filter(({ node }) => this.#nodes.has(node));
      await mapBounded(there, LOOKS_AT_ONCE, (store) => this.#look(store));
      this.#settle(this.#options.cluster.topology());
    }
  }

  async #look(store: RemoteChunkStore): Promise<void> {
    if (await this.#isAnswering(store)) this.#silent.delete(store.id);
    // Its node may have gone meanwhile, or the device.
    else if (this.#stores.get(store.id) === store) this.#silent.add(store.id);
  }

  /**
   * One question without an answer says nothing of a store that gave answers: the connection may
   * have broken, and when this process was paused, every question of that time is late.
   */
  async #isAnswering(store: RemoteChunkStore): Promise<boolean> {
    if (await hasAnswered(store)) return true;
    const { signal } = this.#end;
    if (this.#silent.has(store.id)) return false;
    await this.#options.env.clock.sleep(AGAIN_MS, { signal }).catch(unlessBug);
    return !signal.aborted && (await hasAnswered(store));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await Promise.all(this.#loops);
    for (const id of this.#stores.keys()) this.#drop(id);
    await Promise.all(this.#closing);
  }
}

async function hasAnswered(store: RemoteChunkStore): Promise<boolean> {
  try {
    await store.usage();
    return store.state !== 'failed';
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined) throw error;
    return code === 'HF_BUSY'; // who says so is there
  }
}
