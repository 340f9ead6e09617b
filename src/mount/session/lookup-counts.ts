/**
 * Which inodes the kernel knows, and how often it was told of each: by every entry in a reply. It
 * gives them back in lots (FORGET); at 0 it holds no reference any more.
 */
import type { InodeNumber } from '../inode.ts';

export class LookupCounts {
  readonly #counts = new Map<InodeNumber, number>();

  tell(inode: InodeNumber): void {
    this.#counts.set(inode, (this.#counts.get(inode) ?? 0) + 1);
  }

  /** @returns whether the kernel does not know it any more. */
  takeBack(inode: InodeNumber, count: number): boolean {
    const left = (this.#counts.get(inode) ?? 0) - count;
    if (left > 0) this.#counts.set(inode, left);
    else this.#counts.delete(inode);
    return left <= 0;
  }

  isKnown(inode: InodeNumber): boolean {
    return this.#counts.has(inode);
  }
}
