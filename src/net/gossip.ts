/**
 * A {@link Membership} by gossip: every node keeps the records of all others (up to
 * LIMITS.membersMax, beyond that some of each distance), and no node is special. Every
 * LIMITS.gossipMs it compares tables with the next member in turn; that is the sign of life too.
 * Who does not answer is asked through others, then suspect, and dead if it does not contradict.
 *
 * The parts: {@link MemberTable} (what is known), {@link FailureDetector} (whom to ask),
 * {@link GossipExchange} (what is said), {@link Discovery} and {@link BeaconFinder} (whom to meet),
 * `lookup` (who is not in the table). All but this file are driven, and have no loops.
 */
import {
  bytesEqual,
  errorMessage,
  HoldfastError,
  LIMITS,
  mapBounded,
  type NodeId,
} from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { NetAddress } from './address.ts';
import { BeaconFinder, type BeaconOptions } from './beacon-finder.ts';
import { ChangeFeed } from './change-feed.ts';
import { withDeadline } from './deadline.ts';
import { Discovery } from './discovery.ts';
import { FailureDetector } from './failure-detector.ts';
import { GossipExchange, type GossipWire } from './gossip-exchange.ts';
import { METHOD, nodeMessage, readNode, recordsMessage } from './gossip-message.ts';
import { GOSSIP_RULES, type GossipRules } from './gossip-rules.ts';
import { blankHello } from './hello.ts';
import { LookedUp } from './looked-up.ts';
import { makeRecord, type MemberRecord } from './member-record.ts';
import { MemberTable } from './member-table.ts';
import type {
  Admission,
  CallOptions,
  Ground,
  Health,
  Labels,
  MemberChange,
  Membership,
  MemberView,
  OpenMembership,
} from './types.ts';

export interface GossipOptions {
  /** Gives this node's certificate, and judges those that records carry as those of connections. */
  readonly admission: Admission;
  /** Finds nodes on the local network. */
  readonly beacon?: BeaconOptions | undefined;
  /** Smaller for tests of tables that are not complete. */
  readonly membersMax?: number | undefined;
  /** For tests that break one. */
  readonly rules?: GossipRules | undefined;
}

/** For `NetworkOptions.membership`. */
export function gossipMembers(options: GossipOptions): OpenMembership {
  return (ground) => Gossip.open(ground, options);
}

export class Gossip implements Membership {
  readonly #env: Env;
  readonly #ground: Ground;
  readonly #wire: GossipWire;
  readonly #admission: Admission;
  readonly #table: MemberTable;
  readonly #exchange: GossipExchange;
  readonly #lookedUp: LookedUp;
  readonly #detector: FailureDetector;
  readonly #discovery: Discovery;
  readonly #feed = new ChangeFeed<NodeId, MemberChange>();
  readonly #closing = new AbortController();
  readonly #underWay = new Map<NodeId, Promise<void>>();
  readonly #loops: Promise<void>[] = [];
  #beacon: BeaconFinder | undefined;
  #tickedAtMs: number;
  #hasNews = false;
  #relayCount = 0;

  private constructor(ground: Ground, options: GossipOptions) {
    const { env, key, peers, seeds, addresses } = ground;
    const { admission, rules = GOSSIP_RULES, membersMax = LIMITS.membersMax } = options;
    this.#env = env;
    this.#ground = ground;
    this.#wire = peers;
    this.#admission = admission;
    this.#tickedAtMs = env.clock.monotonic();
    const isMember = (record: MemberRecord): boolean => isAdmitted(admission, record);
    const incarnationMax = (): number => env.clock.now() + LIMITS.incarnationAheadMsMax;
    this.#table = new MemberTable(
      {
        self: ownRecord(ground, admission),
        rules,
        membersMax,
        suspectMs: LIMITS.suspectMs,
        deadMs: LIMITS.deadMemberMs,
        leftMs: LIMITS.leftMemberMs,
        isMember,
        incarnationMax,
      },
      this.#tickedAtMs,
    );
    const { signal } = this.#closing;
    const parts = { env, key, wire: peers, table: this.#table, rules, signal };
    this.#exchange = new GossipExchange(parts);
    this.#lookedUp = new LookedUp({ ...parts, isMember, exchange: this.#exchange });
    this.#detector = new FailureDetector(env.random);
    this.#discovery = new Discovery({ seeds, own: addresses }, env.random);
  }

  /** @throws HF_TOO_LARGE, HF_BAD_ARGUMENT when what this node says of itself is too much. */
  static async open(ground: Ground, options: GossipOptions): Promise<Gossip> {
    const gossip = new Gossip(ground, options);
    gossip.#answer();
    if (options.beacon) await gossip.#openBeacon(options.beacon);
    gossip.#loops.push(gossip.#run(), gossip.#followLinks());
    return gossip;
  }

  members(): MemberView[] {
    return [...this.#table.others()].map(({ record }) => this.#table.view(record.node)!);
  }

  watch({ signal }: { signal: AbortSignal }): AsyncIterable<MemberChange> {
    const first = this.members().map(
      (member) => [member.node, { node: member.node, member }] as const,
    );
    return this.#feed.watch(first, { signal });
  }

  async lookup(node: NodeId, options: CallOptions): Promise<MemberView> {
    const known = this.#table.view(node);
    if (known) return known;
    const { clock } = this.#env;
    const found = await withDeadline(clock, this.#lookedUp.find(node, options.signal), options);
    this.#publish();
    return found;
  }

  async leave({ deadlineMs, signal }: CallOptions): Promise<void> {
    if (this.#table.own.health === 'left') return;
    this.#exchange.restate({ hasLeft: true });
    const hearers = this.#detector.pick(this.#nodes('alive'), LIMITS.bucketPeers);
    if (hearers.length === 0) return;
    const told = mapBounded(hearers, LIMITS.bucketPeers, (node) => this.#tellOf(node));
    const answers = await withDeadline(this.#env.clock, told, { deadlineMs, signal });
    if (answers.includes(true)) return;
    throw new HoldfastError('HF_UNAVAILABLE', 'nobody heard that this node leaves');
  }

  relabel(labels: Labels): void {
    this.#exchange.restate({ labels });
    this.#publish();
  }

  judgeAgain(): void {
    this.#table.judgeAgain();
    this.#showCredentials();
    this.#publish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#beacon?.[Symbol.asyncDispose]();
    await Promise.all([...this.#loops, ...this.#underWay.values()]); // bounded, see #start
  }

  // What this node answers. Strangers cannot ask: nothing here is registered for them.

  #answer(): void {
    const ground = this.#ground;
    ground.handle(METHOD.ping, {}, () => null);
    ground.handle(METHOD.compare, {}, (arg, { from }) => this.#exchange.onCompare(arg, from));
    ground.handle(METHOD.share, {}, (arg) => {
      const answer = this.#exchange.onShare(arg);
      this.#publish();
      return answer;
    });
    ground.handle(METHOD.find, {}, (arg) => {
      const closest = this.#table.closest(readNode(arg), LIMITS.bucketPeers);
      return recordsMessage(closest.map(({ record }) => record.bytes));
    });
    ground.handle(METHOD.pingFor, {}, async (arg, { signal }) => {
      const node = readNode(arg);
      if (this.#relayCount >= LIMITS.relaysUnderWayMax) {
        throw new HoldfastError('HF_UNAVAILABLE', 'too many ask for others here');
      }
      this.#relayCount += 1;
      try {
        const options = { deadlineMs: LIMITS.probeMsMax, signal };
        if (node !== this.#wire.self) await this.#wire.call(node, METHOD.ping, null, options);
      } finally {
        this.#relayCount -= 1;
      }
      return null;
    });
  }

  // The loops.

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    this.#meetSeeds();
    for await (const _ of this.#env.clock.every(LIMITS.gossipMs, { signal })) this.#tick();
  }

  async #followLinks(): Promise<void> {
    const { signal } = this.#closing;
    for await (const { node, state } of this.#wire.watchLinks({ signal })) {
      // Where links come and go because there are many, one that goes says nothing.
      const isTelling = state === 'down' && this.#table.size <= LIMITS.warmLinksMax;
      if (isTelling && this.#table.get(node)) this.#detector.promote(node);
      // Somebody made acquaintance: by hand, or a node that nobody has told of yet.
      if (state === 'up' && !this.#table.get(node) && !this.#table.isFull) this.#start(node);
    }
  }

  #tick(): void {
    const nowMs = this.#env.clock.monotonic();
    const pausedMs = Math.max(0, nowMs - this.#tickedAtMs - 2 * LIMITS.gossipMs);
    this.#tickedAtMs = nowMs;
    this.#table.tick(nowMs, pausedMs);
    this.#showCredentials();
    this.#publish();
    if (this.#table.own.health === 'left') return;
    for (const node of this.#partners()) this.#start(node);
    this.#meetSeeds();
  }

  /** A node that was admitted, or whose certificate is new, tells so, and looks around again. */
  #showCredentials(): void {
    const credentials = this.#admission.credentials();
    if (bytesEqual(credentials, this.#table.own.record.credentials)) return;
    this.#exchange.restate({ credentials });
    this.#discovery.beginAgain();
  }

  /** With whom to compare notes in this round. */
  #partners(): ReadonlySet<NodeId> {
    const isProbed = (node: NodeId): boolean => {
      const health = this.#table.get(node)?.health;
      return health === 'alive' || health === 'suspect';
    };
    const next = this.#detector.next(() => this.#nodes('alive', 'suspect'), isProbed);
    const alive = this.#nodes('alive');
    const partners = new Set(next === undefined ? [] : [next]);
    if (this.#table.isFull) {
      // There is always some news; what matters more is to know one's neighbourhood.
      for (const node of this.#detector.pick(this.#neighbours(), 1)) partners.add(node);
    } else if (this.#hasNews) {
      for (const node of this.#detector.pick(alive, LIMITS.gossipPartners)) partners.add(node);
    }
    this.#hasNews = false;
    const dead = this.#detector.nextDead(this.#nodes('dead'), alive.length);
    if (dead !== undefined) partners.add(dead);
    return partners;
  }

  #neighbours(): NodeId[] {
    const { self } = this.#wire;
    const closest = this.#table.closest(self, LIMITS.bucketPeers + 1);
    return closest.map(({ record }) => record.node).filter((node) => node !== self);
  }

  #nodes(...healths: readonly Health[]): NodeId[] {
    return [...this.#table.others(...healths)].map(({ record }) => record.node);
  }

  #meetSeeds(): void {
    const alive = (): ReadonlySet<NodeId> => new Set(this.#nodes('alive'));
    const due = this.#discovery.due(this.#env.clock.monotonic(), alive);
    if (due.length === 0) return;
    // Does not fail, and ends when this is closed.
    void mapBounded(due, LIMITS.beaconDialsMax, (seed) => this.#meet(seed));
  }

  /** Makes acquaintance with whoever is there. */
  async #meet(address: NetAddress, expect?: NodeId): Promise<void> {
    try {
      const { signal } = this.#closing;
      const { node, verdict } = await this.#wire.connect(address, { expect, signal });
      if (verdict !== 'member') return;
      this.#discovery.met(address, node);
      this.#start(node);
    } catch (error) {
      this.#env.log.debug('no node met', { why: errorMessage(error) });
    }
  }

  async #openBeacon(options: BeaconOptions): Promise<void> {
    const { env, addresses } = this.#ground;
    const { self } = this.#wire;
    this.#beacon = await BeaconFinder.open({
      ...options,
      env,
      own: { node: self, addresses },
      isKnown: (node) => this.#table.get(node)?.health === 'alive',
      meet: (address, node) => this.#meet(address, node),
    });
  }

  // Probing.

  #start(node: NodeId): void {
    const isBusy = this.#underWay.has(node) || this.#underWay.size >= LIMITS.gossipsUnderWayMax;
    if (isBusy || this.#closing.signal.aborted) return;
    const probe = this.#probe(node).finally(() => {
      this.#underWay.delete(node);
      this.#publish();
    });
    this.#underWay.set(node, probe);
  }

  async #probe(node: NodeId): Promise<void> {
    const startMs = this.#env.clock.monotonic();
    const before = this.#table.get(node)?.incarnation;
    try {
      await this.#exchange.with(node);
      const nowMs = this.#env.clock.monotonic();
      this.#table.measured(node, { rttMs: this.#wire.link(node)?.rttMs, nowMs });
      return;
    } catch (error) {
      this.#env.log.debug('no answer to gossip', { node, why: errorMessage(error) });
    }
    if (this.#table.get(node)?.health !== 'alive' || (await this.#isAnsweringOthers(node))) return;
    if (this.#table.get(node)?.incarnation !== before) return; // it has spoken since
    const spentMs = this.#env.clock.monotonic() - startMs;
    // If it took much longer than its deadlines, it is this node that did not run.
    const isOwnFault = spentMs > 4 * LIMITS.probeMsMax;
    if (isOwnFault || this.#closing.signal.aborted) return;
    this.#table.suspect(node, this.#env.clock.monotonic());
  }

  async #isAnsweringOthers(node: NodeId): Promise<boolean> {
    const others = this.#nodes('alive').filter((other) => other !== node);
    const relays = this.#detector.pick(others, LIMITS.probeRelays);
    const options = { deadlineMs: 2 * LIMITS.probeMsMax, signal: this.#closing.signal };
    const asked = relays.map((relay) =>
      this.#wire.call(relay, METHOD.pingFor, nodeMessage(node), options),
    );
    return await Promise.any(asked).then(
      () => true,
      () => false,
    );
  }

  async #tellOf(node: NodeId): Promise<boolean> {
    try {
      await this.#exchange.tell(node, [this.#wire.self]);
      return true;
    } catch (error) {
      this.#env.log.debug('farewell not heard', { node, why: errorMessage(error) });
      return false;
    }
  }

  // What has changed.

  #publish(): void {
    for (const node of this.#table.takeChanges()) {
      this.#hasNews = true;
      if (node === this.#wire.self) continue;
      const member = this.#table.view(node);
      const isReachable = member !== undefined && member.health !== 'left';
      this.#wire.learn(node, isReachable ? member.addresses : []);
      this.#feed.publish(node, { node, member });
    }
  }
}

function isAdmitted(admission: Admission, record: MemberRecord): boolean {
  const { addresses, credentials } = record;
  const hello = { ...blankHello('control'), addresses, credentials };
  return admission.judge(record.node, hello) === 'member';
}

function ownRecord({ env, key, addresses, labels }: Ground, admission: Admission): MemberRecord {
  return makeRecord(key, {
    incarnation: Math.max(1, Math.floor(env.clock.now())),
    hasLeft: false,
    addresses: addresses.slice(0, LIMITS.addressesPerRecordMax),
    labels,
    credentials: admission.credentials(),
  });
}
