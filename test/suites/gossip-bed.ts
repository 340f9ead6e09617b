/**
 * Many nodes that gossip in one process, on virtual time, over calls that go straight from one to
 * the other (as MessagePack, so that they are what would travel). Nodes can be killed, frozen as by
 * SIGSTOP, and parted. Signatures are real; each is checked once and not by every node.
 */
import { Decoder, Encoder } from '@msgpack/msgpack';
import { errorCode, HoldfastError, type NodeId } from '../../src/base/index.ts';
import type { NodeKey } from '../../src/crypto/index.ts';
import type { Env } from '../../src/env/index.ts';
import { MetricsTable } from '../../src/env/index.ts';
import {
  type CallOptions,
  GOSSIP_RULES,
  gossipMembers,
  type GossipOptions,
  type GossipRules,
  type Handler,
  type LinkChange,
  type Membership,
  type NetAddress,
  type Peers,
} from '../../src/net/index.ts';
import { everybody, keyOf } from './net-bed.ts';
import { virtualEnv } from './virtual-env.ts';

export interface BedNode {
  readonly index: number;
  readonly id: NodeId;
  readonly key: NodeKey;
  readonly address: NetAddress;
  readonly gossip: Membership;
  readonly metrics: MetricsTable;
  readonly handlers: ReadonlyMap<string, Handler<never>>;
  /** Killed: dials to it are refused. */
  isDown: boolean;
  /** Stopped: what arrives waits until it runs again. */
  thawed: Promise<void> | undefined;
}

export class GossipBed {
  readonly env: Env;
  readonly nodes: BedNode[] = [];
  readonly #byId = new Map<NodeId, BedNode>();
  readonly #rules = checkedOnce();
  readonly #encoder = new Encoder();
  readonly #decoder = new Decoder();
  callCount = 0;
  byteCount = 0;
  isCut: (a: number, b: number) => boolean = () => false;

  constructor(seed: number) {
    this.env = virtualEnv(seed);
  }

  address(index: number): NetAddress {
    return { scheme: 'memory', host: 'bed', port: 1 + index, path: '' };
  }

  /** @param seeds indexes of nodes whose addresses it is given. */
  async add(
    seeds: readonly number[],
    options: Partial<GossipOptions> = {},
    index = this.nodes.length,
  ): Promise<BedNode> {
    const key = keyOf(index);
    const metrics = new MetricsTable();
    const env = { ...this.env, metrics };
    const handlers = new Map<string, Handler<never>>();
    const address = this.address(index);
    const ground = {
      env,
      key,
      peers: this.#wire(index, key.nodeId),
      addresses: [address],
      seeds: seeds.map((seed) => this.address(seed)),
      labels: { rack: `r${index % 3}` },
      handle: <Arg>(method: string, _options: object, handler: Handler<Arg>) =>
        void handlers.set(method, handler as Handler<never>),
    };
    const open = gossipMembers({ admission: everybody, rules: this.#rules, ...options });
    const gossip = await open(ground);
    const parts = { index, id: key.nodeId, key, address, gossip, metrics, handlers };
    const node: BedNode = { ...parts, isDown: false, thawed: undefined };
    this.nodes[index] = node;
    this.#byId.set(node.id, node);
    return node;
  }

  async kill(node: BedNode): Promise<void> {
    node.isDown = true;
    await node.gossip[Symbol.asyncDispose]();
  }

  /** Until the promise resolves. */
  freeze(node: BedNode, thawed: Promise<void>): void {
    node.thawed = thawed.then(() => (node.thawed = undefined));
  }

  /** Passes time in steps until it holds. @returns whole intervals; throws after `max`. */
  async until(what: () => boolean, max: number, stepMs = 1000): Promise<number> {
    for (let step = 0; step < max; step++) {
      if (what()) return step;
      await this.env.clock.sleep(stepMs);
    }
    if (what()) return max;
    throw new Error(`it did not come true within ${max} steps of ${stepMs} ms`);
  }

  /** How many others `node` takes for alive. */
  aliveCount(node: BedNode): number {
    return node.gossip.members().filter(({ health }) => health === 'alive').length;
  }

  healthAt(node: BedNode, of: BedNode): string | undefined {
    return node.gossip.members().find((member) => member.node === of.id)?.health;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.nodes) if (node && !node.isDown) await this.kill(node);
  }

  /** As a member that is no honest node would call. */
  async callAs(from: NodeId, to: BedNode, method: string, arg: unknown): Promise<unknown> {
    return await this.#deliver(from, to, method, arg);
  }

  #wire(index: number, self: NodeId): Peers {
    const learnt = new Map<NodeId, readonly NetAddress[]>();
    const linked = new Set<NodeId>();
    const reach = async (to: BedNode | undefined, options: CallOptions): Promise<BedNode> => {
      const { clock } = this.env;
      await clock.sleep(1 + this.env.random.below(3));
      if (!to || to.isDown) throw new HoldfastError('HF_UNAVAILABLE', 'nobody there');
      let late: Promise<'late'> | undefined;
      while (this.isCut(index, to.index) || this.nodes[index]?.thawed || to.thawed) {
        late ??= clock.sleep(options.deadlineMs).then(() => 'late' as const);
        const own = this.nodes[index]?.thawed;
        const passed = own ?? to.thawed ?? clock.sleep(500).then(() => undefined);
        if ((await Promise.race([late, passed])) === 'late') {
          throw new HoldfastError('HF_TIMEOUT', 'no answer');
        }
      }
      return to;
    };
    return {
      self,
      call: async <Result>(
        node: NodeId,
        method: string,
        arg: unknown,
        options: CallOptions,
      ): Promise<Result> => {
        // Only those whose addresses were told can be called, or those that called.
        const canDial = linked.has(node) || (learnt.get(node)?.length ?? 0) > 0;
        const to = await reach(canDial ? this.#byId.get(node) : undefined, options);
        if (options.signal?.aborted) throw new HoldfastError('HF_INTERRUPTED');
        const answer = await this.#deliver(self, to, method, arg);
        await this.env.clock.sleep(1 + this.env.random.below(3));
        return answer as Result;
      },
      connect: async (address) => {
        const to = await reach(this.nodes[address.port - 1], { deadlineMs: 5000 });
        linked.add(to.id);
        return { node: to.id, verdict: 'member', rttMs: 4, silenceCount: 0 };
      },
      learn: (node, addresses) => void learnt.set(node, addresses),
      link: (node) => ({ node, verdict: 'member', rttMs: 4, silenceCount: 0 }),
      links: () => [],
      addressesOf: (node) => learnt.get(node) ?? [],
      watchLinks: ({ signal }) => noChanges(signal),
    };
  }

  async #deliver(from: NodeId, to: BedNode, method: string, arg: unknown): Promise<unknown> {
    const handler = to.handlers.get(method);
    if (!handler) throw new HoldfastError('HF_UNSUPPORTED');
    const context = { from, signal: new AbortController().signal, stream: undefined };
    const sent = this.#encoder.encode(arg);
    const answer = await handler(this.#decoder.decode(sent) as never, context);
    const received = this.#encoder.encode(answer);
    this.callCount += 1;
    this.byteCount += sent.length + received.length;
    return this.#decoder.decode(received);
  }
}

/** Connections here never break by themselves. */
async function* noChanges(signal: AbortSignal): AsyncGenerator<LinkChange> {
  const over = new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  yield* await over.then((): LinkChange[] => []);
}

/** The rules, but each signature is checked once for all nodes of this process. */
export function checkedOnce(rules: GossipRules = GOSSIP_RULES): GossipRules {
  const known = new Map<string, boolean>();
  return {
    ...rules,
    isGenuine: (record) => {
      const text = Buffer.from(record.bytes).toString('latin1');
      let isGenuine = known.get(text);
      if (isGenuine === undefined) known.set(text, (isGenuine = rules.isGenuine(record)));
      return isGenuine;
    },
  };
}

/** The code with which it fails. */
export async function failureOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return errorCode(error) ?? String(error);
  }
}
