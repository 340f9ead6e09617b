/**
 * Room in a ring of etcds. Whoever cares for the ring calls this now and then, a minute apart; it
 * does nothing while nothing is to be gained. Two at once do no harm.
 */
import { mapBounded, MiB } from '../base/index.ts';
import type { EtcdMember } from './etcd-member.ts';
import type { EtcdMemberId, EtcdStatus } from './etcd-member-messages.ts';

/** A file below this is left alone, and one of which at least half is in use. */
const DB_BYTES_MIN = 64 * MiB;
const STATUSES_AT_ONCE = 8;

export interface EtcdRoom {
  /** Of the longest file, before anything was done. */
  readonly dbBytesMax: number;
  readonly dbBytesInUseMax: number;
  /** The ring took no puts because of its quota; it does again. */
  readonly wasFull: boolean;
  readonly defragmented: readonly EtcdMemberId[];
}

/**
 * Gives room back where it pays, and where the quota was reached; calls the alarm off then.
 *
 * @param members those that vote; who does not answer has to be seen to when it is back.
 * @throws what {@link EtcdMember} throws, when none answers too; it may be called again at once.
 */
export async function makeRoom(
  members: readonly EtcdMember[],
  { dbBytesMin = DB_BYTES_MIN }: { readonly dbBytesMin?: number } = {},
): Promise<EtcdRoom> {
  const found = await mapBounded(members, STATUSES_AT_ONCE, async (member) => {
    const [status] = await Promise.allSettled([member.status()]);
    return { member, status };
  });
  const statuses = found.flatMap(({ member, status }) => {
    // A learner answers no question about the ring.
    const isVoting = status.status === 'fulfilled' && !status.value.isLearner;
    return isVoting ? [{ member, status: status.value }] : [];
  });
  const [silent] = found.flatMap(({ status }) => (status.status === 'rejected' ? [status] : []));
  if (silent && statuses.length === 0) throw silent.reason;
  const contact = statuses[0]?.member;
  const alarms = (await contact?.alarms()) ?? [];
  const full = alarms.filter(({ kind }) => kind === 'no space');
  const wasFull = full.length > 0;
  const wasteful = statuses
    .filter(({ status }) => wasFull || isWasteful(status, dbBytesMin))
    .sort((a, b) => Number(isLeader(a.status)) - Number(isLeader(b.status)));
  if (wasFull) await contact?.compact();
  for (const { member } of wasteful) await member.defragment();
  for (const alarm of full) await contact?.disarm(alarm);
  return {
    dbBytesMax: Math.max(0, ...statuses.map(({ status }) => status.dbBytes)),
    dbBytesInUseMax: Math.max(0, ...statuses.map(({ status }) => status.dbBytesInUse)),
    wasFull,
    defragmented: wasteful.map(({ status }) => status.id),
  };
}

function isWasteful({ dbBytes, dbBytesInUse }: EtcdStatus, dbBytesMin: number): boolean {
  return dbBytes >= dbBytesMin && dbBytesInUse < dbBytes / 2;
}

function isLeader({ id, leader }: EtcdStatus): boolean {
  return id === leader;
}
