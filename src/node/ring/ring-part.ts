/**
 * A node's part in the ring: its own etcd (own-etcd.ts), the ways to the others' (ring-wires.ts),
 * and the newest record that it has seen. Every node has one that may be asked to take a seat, or
 * asks the ring anything.
 *
 * Records spread by themselves: each node compares its own with another's every few seconds. So a
 * member that was away while the ring changed, or was restored elsewhere, hears of it even if it
 * cannot reach the registry any more.
 */
import * as v from 'valibot';
import {
  errorCode,
  errorMessage,
  HoldfastError,
  LIMITS,
  Mutex,
  type NodeId,
} from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { DialEtcd, EtcdKv } from '../../log/index.ts';
import type { Network } from '../../net/index.ts';
import { endOrphan } from './etcd-process.ts';
import { FsyncSpeed, measureFsync } from './fsync-speed.ts';
import { dialsOf, type NamedEtcd, StoredNamedEtcd } from './named-etcd.ts';
import { assertReached } from './named-look.ts';
import { OwnEtcd, type RingStatus } from './own-etcd.ts';
import { CLIENT_SOCKET, RingFolder } from './ring-folder.ts';
import {
  decodeRing,
  encodeRing,
  isInEtcd,
  isNewerRing,
  isSameLife,
  type RingRecord,
  type RingSeat,
  seatOf,
} from './ring-record.ts';
import { RingWay } from './ring-way.ts';
import { connectTo, RingWires } from './ring-wires.ts';

const COMPARE_EVERY_MS = 5000;
const CARE_EVERY_MS = 5000;

export interface RingPartOptions {
  readonly env: Env;
  /** Made when it is not there; see ring-folder.ts. */
  readonly folder: string;
  readonly network: Pick<Network, 'self' | 'call' | 'open' | 'handle'>;
  /** Path of etcd (`findEtcd`); `undefined`: none is installed, and no seat can be taken. */
  readonly program: string | undefined;
  /** Whether a node may ask the ring, and tell of records: it has the role for metadata. */
  readonly mayUse: (node: NodeId) => boolean;
  /** Nodes that are alive and have that role: to compare records with. */
  readonly others: () => readonly NodeId[];
  readonly memoryBytesMax?: number;
  readonly quotaBytes?: number;
}

/** What speaks for a seat on a node. */
export interface RingAbility {
  readonly hasEtcd: boolean;
  /** How long its disk takes; Infinity when that cannot be told. */
  readonly fsyncMs: number;
}

const RecordMessage = v.nullable(v.instance(Uint8Array));

export class RingPart implements AsyncDisposable {
  /** To the whole ring, this node's own etcd first; follows the record. Stays the part's. */
  readonly kv: EtcdKv;
  readonly #way: RingWay;
  readonly #options: RingPartOptions;
  readonly #folder: RingFolder;
  readonly #etcd: OwnEtcd;
  readonly #wires: RingWires;
  readonly #dials = new Map<NodeId, DialEtcd>();
  readonly #changing = new Mutex();
  readonly #closing = new AbortController();
  #record: RingRecord | undefined;
  #isBehind = false;
  /** While its etcd is being restored nobody may talk with it. */
  #isShut = false;
  readonly #speed: FsyncSpeed;
  #loops: Promise<unknown> = Promise.resolve();

  private constructor(options: RingPartOptions, folder: RingFolder) {
    const { env, network, program, mayUse, memoryBytesMax, quotaBytes } = options;
    const { self } = network;
    this.#options = options;
    this.#folder = folder;
    this.#speed = new FsyncSpeed(() => measureFsync(folder.path, env.clock), env.clock);
    const record = (): RingRecord | undefined => this.#record;
    const isShut = (): boolean => this.#isShut;
    this.#wires = new RingWires({ env, folder, network, record, mayUse, isShut });
    const dial: DialEtcd = () => connectTo(folder.socket(CLIENT_SOCKET));
    const limits = { memoryBytesMax, quotaBytes };
    this.#etcd = new OwnEtcd({ env, folder, self, program, dial, ...limits });
    this.#way = new RingWay(env.clock);
    this.kv = this.#way.kv();
    this.#serve();
  }

  /** Ends an etcd of an earlier life, and starts its own when it has a seat. @throws HF_IO. */
  static async open(options: RingPartOptions): Promise<RingPart> {
    const folder = await RingFolder.open(options.folder);
    // Whoever fails here may try again: nothing has been registered with the network yet.
    const known = await recall(folder, options.env);
    const part = new RingPart(options, folder);
    if (known) await part.#changing.run(() => part.#follow(known));
    const { signal } = part.#closing;
    part.#loops = Promise.all([part.#compare(signal), part.#care(signal)]);
    return part;
  }

  get env(): Env {
    return this.#options.env;
  }

  get self(): NodeId {
    return this.#options.network.self;
  }

  /** The newest that this node has seen. */
  get record(): RingRecord | undefined {
    return this.#record;
  }

  /** Of the process of its etcd, while that runs. */
  get pid(): number | undefined {
    return this.#etcd.pid;
  }

  /** The same while the ring is of that generation of the registry; else HF_UNAVAILABLE. */
  kvOf(generation: number): EtcdKv {
    return this.#way.kv(generation);
  }

  /** The way to one member's etcd; the same function for the same node. */
  dialOf(node: NodeId): DialEtcd {
    let dial = this.#dials.get(node);
    if (!dial) {
      dial = () => this.#wires.dial(node);
      this.#dials.set(node, dial);
    }
    return dial;
  }

  /** Keeps a record and does what it says, when it is newer than the one it has. */
  async adopt(record: RingRecord): Promise<void> {
    await this.#changing.run(async () => {
      if (!isNewerRing(record, this.#record) || this.#closing.signal.aborted) return;
      await this.#folder.writeRing(record);
      await this.#follow(record);
    });
  }

  /** Never fails: what cannot be done now is tried again. */
  async #follow(record: RingRecord): Promise<void> {
    this.#isBehind = false;
    try {
      const own = await this.#folder.readOwn();
      const isRestoring = (own?.restoring ?? 0) > record.life;
      if (isRestoring && seatOf(record, this.self)) {
        this.#record = record;
        await this.#restore(record); // it was begun, and there is no way back
        return;
      }
      this.#isShut = false;
      await this.#setWays(record);
      await this.#etcd.follow(record);
    } catch (error) {
      this.#isBehind = true;
      const reason = errorMessage(error);
      this.#options.env.log.warn('the part in the ring could not be taken', { reason });
    }
  }

  async #setWays(record: RingRecord): Promise<void> {
    const before = this.#record;
    this.#record = record;
    const { generation, named } = record;
    if (named) this.#way.lead({ generation, prefix: named.prefix, members: dialsOf(named) });
    // Ways of another life lead to who is no member any more.
    if (before && !isSameLife(before, record)) this.#wires.cut();
    const nodes = record.members.map(({ node }) => node);
    const others = nodes.filter((node) => node !== this.self);
    await this.#wires.lead(others.length < nodes.length ? others : []);
    const sorted = record.members
      .filter(isInEtcd)
      .toSorted((a, b) => this.#rank(a) - this.#rank(b));
    const dials = sorted.map(({ node }) => this.dialOf(node));
    if (dials.length > 0) this.#way.lead({ generation, prefix: undefined, members: dials });
  }

  /** Those that surely serve go first, and of them this node. */
  #rank({ node, state }: RingSeat): number {
    const serves = state === 'member' || state === 'founder';
    return (serves ? 0 : 2) + (node === this.self ? 0 : 1);
  }

  /**
   * Makes a ring of this node alone out of what its etcd has, and gives up the others' data:
   * ring-restore.ts asks first whether that must be.
   * @throws HF_NOT_FOUND when it has nothing; HF_UNAVAILABLE when its etcd does not come up.
   */
  async restoreFromOwn(): Promise<RingRecord> {
    return await this.#changing.run(async () => {
      const before = this.#record;
      const seat = seatOf(before, this.self);
      if (!before || !seat) throw new HoldfastError('HF_NOT_FOUND', 'this node had no seat');
      await this.#etcd.assertRestorable(before);
      this.#isBehind = true; // if it fails it is tried again
      return await this.#restore(before);
    });
  }

  /**
   * The record is changed last, so that others give up what they have only for a ring that works;
   * `restoring` in own.json is what keeps this node from the ring before in the meantime.
   */
  async #restore(before: RingRecord): Promise<RingRecord> {
    const seat = seatOf(before, this.self)!;
    const members: RingSeat[] = [{ ...seat, state: 'member' }];
    const { life, version } = before;
    const record = { ...before, life: life + 1, version: version + 1, members };
    this.#isShut = true;
    this.#wires.cut();
    await this.#etcd.restore(record);
    await this.#folder.writeRing(record);
    await this.#setWays(record);
    await this.#etcd.endRestore(record);
    this.#isShut = false;
    this.#isBehind = false;
    return record;
  }

  async status(): Promise<RingStatus> {
    return await this.#etcd.status();
  }

  async ability(): Promise<RingAbility> {
    return { hasEtcd: this.#options.program !== undefined, fsyncMs: await this.#speed.ms() };
  }

  // What others ask.

  #serve(): void {
    const { network, mayUse, env } = this.#options;
    const answer = <Arg>(
      method: string,
      schema: v.GenericSchema<unknown, Arg>,
      handler: (arg: Arg) => unknown,
    ): void =>
      network.handle(method, { schema }, (arg: Arg, { from }) => {
        if (mayUse(from) || seatOf(this.#record, from)) return handler(arg);
        env.metrics.add('node_ring_refused', 1);
        throw new HoldfastError('HF_DENIED', `${from} has no business with the ring`);
      });
    answer('ring/status', v.null(), () => this.status());
    answer('ring/ability', v.null(), () => this.ability());
    answer('ring/reach', StoredNamedEtcd, async (named) => {
      await assertReached(named, env.clock);
      return null;
    });
    answer('ring/record', RecordMessage, async (bytes) => {
      if (bytes) await this.adopt(decodeRing(bytes));
      return this.#record ? encodeRing(this.#record) : null;
    });
  }

  /** Both have the newer record afterwards. @throws as of Network.call; HF_CORRUPT. */
  async compareWith(node: NodeId): Promise<void> {
    const own = this.#record ? encodeRing(this.#record) : null;
    const options = { deadlineMs: LIMITS.remoteCallMs };
    const theirs = await this.#options.network.call<unknown>(node, 'ring/record', own, options);
    const bytes = v.parse(RecordMessage, theirs);
    if (bytes) await this.adopt(decodeRing(bytes));
  }

  /** Whether another node reaches an etcd. @throws HF_UNAVAILABLE and others, naming the node. */
  async askToReach(node: NodeId, named: NamedEtcd): Promise<void> {
    const options = { deadlineMs: LIMITS.remoteCallMs };
    try {
      await this.#options.network.call(node, 'ring/reach', named, options);
    } catch (error) {
      const code = errorCode(error) ?? 'HF_UNAVAILABLE';
      const message = `node ${node} cannot use it: ${errorMessage(error)}`;
      throw new HoldfastError(code, message, { cause: error });
    }
  }

  async #compare(signal: AbortSignal): Promise<void> {
    const { env, others } = this.#options;
    for await (const _ of env.clock.every(COMPARE_EVERY_MS, { signal })) {
      const nodes = others().filter((node) => node !== this.self);
      const node = nodes[env.random.below(Math.max(1, nodes.length))];
      if (node === undefined) continue;
      await this.compareWith(node).catch((error: unknown) => {
        const reason = errorMessage(error);
        env.log.debug('records of the ring were not compared', { node, reason });
      });
    }
  }

  async #care(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options.env;
    for await (const _ of clock.every(CARE_EVERY_MS, { signal })) {
      await this.#changing.run(async () => {
        if (this.#isBehind && this.#record) await this.#follow(this.#record);
      });
      await this.#etcd.look().catch((error: unknown) => {
        const reason = errorMessage(error);
        log.warn('the etcd of this node could not be looked after', { reason });
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#loops;
    await this.#changing.run(() => this.#etcd[Symbol.asyncDispose]());
    await this.#way[Symbol.asyncDispose]();
    await this.#wires[Symbol.asyncDispose]();
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** What the last life of this node has left: the record, and perhaps an etcd, which is ended. */
async function recall(folder: RingFolder, env: Env): Promise<RingRecord | undefined> {
  try {
    await endOrphan(folder, env);
    return await folder.readRing();
  } catch (error) {
    await folder[Symbol.asyncDispose]();
    throw new HoldfastError('HF_IO', errorMessage(error), { cause: error });
  }
}
