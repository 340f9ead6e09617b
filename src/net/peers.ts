/**
 * The connections of a node: made when needed, kept while used, at most LIMITS.warmLinksMax peers.
 * Each peer has a control link for calls and, once it opens a stream, a bulk link: a full send
 * buffer of content does not hold up small calls; nor does it streams that asked for a prompt link.
 * Where no such link can be made (the peer dialled us and cannot be dialled), streams travel on the
 * control link.
 *
 * One loop ticks all links; see Mux.tick.
 */
import {
  assert,
  errorCode,
  errorMessage,
  HoldfastError,
  LIMITS,
  type NodeId,
  throwIfAborted,
} from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { formatAddress, type NetAddress } from './address.ts';
import { ChangeFeed } from './change-feed.ts';
import { withDeadline } from './deadline.ts';
import { Link, type LinkOwner } from './link.ts';
import { Peer } from './peer.ts';
import type {
  CallOptions,
  ConnectOptions,
  LinkChange,
  LinkView,
  OpenedStream,
  OpenOptions,
  Peers,
  Purpose,
  SecureDuplex,
  Transport,
} from './types.ts';

/** Time for what is under way to end when the node stops. */
const CLOSE_MS = 1000;

export interface PeerTableOptions {
  readonly env: Env;
  readonly self: NodeId;
  readonly transports: ReadonlyMap<string, Transport>;
  readonly admission: LinkOwner['admission'];
  readonly hello: LinkOwner['hello'];
  readonly serve: LinkOwner['serve'];
}

export class PeerTable implements Peers, LinkOwner, AsyncDisposable {
  readonly env: Env;
  readonly self: NodeId;
  readonly admission: LinkOwner['admission'];
  readonly hello: LinkOwner['hello'];
  readonly serve: LinkOwner['serve'];
  readonly #transports: ReadonlyMap<string, Transport>;
  readonly #peers = new Map<NodeId, Peer>();
  /** Every link, ready or not, until its connection is gone. */
  readonly #links = new Set<Link>();
  readonly #changes = new ChangeFeed<NodeId, LinkChange>();
  readonly #closing = new AbortController();

  constructor(options: PeerTableOptions) {
    this.env = options.env;
    this.self = options.self;
    this.admission = options.admission;
    this.hello = options.hello;
    this.serve = options.serve;
    this.#transports = options.transports;
  }

  /** Looks after the links until the table is disposed; to be called once. */
  async run(): Promise<void> {
    const { signal } = this.#closing;
    const { clock } = this.env;
    for await (const _ of clock.every(LIMITS.networkTickMs, { signal })) {
      // After a pause of this process others are judged by what has come meanwhile.
      await clock.turn();
      this.#tick();
    }
  }

  /** A connection that another node has made. */
  accept(secure: SecureDuplex): void {
    const unreadyCount = [...this.#links].filter((link) => !link.isReady).length;
    const isTooMany =
      this.#links.size >= LIMITS.connectionsMax || unreadyCount >= LIMITS.halfOpenMax;
    const isOurs = secure.remote === this.self;
    if (isTooMany || isOurs || this.#closing.signal.aborted) {
      this.env.metrics.add('net_refused', 1, { why: isTooMany ? 'full' : 'ourselves' });
      secure.duplex.on('error', () => {}).destroy();
      return;
    }
    this.#newLink(secure, false);
  }

  async connect(address: NetAddress, options: ConnectOptions): Promise<LinkView> {
    const work = this.#dialAddress(address, { ...options, purpose: 'control' });
    const deadlineMs = LIMITS.handshakeMsMax;
    const link = await withDeadline(this.env.clock, work, { deadlineMs, signal: options.signal });
    const peer = this.#peerOf(link.remote);
    peer.onDialed(address);
    return peer.viewOf(link);
  }

  learn(node: NodeId, addresses: readonly NetAddress[]): void {
    const peer = this.#peerOf(node);
    peer.learn(addresses);
    this.#forgetIfBlank(peer);
  }

  addressesOf(node: NodeId): readonly NetAddress[] {
    return this.#peers.get(node)?.addresses ?? [];
  }

  async call<Result>(
    node: NodeId,
    method: string,
    arg: unknown,
    options: CallOptions,
  ): Promise<Result> {
    const { signal, isElsewhereToo } = options;
    const startMs = this.env.clock.monotonic();
    let { deadlineMs } = options;
    this.#checkPatience(node, options);
    let link = this.#peers.get(node)?.linkFor('control');
    if (!link) {
      link = await this.#newLinkFor(node, 'control', options);
      deadlineMs = Math.max(1, deadlineMs - (this.env.clock.monotonic() - startMs));
    }
    this.#use(link, options);
    return link.mux.call(method, arg, { deadlineMs, signal, isElsewhereToo }) as Promise<Result>;
  }

  async open<Result>(
    node: NodeId,
    method: string,
    arg: unknown,
    options: OpenOptions,
  ): Promise<OpenedStream<Result>> {
    const { purpose = 'bulk', deadlineMs, signal, isElsewhereToo } = options;
    this.#checkPatience(node, options);
    const warm = this.#peers.get(node)?.linkFor(purpose);
    const link = warm ?? (await this.#newLinkFor(node, purpose, options));
    this.#use(link, options);
    const request = { deadlineMs, signal, isElsewhereToo };
    return link.mux.open(method, arg, request) as OpenedStream<Result>;
  }

  links(): LinkView[] {
    return [...this.#peers.values()].map(({ view }) => view).filter((view) => view !== undefined);
  }

  link(node: NodeId): LinkView | undefined {
    return this.#peers.get(node)?.view;
  }

  watchLinks({ signal }: { signal: AbortSignal }): AsyncIterable<LinkChange> {
    const up = this.links().map(({ node }) => [node, { node, state: 'up' as const }] as const);
    return this.#changes.watch(up, { signal });
  }

  judgeAgain(): void {
    for (const link of this.#links) link.judgeAgain();
  }

  /** Lets go of a peer, gently; the next call dials it anew, with a hello of then. */
  disconnect(node: NodeId): void {
    this.#peers.get(node)?.retire();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const link of this.#links) link.retire();
    const allClosed = Promise.all([...this.#links].map(({ mux }) => mux.closed));
    await withDeadline(this.env.clock, allClosed, { deadlineMs: CLOSE_MS }).catch(() => {});
    this.#closing.abort();
    for (const link of this.#links) link.mux.close('the node stops');
  }

  // What links tell.

  onReady(link: Link): void {
    const peer = this.#peerOf(link.remote);
    const wasLinked = peer.isLinked;
    peer.add(link);
    if (!wasLinked) this.#publish(peer.node, 'up');
  }

  #onClosed(link: Link): void {
    this.#links.delete(link);
    const peer = this.#peers.get(link.remote);
    if (!peer?.links.has(link)) return;
    peer.remove(link);
    if (!peer.isLinked) this.#publish(peer.node, 'down');
    this.#forgetIfBlank(peer);
  }

  #publish(node: NodeId, state: LinkChange['state']): void {
    this.#changes.publish(node, { node, state });
    this.env.metrics.set('net_peers', this.links().length);
  }

  #newLink(secure: SecureDuplex, isDialer: boolean): Link {
    const link = new Link(this, secure, isDialer);
    this.#links.add(link);
    void link.mux.closed.then(() => this.#onClosed(link));
    return link;
  }

  #peerOf(node: NodeId): Peer {
    assert(node !== this.self, 'a node is not its own peer');
    let peer = this.#peers.get(node);
    if (!peer) {
      peer = new Peer(node, this.env);
      this.#peers.set(node, peer);
    }
    return peer;
  }

  #forgetIfBlank(peer: Peer): void {
    if (peer.isBlank) this.#peers.delete(peer.node);
  }

  // Dialling.

  /** @throws HF_DENIED when the other end is a stranger and the caller does not expect one. */
  #use(link: Link, { toStranger = false }: CallOptions): void {
    if (link.verdict === 'stranger' && !toStranger) {
      throw new HoldfastError('HF_DENIED', `${link.remote} is no member`);
    }
    link.lastUsedMs = this.env.clock.monotonic();
  }

  /** @throws HF_UNAVAILABLE when the caller is not to wait for a node that is silent. */
  #checkPatience(node: NodeId, { isElsewhereToo = false }: CallOptions): void {
    const peer = this.#peers.get(node);
    if (isElsewhereToo && peer?.isSilent) throw peer.silence();
  }

  async #newLinkFor(node: NodeId, purpose: Purpose, options: CallOptions): Promise<Link> {
    throwIfAborted(options.signal);
    const peer = this.#peerOf(node);
    let dial = peer.dials.get(purpose);
    if (!dial) {
      dial = this.#dialPeer(peer, purpose).finally(() => {
        peer.dials.delete(purpose);
        this.#forgetIfBlank(peer);
      });
      dial.catch(() => {}); // whoever waits may have given up by then
      peer.dials.set(purpose, dial);
    }
    let failure: unknown;
    const silent = Promise.withResolvers<never>();
    if (options.isElsewhereToo) peer.impatient.add(silent);
    try {
      await withDeadline(this.env.clock, Promise.race([dial, silent.promise]), options);
    } catch (error) {
      failure = error;
    } finally {
      peer.impatient.delete(silent);
    }
    this.#checkPatience(node, options);
    // A link that the other end made meanwhile is as good.
    const link = peer.linkFor(purpose) ?? peer.linkFor('control');
    if (link) return link;
    throw failure ?? new HoldfastError('HF_UNAVAILABLE', `${peer.node} has hung up`);
  }

  /** Tries the addresses of a peer in turn. */
  async #dialPeer(peer: Peer, purpose: Purpose): Promise<void> {
    const { addresses, node } = peer;
    if (addresses.length === 0) {
      throw new HoldfastError('HF_UNAVAILABLE', `no address of ${node} is known`);
    }
    if (!peer.mayDial) {
      const details = { isRefused: peer.isRefused };
      throw new HoldfastError('HF_UNAVAILABLE', `${node} did not answer a moment ago`, { details });
    }
    const failures: string[] = [];
    let isRefused = false;
    for (const address of addresses) {
      try {
        await this.#dialAddress(address, { purpose, expect: node, signal: undefined });
        peer.onDialed(address);
        return;
      } catch (error) {
        failures.push(`${formatAddress(address)}: ${errorMessage(error)}`);
        isRefused ||= errorCode(error) === 'HF_DENIED';
      }
    }
    peer.onDialFailed({ isRefused });
    this.env.metrics.add('net_dials_failed', 1);
    const text = `${node} cannot be reached: ${failures.join('; ')}`;
    throw new HoldfastError('HF_UNAVAILABLE', text, { details: { isRefused } });
  }

  async #dialAddress(
    address: NetAddress,
    { expect, signal, purpose }: ConnectOptions & { readonly purpose: Purpose },
  ): Promise<Link> {
    const transport = this.#transports.get(address.scheme);
    if (!transport) {
      throw new HoldfastError('HF_UNSUPPORTED', `no transport for ${formatAddress(address)}`);
    }
    this.env.metrics.add('net_dials', 1);
    const over = new AbortController();
    const stop = AbortSignal.any([over.signal, this.#closing.signal, ...(signal ? [signal] : [])]);
    const work = transport.dial(address, { expect, signal: stop });
    const deadlineMs = LIMITS.handshakeMsMax;
    let link: Link | undefined;
    try {
      const secure = await withDeadline(this.env.clock, work, { deadlineMs, signal: stop });
      if (secure.remote === this.self) {
        throw new HoldfastError('HF_BAD_ARGUMENT', `${formatAddress(address)} is this node itself`);
      }
      link = this.#newLink(secure, true);
      await link.greet(purpose, deadlineMs);
      return link;
    } finally {
      over.abort(); // a transport that is late gives up
      if (!link) work.then(({ duplex }) => duplex.on('error', () => {}).destroy()).catch(() => {});
    }
  }

  // Care.

  #tick(): void {
    const nowMs = this.env.clock.monotonic();
    for (const link of this.#links) {
      link.tick(nowMs, this.#peers.get(link.remote)?.isAwaited ?? false);
      const isSpare = link.purpose !== 'control' || link.verdict === 'stranger';
      const isUnused = link.isIdle && nowMs - link.lastUsedMs > LIMITS.bulkIdleMs;
      if (link.isReady && isSpare && isUnused) link.retire();
    }
    for (const peer of this.#peers.values()) {
      if (peer.noteSilence()) this.#tellOfSilence(peer.node);
      if (peer.isSilent) peer.giveUpReplaceable();
    }
    this.#letGoOfColdOnes();
  }

  #tellOfSilence(node: NodeId): void {
    this.env.metrics.add('net_silences', 1);
    this.env.log.debug('a node gives no sign of life', { node });
  }

  #letGoOfColdOnes(): void {
    const linked = [...this.#peers.values()].filter(
      (peer) => peer.linkFor('control') ?? peer.linkFor('bulk') ?? peer.linkFor('prompt'),
    );
    const excess = linked.length - LIMITS.warmLinksMax;
    if (excess <= 0) return;
    const cold = linked
      .filter((peer) => peer.isIdle)
      .toSorted((a, b) => a.lastUsedMs - b.lastUsedMs);
    for (const peer of cold.slice(0, excess)) peer.retire();
  }
}
