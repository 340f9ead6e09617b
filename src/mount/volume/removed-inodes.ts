/** What takes names away, and what becomes of inodes that have none any more. */
import type { MountableVolume, NamePlace, Removal } from '../../volume/index.ts';
import type { Rename } from '../file-system.ts';

export class RemovedInodes {
  readonly #volume: Pick<MountableVolume, 'tree' | 'files' | 'opens'>;

  constructor(volume: Pick<MountableVolume, 'tree' | 'files' | 'opens'>) {
    this.#volume = volume;
  }

  async unlink(place: NamePlace): Promise<void> {
    this.#isRemoved(await this.#volume.tree.unlink(place));
  }

  async rename(from: NamePlace, to: NamePlace, flag: Rename['flag']): Promise<void> {
    if (!flag) await this.#settleMoved(from, to);
    const replaced = await this.#volume.tree.rename(from, to, flag);
    if (replaced) this.#isRemoved(replaced);
  }

  /**
   * Many programs write a new file, close it and rename it over the old one, whose content would be
   * lost if that of the new one could not be stored.
   */
  async #settleMoved(from: NamePlace, to: NamePlace): Promise<void> {
    const { tree, files } = this.#volume;
    const [moved, replaced] = await Promise.all([tree.lookup(from), tree.lookup(to)]);
    if (replaced && moved?.type === 'file') await files.settle(moved.inode);
  }

  #isRemoved(removal: Removal): void {
    const { opens, files } = this.#volume;
    opens.removed(removal);
    if (removal.status.linkCount === 0) files.dropClosed(removal.status.inode);
  }
}
