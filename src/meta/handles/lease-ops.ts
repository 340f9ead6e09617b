/**
 * Directory leases as rows: `slot Y directory`, at most one each, and `slot y`, the fence that the
 * next lease in the slot gets. While the row is there its holder alone runs operations on the
 * entries of the directory: every one of these begins with {@link checkDirectoryLease}. The row is
 * the only truth about it, also in other cells and after a take-over; the holder's session counts
 * for nothing here, and a fence never comes again.
 */
import { errorCode, fromHex, HoldfastError, LIMITS, toHex } from '../../base/index.ts';
import type { Row } from '../../db/index.ts';
import type { Executor } from '../cells/executor.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';
import {
  decodeNumber,
  encodeNumber,
  keyReader,
  rowKey,
  rowsOfTag,
  valueReader,
  valueWriter,
} from '../cells/rows.ts';
import type { Inode } from '../namespace/namespace.ts';
import { allocateInodes } from '../namespace/inode-ops.ts';
import { checkDirectory } from '../namespace/link-ops.ts';
import { slotOfInode } from '../namespace/namespace-rows.ts';
import type { DirectoryLease, Handles, LeaseClaim, SessionId } from './handles.ts';
import { checkSession, isLive } from './session-ops.ts';

const SESSION_BYTES = 16;
/** Asked again so often, somebody leases the directory as soon as it is free. */
const RECALLS_MAX = 16;

export type LeaseRequest = Parameters<Handles['leaseDirectory']>[0];

function leaseKey(directory: Inode): Uint8Array {
  return rowKey(slotOfInode(directory), 'Y', directory);
}

function nextFenceKey(slot: number): Uint8Array {
  return rowKey(slot, 'y');
}

function encodeLease(lease: DirectoryLease): Uint8Array {
  return valueWriter()
    .raw(fromHex(lease.session))
    .u64(lease.fence)
    .bigU64(lease.firstInode)
    .u32(lease.inodeCount)
    .u64(lease.bytesReserved)
    .u64(lease.rowsReserved)
    .finish();
}

/** @throws HF_CORRUPT. */
function decodeLease({ key, value }: Row): DirectoryLease {
  const { rest } = keyReader(key);
  const directory = rest.bigU64be();
  rest.end();
  const reader = valueReader(value, 'directory lease row');
  const lease = {
    directory,
    session: toHex(reader.raw(SESSION_BYTES)),
    fence: reader.u64(),
    firstInode: reader.bigU64(),
    inodeCount: reader.u32(),
    bytesReserved: reader.u64(),
    rowsReserved: reader.u64(),
  };
  reader.end();
  return lease;
}

export function findLease(rows: Rows, directory: Inode): DirectoryLease | undefined {
  const key = leaseKey(directory);
  const value = rows.get(key);
  return value && decodeLease({ key, value });
}

/**
 * Whether an operation on the directory's entries may run.
 *
 * @param claim of a batch of the holder.
 * @throws HF_LEASED, with the directory in its details, when somebody else holds it; HF_FENCED when
 *   the claim is not the lease's: it was taken.
 */
export function checkDirectoryLease(rows: Rows, directory: Inode, claim?: LeaseClaim): void {
  if (claim) {
    if (isLeaseOf(rows, directory, claim)) return;
    throw new HoldfastError('HF_FENCED', 'the lease of the directory was taken');
  }
  if (!rows.get(leaseKey(directory))) return;
  throw new HoldfastError('HF_LEASED', undefined, { details: { directory: `${directory}` } });
}

/** Whether the directory is leased, and with this claim. */
export function isLeaseOf(rows: Rows, directory: Inode, { session, fence }: LeaseClaim): boolean {
  const lease = findLease(rows, directory);
  return lease?.session === session && lease.fence === fence;
}

/** The directory that an operation could not touch. */
export function leasedDirectory(error: unknown): Inode | undefined {
  if (errorCode(error) !== 'HF_LEASED') return undefined;
  const { directory } = (error as HoldfastError).details;
  return typeof directory === 'string' ? BigInt(directory) : undefined;
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
