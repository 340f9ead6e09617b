/**
 * A node among others: its connections, who is there, who may talk to it, and what it remembers of
 * them. It outlives the core: while that waits for its home, this finds the home.
 *
 * The *home* is the node that carries the names (registry, reference slots, cells). It says so in
 * its gossip label, and is believed when its certificate gives it the role.
 */
import { errorCode, errorMessage, LIMITS, mapBounded, type NodeId } from '../base/index.ts';
import { CertificateAdmission, RevocationFollower, serveJoin } from '../cluster/index.ts';
import { beaconKeyOf, type Keyring, NodeKey, readCertificate, ROLES } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import type { Registry } from '../log/index.ts';
import {
  gossipMembers,
  linkedMembers,
  type MemberView,
  type NetAddress,
  Network,
  formatAddress,
  parseAddress,
  tlsTransport,
  type Transport,
  wssTransport,
} from '../net/index.ts';
import type { DataDirectory, KnownCluster } from './data-directory.ts';
import {
  gossipLabels,
  listensToOthers,
  type NodeConfig,
  reachableAt,
  withPorts,
} from './node-config.ts';

/** Members that are remembered over a restart: enough to find the others. */
const REMEMBERED_MAX = 64;
/** How often what is remembered is written down, when it has changed. */
const REMEMBER_EVERY_MS = 5000;
/** How often a node that is not the home looks who is. */
const FIND_HOME_EVERY_MS = 500;
/** What a node that starts gives its home to be found, before it says that it waits. */
const MEET_HOME_MS = 5000;
const MEET_HOME_LOOK_MS = 50;
const PROOFS_AT_ONCE = 4;
const CERTIFICATE_METHOD = 'node.certificate';
const CERTIFICATE_DEADLINE_MS = 3000;

/** Makes a transport for a node; its scheme must be no other's. */
export type MakeTransport = (parts: { readonly env: Env; readonly key: NodeKey }) => Transport;

export interface NetworkPartOptions {
  readonly env: Env;
  readonly data: DataDirectory;
  readonly config: NodeConfig;
  /** Of this node, as of the call. */
  readonly keyring: () => Keyring;
  readonly isHome: boolean;
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
  /** Nodes whose certificate has been seen to let them be home, and of when it is. */
  readonly #certifiedAtMs = new Map<NodeId, number>();
  #known: KnownCluster;
  /** As it was last written down. */
  #writtenHome: NodeId | undefined;
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
    const { env, registry, keyring } = options;
    const { network, admission, reachable } = parts;
    this.#options = options;
    this.network = network;
    this.admission = admission;
    this.reachable = reachable;
    this.#known = parts.known;
    this.#writtenHome = parts.known.home;
    network.handle(CERTIFICATE_METHOD, {}, () => keyring().certificate);
    const told = {
      self: network.self,
      addresses: reachable,
      handle: network.handle.bind(network) as Network['handle'],
      call: network.call.bind(network) as Network['call'],
      members: () => network.members(),
    };
    serveJoin({ env, registry, network: told, keyring });
    this.#follower = new RevocationFollower({ env, registry, admission, network });
  }

  /**
   * @throws HF_UNAVAILABLE when an address cannot be bound, HF_UNSUPPORTED for its scheme,
   *   HF_CORRUPT when what is remembered is damaged.
   */
  static async open(options: NetworkPartOptions): Promise<NetworkPart> {
    const { env, data, config, keyring, isHome } = options;
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
      labels: gossipLabels(config, { isHome }),
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

  /** Looks among the members that are here now: one that is alive, certified last, is it. */
  async findHome(): Promise<NodeId | undefined> {
    const claiming = this.network.members().filter(claimsToBeHome);
    await mapBounded(claiming, PROOFS_AT_ONCE, ({ node }) => this.#learnWhetherHome(node));
    const rank = ({ node, health }: MemberView): number =>
      this.#certifiedAtMs.get(node)! + (health === 'alive' ? Number.MAX_SAFE_INTEGER / 2 : 0);
    const [found] = claiming
      .filter(({ node }) => this.#certifiedAtMs.has(node))
      .toSorted((one, other) => rank(other) - rank(one));
    if (found && found.node !== this.home) {
      this.#options.env.log.info('the home of the cluster was found', { node: found.node });
      this.#known = { ...this.#known, home: found.node };
    }
    return this.home;
  }

  /** Waits until the home is among the members that are alive, but not for long. */
  async meetHome(): Promise<void> {
    const { clock } = this.#options.env;
    const untilMs = clock.monotonic() + MEET_HOME_MS;
    for (;;) {
      const home = await this.findHome();
      const member = this.network.members().find(({ node }) => node === home);
      if (member?.health === 'alive' || clock.monotonic() >= untilMs) return;
      await clock.sleep(MEET_HOME_LOOK_MS);
    }
  }

  async #followHome(signal: AbortSignal): Promise<void> {
    const { env, isHome } = this.#options;
    if (isHome) return;
    for await (const _ of env.clock.every(FIND_HOME_EVERY_MS, { signal })) await this.findHome();
  }

  async #learnWhetherHome(node: NodeId): Promise<void> {
    if (this.#certifiedAtMs.has(node)) return;
    const { env, keyring } = this.#options;
    try {
      const options = { deadlineMs: CERTIFICATE_DEADLINE_MS, signal: this.#closing.signal };
      const bytes = await this.network.call(node, CERTIFICATE_METHOD, null, options);
      if (!(bytes instanceof Uint8Array)) return;
      const { nodeId, roles, issuedAtMs } = readCertificate(bytes, keyring());
      const isHome = nodeId === node && (roles & ROLES.metadata) !== 0;
      if (isHome) this.#certifiedAtMs.set(node, issuedAtMs);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      env.log.debug('a node does not prove to be home', { node, reason: errorMessage(error) });
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
    const { members, revocations } = this.#known;
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
      next.home === this.#writtenHome;
    if (isSame) return;
    await this.#options.data.writeCluster(next);
    this.#known = next;
    this.#writtenHome = next.home;
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

function claimsToBeHome({ labels, health }: MemberView): boolean {
  return labels['home'] === '1' && (health === 'alive' || health === 'suspect');
}
