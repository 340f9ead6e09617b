/** What the user should know about where names are kept, one line each. */
import type { NodeId } from '../../base/index.ts';
import { hasLeader, type RingStatus } from './own-etcd.ts';
import {
  FSYNC_MS_MAX,
  isQuickEnough,
  type RingCandidate,
  sharedDomain,
  unfitReason,
} from './ring-choice.ts';
import { majorityOf } from './ring-plan.ts';
import type { RingRecord } from './ring-record.ts';

/** Of nodes, for a ring. */
export const SEATS_MIN = 3;
const QUICKER =
  'have its data directory on a quicker disk, or its seat taken by another node ' +
  '(there: holdfast up --no-metadata)';

export interface RingOutlook {
  /** The ring in force; `undefined` while one node keeps the names. */
  readonly record: RingRecord | undefined;
  /** All nodes that have the role for metadata and answer, fit or not. */
  readonly candidates: readonly RingCandidate[];
  /** How many there are, whether they answer or not. */
  readonly nodeCount: number;
  /** Of those with a seat; `undefined` for one that does not answer. */
  readonly statuses: ReadonlyMap<NodeId, RingStatus | undefined>;
  /** What to call a node. */
  readonly nameOf: (node: NodeId) => string;
}

export function ringWarnings(outlook: RingOutlook): string[] {
  return outlook.record ? ringLines(outlook, outlook.record) : localLines(outlook);
}

/** Why there is no ring. A node that is alone has nothing to hear. */
function localLines({ candidates, nodeCount, nameOf }: RingOutlook): string[] {
  if (nodeCount < 2) return [];
  const risk = 'names are kept by one node, and wait for it when it is away';
  if (nodeCount < SEATS_MIN) {
    return [
      `${risk}: of two nodes neither can know whether the other is away or cut off; ` +
        'a third node, even a small one without stores, makes a majority',
    ];
  }
  const unfit = candidates.map((one) => ({ one, reason: unfitReason(one) }));
  const fitCount = unfit.filter(({ reason }) => reason === undefined).length;
  if (fitCount >= SEATS_MIN) return [];
  const why = unfit.flatMap(({ one, reason }) => (reason ? [`${nameOf(one.node)} ${reason}`] : []));
  const silent = nodeCount - candidates.length;
  if (silent > 0) why.push(`${silent} do not answer`);
  return [
    `${risk}: ${SEATS_MIN} nodes with a ring are needed, ${fitCount} are fit: ${why.join('; ')}`,
  ];
}

function ringLines(outlook: RingOutlook, { members }: RingRecord): string[] {
  const { statuses, candidates, nameOf } = outlook;
  const lines: string[] = [];
  const isWell = (node: NodeId): boolean => hasLeader(statuses.get(node)?.etcd);
  const ill = members.filter(({ node }) => !isWell(node)).map(({ node }) => node);
  const wellCount = members.length - ill.length;
  const names = ill.map((node) => {
    const reason = statuses.get(node)?.reason;
    return reason === undefined ? nameOf(node) : `${nameOf(node)} (${reason})`;
  });
  const bears = wellCount - majorityOf(members.length);
  if (bears < 0) {
    lines.push(
      `names cannot be changed: ${wellCount} of ${members.length} nodes of the ring answer, ` +
        `${majorityOf(members.length)} are needed; missing: ${names.join(', ')}`,
    );
  } else if (ill.length > 0) {
    const more = bears === 0 ? 'no further one may fail' : `${bears} more may fail`;
    lines.push(`of the ring that keeps names ${names.join(', ')} is away: ${more}`);
  } else if (members.length < SEATS_MIN) {
    lines.push(`the ring that keeps names has ${members.length} nodes: none may fail`);
  }
  const seated = candidates.filter(({ node }) => members.some((seat) => seat.node === node));
  const slow = seated.filter(({ fsyncMs }) => Number.isFinite(fsyncMs) && !isQuickEnough(fsyncMs));
  for (const { node, fsyncMs } of slow) {
    lines.push(
      `${nameOf(node)} is slow for the ring: ${Math.round(fsyncMs)} ms to make a write durable, ` +
        `and at most ${FSYNC_MS_MAX} ms will do; ${QUICKER}`,
    );
  }
  const shared = seated.length === members.length ? sharedDomain(seated) : undefined;
  if (shared) lines.push(`the whole ring that keeps names is in ${shared}, and fails with it`);
  return lines;
}
