/**
 * What is known of one other node: where it listens, its links, and whether dialling it is worth a
 * try. One link of each purpose is used. When both ends dial at once there are two for a moment;
 * both ends then keep the one that was dialled by the node with the smaller id, and retire the
 * other, so that what is under way on it still ends well.
 *
 * A peer is *silent* while a ping on each of its links is unanswered (see Heartbeat): nobody waits
 * for it who can ask another one. That is no verdict on the member, which gossip alone gives; it
 * ends with the first byte on any link, also on one made anew by those who wait for it. A link that
 * lags behind the others is no sign of it.
 */
import { HoldfastError, LIMITS, type NodeId } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { formatAddress, type NetAddress } from './address.ts';
import type { Link } from './link.ts';
import type { LinkView, Purpose } from './types.ts';

export class Peer {
  readonly node: NodeId;
  /** Dials under way. */
  readonly dials = new Map<Purpose, Promise<void>>();
  /** Those who wait for a dial, and can ask another node. */
  readonly impatient = new Set<PromiseWithResolvers<never>>();
  readonly #env: Env;
  readonly #links = new Set<Link>();
  /** When its last link ended. */
  #wasSilent = false;
  /** As of the last tick. */
  #isNotedSilent = false;
  #silenceCount = 0;
  #learnt: readonly NetAddress[] = [];
  #said: readonly NetAddress[] = [];
  #lastGood: NetAddress | undefined;
  #failureCount = 0;
  #isRefused = false;
  #dialAgainAtMs = 0;

  constructor(node: NodeId, env: Env) {
    this.node = node;
    this.#env = env;
  }

  get links(): ReadonlySet<Link> {
    return this.#links;
  }

  get isLinked(): boolean {
    return this.#links.size > 0;
  }

  /** Nothing is lost by forgetting it. */
  get isBlank(): boolean {
    const isKnown = this.#learnt.length > 0 || this.#said.length > 0;
    return !this.isLinked && !isKnown && this.dials.size === 0;
  }

  get isIdle(): boolean {
    return [...this.#links].every((link) => link.isIdle);
  }

  get isSilent(): boolean {
    if (!this.isLinked) return this.#wasSilent;
    return [...this.#links].every(({ mux }) => mux.isSilent);
  }

  /** Whether somebody waits for it who can ask another node. */
  get isAwaited(): boolean {
    return this.impatient.size > 0 || [...this.#links].some(({ mux }) => mux.isAwaited);
  }

  /** To be called with each tick of its links. @returns whether it has fallen silent since. */
  noteSilence(): boolean {
    const wasSilent = this.#isNotedSilent;
    this.#isNotedSilent = this.isSilent;
    if (wasSilent && !this.#isNotedSilent) this.#silenceCount += 1;
    return !wasSilent && this.#isNotedSilent;
  }

  /** Nobody who can ask another node waits any longer. To be called while it is silent. */
  giveUpReplaceable(): void {
    for (const { mux } of this.#links) mux.giveUpReplaceable(this.silence());
    for (const waiter of this.impatient) waiter.reject(this.silence());
  }

  silence(): HoldfastError {
    const text = `${this.node} gives no sign of life`;
    return new HoldfastError('HF_UNAVAILABLE', text, { details: { isSilent: true } });
  }

  get lastUsedMs(): number {
    return Math.max(...[...this.#links].map((link) => link.lastUsedMs));
  }

  get view(): LinkView | undefined {
    const link = this.linkFor('control') ?? [...this.#links][0];
    return link && this.viewOf(link);
  }

  viewOf({ verdict, mux }: Link): LinkView {
    return { node: this.node, verdict, rttMs: mux.rttMs, silenceCount: this.#silenceCount };
  }

  /** The link on which to make requests of this purpose. */
  linkFor(purpose: Purpose): Link | undefined {
    for (const link of this.#links) if (link.purpose === purpose && link.mux.isOpen) return link;
    return undefined;
  }

  /** Where to try, the most promising first. */
  get addresses(): readonly NetAddress[] {
    const all = [this.#lastGood, ...this.#learnt, ...this.#said].filter((one) => one !== undefined);
    return [...new Map(all.map((address) => [formatAddress(address), address])).values()];
  }

  learn(addresses: readonly NetAddress[]): void {
    this.#learnt = addresses.slice(0, LIMITS.addressesPerNodeMax);
  }

  add(link: Link): void {
    for (const other of this.#links) {
      if (other.isOfAnotherLife(link)) other.mux.close('the node was started anew');
    }
    const rival = this.linkFor(link.purpose);
    this.#links.add(link);
    if (rival) (isKept(rival, link) ? link : rival).retire();
    if (link.verdict === 'member') this.#said = link.hello.addresses;
    this.#failureCount = 0;
    this.#dialAgainAtMs = 0;
  }

  remove(link: Link): void {
    this.#wasSilent = this.isSilent;
    this.#links.delete(link);
  }

  retire(): void {
    for (const link of this.#links) link.retire();
  }

  get mayDial(): boolean {
    return this.#env.clock.monotonic() >= this.#dialAgainAtMs;
  }

  onDialed(address: NetAddress): void {
    this.#lastGood = address;
  }

  /** Whether the other end would not talk when it was last dialled in vain. */
  get isRefused(): boolean {
    return this.#isRefused;
  }

  /** Waits longer each time, and never as long as others who failed at the same moment. */
  onDialFailed({ isRefused }: { readonly isRefused: boolean }): void {
    this.#isRefused = isRefused;
    const doubledMs = LIMITS.dialPauseMsMin * 2 ** Math.min(this.#failureCount, 20);
    const pauseMs = Math.min(doubledMs, LIMITS.dialPauseMsMax);
    this.#failureCount += 1;
    this.#lastGood = undefined;
    const jitterMs = this.#env.random.below(Math.ceil(pauseMs / 2));
    this.#dialAgainAtMs = this.#env.clock.monotonic() + pauseMs / 2 + jitterMs;
  }
}

/** Whether, of two links of one purpose, the older one stays. */
function isKept(older: Link, newer: Link): boolean {
  // Who dials twice has lost its first link, even if this end has not noticed yet.
  return older.dialedBy < newer.dialedBy;
}
