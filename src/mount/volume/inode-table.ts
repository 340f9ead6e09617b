/**
 * The inodes of a volume that the kernel knows, by the numbers that it knows them by. The volume's
 * have 64 bits, more than a JavaScript number holds exactly, so they are numbered anew; a number is
 * never used for another inode.
 */
import { HoldfastError } from '../../base/index.ts';
import type { InodeStatus } from '../../volume/index.ts';
import { type InodeNumber, ROOT_INODE_NUMBER } from '../inode.ts';

/** What never changes of an inode, as far as a mount needs it. */
export interface KnownInode {
  readonly inode: bigint;
  readonly type: string;
  /** Of a directory. */
  readonly salt: Uint8Array;
}

interface TabledInode extends KnownInode {
  /** By the status that the kernel was told last, and what was done here since. */
  hasXattrs: boolean;
  /** The change count of the status that the kernel was told last. */
  toldChange: bigint | undefined;
}

export class InodeTable {
  readonly #byNumber = new Map<InodeNumber, TabledInode>();
  readonly #numbers = new Map<bigint, InodeNumber>();
  #last = ROOT_INODE_NUMBER - 1;

  /** The number of an inode, a new one if it has none; the first that is asked for is the root. */
  numberOf({ inode, type, salt }: KnownInode): InodeNumber {
    const known = this.#numbers.get(inode);
    if (known !== undefined) return known;
    this.#last += 1;
    this.#numbers.set(inode, this.#last);
    this.#byNumber.set(this.#last, { inode, type, salt, hasXattrs: true, toldChange: undefined });
    return this.#last;
  }

  /** @throws HF_NOT_FOUND. */
  get(number: InodeNumber): Readonly<TabledInode> {
    const found = this.#byNumber.get(number);
    if (!found) throw new HoldfastError('HF_NOT_FOUND', `there is no inode number ${number}`);
    return found;
  }

  /** @throws HF_NOT_FOUND, HF_NOT_DIRECTORY. */
  directory(number: InodeNumber): KnownInode {
    const found = this.get(number);
    if (found.type !== 'directory') throw new HoldfastError('HF_NOT_DIRECTORY');
    return found;
  }

  /** An extended attribute was set here. */
  setHasXattrs(inode: bigint): void {
    const number = this.#numbers.get(inode);
    const found = number === undefined ? undefined : this.#byNumber.get(number);
    if (found) found.hasXattrs = true;
  }

  /** The kernel is told this status. */
  tell({
    inode,
    hasXattrs,
    changeCount,
  }: Pick<InodeStatus, 'inode' | 'hasXattrs' | 'changeCount'>) {
    const number = this.#numbers.get(inode);
    const found = number === undefined ? undefined : this.#byNumber.get(number);
    if (found) Object.assign(found, { hasXattrs: hasXattrs === true, toldChange: changeCount });
  }

  forget(number: InodeNumber): void {
    const found = this.#byNumber.get(number);
    if (!found) return;
    this.#byNumber.delete(number);
    this.#numbers.delete(found.inode);
  }
}
