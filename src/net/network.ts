/**
 * The network as the rest of a node sees it: methods that it answers, calls and streams to other
 * nodes, and who is there. It joins {@link PeerTable} and a {@link Membership}, and listens.
 */
import { HoldfastError, LIMITS, mapBounded, type NodeId } from '../base/index.ts';
import type { NodeKey } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import type { NetAddress } from './address.ts';
import { blankHello, INSTANCE_BYTES } from './hello.ts';
import { MethodTable } from './methods.ts';
import { PeerTable } from './peers.ts';
import type {
  Admission,
  CallOptions,
  ConnectOptions,
  Handler,
  HandleOptions,
  Hello,
  Labels,
  LinkView,
  Listener,
  MemberChange,
  Membership,
  MemberView,
  OpenedStream,
  OpenOptions,
  OpenMembership,
  Purpose,
  Transport,
} from './types.ts';

export interface NetworkOptions {
  readonly env: Env;
  readonly key: NodeKey;
  /** One for each scheme. */
  readonly transports: readonly Transport[];
  readonly listen: readonly NetAddress[];
  /** Where others reach this node, when that is not where it listens. */
  readonly advertise?: readonly NetAddress[] | undefined;
  readonly seeds?: readonly NetAddress[] | undefined;
  readonly labels?: Labels | undefined;
  readonly admission: Admission;
  /** Makes the part that knows who is there. */
  readonly membership: OpenMembership;
}

export class Network implements AsyncDisposable {
  readonly self: NodeId;
  /** Where this node listens, with the real ports. */
  readonly addresses: readonly NetAddress[];
  readonly #peers: PeerTable;
  readonly #methods: MethodTable;
  readonly #membership: Membership;
  readonly #stack: AsyncDisposableStack;

  private constructor(parts: {
    self: NodeId;
    addresses: readonly NetAddress[];
    peers: PeerTable;
    methods: MethodTable;
    membership: Membership;
    stack: AsyncDisposableStack;
  }) {
    this.self = parts.self;
    this.addresses = parts.addresses;
    this.#peers = parts.peers;
    this.#methods = parts.methods;
    this.#membership = parts.membership;
    this.#stack = parts.stack;
  }

  /** @throws HF_UNAVAILABLE when an address cannot be bound, HF_UNSUPPORTED for its scheme. */
  static async open(options: NetworkOptions): Promise<Network> {
    const { env, key, admission, seeds = [], labels = {} } = options;
    await using stack = new AsyncDisposableStack();
    const transports = new Map(options.transports.map((one) => [one.scheme, one]));
    const methods = new MethodTable(env);
    const instance = env.random.bytes(INSTANCE_BYTES);
    let addresses: readonly NetAddress[] = [];
    const hello = (purpose: Purpose): Hello => {
      const credentials = admission.credentials();
      return { ...blankHello(purpose), instance, addresses, credentials };
    };
    const peers = new PeerTable({
      env,
      self: key.nodeId,
      transports,
      admission,
      hello,
      serve: ({ remote, verdict }, request) => methods.serve({ node: remote, verdict }, request),
    });
    stack.use(peers);
    void peers.run();
    const listeners = await listenOnAll(peers, transports, options.listen);
    for (const listener of listeners) stack.use(listener);
    const bound = listeners.map(({ address }) => address);
    addresses = options.advertise ?? bound;
    const membership = stack.use(
      await options.membership({
        env,
        key,
        peers,
        addresses,
        seeds,
        labels,
        handle: (method, handleOptions, handler) => methods.add(method, handleOptions, handler),
      }),
    );
    return new Network({
      self: key.nodeId,
      addresses: bound,
      peers,
      methods,
      membership,
      stack: stack.move(),
    });
  }

  /** Answers `method` from now on. Register before others are told of this node. */
  handle<Arg = unknown>(method: string, options: HandleOptions<Arg>, handler: Handler<Arg>): void {
    this.#methods.add(method, options, handler);
  }

  /** Errors as of {@link Peers.call}. */
  call<Result = unknown>(
    node: NodeId,
    method: string,
    arg: unknown,
    options: CallOptions,
  ): Promise<Result> {
    return this.#peers.call<Result>(node, method, arg, options);
  }

  /**
   * A call with bytes in both directions. The caller ends its side of the stream (at once when it
   * has nothing to send) and reads the other one to its end, or destroys the stream. Bytes written
   * must not be changed afterwards. When the call fails, so does the stream.
   */
  open<Result = unknown>(
    node: NodeId,
    method: string,
    arg: unknown,
    options: OpenOptions,
  ): Promise<OpenedStream<Result>> {
    return this.#peers.open<Result>(node, method, arg, options);
  }

  /** Makes acquaintance with whoever listens there. */
  connect(address: NetAddress, options: ConnectOptions = {}): Promise<LinkView> {
    return this.#peers.connect(address, options);
  }

  /** Peers that are connected now. */
  links(): LinkView[] {
    return this.#peers.links();
  }

  members(): MemberView[] {
    return this.#membership.members();
  }

  watch(options: { signal: AbortSignal }): AsyncIterable<MemberChange> {
    return this.#membership.watch(options);
  }

  lookup(node: NodeId, options: CallOptions): Promise<MemberView> {
    return this.#membership.lookup(node, options);
  }

  leave(options: CallOptions): Promise<void> {
    return this.#membership.leave(options);
  }

  /** Asks Admission again about every peer: after a revocation. */
  judgeAgain(): void {
    this.#peers.judgeAgain();
    this.#membership.judgeAgain?.();
  }

  /** What this node says of itself from now on, in place of its labels. */
  relabel(labels: Labels): void {
    this.#membership.relabel?.(labels);
  }

  /** The next call to `node` dials anew, with the credentials of then: after having joined. */
  disconnect(node: NodeId): void {
    this.#peers.disconnect(node);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

async function listenOnAll(
  peers: PeerTable,
  transports: ReadonlyMap<string, Transport>,
  addresses: readonly NetAddress[],
): Promise<Listener[]> {
  await using listeners = new AsyncDisposableStack();
  const all = await mapBounded(addresses, LIMITS.addressesPerNodeMax, async (address) => {
    const transport = transports.get(address.scheme);
    if (!transport) throw new HoldfastError('HF_UNSUPPORTED', `no transport "${address.scheme}"`);
    return listeners.use(await transport.listen(address, (secure) => peers.accept(secure)));
  });
  listeners.move();
  return all;
}
