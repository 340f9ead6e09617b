/**
 * The words of `net` and the walls inside it. From below: a {@link Transport} makes proven
 * connections, a Mux carries requests and streams on one, {@link Peers} keeps the connections of
 * many nodes, {@link Membership} (gossip, look-up, discovery) stands on Peers, and `Network` joins
 * the two for everybody else.
 *
 * Stable for who builds a Membership: {@link Ground}, {@link Peers}, {@link Membership} and what
 * they name. A Membership is a state machine over Ground: it registers its methods with `handle`,
 * dials with `connect` (an address whose node is not known yet) or `call` (a node whose addresses
 * `learn` was told), follows `watchLinks`, and takes time and chance from `env`. It opens no socket
 * but that of its beacon.
 */
import type { Duplex } from 'node:stream';
import type { NodeId } from '../base/index.ts';
import type { NodeKey } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import type { NetAddress } from './address.ts';

/** A connection whose other end has proven its node key. */
export interface SecureDuplex {
  /**
   * Ordered bytes; the receiver of this object owns it and listens for its errors. What is written
   * may be overwritten as soon as the callback of the write is called: pass on no references.
   */
  readonly duplex: Duplex;
  readonly remote: NodeId;
}

export interface Listener extends AsyncDisposable {
  /** With the real port. */
  readonly address: NetAddress;
}

/**
 * Makes connections of one scheme. It proves *who* the other end is; whether that node may talk is
 * for {@link Admission}. A connection is handed over only when the remote id is known.
 */
export interface Transport {
  readonly scheme: string;
  /**
   * @param onPeer called with each connection, which it owns from then on.
   * @throws HF_UNAVAILABLE when the address cannot be bound.
   */
  listen(address: NetAddress, onPeer: (peer: SecureDuplex) => void): Promise<Listener>;
  /**
   * @throws HF_UNAVAILABLE when nobody answers, HF_DENIED when another node than `expect` does,
   *   HF_INTERRUPTED when `signal` is aborted.
   */
  dial(address: NetAddress, options: DialOptions): Promise<SecureDuplex>;
}

export interface DialOptions {
  readonly expect?: NodeId | undefined;
  /** Ends the dial; means nothing any more once the connection is handed over. */
  readonly signal: AbortSignal;
}

/**
 * Small calls travel on `control`, content on `bulk`; on `prompt` travel streams of little that
 * must neither wait behind content nor find all streams of its link taken.
 */
export type Purpose = 'control' | 'bulk' | 'prompt';

/** What each end says of itself before anything else. */
export interface Hello {
  readonly purpose: Purpose;
  /** Random for each start of a node: tells a returned node from one that never left. */
  readonly instance: Uint8Array;
  /** Where it listens. A claim. */
  readonly addresses: readonly NetAddress[];
  /** The membership certificate, opaque here; empty towards strangers. */
  readonly credentials: Uint8Array;
}

/** A stranger may call only what is registered for strangers. */
export type Verdict = 'member' | 'stranger' | { readonly refused: string };

/** Decides who may talk; the certificates behind it are not the network's business. */
export interface Admission {
  /** What this node shows of itself. */
  credentials(): Uint8Array;
  /** Asked when a connection is made, and for all of them by `Network.judgeAgain`. */
  judge(remote: NodeId, hello: Hello): Verdict;
}

export interface CallOptions {
  /**
   * In ms, at least 1. Of a call: until the reply, dialling included. Of a stream: how long nothing
   * may move.
   */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Permits a node that is no member here: to join it, or to be joined. */
  readonly toStranger?: boolean | undefined;
  /**
   * The caller can ask another node as well: fails with HF_UNAVAILABLE (`details.isSilent`) as soon
   * as, and as long as, this one is *silent* (see Peer). Others wait for their deadline: it may go
   * on.
   */
  readonly isElsewhereToo?: boolean | undefined;
}

export interface OpenOptions extends CallOptions {
  /** The link that the stream travels on; `bulk` by default. */
  readonly purpose?: 'bulk' | 'prompt' | undefined;
}

/** Both directions of one exchange; see `Network.open`. */
export interface OpenedStream<Result> {
  readonly stream: Duplex;
  readonly reply: Promise<Result>;
}

export interface CallContext {
  readonly from: NodeId;
  /** Aborted when the caller gives up, goes away, or its deadline has passed. */
  readonly signal: AbortSignal;
  /** When the caller has opened one. It is ended when the handler is done. */
  readonly stream: Duplex | undefined;
}

/** Any library of schemas (valibot among them) offers this face: https://standardschema.dev */
export interface Schema<Value> {
  readonly '~standard': {
    readonly validate: (value: unknown) => SchemaResult<Value> | Promise<SchemaResult<Value>>;
  };
}

export type SchemaResult<Value> =
  | { readonly value: Value; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string }[] };

export interface HandleOptions<Arg> {
  /** Checks the argument; what does not fit is HF_BAD_ARGUMENT. Without one the handler must. */
  readonly schema?: Schema<Arg>;
  readonly forStrangers?: boolean;
}

export type Handler<Arg> = (arg: Arg, context: CallContext) => unknown;

export interface LinkChange {
  readonly node: NodeId;
  readonly state: 'up' | 'down';
}

export interface LinkView {
  readonly node: NodeId;
  readonly verdict: 'member' | 'stranger';
  /** Of the last ping; undefined before the first. */
  readonly rttMs: number | undefined;
  /** How often the peer was silent (see Peer) and is not any more. */
  readonly silenceCount: number;
}

/** Connections to other nodes, made when needed. Never asked about this node itself. */
export interface Peers {
  readonly self: NodeId;
  /** Dials an address, whoever is there; the connection stays warm. Errors as of Transport.dial. */
  connect(address: NetAddress, options: ConnectOptions): Promise<LinkView>;
  /** Where a node can be reached; replaces what was learnt before. */
  learn(node: NodeId, addresses: readonly NetAddress[]): void;
  /** What is known of where a node can be reached: learnt, or said by itself in its hello. */
  addressesOf(node: NodeId): readonly NetAddress[];
  /**
   * @throws HF_UNAVAILABLE when the node cannot be reached, HF_TIMEOUT, HF_INTERRUPTED, and
   *   whatever code the handler failed with.
   */
  call<Result = unknown>(
    node: NodeId,
    method: string,
    arg: unknown,
    options: CallOptions,
  ): Promise<Result>;
  /** Nodes that are connected now. */
  links(): LinkView[];
  link(node: NodeId): LinkView | undefined;
  /** Begins with those that are up. A slow consumer sees the latest state of each node. */
  watchLinks(options: { signal: AbortSignal }): AsyncIterable<LinkChange>;
}

export interface ConnectOptions {
  readonly expect?: NodeId | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a Membership stands on. */
export interface Ground {
  readonly env: Env;
  readonly key: NodeKey;
  readonly peers: Peers;
  /** Where this node listens, as others can reach it. */
  readonly addresses: readonly NetAddress[];
  /** Where others may be: configured, or remembered by the caller. */
  readonly seeds: readonly NetAddress[];
  readonly labels: Labels;
  handle<Arg = unknown>(method: string, options: HandleOptions<Arg>, handler: Handler<Arg>): void;
}

/** Where a node stands: "rack" → "r1", and what else it says of itself. */
export type Labels = Readonly<Record<string, string>>;

export type Health = 'alive' | 'suspect' | 'dead' | 'left';

export interface MemberView {
  readonly node: NodeId;
  readonly addresses: readonly NetAddress[];
  readonly incarnation: number;
  readonly labels: Labels;
  readonly health: Health;
  readonly rttMs: number | undefined;
  /** When it last answered this node, by the monotonic clock; undefined before it has. */
  readonly heardAtMs?: number | undefined;
}

export interface MemberChange {
  readonly node: NodeId;
  /** Undefined when it is forgotten. */
  readonly member: MemberView | undefined;
}

/** Who is there. Gossip makes one; a fixed list is one too. */
export interface Membership extends AsyncDisposable {
  members(): MemberView[];
  watch(options: { signal: AbortSignal }): AsyncIterable<MemberChange>;
  /** @throws HF_NOT_FOUND when nobody knows the node. */
  lookup(node: NodeId, options: CallOptions): Promise<MemberView>;
  /** Tells the others that this node goes for good. */
  leave(options: CallOptions): Promise<void>;
  /** Who was admitted, or what this node shows of itself, may have changed. */
  judgeAgain?(): void;
  /** From now on this node says this of itself, in place of what it said. */
  relabel?(labels: Labels): void;
}

export type OpenMembership = (ground: Ground) => Promise<Membership>;
