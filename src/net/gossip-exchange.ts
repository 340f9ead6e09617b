/**
 * Two nodes compare their member tables and tell each other what differs; afterwards both know what
 * either knew. One call when they agree, two when they do not. Every statement about this node that
 * is not true is answered at once with a record of a higher incarnation.
 */
import { bytesEqual, errorCode, LIMITS, type NodeId } from '../base/index.ts';
import type { NodeKey } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import {
  CELL_COUNT,
  cellOf,
  cellsMessage,
  comparisonMessage,
  type Entry,
  METHOD,
  readCells,
  readComparison,
  readShare,
  type Share,
  shareMessage,
} from './gossip-message.ts';
import type { GossipRules, Standing } from './gossip-rules.ts';
import {
  decodeRecord,
  makeRecord,
  type MemberRecord,
  type MemberStatement,
} from './member-record.ts';
import type { MemberTable, Outcome } from './member-table.ts';
import type { Peers } from './types.ts';

/** What gossip needs of the connections of a node. */
export type GossipWire = Pick<Peers, 'self' | 'call' | 'connect' | 'learn' | 'link' | 'watchLinks'>;

export interface ExchangeParts {
  readonly env: Env;
  readonly key: NodeKey;
  readonly wire: GossipWire;
  readonly table: MemberTable;
  readonly rules: GossipRules;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
}

export class GossipExchange {
  readonly #env: Env;
  readonly #key: NodeKey;
  readonly #wire: GossipWire;
  readonly #table: MemberTable;
  readonly #rules: GossipRules;
  readonly #signal: AbortSignal;

  constructor({ env, key, wire, table, rules, signal }: ExchangeParts) {
    this.#env = env;
    this.#key = key;
    this.#wire = wire;
    this.#table = table;
    this.#rules = rules;
    this.#signal = signal;
  }

  /** Throws as `Peers.call` does. */
  async with(node: NodeId): Promise<void> {
    const comparison = readComparison(
      await this.#call(node, METHOD.compare, cellsMessage(this.#table.cells(this.#nowMs))),
    );
    for (const entry of comparison.entries) this.#hear(entry);
    const { wants, offers } = this.#table.difference(comparison, this.#nowMs);
    if (wants.length + offers.length > 0) await this.#share(node, offers, wants);
  }

  /** Tells one node what is known of some. */
  async tell(node: NodeId, about: readonly NodeId[]): Promise<void> {
    await this.#share(node, about, []);
  }

  /** Says something new of this node; not once it has left. */
  restate(changes: Partial<MemberStatement>): void {
    const { own } = this.#table;
    if (own.health === 'left') return;
    const incarnation = own.incarnation + 1;
    const record = makeRecord(this.#key, { ...own.record, incarnation, ...changes });
    this.#table.restate(record, this.#nowMs);
  }

  // The answers of this node.

  onCompare(message: unknown, from: NodeId): unknown {
    // Where not everything fits, begin with the neighbourhood of the asker, or just anywhere.
    const { random } = this.#env;
    const first = random.below(2) === 0 ? cellOf(from) : random.below(CELL_COUNT);
    return comparisonMessage(this.#table.compare(readCells(message), first, this.#nowMs));
  }

  onShare(message: unknown): unknown {
    const share = readShare(message);
    const before = this.#table.own.incarnation;
    this.#take(share);
    const isRestated = this.#table.own.incarnation !== before;
    return shareMessage(this.#about([...(isRestated ? [this.#wire.self] : []), ...share.wants]));
  }

  /** A record from whoever. What is returned is not proven unless it was taken. */
  offer(bytes: Uint8Array): { record: MemberRecord; outcome: Outcome } | undefined {
    try {
      const record = decodeRecord(bytes);
      const isOwn = record.node === this.#wire.self;
      const outcome = isOwn ? 'known' : this.#table.offer(record, this.#nowMs);
      if (isOwn) this.#hearRecord(record);
      this.#count(outcome);
      return { record, outcome };
    } catch (error) {
      const code = errorCode(error);
      if (code !== 'HF_CORRUPT' && code !== 'HF_TOO_LARGE') throw error;
      this.#count(code === 'HF_CORRUPT' ? 'malformed' : 'oversized');
      return undefined;
    }
  }

  get #nowMs(): number {
    return this.#env.clock.monotonic();
  }

  async #call(node: NodeId, method: string, arg: unknown): Promise<unknown> {
    const options = { deadlineMs: LIMITS.probeMsMax, signal: this.#signal };
    return await this.#wire.call(node, method, arg, options);
  }

  async #share(node: NodeId, offers: readonly NodeId[], wants: readonly NodeId[]): Promise<void> {
    const share = { ...this.#about(offers), wants: wants.slice(0, LIMITS.recordsPerMessageMax) };
    this.#take(readShare(await this.#call(node, METHOD.share, shareMessage(share))));
  }

  #take({ records, entries }: Share): void {
    for (const bytes of records) this.offer(bytes);
    for (const entry of entries) this.#hear(entry);
  }

  #about(nodes: readonly NodeId[]): Share {
    const some = nodes.slice(0, LIMITS.recordsPerMessageMax);
    const members = some.map((node) => this.#table.get(node)).filter((one) => one !== undefined);
    const nowMs = this.#nowMs;
    return {
      records: members.map(({ record }) => record.bytes),
      entries: members
        .map(({ record }) => this.#table.entry(record.node, nowMs))
        .filter((entry) => entry !== undefined),
      wants: [],
    };
  }

  #count(why: string): void {
    if (why === 'taken' || why === 'known') return;
    this.#env.metrics.add('net_records_refused', 1, { why });
  }

  // Word about this node.

  #hear(entry: Entry): void {
    if (entry.node === this.#wire.self) this.#refute(entry);
    else this.#table.claim(entry, this.#nowMs);
  }

  /** Of an earlier life of this node, or of a copy of it. */
  #hearRecord(record: MemberRecord): void {
    const { own } = this.#table;
    const { incarnation } = record;
    const isOther = incarnation === own.incarnation && !bytesEqual(record.bytes, own.record.bytes);
    if (isOther && this.#rules.isGenuine(record)) this.#answer(incarnation + 1);
  }

  #refute(told: Standing): void {
    const { own } = this.#table;
    // Nobody can drive this node to an incarnation that others refuse.
    const maxNow = this.#env.clock.now() + LIMITS.incarnationAheadMsMax / 2;
    if (told.incarnation > Math.max(maxNow, own.incarnation)) return;
    const incarnation = this.#rules.refutation(own, told);
    if (incarnation !== undefined) this.#answer(incarnation);
  }

  #answer(incarnation: number): void {
    this.restate({ incarnation });
    this.#env.metrics.add('net_refutations', 1);
  }
}
