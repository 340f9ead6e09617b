/**
 * The operations of {@link Handles} between nodes. Those that only touch a steward's memory, and
 * those that come to the same when asked twice, count as reads: asked again when no answer came.
 */
import * as v from 'valibot';
import { isHexId, LIMITS } from '../../base/index.ts';
import {
  type CellMethods,
  changes,
  inode,
  noArgs,
  nothing,
  partsConcatenated,
  picked,
  reads,
  whole,
  wholeUpTo,
} from '../remote/cell-methods.ts';
import type { Inode } from '../namespace/namespace.ts';
import { slotOfInode } from '../namespace/namespace-rows.ts';
import {
  type Handles,
  type HeldLease,
  LOCK_END,
  type SessionId,
  type SessionRecord,
  type SessionState,
} from './handles.ts';

const NODE_CHARS_MAX = 64;

export const session = v.custom<SessionId>((value) => typeof value === 'string' && isHexId(value));
const inodes = v.pipe(v.array(inode), v.maxLength(LIMITS.listPageMax));
const state = v.object({ leaseMs: whole, generation: v.string() });
const record = v.object({ session, node: v.string(), openedAtMs: whole });
const opening = v.object({ session, node: v.pipe(v.string(), v.maxLength(NODE_CHARS_MAX)) });

const kind = v.picklist(['posix', 'ofd', 'flock']);
const offset = v.pipe(v.bigint(), v.minValue(0n), v.maxValue(LOCK_END));
const owner = v.object({ session, owner: inode, inode, kind });
const range = { start: offset, end: offset };
const ownRange = v.object({ ...owner.entries, ...range });
const mode = { isExclusive: v.boolean(), processId: wholeUpTo(0xffff_ffff) };
const request = v.object({ ...ownRange.entries, ...mode });
const holder = v.object({ session, kind, ...range, ...mode });
const lockRequest = v.object({ ...request.entries, waits: v.boolean() });
const answer = v.variant('state', [
  v.object({ state: v.literal('granted') }),
  v.object({ state: v.literal('denied'), by: holder }),
  v.object({ state: v.literal('waiting') }),
]);
const outcome = v.picklist(['granted', 'waiting', 'deadlock', 'cancelled', 'gone']);

export const claim = v.object({ session, fence: whole });
const heldLease = v.object({ directory: inode, fence: whole });
export const heldLeases = v.pipe(v.array(heldLease), v.maxLength(LIMITS.listPageMax));
const reserved = {
  inodeCount: v.pipe(wholeUpTo(LIMITS.leasedInodesMax), v.minValue(1)),
  bytesReserved: whole,
  rowsReserved: whole,
};
/** Without the session. */
export const leaseWanted = v.object({ directory: inode, ...reserved });
const leaseRequest = v.object({ session, ...leaseWanted.entries });
export const lease = v.object({
  ...claim.entries,
  directory: inode,
  firstInode: inode,
  ...reserved,
});

type SlotRoute = (args: readonly [{ readonly inode: Inode }, ...unknown[]]) => number;

const ofInode: SlotRoute = ([of]) => slotOfInode(of.inode);
const ofDirectory = ([directory]: readonly [Inode, ...unknown[]]): number => slotOfInode(directory);

/** A session is one to its client: all cells know it, and its generation is all of theirs. */
function merged(states: readonly SessionState[]): SessionState {
  return {
    leaseMs: Math.min(...states.map(({ leaseMs }) => leaseMs)),
    generation: states.map(({ generation }) => generation).join(' '),
  };
}

function distinct(lists: readonly (readonly SessionRecord[])[]): SessionRecord[] {
  return [...new Map(lists.flat().map((found) => [found.session, found])).values()];
}

/** Each cell hears of what is open in its slots. */
const byInodes = {
  slots: ([, of]: [SessionId, Inode[]]) => of.map(slotOfInode),
  pick: ([of, all]: [SessionId, Inode[]], indexes: readonly number[]): [SessionId, Inode[]] => [
    of,
    picked(all, indexes),
  ],
};

const byLeases = {
  slots: ([, leases]: [SessionId, HeldLease[], ...unknown[]]) =>
    leases.map(({ directory }) => slotOfInode(directory)),
  pick: <Rest extends unknown[]>(
    [of, leases, ...rest]: [SessionId, HeldLease[], ...Rest],
    indexes: readonly number[],
  ): [SessionId, HeldLease[], ...Rest] => [of, picked(leases, indexes), ...rest],
};

export const HANDLE_METHODS: CellMethods<Handles> = {
  openSession: changes(v.tuple([opening]), state, { merge: merged }),
  renewSession: reads(v.tuple([session]), state, { merge: merged, isForEach: true }),
  closeSession: changes(v.tuple([session]), v.void(), { merge: nothing }),
  sessions: reads(noArgs, v.array(record), { merge: distinct }),
  open: reads(v.tuple([session, inodes]), inodes, { ...byInodes, join: partsConcatenated }),
  close: reads(v.tuple([session, inodes]), v.void(), { ...byInodes, join: nothing }),
  lock: changes(v.tuple([lockRequest]), answer, ofInode),
  awaitLock: reads(v.tuple([request, whole]), outcome, ofInode),
  unlock: changes(v.tuple([ownRange]), v.void(), ofInode),
  unlockAll: changes(v.tuple([owner]), v.void(), ofInode),
  testLock: reads(v.tuple([request]), v.undefinedable(holder), ofInode),
  cancelLock: reads(v.tuple([request]), v.void(), ofInode),
  leaseDirectory: changes(v.tuple([leaseRequest]), v.undefinedable(lease), ([{ directory }]) =>
    slotOfInode(directory),
  ),
  returnDirectories: reads(v.tuple([session, heldLeases]), v.void(), {
    ...byLeases,
    join: nothing,
  }),
  awaitRecalls: reads(v.tuple([session, heldLeases, whole]), inodes, {
    ...byLeases,
    join: partsConcatenated,
  }),
  recallDirectory: reads(v.tuple([inode]), v.void(), ofDirectory),
};
