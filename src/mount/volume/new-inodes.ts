/** What is made in a mounted volume: whose it is, and what it inherits from its directory. */
import { constants } from 'node:fs';
import { errorCode } from '../../base/index.ts';
import type { InodeStatus, MountableVolume, NewInode } from '../../volume/index.ts';
import type { Caller, NewFile, NewNode, Umask } from '../file-system.ts';
import type { InodeNumber } from '../inode.ts';
import { type AclXattrs, modeAtFirst } from './acl-xattrs.ts';
import { nodeTypeOf, PERMISSION_BITS, SET_GROUP_ID } from './attributes-of.ts';
import type { InodeTable } from './inode-table.ts';

export interface NewInodesOptions {
  readonly volume: Pick<MountableVolume, 'tree'>;
  readonly inodes: Pick<InodeTable, 'directory'>;
  readonly xattrs: Pick<AclXattrs, 'inheritedIn' | 'give'>;
}

interface NewDirectory {
  readonly name: Uint8Array;
  readonly mode: number;
  readonly umask?: Umask;
}

export class NewInodes {
  readonly #tree: MountableVolume['tree'];
  readonly #inodes: NewInodesOptions['inodes'];
  readonly #xattrs: NewInodesOptions['xattrs'];

  constructor({ volume, inodes, xattrs }: NewInodesOptions) {
    this.#tree = volume.tree;
    this.#inodes = inodes;
    this.#xattrs = xattrs;
  }

  /** @param node without a name: an orphan. */
  async makeNode(
    caller: Caller,
    parent: InodeNumber,
    node: Omit<NewNode, 'name'> & { readonly name: Uint8Array | undefined },
  ): Promise<InodeStatus> {
    const { name, mode, umask, deviceNumber } = node;
    const directory = this.#inodes.directory(parent);
    const type = nodeTypeOf(mode);
    const isDevice = type === 'characterDevice' || type === 'blockDevice';
    const above = await this.#tree.status(directory.inode);
    const inherited = await this.#xattrs.inheritedIn(above, { mode: permissions(mode), umask });
    const wanted: NewInode = {
      ...ownerIn(above, caller),
      mode: modeAtFirst(inherited),
      type,
      ...(isDevice && { deviceNumber }),
    };
    const made = await this.#tree.makeNode(name && { directory, name }, wanted);
    return await this.#xattrs.give(made, inherited);
  }

  /** @throws HF_EXISTS with O_EXCL, when something has the name. */
  async makeOrFindFile(
    caller: Caller,
    parent: InodeNumber,
    { name, mode, umask, flags }: NewFile,
  ): Promise<InodeStatus> {
    for (;;) {
      try {
        const bits = mode | constants.S_IFREG;
        const node = { name, mode: bits, deviceNumber: 0, ...(umask && { umask }) };
        return await this.makeNode(caller, parent, node);
      } catch (error) {
        const isTaken = errorCode(error) === 'HF_EXISTS';
        if (!isTaken || (flags & constants.O_EXCL) !== 0) throw error;
      }
      const directory = this.#inodes.directory(parent);
      const found = await this.#tree.lookup({ directory, name });
      if (found) return found;
    }
  }

  async makeDirectory(
    caller: Caller,
    parent: InodeNumber,
    { name, mode, umask }: NewDirectory,
  ): Promise<InodeStatus> {
    const directory = this.#inodes.directory(parent);
    const above = await this.#tree.status(directory.inode);
    const wanted = permissions(mode) | (above.mode & SET_GROUP_ID);
    const inherited = await this.#xattrs.inheritedIn(above, { mode: wanted, umask });
    const owned = { ...ownerIn(above, caller), mode: modeAtFirst(inherited) };
    const made = await this.#tree.makeDirectory({ directory, name }, owned);
    return await this.#xattrs.give(made, inherited);
  }

  async makeSymlink(
    caller: Caller,
    parent: InodeNumber,
    { name, target }: { readonly name: Uint8Array; readonly target: Uint8Array },
  ): Promise<InodeStatus> {
    const directory = this.#inodes.directory(parent);
    const above = await this.#tree.status(directory.inode);
    const owned = { ...ownerIn(above, caller), mode: 0o777 };
    return await this.#tree.makeSymlink({ directory, name }, target, owned);
  }
}

function permissions(mode: number): number {
  return mode & PERMISSION_BITS;
}

/** In a set-group-id directory everything is of its group. */
function ownerIn(above: InodeStatus, { uid, gid }: Caller) {
  const isInherited = (above.mode & SET_GROUP_ID) !== 0;
  return { uid, gid: isInherited ? above.gid : gid };
}
