/**
 * A node among others: its connections, who is there, who may talk to it, and what it remembers of
 * them. It outlives the core: while that waits for its home, this finds the home.
 *
 * The *home* is the node that carries the names (registry, reference slots, cells): home-claims.ts.
 * Whoever has heard of a home follows none of a lower generation, also when that alone answers: a
 * home that comes back after the cluster was recovered elsewhere is nobody's, and *fenced* as soon
 * as it hears of the other.
 */
import { errorCode, errorMessage, HoldfastError, LIMITS, type NodeId } from '../../base/index.ts';
import {
  CertificateAdmission,
  RevocationFollower,
  serveJoin,
  serveMetadataRole,
} from '../../cluster/index.ts';
import { beaconKeyOf, type Keyring, NodeKey, readCertificate } from '../../crypto/index.ts';
import type { Env } from '../../env/index.ts';
import type { Registry } from '../../log/index.ts';
import {
  gossipMembers,
  linkedMembers,
  type NetAddress,
  Network,
  formatAddress,
  parseAddress,
  tlsTransport,
  type Transport,
  wssTransport,
} from '../../net/index.ts';
import type { DataDirectory, KnownCluster } from '../data-directory.ts';
import { type HomeClaim, HomeClaims, isBetter } from '../metadata/home-claims.ts';
import type { HomeRecord } from '../metadata/home-record.ts';
import {
  gossipLabels,
  listensToOthers,
  type MetadataClaims,
  type NodeConfig,
  reachableAt,
  withPorts,
} from '../node-config.ts';

/** Members that are remembered over a restart: enough to find the others. */
const REMEMBERED_MAX = 64;
/** How often what is remembered is written down, when it has changed. */
const REMEMBER_EVERY_MS = 5000;
/** How often a node looks who is the home. */
const FIND_HOME_EVERY_MS = 500;
/** What a node that starts gives its home to be found, before it says that it waits. */
const MEET_HOME_MS = 5000;
/** What a home that starts gives those it knows to tell it of another home, and once one is met. */
const MEET_OTHERS_MS = 2000;
const HEAR_OTHERS_MS = 500;
const MEET_LOOK_MS = 50;

/** Makes a transport for a node; its scheme must be no other's. */
export type MakeTransport = (parts: { readonly env: Env; readonly key: NodeKey }) => Transport;

export interface NetworkPartOptions {
  readonly env: Env;
  readonly data: DataDirectory;
  readonly config: NodeConfig;
  /** Of this node, as of the call. */
  readonly keyring: () => Keyring;
  /** Of this node as home when it opens; `undefined`: it is not the home. */
  readonly homeGeneration: number | undefined;
  /** Whether the home moves by itself: the metadata is in a ring, as of the call. */
  readonly isMovable?: (() => boolean) | undefined;
  /** Beside TLS and WebSocket. */
  readonly transports?: readonly MakeTransport[] | undefined;
  /** Refuses while the core waits. */
  readonly registry: Registry;
}

export class NetworkPart implements AsyncDisposable {
  readonly network: Network;
  readonly admission: CertificateAdmission;
  /** Where this node can be reached. */
  readonly reachable: readonly NetAddress[];
  readonly #options: NetworkPartOptions;
  readonly #follower: RevocationFollower;
  readonly #closing = new AbortController();
  readonly #claims: HomeClaims;
  readonly #fence = new AbortController();
  #known: KnownCluster;
  /** What this node says of its part in the metadata. */
  #claimed: MetadataClaims;
  /** As it was last written down. */
  #written: KnownCluster;
  #loops: Promise<unknown> = Promise.resolve();

  private constructor(
    options: NetworkPartOptions,
    parts: {
      readonly network: Network;
      readonly admission: CertificateAdmission;
      readonly reachable: readonly NetAddress[];
      readonly known: KnownCluster;
    },
  ) {
    const { env, registry, keyring, homeGeneration } = options;
    const { network, admission, reachable, known } = parts;
    this.#options = options;
    this.network = network;
    this.admission = admission;
    this.reachable = reachable;
    this.#written = known;
    this.#known = { ...known, homeGeneration: homeGeneration ?? known.homeGeneration };
    this.#claimed = { homeGeneration };
    const { signal } = this.#closing;
    this.#claims = new HomeClaims({ env, network, keyring, signal });
    const told = {
      self: network.self,
      addresses: reachable,
      handle: network.handle.bind(network) as Network['handle'],
      call: network.call.bind(network) as Network['call'],
      members: () => network.members(),
    };
    serveJoin({ env, registry, network: told, keyring });
    serveMetadataRole({ env, registry, network, keyring });
    this.#follower = new RevocationFollower({ env, registry, admission, network });
  }

  /**
   * @throws HF_UNAVAILABLE when an address cannot be bound, HF_UNSUPPORTED for its scheme,
   *   HF_CORRUPT when what is remembered is damaged.
   */
  static async open(options: NetworkPartOptions): Promise<NetworkPart> {
    const { env, data, config, keyring, homeGeneration } = options;
    const known = await data.readCluster();
    const { revocations } = known;
    const admission = new CertificateAdmission({ env, identity: keyring(), revocations });
    const key = new NodeKey(keyring().nodeSeed);
    const listen = await withPorts(config.listen);
    const reachable = reachableAt({ ...config, listen });
    const hasBeacon = config.beacon && listensToOthers(config);
    const beacon = hasBeacon ? { key: beaconKeyOf(keyring().clusterSecret) } : undefined;
    const network = await Network.open({
      env,
      key,
      transports: transportsOf({ env, key }, options.transports),
      listen: listen.map(parseAddress),
      advertise: reachable,
      seeds: seedsOf(known),
      labels: gossipLabels(config, { homeGeneration }),
      admission,
      membership: gossipMembers({ admission, beacon }),
    });
    const part = new NetworkPart(options, { network, admission, reachable, known });
    const { signal } = part.#closing;
    part.#loops = Promise.all([
      part.#follower.run({ signal }),
      part.#remember(signal),
      part.#followHome(signal),
    ]);
    return part;
  }

  /** Who carries the names: another node; `undefined` while it has not been found. */
  get home(): NodeId | undefined {
    return this.#known.home;
  }

  /** Aborted, with an error, when another node carries the names of this home since. */
  get fenced(): AbortSignal {
    return this.#fence.signal;
  }

  /** Looks among the members that are here now. */
  async findHome(): Promise<NodeId | undefined> {
    const found = await this.#claims.best();
    if (!found || found.node === this.home || !this.#isNewer(found)) return this.home;
    const { node, generation } = found;
    const isFenced = this.#claimed.homeGeneration !== undefined && !this.#options.isMovable?.();
    this.noteHome({ node, generation });
    if (isFenced) this.#fence.abort(supersededBy(node));
    return node;
  }

  /** What the registry says of the home. A generation that is lower than known changes nothing. */
  noteHome({ node, generation }: HomeRecord): void {
    const { home: before, homeGeneration = 0 } = this.#known;
    if (generation < homeGeneration) return;
    const isSelf = node === this.network.self;
    const home = isSelf ? undefined : node;
    // A home that was recovered elsewhere goes on to say that it was one: it is shown as replaced.
    const claimed = this.#options.isMovable?.() ? undefined : this.#claimed.homeGeneration;
    const own = isSelf ? generation : claimed;
    this.#known = { ...this.#known, home, homeGeneration: generation };
    if (own !== this.#claimed.homeGeneration)
      this.#claim({ ...this.#claimed, homeGeneration: own });
    if (home === before) return;
    this.#options.env.log.info('the home of the cluster was found', { node, generation });
  }

  /** From now on others know this of this metadata node. */
  tellRegistry(claims: Omit<MetadataClaims, 'homeGeneration'>): void {
    this.#claim({ ...this.#claimed, ...claims });
  }

  #claim(claims: MetadataClaims): void {
    this.#claimed = claims;
    this.network.relabel(gossipLabels(this.#options.config, claims));
  }

  /** This node has a new certificate. */
  showCertificate(): void {
    this.admission.join(this.#options.keyring());
    this.network.judgeAgain();
  }

  /** Who is a metadata node, as far as others have proved it. */
  get claims(): HomeClaims {
    return this.#claims;
  }

  /** Whether the claim goes before that of the home that is known, or of this node. */
  #isNewer(found: HomeClaim): boolean {
    const { homeGeneration = 0 } = this.#known;
    if (found.node === this.network.self) return false;
    const keyring = this.#options.keyring();
    const isSelf = this.#claimed.homeGeneration !== undefined;
    const issuedAtMs = isSelf
      ? readCertificate(keyring.certificate, keyring).issuedAtMs
      : this.home && this.#claims.issuedAtMs(this.home);
    // Of one that has not been seen since the start only its generation is known.
    return isBetter(found, { generation: homeGeneration, issuedAtMs: issuedAtMs ?? Infinity });
  }

  /** Waits until the home is among the members that are alive, but not for long. */
  async meetHome(): Promise<void> {
    const { clock } = this.#options.env;
    const untilMs = clock.monotonic() + MEET_HOME_MS;
    for (;;) {
      const home = await this.findHome();
      const member = this.network.members().find(({ node }) => node === home);
      if (member?.health === 'alive' || clock.monotonic() >= untilMs) return;
      await clock.sleep(MEET_LOOK_MS);
    }
  }

  /**
   * Before this node serves as home: whether those it knows have another.
   * @throws HF_FENCED.
   */
  async askForOtherHomes(): Promise<void> {
    const { clock } = this.#options.env;
    let untilMs = clock.monotonic() + (this.#known.members.length > 0 ? MEET_OTHERS_MS : 0);
    let hasMet = false;
    for (;;) {
      await this.findHome();
      this.fenced.throwIfAborted();
      const nowMs = clock.monotonic();
      if (!hasMet && this.network.members().some(({ health }) => health === 'alive')) {
        hasMet = true;
        untilMs = Math.min(untilMs, nowMs + HEAR_OTHERS_MS);
      }
      if (nowMs >= untilMs) return;
      await clock.sleep(MEET_LOOK_MS);
    }
  }

  async #followHome(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options.env;
    for await (const _ of clock.every(FIND_HOME_EVERY_MS, { signal })) {
      await this.findHome();
      await this.#claims.proveAll();
    }
  }

  /** Reads the list of revocations, and has everybody who is connected do so. */
  async tellOfRevocation(): Promise<void> {
    await this.#follower.tell();
  }

  /** Tells the others that this node goes for good, and remembers it. */
  async leave(): Promise<void> {
    this.#known = { ...this.#known, hasLeft: true };
    await this.#options.data.writeCluster(this.#known);
    await this.network.leave({ deadlineMs: LIMITS.remoteCallMs }).catch((error: unknown) => {
      if (errorCode(error) === undefined) throw error;
      this.#options.env.log.warn('nobody heard the farewell', { reason: errorMessage(error) });
    });
  }

  /** Writes down whom this node knows, at a pace, so that it finds them after a restart. */
  async #remember(signal: AbortSignal): Promise<void> {
    const { env } = this.#options;
    for await (const _ of env.clock.every(REMEMBER_EVERY_MS, { signal })) {
      await this.#writeKnown().catch((error: unknown) => {
        env.log.warn('the list of members was not written', { error });
      });
    }
  }

  async #writeKnown(): Promise<void> {
    const { members, revocations, home, homeGeneration } = this.#written;
    const present = this.network.members().filter(({ health }) => health !== 'left');
    const listed = present
      .toSorted((a, b) => Number(b.health === 'alive') - Number(a.health === 'alive'))
      .slice(0, REMEMBERED_MAX)
      .map(({ node, addresses }) => ({ node, addresses: addresses.map(formatAddress) }));
    // Who is alone keeps what was known: that is how the others are found again.
    const next = {
      ...this.#known,
      members: listed.length > 0 ? listed : members,
      revocations: this.admission.revocations,
    };
    const isSame =
      JSON.stringify(next.members) === JSON.stringify(members) &&
      next.revocations.version === (revocations?.version ?? 0) &&
      next.home === home &&
      next.homeGeneration === homeGeneration;
    if (isSame) return;
    await this.#options.data.writeCluster(next);
    this.#written = next;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#loops;
    await this.#writeKnown().catch((error: unknown) => {
      this.#options.env.log.warn('the list of members was not written', { error });
    });
    await this.network[Symbol.asyncDispose]();
  }
}

export interface StrangerOptions {
  readonly env: Env;
  readonly nodeSeed: Uint8Array;
  readonly transports?: readonly MakeTransport[] | undefined;
}

/** The network of a node that belongs to no cluster: it listens nowhere, and can ask to join. */
export async function openAsStranger({
  env,
  nodeSeed,
  transports,
}: StrangerOptions): Promise<Network> {
  const key = new NodeKey(nodeSeed);
  return await Network.open({
    env,
    key,
    transports: transportsOf({ env, key }, transports),
    listen: [],
    admission: new CertificateAdmission({ env }),
    membership: linkedMembers,
  });
}

function transportsOf(
  parts: { readonly env: Env; readonly key: NodeKey },
  more: readonly MakeTransport[] = [],
): readonly Transport[] {
  return [tlsTransport, wssTransport, ...more].map((make) => make(parts));
}

function seedsOf({ members }: KnownCluster): readonly NetAddress[] {
  return members.flatMap(({ addresses }) => addresses).map(parseAddress);
}

/** What a node is told that was home, before the cluster was recovered on another one. */
export function supersededBy(node: NodeId): HoldfastError {
  const message =
    `node ${node} carries the names since the cluster was recovered there, and this node no ` +
    'more; let it join anew: another data directory, and a token of: holdfast invite';
  return new HoldfastError('HF_FENCED', message);
}
