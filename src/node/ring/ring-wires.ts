/**
 * The ways between the etcds of a ring, and to them. In the folder where an etcd runs there is a
 * socket of the name of each other member; a connection to it travels as a stream of our own
 * network to that member, whose node joins it to its etcd's socket. So etcd opens no port and needs
 * no certificates: the network proves who talks, and the folder is its owner's alone.
 *
 *     etcd → <folder>/<member>:1 → ring/peer → member's node → <folder>/<member>:1 → etcd
 *     a client of any node       → ring/client → member's node → <folder>/client:1 → etcd
 *
 * Invariants: 1. only members of the ring may open `ring/peer`, and nobody may who knows another
 * life of it; 2. a socket that an earlier process left is removed before a new one is made.
 */
import { once } from 'node:events';
import fs from 'node:fs/promises';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import * as v from 'valibot';
import { errorMessage, HoldfastError, LIMITS, Mutex, type NodeId } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { CallContext, Network } from '../../net/index.ts';
import { CLIENT_SOCKET, type RingFolder } from './ring-folder.ts';
import { isSameLife, type RingRecord, type RingStamp, seatOf, socketName } from './ring-record.ts';

/** A way on which nothing moves for so long is closed; etcd makes a new one when it needs it. */
const IDLE_MS = LIMITS.callDeadlineMsMax;
/** Between the own etcd and one node, in each direction. An honest one needs fewer than ten. */
const WAYS_PER_MEMBER_MAX = 32;

/** What a member's etcd is asked for. */
export type RingPurpose = 'ring/peer' | 'ring/client';

const Stamp = v.object({ generation: v.number(), life: v.number() });

export interface RingWiresOptions {
  readonly env: Pick<Env, 'log' | 'metrics'>;
  readonly folder: RingFolder;
  readonly network: Pick<Network, 'self' | 'open' | 'handle'>;
  /** The newest that is known. */
  readonly record: () => RingRecord | undefined;
  /** While it is true nobody gets to the own etcd, nor that to others. */
  readonly isShut: () => boolean;
  /** Whether a node that is no member of the ring may be its client. */
  readonly mayUse: (node: NodeId) => boolean;
}

export class RingWires implements AsyncDisposable {
  readonly #options: RingWiresOptions;
  readonly #servers = new Map<NodeId, net.Server>();
  /** Both ends of each, and who is at the other one. */
  readonly #ways = new Map<Duplex, NodeId>();
  /** How many each node has opened to the own etcd. */
  readonly #guests = new Map<NodeId, number>();
  readonly #changing = new Mutex();
  #isClosed = false;

  constructor(options: RingWiresOptions) {
    this.#options = options;
    const { network } = options;
    for (const purpose of ['ring/peer', 'ring/client'] as const) {
      const handler = (stamp: RingStamp, context: CallContext): Promise<void> =>
        this.#answer(purpose, stamp, context);
      network.handle(purpose, { schema: Stamp }, handler);
    }
  }

  /** Has a socket for each of these and for nobody else. @throws HF_IO. */
  async lead(members: readonly NodeId[]): Promise<void> {
    await this.#changing.run(async () => {
      for (const [node, server] of this.#servers) {
        if (members.includes(node)) continue;
        this.#servers.delete(node);
        const closed = close(server);
        this.cut(node);
        await closed;
      }
      for (const node of members) {
        if (!this.#servers.has(node)) this.#servers.set(node, await this.#listenFor(node));
      }
    });
  }

  /** Ends what is under way with a node, or with all: it was permitted by a record of before. */
  cut(node?: NodeId): void {
    for (const [way, other] of this.#ways) if (node === undefined || node === other) way.destroy();
  }

  /** A connection to the client side of a member's etcd. @throws HF_UNAVAILABLE. */
  async dial(node: NodeId): Promise<Duplex> {
    const { network, folder } = this.#options;
    this.#assertOpen();
    if (node === network.self) return await connectTo(folder.socket(CLIENT_SOCKET));
    const stream = await this.#open(node, 'ring/client');
    // A socket closes by itself when the other end has; its user counts on that.
    stream.once('end', () => stream.destroy());
    return stream;
  }

  async #open(node: NodeId, purpose: RingPurpose): Promise<Duplex> {
    const record = this.#options.record();
    this.#assertOpen();
    if (!record || this.#isClosed) throw new HoldfastError('HF_CLOSED', 'there is no ring');
    const { generation, life } = record;
    const arg = { generation, life };
    const { stream } = await this.#options.network.open(node, purpose, arg, {
      deadlineMs: IDLE_MS,
      purpose: 'prompt',
    });
    return stream;
  }

  async #listenFor(node: NodeId): Promise<net.Server> {
    const { folder } = this.#options;
    const server = net.createServer((socket) => {
      void this.#forward(socket, node);
    });
    server.maxConnections = WAYS_PER_MEMBER_MAX;
    const name = socketName(node);
    try {
      await fs.rm(folder.file(name), { force: true });
      server.listen(folder.socket(name));
      await once(server, 'listening');
    } catch (error) {
      const message = `the socket ${folder.file(name)}: ${errorMessage(error)}`;
      throw new HoldfastError('HF_IO', message, { cause: error });
    }
    return server;
  }

  /** A connection of the own etcd to another member. Never fails. */
  async #forward(socket: net.Socket, node: NodeId): Promise<void> {
    this.#keep(socket, node);
    try {
      await this.#join(socket, await this.#open(node, 'ring/peer'), node);
    } catch (error) {
      this.#options.env.log.debug('no way to a member of the ring', {
        node,
        reason: errorMessage(error),
      });
    } finally {
      socket.destroy();
    }
  }

  /** @throws HF_DENIED, HF_FENCED, HF_UNAVAILABLE. */
  async #answer(purpose: RingPurpose, stamp: RingStamp, context: CallContext): Promise<void> {
    const { network, folder } = this.#options;
    const { stream, from } = context;
    this.#assertAllowed(purpose, stamp, from);
    if (!stream) throw new HoldfastError('HF_BAD_ARGUMENT', `${purpose} comes with a stream`);
    const name = purpose === 'ring/peer' ? socketName(network.self) : CLIENT_SOCKET;
    const guests = this.#guests.get(from) ?? 0;
    if (guests >= WAYS_PER_MEMBER_MAX) {
      throw new HoldfastError('HF_BUSY', `${from} has ${guests} ways to the ring already`);
    }
    this.#guests.set(from, guests + 1);
    try {
      await this.#join(stream, await connectTo(folder.socket(name)), from);
    } finally {
      const left = this.#guests.get(from)! - 1;
      if (left > 0) this.#guests.set(from, left);
      else this.#guests.delete(from);
    }
  }

  #assertAllowed(purpose: RingPurpose, stamp: RingStamp, from: NodeId): void {
    const { network, mayUse, env } = this.#options;
    const record = this.#options.record();
    const isMember = seatOf(record, from) !== undefined;
    if (!isMember && (purpose === 'ring/peer' || !mayUse(from))) {
      env.metrics.add('node_ring_refused', 1);
      throw new HoldfastError('HF_DENIED', `${from} may not open ${purpose}`);
    }
    if (!record || !isSameLife(record, stamp)) {
      throw new HoldfastError('HF_FENCED', 'it knows the ring of another time');
    }
    this.#assertOpen();
    if (!seatOf(record, network.self)) {
      throw new HoldfastError('HF_UNAVAILABLE', 'this node has no part in the ring');
    }
  }

  #assertOpen(): void {
    if (!this.#options.isShut()) return;
    throw new HoldfastError('HF_UNAVAILABLE', 'the ring is being restored');
  }

  /** Until both are done. Never fails: what ends one side ends the other, after what it sent. */
  async #join(near: Duplex, far: Duplex, node: NodeId): Promise<void> {
    const both = [near, far];
    for (const [end, other] of [both, both.toReversed()] as [Duplex, Duplex][]) {
      this.#keep(end, node);
      end.once('close', () => {
        if (end.errored) other.destroy();
        else other.end(() => other.destroy());
      });
    }
    if (this.#isClosed || both.some(({ destroyed }) => destroyed)) {
      for (const end of both) end.destroy();
      return;
    }
    near.pipe(far);
    far.pipe(near);
    await Promise.allSettled(both.map((end) => finished(end)));
  }

  #keep(way: Duplex, node: NodeId): void {
    this.#ways.set(way, node);
    way.on('error', () => {}); // 'close' follows
    way.once('close', () => this.#ways.delete(way));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.cut();
    await this.lead([]);
  }
}

/** @throws HF_UNAVAILABLE. */
export async function connectTo(path: string): Promise<net.Socket> {
  const socket = net.connect({ path });
  try {
    await once(socket, 'connect');
  } catch (error) {
    const message = `etcd does not listen: ${errorMessage(error)}`;
    throw new HoldfastError('HF_UNAVAILABLE', message, { cause: error });
  }
  return socket;
}

async function close(server: net.Server): Promise<void> {
  await new Promise((resolve) => server.close(resolve));
}
