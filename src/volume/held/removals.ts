/** What loses a name in a held directory, and what is freed when that is brought. */
import type { Inode, InodeStatus, StepResult } from '../../meta/index.ts';
import type { Holder } from './holder.ts';
import type { KnownInode } from './known-inodes.ts';

export class Removals {
  readonly #holder: Holder;
  /** Releases that wait for the removal to be brought. */
  readonly #releases = new Set<Inode>();

  constructor(holder: Holder) {
    this.#holder = holder;
  }

  /** One name less. */
  without(known: KnownInode, atMs: number): InodeStatus {
    return this.#holder.known.change(known, { linkCount: known.status.linkCount - 1 }, atMs);
  }

  isBrought(inode: Inode, { release }: StepResult): void {
    const { options, known } = this.#holder;
    const left = known.get(inode);
    if (left?.status.linkCount === 0 && !known.isPending(inode)) known.forget(inode);
    const isWanted = this.#releases.delete(inode);
    if (!release && !isWanted) return;
    options.background.start('a release', options.release(inode));
  }

  /** Frees what a removed inode holds, when its removal is brought. */
  async release(inode: Inode): Promise<void> {
    const { known, options } = this.#holder;
    if (known.isPending(inode)) this.#releases.add(inode);
    else await options.release(inode);
  }
}
