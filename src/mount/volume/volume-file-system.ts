/**
 * A volume as a file system for the kernel.
 * 1. Names and attributes are remembered by the kernel for a moment in directories that this node
 *    holds, and not at all in others: who opens a file must see what was closed elsewhere before
 *    (*close-to-open*; docs/design/0011).
 * 2. Content that the kernel has cached is dropped with each open, for the same reason.
 * 3. The kernel checks modes and access control lists (`default_permissions`; acl-xattrs.ts). Locks
 *    are those of the volume (locks.ts), unless they are to stay with the kernel.
 * 4. Times of access are not kept (`noatime`).
 */
import { constants } from 'node:fs';
import { HoldfastError } from '../../base/index.ts';
import type { MountableVolume } from '../../volume/index.ts';
import type {
  Allocation,
  Answer,
  AttributeChanges,
  Caller,
  CopyRequest,
  FileSystem,
  ListRequest,
  NewFile,
  NewNode,
  NewXattr,
  OpenDirectory,
  OpenFile,
  OpenRequest,
  ReadRequest,
  Release,
  Rename,
  SeekRequest,
  WriteRequest,
} from '../file-system.ts';
import type { Kernel } from '../kernel.ts';
import type {
  DirectoryEntry,
  Entry,
  FileNumber,
  InodeNumber,
  KnownAttributes,
  NoEntry,
  Statistics,
} from '../inode.ts';
import { AclXattrs } from './acl-xattrs.ts';
import { Attributes } from './attributes.ts';
import type { Owner } from './attributes-of.ts';
import { DirectoryListings } from './directory-listing.ts';
import { InodeTable } from './inode-table.ts';
import { MountLocks } from './locks.ts';
import { NewInodes } from './new-inodes.ts';
import { OpenedFiles } from './opened-files.ts';
import { RemovedInodes } from './removed-inodes.ts';
import { SeenNames } from './seen-names.ts';
import { statisticsOf } from './statistics.ts';

/** Of fallocate(2). */
const PUNCH_HOLE = 0x02 | 0x01;

export interface VolumeMountOptions {
  /** Locks hold among the programs of this mount alone; they cost nothing. */
  readonly localLocks?: boolean;
  /** Who stands for root, in what is shown; what is stored stays as it is. */
  readonly root?: Owner | undefined;
}

export class VolumeFileSystem implements FileSystem, AsyncDisposable {
  readonly #volume: MountableVolume;
  readonly #inodes = new InodeTable();
  readonly #files: OpenedFiles;
  readonly #listings = new DirectoryListings();
  readonly #xattrs: AclXattrs;
  readonly #made: NewInodes;
  readonly #removed: RemovedInodes;
  readonly #attributes: Attributes;
  readonly #names: SeenNames;
  #kernel: Kernel | undefined;
  readonly keepsAcls = true;
  readonly locks?: MountLocks;

  private constructor(volume: MountableVolume, { localLocks = false, root }: VolumeMountOptions) {
    this.#volume = volume;
    const inodes = this.#inodes;
    this.#files = new OpenedFiles(volume);
    this.#attributes = new Attributes({ volume, inodes, files: this.#files, root });
    this.#names = new SeenNames(volume, inodes);
    this.#removed = new RemovedInodes(volume);
    this.#xattrs = new AclXattrs(volume, inodes);
    this.#made = new NewInodes({ volume, inodes, xattrs: this.#xattrs });
    if (localLocks) return;
    this.locks = new MountLocks({ volume, inodes, opened: this.#files });
  }

  static async open(
    volume: MountableVolume,
    options: VolumeMountOptions = {},
  ): Promise<VolumeFileSystem> {
    const opened = new VolumeFileSystem(volume, options);
    await volume.held.enter();
    opened.#inodes.numberOf(await volume.tree.root());
    return opened;
  }

  begin(kernel: Kernel): void {
    this.#kernel = kernel;
    this.locks?.begin(kernel);
  }

  // Names.

  async lookup(_: Caller, parent: InodeNumber, name: Uint8Array): Promise<Entry | NoEntry> {
    const seen = await this.#names.lookup(parent, name);
    if (!seen) {
      const { inode } = this.#inodes.directory(parent);
      return { inode: undefined, entryMs: this.#volume.held.rememberNamesMs(inode) };
    }
    const entry = this.#attributes.entryOf(seen.status, parent);
    this.#names.tell(entry.inode, seen, parent, name);
    return entry;
  }

  forget(inode: InodeNumber): void {
    this.#inodes.forget(inode);
    this.#names.forget(inode);
  }

  async makeNode(caller: Caller, parent: InodeNumber, node: NewNode): Promise<Entry> {
    await this.#names.makeSure(parent);
    return this.#attributes.entryOf(await this.#made.makeNode(caller, parent, node), parent);
  }

  async makeDirectory(
    caller: Caller,
    parent: InodeNumber,
    made: { name: Uint8Array; mode: number; umask?: number },
  ): Promise<Entry> {
    await this.#names.makeSure(parent);
    return this.#attributes.entryOf(await this.#made.makeDirectory(caller, parent, made), parent);
  }

  async makeSymlink(
    caller: Caller,
    parent: InodeNumber,
    symlink: { name: Uint8Array; target: Uint8Array },
  ): Promise<Entry> {
    await this.#names.makeSure(parent);
    return this.#attributes.entryOf(await this.#made.makeSymlink(caller, parent, symlink), parent);
  }

  async readSymlink(_: Caller, inode: InodeNumber): Promise<Uint8Array> {
    await this.#names.makeSure(inode);
    return await this.#volume.tree.readSymlink(this.#inodes.get(inode).inode);
  }

  async link(
    _: Caller,
    number: InodeNumber,
    { parent, name }: { parent: InodeNumber; name: Uint8Array },
  ): Promise<Entry> {
    await this.#names.makeSure(number);
    await this.#names.makeSure(parent);
    const { inode } = this.#inodes.get(number);
    const directory = this.#inodes.directory(parent);
    const status = await this.#volume.tree.link(inode, { directory, name });
    this.#volume.opens.linked(inode);
    return this.#attributes.entryOf(status, parent);
  }

  async unlink(_: Caller, parent: InodeNumber, name: Uint8Array): Promise<void> {
    await this.#names.makeSure(parent);
    await this.#removed.unlink({ directory: this.#inodes.directory(parent), name });
  }

  async removeDirectory(_: Caller, parent: InodeNumber, name: Uint8Array): Promise<void> {
    await this.#names.makeSure(parent);
    const directory = this.#inodes.directory(parent);
    await this.#volume.tree.removeDirectory({ directory, name });
  }

  async rename(
    _: Caller,
    parent: InodeNumber,
    { name, newParent, newName, flag }: Rename,
  ): Promise<void> {
    await this.#names.makeSure(parent);
    await this.#names.makeSure(newParent);
    const from = { directory: this.#inodes.directory(parent), name };
    const to = { directory: this.#inodes.directory(newParent), name: newName };
    await this.#removed.rename(from, to, flag);
  }

  // Attributes.

  getAttributes(_: Caller, number: InodeNumber): Promise<KnownAttributes> {
    return this.#attributes.get(number);
  }

  async setAttributes(
    _: Caller,
    number: InodeNumber,
    changes: AttributeChanges,
  ): Promise<KnownAttributes> {
    await this.#names.makeSure(number);
    return await this.#attributes.set(number, changes);
  }

  getXattr(_: Caller, number: InodeNumber, name: Uint8Array): Promise<Uint8Array> {
    return this.#xattrs.get(number, name);
  }

  async setXattr(_: Caller, number: InodeNumber, xattr: NewXattr): Promise<void> {
    await this.#names.makeSure(number);
    await this.#xattrs.set(number, xattr);
  }

  async listXattrs(_: Caller, number: InodeNumber): Promise<readonly Uint8Array[]> {
    return await this.#xattrs.list(number);
  }

  async removeXattr(_: Caller, number: InodeNumber, name: Uint8Array): Promise<void> {
    await this.#names.makeSure(number);
    await this.#xattrs.remove(number, name);
  }

  // Files.

  async open(
    _: Caller,
    number: InodeNumber,
    { flags, killsPrivileges }: OpenRequest,
  ): Promise<OpenFile> {
    await this.#names.makeSure(number);
    const isCut = (flags & constants.O_TRUNC) !== 0;
    const { inode, toldChange } = this.#inodes.get(number);
    const file = await this.#files.open(inode, flags);
    // The size that the kernel remembers may be older, and reads would end there.
    if (this.#files.get(file).status.changeCount !== toldChange) {
      await this.#kernel?.invalidateInode(number, { offset: -1, lengthBytes: 0 });
    }
    if (isCut && killsPrivileges) await this.#attributes.killPrivileges(number);
    // Who only reads has nothing to store; locks that were got by it end when it is released.
    return { file, skipsFlush: !this.#files.isWriter(file) };
  }

  async create(caller: Caller, parent: InodeNumber, wanted: NewFile): Promise<Entry & OpenFile> {
    await this.#names.makeSure(parent);
    const status = await this.#made.makeOrFindFile(caller, parent, wanted);
    const isEmpty = this.#volume.files.merged(status).sizeBytes === 0;
    const flags = isEmpty ? wanted.flags & ~constants.O_TRUNC : wanted.flags;
    const file = await this.#files.open(status.inode, flags);
    return { ...this.#attributes.entryOf(status, parent), file };
  }

  async createUnnamed(
    caller: Caller,
    parent: InodeNumber,
    { mode, umask = 0, flags }: { mode: number; umask?: number; flags: number },
  ): Promise<Entry & OpenFile> {
    await this.#names.makeSure(parent);
    const node = { name: undefined, mode: mode | constants.S_IFREG, umask, deviceNumber: 0 };
    const status = await this.#made.makeNode(caller, parent, node);
    const file = await this.#files.open(status.inode, flags);
    this.#volume.opens.removed({ status, release: undefined });
    return { ...this.#attributes.entryOf(status, parent), file };
  }

  async read(
    _: Caller,
    __: InodeNumber,
    { file, offset, lengthBytes }: ReadRequest,
  ): Promise<Uint8Array> {
    await this.locks?.checkHeld(file);
    return await this.#files.get(file).read({ offset, lengthBytes });
  }

  async write(_: Caller, number: InodeNumber, request: WriteRequest): Promise<void> {
    const { file, offset, data, killsPrivileges } = request;
    await this.locks?.checkHeld(file);
    await this.#files.write(file, offset, data);
    if (killsPrivileges) await this.#attributes.killPrivileges(number);
  }

  async flush(
    _: Caller,
    __: InodeNumber,
    { file, owner }: { file: FileNumber; owner: bigint },
  ): Promise<void> {
    try {
      await this.#files.flush(file);
    } finally {
      await this.locks?.flushed(file, owner);
    }
  }

  /** All locks that were got by the open file go: those of `flock`, too. */
  async release(_: Caller, __: InodeNumber, { file }: Release): Promise<void> {
    try {
      await this.#files.close(file);
    } finally {
      await this.locks?.released(file);
    }
  }

  async sync(
    _: Caller,
    __: InodeNumber,
    { file, dataOnly }: { file: FileNumber; dataOnly: boolean },
  ): Promise<void> {
    await this.locks?.checkHeld(file);
    await this.#files.sync(file, { dataOnly });
  }

  async allocate(_: Caller, __: InodeNumber, request: Allocation): Promise<void> {
    const { file, offset, lengthBytes, flags } = request;
    // Space cannot be set aside, and a promise of it would be none.
    if (flags !== PUNCH_HOLE) throw new HoldfastError('HF_UNSUPPORTED');
    await this.#files.get(file).deallocate({ offset, lengthBytes });
  }

  async seek(
    _: Caller,
    __: InodeNumber,
    { file, offset, finds }: SeekRequest,
  ): Promise<number | undefined> {
    const opened = this.#files.get(file);
    return finds === 'data' ? await opened.seekData(offset) : await opened.seekHole(offset);
  }

  async copy(_: Caller, __: InodeNumber, request: CopyRequest): Promise<number> {
    const { file, offset, targetFile, targetOffset, lengthBytes } = request;
    const target = this.#files.get(targetFile);
    return await target.copyFrom(this.#files.get(file), { offset, lengthBytes }, targetOffset);
  }

  // Directories.

  openDirectory(_: Caller, number: InodeNumber): Answer<OpenDirectory> {
    const open = (): OpenDirectory => ({
      file: this.#listings.open(this.#volume.tree, this.#inodes.directory(number)),
    });
    return this.#names.isSure(number) ? open() : this.#names.makeSure(number).then(open);
  }

  /** Without attributes: see 1, they would be asked for at once again. */
  async list(
    _: Caller,
    __: InodeNumber,
    { file, cookie }: ListRequest,
  ): Promise<readonly DirectoryEntry[]> {
    return await this.#listings.get(file).from(cookie);
  }

  releaseDirectory(_: Caller, __: InodeNumber, file: FileNumber): void {
    this.#listings.close(file);
  }

  async syncDirectory(_: Caller, number: InodeNumber): Promise<void> {
    await this.#volume.held.bring(this.#inodes.get(number).inode);
  }

  async statistics(): Promise<Statistics> {
    return await statisticsOf(this.#volume);
  }

  async syncAll(): Promise<void> {
    const { files, held } = this.#volume;
    for (const file of this.#files.all) await file.sync();
    await files.storeClosed();
    await held.bringAll();
  }

  /** The mount is gone. @throws what could not be stored of files that were left open. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { files, held } = this.#volume;
    const [error] = await this.#files.closeAll();
    await this.locks?.close();
    await files.storeClosed();
    await held.bringAll();
    held.leave();
    if (error !== undefined) throw error;
  }
}
