/**
 * What is done when a ring has lost its majority for good: a new one out of the data of one member
 * that is left. What the others had confirmed and this one had not heard of yet is gone, so that is
 * for people to decide; the member that has heard most is taken.
 *
 * The record then has one *life* more. Nobody who has heard of it talks to members of the life
 * before, and those give up their seats as soon as they hear of it. An etcd that the user runs is
 * restored by its owner, from a backup; then it only begins a life.
 *
 * etcd takes its revisions back with it. Whoever is let in afterwards finds the life in etcd (log's
 * `beginLife`): versions of the registry and epochs of cells are above all that were ever given,
 * and what was learnt before changes nothing, so that the registry needs no new generation. Rows of
 * a cell that know more than its log are not overwritten: the cell refuses to open there.
 */
import { HoldfastError, type NodeId } from '../../base/index.ts';
import { beginLife } from '../../log/index.ts';
import type { Network } from '../../net/index.ts';
import { hasLeader, type RingStatus } from './own-etcd.ts';
import { ringView } from './ring-asks.ts';
import type { RingPart } from './ring-part.ts';
import { majorityOf } from './ring-plan.ts';
import { type RingRecord, seatOf } from './ring-record.ts';

interface Witness {
  readonly node: NodeId;
  readonly status: RingStatus | undefined;
}

/**
 * Restores the ring from this node's data; the warden then fills the seats.
 * @throws HF_EXISTS when the ring works, or may still; HF_NOT_FOUND when nothing of it is left, or
 *   there is none; HF_BAD_ARGUMENT when another node has more, and names it; HF_UNAVAILABLE.
 */
export async function restoreRing(
  part: RingPart,
  network: Pick<Network, 'call'>,
): Promise<RingRecord> {
  const view = await ringView(part, network);
  if (!view) throw new HoldfastError('HF_NOT_FOUND', 'this node knows of no ring');
  if (view.record.named) return await restoreNamed(part, view.record);
  const witnesses = [...view.statuses].map(([node, status]) => ({ node, status }));
  assertLost(witnesses);
  const left = witnesses.filter(({ status }) => status?.etcd).toSorted(byKnowledge);
  const [best] = left;
  if (best && best.node !== part.self) {
    const message = `node ${best.node} has heard more of the ring: restore it there`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  if (!best && !seatOf(view.record, part.self)) {
    const message = 'of the nodes that answer none has anything left of the ring';
    throw new HoldfastError('HF_NOT_FOUND', message);
  }
  // Without a witness its data may still do: an etcd that lost the others may fail to start.
  return await part.restoreFromOwn();
}

/** The life in etcd comes first: whoever is asked to begin it again finds it begun. */
async function restoreNamed(part: RingPart, before: RingRecord): Promise<RingRecord> {
  const record = { ...before, life: before.life + 1, version: before.version + 1 };
  await beginLife(part, record.life);
  await part.adopt(record);
  return record;
}

/** @throws HF_EXISTS while the ring may go on by itself. */
function assertLost(witnesses: readonly Witness[]): void {
  const leading = witnesses.filter(({ status }) => hasLeader(status?.etcd));
  if (leading.length > 0) throw new HoldfastError('HF_EXISTS', 'the ring works: nothing is lost');
  const voters = witnesses.filter(({ status }) => status?.etcd && !status.etcd.isLearner);
  if (voters.length < majorityOf(witnesses.length)) return;
  const message = `${voters.length} of ${witnesses.length} members run: they will agree; wait`;
  throw new HoldfastError('HF_EXISTS', message);
}

/** Who has heard most first. */
function byKnowledge(a: Witness, b: Witness): number {
  const [first, second] = [a.status?.etcd, b.status?.etcd];
  return (second?.raftIndex ?? 0) - (first?.raftIndex ?? 0) || (a.node < b.node ? -1 : 1);
}
