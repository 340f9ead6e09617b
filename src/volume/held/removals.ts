/** What loses a name in a held directory, and what is freed when that is brought. */
import { type Inode, type InodeStatus, slotOfInode, type StepResult } from '../../meta/index.ts';
import type { Holder } from './holder.ts';
import type { KnownInode } from './known-inodes.ts';

export class Removals {
  readonly #holder: Holder;
  /** They were open when they lost their last name, and are not any more. */
  readonly #wereOpen = new Set<Inode>();

  constructor(holder: Holder) {
    this.#holder = holder;
  }

  /** One name less. */
  without(known: KnownInode, atMs: number): InodeStatus {
    return this.#holder.known.change(known, { linkCount: known.status.linkCount - 1 }, atMs);
  }

  /** The removal of a name is in. */
  isBrought(inode: Inode, { release }: StepResult, directory: Inode): void {
    const { options, background } = this.#holder;
    // Another cell keeps it until it is asked.
    const isElsewhere = slotOfInode(inode) !== slotOfInode(directory);
    const wasOpen = this.#wereOpen.delete(inode);
    if (!release && !wasOpen && !isElsewhere) return;
    background.start('a release', options.release(inode));
  }

  /**
   * Frees what a removed inode holds.
   * @param about.wasOpen its cell was told: it is there until it is asked for.
   */
  async release(inode: Inode, { wasOpen }: { readonly wasOpen: boolean }): Promise<void> {
    const { known, options } = this.#holder;
    if (!known.isPending(inode)) await options.release(inode);
    else if (wasOpen) this.#wereOpen.add(inode);
  }
}
