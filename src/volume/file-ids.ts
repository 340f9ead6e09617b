/**
 * Ids of files that a mount has made: their inode number, behind sixteen zeros. Those of objects
 * are 128 random bits, of which the first half is never zero.
 */
import type { ObjectId } from '../base/index.ts';
import type { Inode, InodeRecord } from '../meta/index.ts';

const ID_DIGITS = 32;
const ZEROS = '0'.repeat(ID_DIGITS / 2);

export function fileId({ objectId, inode }: Pick<InodeRecord, 'objectId' | 'inode'>): ObjectId {
  return objectId ?? (inode.toString(16).padStart(ID_DIGITS, '0') as ObjectId);
}

/** @param id 32 hexadecimal digits. @returns `undefined` for that of an object. */
export function inodeOfId(id: string): Inode | undefined {
  return id.startsWith(ZEROS) ? BigInt(`0x${id.slice(ZEROS.length)}`) : undefined;
}
