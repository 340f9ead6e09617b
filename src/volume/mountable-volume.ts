/** What of a volume a mount needs: its tree, its open files, and who has what open. */
import type { InodeTree } from './inode-tree.ts';
import type { OpenFiles } from './files/open-files.ts';
import type { OpenInodes } from './open-inodes.ts';

export interface MountableVolume {
  readonly tree: InodeTree;
  readonly files: Pick<OpenFiles, 'open' | 'merged'>;
  readonly opens: Pick<OpenInodes, 'hold' | 'drop' | 'removed' | 'linked'>;
  /** Content of it that still fits, as far as can be told. */
  readonly freeBytes: () => Promise<number>;
}
