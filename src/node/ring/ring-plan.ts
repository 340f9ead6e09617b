/**
 * What to do next about the ring: from what is wanted (the record), what is so (etcd's members) and
 * who is well, one step. Pure: whoever does the steps may stop at any of them, and somebody else
 * goes on.
 *
 * Words: a *voter* is a member of etcd that is no learner; the ring works while more than half of
 * its voters are well. Rules, in this order; one seat at a time is under way:
 *  0. a member of etcd without a seat is removed;
 *  1. a seat that leaves is removed from etcd, then from the record;
 *  2. a founder that has started is a member; one that never did is replaced like the dead;
 *  3. a learner is promoted as soon as etcd permits it; one that died leaves;
 *  4. a seat that joins is added to etcd as a learner, then called one;
 *  5. a seat that is gone leaves when somebody can take its place: it is removed *first*, since the
 *     new one would otherwise raise the majority while one is missing;
 *  6. while seats are missing the best candidate joins;
 *  7. a seat that is well and not wanted leaves *after* its successor votes.
 * Invariant: no step makes the voters that are well fewer than a majority (property test).
 */
import type { NodeId } from '../../base/index.ts';
import type { EtcdMemberId, EtcdMemberInfo } from '../../log/index.ts';
import {
  peerUrlOf,
  type RingRecord,
  type RingSeat,
  seatOf,
  type SeatState,
} from './ring-record.ts';

/** `away`: it does not answer, and may come back. `gone`: for too long, or without its data. */
export type SeatHealth = 'well' | 'away' | 'gone';

export interface RingFacts {
  readonly record: RingRecord;
  readonly etcd: readonly EtcdMemberInfo[];
  readonly health: (node: NodeId) => SeatHealth;
  readonly seatsWanted: number;
  /** Nodes that could take a seat now, the best first; those that have one are among them. */
  readonly candidates: readonly NodeId[];
  /** Nodes that shall have no seat: they are about to leave, or lost the role. */
  readonly unwanted: ReadonlySet<NodeId>;
}

export type RingStep =
  | { readonly do: 'write'; readonly record: RingRecord; readonly why: string }
  | { readonly do: 'add'; readonly node: NodeId }
  | { readonly do: 'promote' | 'remove'; readonly id: EtcdMemberId };

/** `undefined`: all is as it should be, or nothing can be done now. */
export function nextStep(facts: RingFacts): RingStep | undefined {
  const urls = facts.record.members.map(urlOf);
  const stranger = facts.etcd.find(({ peerUrls }) => !peerUrls.some((url) => urls.includes(url)));
  if (stranger) return removal(facts, stranger);
  for (const seat of facts.record.members) {
    const step = settle(facts, seat);
    if (step) return step;
  }
  return facts.record.members.some(isUnderWay) ? undefined : improve(facts);
}

/** Also while it cannot go on: what is half done comes first. */
function isUnderWay({ state }: RingSeat): boolean {
  return state === 'joining' || state === 'learner' || state === 'leaving';
}

/** Rules 1 to 4. */
function settle(facts: RingFacts, seat: RingSeat): RingStep | undefined {
  const { record, health } = facts;
  const { node, state } = seat;
  const member = etcdOf(facts, node);
  const to = (next: SeatState | undefined, why: string): RingStep => ({
    do: 'write',
    record: withSeat(record, node, next),
    why,
  });
  switch (state) {
    case 'leaving':
      if (!member) return to(undefined, 'has left');
      return removal(facts, member);
    case 'founder':
      return member?.name ? to('member', 'has started') : undefined;
    case 'learner':
      if (health(node) === 'gone') return to('leaving', 'never caught up');
      if (!member) return to('joining', 'is not there yet');
      if (!member.isLearner) return to('member', 'votes');
      return health(node) === 'well' ? { do: 'promote', id: member.id } : undefined;
    case 'joining':
      if (member) return to('learner', 'was added');
      if (health(node) === 'gone') return to(undefined, 'never came');
      return { do: 'add', node };
    case 'member':
      return undefined;
  }
}

/** Rules 5 to 7. */
function improve(facts: RingFacts): RingStep | undefined {
  const { record, health, candidates, unwanted, seatsWanted } = facts;
  const { members } = record;
  const free = candidates.find((node) => !unwanted.has(node) && !seatOf(record, node));
  const isTooMany = members.length > seatsWanted;
  const gone = members.find(({ node }) => health(node) === 'gone');
  // One that lost its data and is well otherwise can take its own place.
  const canBeReplaced = gone && (free ?? candidates.includes(gone.node));
  if (gone && (canBeReplaced || isTooMany)) {
    const record2 = withSeat(record, gone.node, 'leaving');
    const member = etcdOf(facts, gone.node);
    if (!member || bearsRemoval(facts, member)) {
      return { do: 'write', record: record2, why: 'is gone' };
    }
  }
  if (members.length < seatsWanted && free !== undefined) return joining(record, free);
  const idle = members.find(({ node }) => unwanted.has(node));
  if (!idle) return undefined;
  if (isTooMany) {
    return { do: 'write', record: withSeat(record, idle.node, 'leaving'), why: 'is not wanted' };
  }
  return free !== undefined && !gone ? joining(record, free) : undefined;
}

function joining(record: RingRecord, node: NodeId): RingStep {
  const version = record.version + 1;
  const seat: RingSeat = { node, state: 'joining', since: version };
  const next = { ...record, version, members: [...record.members, seat] };
  return { do: 'write', record: next, why: 'was chosen' };
}

/** @param state `undefined`: the seat is no more. */
function withSeat(record: RingRecord, node: NodeId, state: SeatState | undefined): RingRecord {
  const members = record.members
    .filter((seat) => state !== undefined || seat.node !== node)
    .map((seat) => (seat.node === node ? { ...seat, state: state ?? seat.state } : seat));
  return { ...record, version: record.version + 1, members };
}

function etcdOf({ etcd }: Pick<RingFacts, 'etcd'>, node: NodeId): EtcdMemberInfo | undefined {
  return etcd.find(({ peerUrls }) => peerUrls.includes(peerUrlOf(node)));
}

function removal(facts: RingFacts, member: EtcdMemberInfo): RingStep | undefined {
  return bearsRemoval(facts, member) ? { do: 'remove', id: member.id } : undefined;
}

/** Whether those that are well are a majority afterwards. */
function bearsRemoval({ etcd, record, health }: RingFacts, member: EtcdMemberInfo): boolean {
  if (member.isLearner) return true;
  const left = etcd.filter(({ id, isLearner }) => !isLearner && id !== member.id);
  const urls = record.members.filter(({ node }) => health(node) === 'well').map(urlOf);
  const well = left.filter(({ peerUrls }) => peerUrls.some((url) => urls.includes(url)));
  return left.length > 0 && well.length >= majorityOf(left.length);
}

function urlOf({ node }: RingSeat): string {
  return peerUrlOf(node);
}

export function majorityOf(count: number): number {
  return Math.floor(count / 2) + 1;
}
