/**
 * Directory leases as rows: `slot Y directory`, at most one each. While the row is there its holder
 * alone runs operations on the entries of the directory: every one of these begins with
 * {@link checkDirectoryLease}. The row is the only truth about it, also in other cells and after a
 * take-over; the holder's session counts for nothing here.
 */
import { errorCode, fromHex, HoldfastError, toHex } from '../../base/index.ts';
import type { Row } from '../../db/index.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';
import { keyReader, rowKey, valueReader, valueWriter } from '../cells/rows.ts';
import { slotOfInode } from '../namespace/namespace-rows.ts';
import type { Inode } from '../namespace/namespace.ts';
import type { DirectoryLease, LeaseClaim } from './handles.ts';

const SESSION_BYTES = 16;

export function leaseKey(directory: Inode): Uint8Array {
  return rowKey(slotOfInode(directory), 'Y', directory);
}

export function encodeLease(lease: DirectoryLease): Uint8Array {
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
export function decodeLease({ key, value }: Row): DirectoryLease {
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

/** The directory is gone. */
export function clearLease(rows: Overlay, directory: Inode): void {
  if (rows.get(leaseKey(directory))) rows.delete(leaseKey(directory));
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
