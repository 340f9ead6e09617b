/**
 * What of a volume the mounts of a node share: its tree, through what the node holds of it; open
 * files; who has what open; and locks.
 */
import type { VolumeId } from '../base/index.ts';
import { type Handles, type Inode, ROOT_INODE, type Tree } from '../meta/index.ts';
import { FileLocks } from './file-locks.ts';
import { OpenFiles, type OpenFilesOptions } from './files/open-files.ts';
import { type Held, HeldTree } from './held/held-tree.ts';
import { InodeSource } from './inode-source.ts';
import { InodeTree, type InodeTreeOptions } from './inode-tree.ts';
import { OpenInodes } from './open-inodes.ts';
import { SealedTree } from './sealed-tree.ts';

export interface MountableVolume {
  readonly tree: InodeTree;
  readonly held: Held;
  readonly files: Pick<
    OpenFiles,
    | 'open'
    | 'merged'
    | 'setModified'
    | 'mayWait'
    | 'closeLater'
    | 'storeClosed'
    | 'dropClosed'
    | 'settle'
  >;
  readonly opens: Pick<OpenInodes, 'hold' | 'drop' | 'removed' | 'linked'>;
  readonly locks: Pick<
    FileLocks,
    | 'age'
    | 'isSure'
    | 'makeSure'
    | 'isShared'
    | 'join'
    | 'holds'
    | 'lock'
    | 'unlock'
    | 'unlockAll'
    | 'test'
  >;
  /** Content of it that still fits, as far as can be told. */
  readonly freeBytes: () => Promise<number>;
}

export interface MountableOptions extends Omit<OpenFilesOptions, 'fault'> {
  readonly handles: Handles;
  /** As the node calls itself. */
  readonly node: string;
  /** Frees what a removed inode holds, if nobody has it open. */
  readonly release: (inode: Inode) => Promise<void>;
  readonly freeBytes: MountableVolume['freeBytes'];
}

/** All of it goes with the stack. @throws HF_UNAVAILABLE. */
export async function openMountable(
  options: MountableOptions,
  stack: AsyncDisposableStack,
): Promise<MountableVolume> {
  const { env, keys, namespace, handles, node, release } = options;
  const volume: VolumeId = options.volume().id;
  const opens = stack.use(
    await OpenInodes.open({
      env,
      handles,
      node,
      release: (inode, about) => held.release(inode, about),
    }),
  );
  const inodes = new InodeSource({
    env,
    namespace,
    tree: new SealedTree({ env, volume, keys, namespace }),
  });
  const held: HeldTree = stack.use(
    new HeldTree({
      env,
      handles,
      tree: options.tree,
      opens,
      inodes,
      // In a protected volume the cell says by its own clock how long something is kept.
      mayHold: () => options.volume().retention === undefined,
      release,
      storeContent: (of) => files.storeClosed(of),
    }),
  );
  const { tree } = held;
  // Of ranges, so that hardly any is asked of a cell.
  const numbers: InodeTreeOptions['namespace'] = {
    allocateInodes: (_one, near) => inodes.take(near ?? { inode: ROOT_INODE }),
  };
  const files: OpenFiles = stack.use(new OpenFiles({ ...options, tree }));
  return {
    tree: new InodeTree({
      env,
      volume,
      keys,
      tree: nearby(held),
      namespace: numbers,
      glance: (directory, placeOf) => held.glance(directory, placeOf),
    }),
    held,
    files,
    opens,
    locks: new FileLocks({ handles, opens }),
    freeBytes: options.freeBytes,
  };
}

/** Who looks at attributes is told what is known; who opens a file, what is. */
function nearby(held: HeldTree): Tree {
  return { ...held.tree, getAttributes: (inode) => held.near(inode) };
}
