/**
 * What the next life of the node is to mount again: a list in the data directory, by directory. It
 * outlives a stop, a crash and umount(8); `mount.remove` takes things off it.
 */
import type { MountView } from '../../api/index.ts';
import type { DataDirectory } from '../data-directory.ts';

export type MountFile = Pick<DataDirectory, 'readMounts' | 'writeMounts'>;

export class KeptMounts {
  readonly #file: MountFile;
  readonly #views: Map<string, MountView>;

  private constructor(file: MountFile, views: readonly MountView[]) {
    this.#file = file;
    this.#views = new Map(views.map((view) => [view.directory, view]));
  }

  /** @throws HF_CORRUPT, HF_IO. */
  static async open(file: MountFile): Promise<KeptMounts> {
    return new KeptMounts(file, await file.readMounts());
  }

  all(): MountView[] {
    return [...this.#views.values()];
  }

  get(directory: string): MountView | undefined {
    return this.#views.get(directory);
  }

  /** @throws HF_NO_SPACE, HF_IO: then it is not kept. */
  async add(view: MountView): Promise<void> {
    const before = this.#views.get(view.directory);
    this.#views.set(view.directory, view);
    try {
      await this.#file.writeMounts(this.all());
    } catch (error) {
      if (before) this.#views.set(before.directory, before);
      else this.#views.delete(view.directory);
      throw error;
    }
  }

  /** @throws HF_NO_SPACE, HF_IO: then it may come back. */
  async remove(directory: string): Promise<void> {
    if (this.#views.delete(directory)) await this.#file.writeMounts(this.all());
  }
}
