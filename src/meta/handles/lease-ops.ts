/**
 * What the operations on directory leases do to the rows (lease-rows.ts), with `slot y`, the fence
 * that the next lease in the slot gets: none ever comes again.
 */
import { HoldfastError, LIMITS } from '../../base/index.ts';
import type { Executor } from '../cells/executor.ts';
import type { Overlay } from '../cells/overlay.ts';
import { decodeNumber, encodeNumber, rowKey, rowsOfTag } from '../cells/rows.ts';
import type { Inode } from '../namespace/namespace.ts';
import { allocateInodes } from '../namespace/inode-ops.ts';
import { checkDirectory } from '../namespace/link-ops.ts';
import { slotOfInode } from '../namespace/namespace-rows.ts';
import type { DirectoryLease, Handles, LeaseClaim, SessionId } from './handles.ts';
import {
  decodeLease,
  encodeLease,
  findLease,
  isLeaseOf,
  leasedDirectory,
  leaseKey,
} from './lease-rows.ts';
import { checkSession, isLive } from './session-ops.ts';

/** Asked again so often, somebody leases the directory as soon as it is free. */
const RECALLS_MAX = 16;

export type LeaseRequest = Parameters<Handles['leaseDirectory']>[0];

function nextFenceKey(slot: number): Uint8Array {
  return rowKey(slot, 'y');
}

/**
 * Runs operations again once the lease that they met is gone.
 *
 * @param recall `Handles.recallDirectory` of the cell that has the directory.
 */
export function recallingExecutor(
  executor: Executor,
  recall: (directory: Inode) => Promise<void>,
): Executor {
  return {
    async execute(operation, options) {
      for (let left = RECALLS_MAX; ; left -= 1) {
        try {
          return await executor.execute(operation, options);
        } catch (error) {
          const directory = leasedDirectory(error);
          if (directory === undefined || left === 0) throw error;
          await recall(directory);
        }
      }
    },
  };
}

export function grantLease(rows: Overlay, request: LeaseRequest): DirectoryLease | undefined {
  const { session, directory, inodeCount, bytesReserved, rowsReserved } = request;
  checkSession(rows, session);
  checkDirectory(rows, directory);
  if (!(inodeCount >= 1 && inodeCount <= LIMITS.leasedInodesMax)) {
    throw new HoldfastError('HF_BAD_ARGUMENT', `a lease has no ${inodeCount} inodes`);
  }
  const present = findLease(rows, directory);
  if (present?.session === session) return present;
  if (present && isLive(rows, present.session)) return undefined;
  const slot = slotOfInode(directory);
  const fence = decodeNumber(rows.get(nextFenceKey(slot)), 'fence counter') || 1;
  rows.put(nextFenceKey(slot), encodeNumber(fence + 1));
  const firstInode = allocateInodes(rows, inodeCount, slot);
  const range = { firstInode, inodeCount };
  const lease = { directory, session, fence, ...range, bytesReserved, rowsReserved };
  rows.put(leaseKey(directory), encodeLease(lease));
  return lease;
}

/** Removes this very lease: returned, or taken. */
export function endLease(rows: Overlay, directory: Inode, claim: LeaseClaim): void {
  if (isLeaseOf(rows, directory, claim)) rows.delete(leaseKey(directory));
}

/** The lease that has to be recalled; one whose session is over goes at once. */
export function leaseToRecall(rows: Overlay, directory: Inode): DirectoryLease | undefined {
  const lease = findLease(rows, directory);
  if (!lease || isLive(rows, lease.session)) return lease;
  endLease(rows, directory, lease);
  return undefined;
}

/** Deletes the leases of these sessions in some slots. */
export function sweepLeases(
  rows: Overlay,
  { slots, sessions }: { slots: [number, number]; sessions: ReadonlySet<SessionId> },
): void {
  for (const row of rowsOfTag(rows, 'Y', { slots })) {
    if (sessions.has(decodeLease(row).session)) rows.delete(row.key);
  }
}
