/**
 * Who is there, as far as this node knows: a pure state machine. Records, and statements that a
 * node is suspect or dead, go in; the members, and which of them have changed, come out. Time is an
 * argument, in ms of the monotonic clock.
 *
 *     alive ──suspect()──▶ suspect ──tick()──▶ dead ──tick()──▶ forgotten
 *       ▲                     │                 │
 *       └──── offer(): a record of a higher incarnation      left ──tick()──▶ forgotten
 *
 * Invariants: 1. of each node one record is held, the newest genuine one that was offered; 2. this
 * node is in the table, never suspect or dead; 3. the table holds at most `membersMax`, and beyond
 * that prefers to know LIMITS.bucketPeers of each bucket (see buckets.ts); 4. tables that were told
 * the same, in whatever order, agree.
 * Source: Das, Gupta and Motivala 2002 (SWIM), section 4.2, for the order of statements.
 */
import { assert, LIMITS, type NodeId, utf8, xxh64 } from '../base/index.ts';
import { BucketCounts, bucketOf, byDistanceTo } from './buckets.ts';
import { CELL_COUNT, cellOf, type Comparison, type Entry } from './gossip-message.ts';
import type { GossipRules, Standing } from './gossip-rules.ts';
import type { MemberRecord } from './member-record.ts';
import type { Health, MemberView } from './types.ts';

export interface Member extends Standing {
  readonly record: MemberRecord;
  readonly incarnation: number;
  health: Health;
  /** Since when. */
  sinceMs: number;
  rttMs: number | undefined;
  /** When it last answered. */
  heardAtMs: number | undefined;
  readonly cell: number;
  /** Of id, incarnation and health: its part in the digest of its cell. */
  hash: bigint;
}

export interface TableTimes {
  /** From suspect to dead, from dead to forgotten, from left to forgotten. */
  readonly suspectMs: number;
  readonly deadMs: number;
  readonly leftMs: number;
}

export interface TableOptions extends TableTimes {
  readonly self: MemberRecord;
  readonly rules: GossipRules;
  readonly membersMax: number;
  /** Whether the node was admitted to the cluster. */
  isMember(record: MemberRecord): boolean;
  /** No honest node is beyond this incarnation. */
  incarnationMax(): number;
}

/** `known`: nothing new. All others but `taken` are refusals. */
export type Outcome = 'taken' | 'known' | 'old' | 'forged' | 'future' | 'stranger' | 'full';

/** What two tables that were compared should tell each other. */
export interface Difference {
  readonly wants: readonly NodeId[];
  readonly offers: readonly NodeId[];
}

export class MemberTable {
  readonly #options: TableOptions;
  readonly #self: NodeId;
  readonly #members = new Map<NodeId, Member>();
  readonly #buckets: BucketCounts;
  #changed = new Set<NodeId>();
  /** What `cells` found, until something changes. */
  #cells: readonly bigint[] | undefined;

  constructor(options: TableOptions, nowMs: number) {
    this.#options = options;
    this.#self = options.self.node;
    this.#buckets = new BucketCounts(this.#self);
    this.restate(options.self, nowMs);
  }

  /** With this node itself. */
  get size(): number {
    return this.#members.size;
  }

  /** Then not all nodes of the cluster may be here. */
  get isFull(): boolean {
    return this.size >= this.#options.membersMax;
  }

  get own(): Member {
    return this.#members.get(this.#self)!;
  }

  get(node: NodeId): Member | undefined {
    return this.#members.get(node);
  }

  /** All but this node. */
  *others(...healths: readonly Health[]): Generator<Member> {
    for (const member of this.#members.values()) {
      const isWanted = healths.length === 0 || healths.includes(member.health);
      if (isWanted && member.record.node !== this.#self) yield member;
    }
  }

  view(node: NodeId): MemberView | undefined {
    const member = this.#members.get(node);
    return member && viewOf(member.record, member);
  }

  /** Those that are alive or suspect and closest to `target`, this node among them. */
  closest(target: NodeId, count: number): Member[] {
    const order = byDistanceTo(target);
    return [...this.#members.values()]
      .filter(({ health }) => health === 'alive' || health === 'suspect')
      .toSorted((a, b) => order(a.record.node, b.record.node))
      .slice(0, count);
  }

  /** Nodes that have changed since this was asked last, the forgotten ones included. */
  takeChanges(): ReadonlySet<NodeId> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  // What goes in.

  /** Takes a record of another node if it is good and new. */
  offer(record: MemberRecord, nowMs: number): Outcome {
    const { rules } = this.#options;
    assert(record.node !== this.#self, 'this node speaks for itself');
    const known = this.#members.get(record.node);
    const told = standingOf(record);
    // The signature comes last: it is what costs.
    if (known && !rules.isNewer(told, known)) {
      return record.incarnation < known.incarnation ? 'old' : 'known';
    }
    if (record.incarnation > this.#options.incarnationMax()) return 'future';
    if (!known && !this.#hasRoomFor(record.node)) return 'full';
    if (!rules.isGenuine(record)) return 'forged';
    if (!this.#options.isMember(record)) return 'stranger';
    if (!known && this.isFull) this.#evict();
    this.#put(record, nowMs, known);
    return 'taken';
  }

  /** What another node thinks of one whose record is here; true when that is news. */
  claim({ node, incarnation, health, ageMs }: Entry, nowMs: number): boolean {
    const known = this.#members.get(node);
    // Only a node itself says that it is alive or leaves: that takes a record.
    if (!known || node === this.#self || health === 'alive') return false;
    if (known.incarnation !== incarnation) return false;
    const { rules, deadMs, leftMs } = this.#options;
    if (health !== 'left' && rules.isNewer({ incarnation, health }, known)) {
      // A suspect has its full time to answer, whatever others say of how long it was silent.
      const isDead = health === 'dead';
      this.#change(known, health, isDead ? nowMs - Math.min(ageMs, deadMs) : nowMs);
      return true;
    }
    // Ages travel, so that all forget a node at about the same time.
    const isOver = health === known.health && (health === 'dead' || health === 'left');
    if (isOver) known.sinceMs = Math.min(known.sinceMs, nowMs - Math.min(ageMs, deadMs, leftMs));
    return false;
  }

  /** This node has had no answer from that one. */
  suspect(node: NodeId, nowMs: number): void {
    const known = this.#members.get(node);
    if (known?.health === 'alive') this.#change(known, 'suspect', nowMs);
  }

  /** A new record of this node. */
  restate(record: MemberRecord, nowMs: number): void {
    assert(record.node === this.#self, 'this node speaks for itself');
    this.#put(record, nowMs);
  }

  /** It has answered just now. */
  measured(node: NodeId, { rttMs, nowMs }: { rttMs: number | undefined; nowMs: number }): void {
    const known = this.#members.get(node);
    if (!known) return;
    known.heardAtMs = nowMs;
    if (rttMs !== undefined) known.rttMs = rttMs;
  }

  /** @param pausedMs for how long this node did not run; silence in that time proves nothing. */
  tick(nowMs: number, pausedMs = 0): void {
    const { suspectMs, deadMs, leftMs } = this.#options;
    this.#cells = undefined; // some may have come of an age not to be told
    for (const member of this.others()) {
      if (member.health === 'suspect') member.sinceMs += pausedMs;
      const ageMs = nowMs - member.sinceMs;
      if (member.health === 'suspect' && ageMs >= suspectMs) this.#change(member, 'dead', nowMs);
      else if (member.health === 'dead' && ageMs >= deadMs) this.#forget(member);
      else if (member.health === 'left' && ageMs >= leftMs) this.#forget(member);
    }
  }

  /** Drops those that are not admitted any more. */
  judgeAgain(): void {
    for (const member of this.others()) {
      if (!this.#options.isMember(member.record)) this.#forget(member);
    }
  }

  // Comparing tables.

  /** A hash of each cell: two tables agree on a cell when its hashes are equal. */
  cells(nowMs: number): readonly bigint[] {
    if (!this.#cells) {
      const hashes = Array.from({ length: CELL_COUNT }, () => 0n);
      for (const member of this.#told(nowMs)) hashes[member.cell]! ^= member.hash;
      this.#cells = hashes;
    }
    return this.#cells;
  }

  /**
   * Entries of the cells that differ from `theirs`.
   * @param firstCell where to begin; when there are too many entries, later cells are left out.
   */
  compare(theirs: readonly bigint[], firstCell: number, nowMs: number): Comparison {
    const ours = this.cells(nowMs);
    const inCell = Map.groupBy(this.#told(nowMs), ({ cell }) => cell);
    const cells: number[] = [];
    const entries: Entry[] = [];
    const entriesMax = this.isFull ? LIMITS.partialEntriesMax : LIMITS.entriesPerMessageMax;
    for (let step = 0; step < CELL_COUNT; step++) {
      const cell = (firstCell + step) % CELL_COUNT;
      if (ours[cell] === theirs[cell]) continue;
      const members = inCell.get(cell) ?? [];
      if (entries.length + members.length > entriesMax) break;
      cells.push(cell);
      entries.push(...members.map((member) => entryOf(member, nowMs)));
    }
    return { cells, entries };
  }

  /** What to ask for and to tell, given the other's entries of some cells. Changes nothing. */
  difference({ cells, entries }: Comparison, nowMs: number): Difference {
    const { rules } = this.#options;
    const theirs = new Map(entries.map((entry) => [entry.node, entry]));
    const compared = new Set(cells);
    const wants = entries
      .filter((entry) => {
        const known = this.#members.get(entry.node);
        if (known) return entry.incarnation > known.incarnation;
        return !this.#isForgotten(entry) && this.#hasRoomFor(entry.node);
      })
      .map(({ node }) => node);
    const offers = [...this.#told(nowMs)]
      .filter(({ cell }) => compared.has(cell))
      .filter((member) => {
        const entry = theirs.get(member.record.node);
        if (entry) return rules.isNewer(member, entry);
        // Where tables are not complete, the others take what they have room for, and ask for it.
        return !this.isFull || member.record.node === this.#self;
      })
      .map(({ record }) => record.node);
    return { wants, offers };
  }

  entry(node: NodeId, nowMs: number): Entry | undefined {
    const member = this.#members.get(node);
    return member && entryOf(member, nowMs);
  }

  /** Those that others are told of: the last tenth of its time a dead one is kept in silence. */
  *#told(nowMs: number): Generator<Member> {
    const { deadMs, leftMs } = this.#options;
    for (const member of this.#members.values()) {
      const ageMs = nowMs - member.sinceMs;
      if (member.health === 'dead' && ageMs >= 0.9 * deadMs) continue;
      if (member.health === 'left' && ageMs >= 0.9 * leftMs) continue;
      yield member;
    }
  }

  #isForgotten({ health, ageMs }: Entry): boolean {
    const { deadMs, leftMs } = this.#options;
    return (
      (health === 'dead' && ageMs >= 0.9 * deadMs) || (health === 'left' && ageMs >= 0.9 * leftMs)
    );
  }

  // Room.

  #hasRoomFor(node: NodeId): boolean {
    if (!this.isFull) return true;
    if (this.#buckets.besides(node) >= LIMITS.bucketPeers) return false;
    return this.#buckets.fullest().count > LIMITS.bucketPeers;
  }

  /** Of the fullest bucket: one that is gone, else the one that was met last. */
  #evict(): void {
    const { bucket } = this.#buckets.fullest();
    let victim: Member | undefined;
    for (const member of this.others()) {
      if (bucketOf(this.#self, member.record.node) !== bucket) continue;
      victim = member;
      if (member.health === 'dead' || member.health === 'left') break;
    }
    assert(victim, 'the fullest bucket is not empty');
    this.#forget(victim);
  }

  #put(record: MemberRecord, nowMs: number, known?: Member): void {
    const { node } = record;
    if (!this.#members.has(node) && node !== this.#self) this.#buckets.add(node);
    const standing = standingOf(record);
    const cell = cellOf(node);
    const { rttMs, heardAtMs } = known ?? {};
    const member = { record, ...standing, cell, sinceMs: nowMs, rttMs, heardAtMs, hash: 0n };
    this.#members.set(node, member);
    this.#change(member, member.health, nowMs);
  }

  #change(member: Member, health: Health, sinceMs: number): void {
    member.health = health;
    member.sinceMs = sinceMs;
    const { node, incarnation } = member.record;
    member.hash = xxh64(utf8(`${node} ${incarnation} ${health}`));
    this.#changed.add(node);
    this.#cells = undefined;
  }

  #forget(member: Member): void {
    const { node } = member.record;
    this.#members.delete(node);
    this.#buckets.remove(node);
    this.#changed.add(node);
    this.#cells = undefined;
  }
}

export function viewOf(
  { node, addresses, incarnation, labels }: MemberRecord,
  { health, rttMs, heardAtMs }: Pick<MemberView, 'health' | 'rttMs' | 'heardAtMs'>,
): MemberView {
  return { node, addresses, incarnation, labels, health, rttMs, heardAtMs };
}

/** What a record says by itself. */
export function standingOf({ incarnation, hasLeft }: MemberRecord): Standing {
  return { incarnation, health: hasLeft ? 'left' : 'alive' };
}

function entryOf({ record, health, sinceMs }: Member, nowMs: number): Entry {
  const { node, incarnation } = record;
  return { node, incarnation, health, ageMs: Math.max(0, nowMs - sinceMs) };
}
