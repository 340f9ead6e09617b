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
import type { InodeStatus, MountableVolume } from '../../volume/index.ts';
import type {
  Allocation,
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
import { attributesOf, type Owner, treeChangesOf, withoutPrivileges } from './attributes-of.ts';
import { DirectoryListings } from './directory-listing.ts';
import { InodeTable } from './inode-table.ts';
import { MountLocks } from './locks.ts';
import { NewInodes } from './new-inodes.ts';
import { OpenedFiles } from './opened-files.ts';
import { RemovedInodes } from './removed-inodes.ts';
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
  readonly #root: Owner | undefined;
  #kernel: Kernel | undefined;
  readonly keepsAcls = true;
  readonly locks?: MountLocks;

  private constructor(volume: MountableVolume, { localLocks = false, root }: VolumeMountOptions) {
    this.#root = root;
    this.#volume = volume;
    this.#files = new OpenedFiles(volume);
    this.#removed = new RemovedInodes(volume);
    this.#xattrs = new AclXattrs(volume, this.#inodes);
    this.#made = new NewInodes({ volume, inodes: this.#inodes, xattrs: this.#xattrs });
    if (localLocks) return;
    this.locks = new MountLocks({ volume, inodes: this.#inodes, opened: this.#files });
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
    const directory = this.#inodes.directory(parent);
    const status = await this.#volume.tree.lookup({ directory, name });
    if (status) return this.#entryOf(status, parent);
    return { inode: undefined, entryMs: this.#volume.held.rememberNamesMs(directory.inode) };
  }

  forget(inode: InodeNumber): void {
    this.#inodes.forget(inode);
  }

  async makeNode(caller: Caller, parent: InodeNumber, node: NewNode): Promise<Entry> {
    return this.#entryOf(await this.#made.makeNode(caller, parent, node), parent);
  }

  async makeDirectory(
    caller: Caller,
    parent: InodeNumber,
    made: { name: Uint8Array; mode: number; umask?: number },
  ): Promise<Entry> {
    return this.#entryOf(await this.#made.makeDirectory(caller, parent, made), parent);
  }

  async makeSymlink(
    caller: Caller,
    parent: InodeNumber,
    symlink: { name: Uint8Array; target: Uint8Array },
  ): Promise<Entry> {
    return this.#entryOf(await this.#made.makeSymlink(caller, parent, symlink), parent);
  }

  async readSymlink(_: Caller, inode: InodeNumber): Promise<Uint8Array> {
    return await this.#volume.tree.readSymlink(this.#inodes.get(inode).inode);
  }

  async link(
    _: Caller,
    number: InodeNumber,
    { parent, name }: { parent: InodeNumber; name: Uint8Array },
  ): Promise<Entry> {
    const { inode } = this.#inodes.get(number);
    const directory = this.#inodes.directory(parent);
    const status = await this.#volume.tree.link(inode, { directory, name });
    this.#volume.opens.linked(inode);
    return this.#entryOf(status, parent);
  }

  async unlink(_: Caller, parent: InodeNumber, name: Uint8Array): Promise<void> {
    await this.#removed.unlink({ directory: this.#inodes.directory(parent), name });
  }

  async removeDirectory(_: Caller, parent: InodeNumber, name: Uint8Array): Promise<void> {
    const directory = this.#inodes.directory(parent);
    await this.#volume.tree.removeDirectory({ directory, name });
  }

  async rename(
    _: Caller,
    parent: InodeNumber,
    { name, newParent, newName, flag }: Rename,
  ): Promise<void> {
    const from = { directory: this.#inodes.directory(parent), name };
    const to = { directory: this.#inodes.directory(newParent), name: newName };
    await this.#removed.rename(from, to, flag);
  }

  // Attributes.

  async getAttributes(_: Caller, number: InodeNumber): Promise<KnownAttributes> {
    return this.#knownOf(await this.#statusOf(number));
  }

  async setAttributes(
    _: Caller,
    number: InodeNumber,
    changes: AttributeChanges,
  ): Promise<KnownAttributes> {
    const { inode } = this.#inodes.get(number);
    const { sizeBytes } = changes;
    if (sizeBytes !== undefined) {
      await this.#files.with(inode, async (file) => await file.truncate(sizeBytes));
    }
    const losesPrivileges = changes.killsPrivileges && changes.mode === undefined;
    const mode = losesPrivileges ? await this.#unprivileged(number) : changes.mode;
    const wanted = treeChangesOf({ ...changes, mode });
    if (Object.keys(wanted).length === 0) return this.#knownOf(await this.#statusOf(number));
    const status = await this.#volume.tree.setAttributes(inode, wanted);
    if (wanted.modifiedNs !== undefined) {
      this.#volume.files.setModified(inode, status.modifiedNs);
    }
    return this.#knownOf(status);
  }

  /** The mode without privileges; `undefined` when it has none. */
  async #unprivileged(number: InodeNumber): Promise<number | undefined> {
    const { mode } = await this.#statusOf(number);
    const left = withoutPrivileges(mode);
    return left === mode ? undefined : left;
  }

  async #killPrivileges(number: InodeNumber): Promise<void> {
    const mode = await this.#unprivileged(number);
    const { inode } = this.#inodes.get(number);
    if (mode !== undefined) await this.#volume.tree.setAttributes(inode, { mode });
  }

  getXattr(_: Caller, number: InodeNumber, name: Uint8Array): Promise<Uint8Array> {
    return this.#xattrs.get(number, name);
  }

  async setXattr(_: Caller, number: InodeNumber, xattr: NewXattr): Promise<void> {
    await this.#xattrs.set(number, xattr);
  }

  async listXattrs(_: Caller, number: InodeNumber): Promise<readonly Uint8Array[]> {
    return await this.#xattrs.list(number);
  }

  async removeXattr(_: Caller, number: InodeNumber, name: Uint8Array): Promise<void> {
    await this.#xattrs.remove(number, name);
  }

  // Files.

  async open(
    _: Caller,
    number: InodeNumber,
    { flags, killsPrivileges }: OpenRequest,
  ): Promise<OpenFile> {
    const isCut = (flags & constants.O_TRUNC) !== 0;
    const { inode, toldChange } = this.#inodes.get(number);
    const file = await this.#files.open(inode, flags);
    // The size that the kernel remembers may be older, and reads would end there.
    if (this.#files.get(file).status.changeCount !== toldChange) {
      await this.#kernel?.invalidateInode(number, { offset: -1, lengthBytes: 0 });
    }
    if (isCut && killsPrivileges) await this.#killPrivileges(number);
    // Who only reads has nothing to store; locks that were got by it end when it is released.
    return { file, skipsFlush: !this.#files.isWriter(file) };
  }

  async create(caller: Caller, parent: InodeNumber, wanted: NewFile): Promise<Entry & OpenFile> {
    const status = await this.#made.makeOrFindFile(caller, parent, wanted);
    const isEmpty = this.#volume.files.merged(status).sizeBytes === 0;
    const flags = isEmpty ? wanted.flags & ~constants.O_TRUNC : wanted.flags;
    const file = await this.#files.open(status.inode, flags);
    return { ...this.#entryOf(status, parent), file };
  }

  async createUnnamed(
    caller: Caller,
    parent: InodeNumber,
    { mode, umask = 0, flags }: { mode: number; umask?: number; flags: number },
  ): Promise<Entry & OpenFile> {
    const node = { name: undefined, mode: mode | constants.S_IFREG, umask, deviceNumber: 0 };
    const status = await this.#made.makeNode(caller, parent, node);
    const file = await this.#files.open(status.inode, flags);
    this.#volume.opens.removed({ status, release: undefined });
    return { ...this.#entryOf(status, parent), file };
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
    if (killsPrivileges) await this.#killPrivileges(number);
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

  openDirectory(_: Caller, number: InodeNumber): OpenDirectory {
    return { file: this.#listings.open(this.#volume.tree, this.#inodes.directory(number)) };
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

  // Helpers.

  /** @throws HF_NOT_FOUND. */
  async #statusOf(number: InodeNumber): Promise<InodeStatus> {
    const status = await this.#volume.tree.status(this.#inodes.get(number).inode);
    if (!status) throw new HoldfastError('HF_NOT_FOUND', `inode number ${number} is gone`);
    return status;
  }

  #knownOf(status: InodeStatus): KnownAttributes {
    const merged = this.#volume.files.merged(status);
    this.#inodes.tell(merged);
    const attributes = attributesOf(merged, this.#root);
    return { attributes, attributesMs: this.#volume.held.rememberStatusMs(status.inode) };
  }

  /** Nothing may be awaited between this and the answer: the kernel may forget the number. */
  #entryOf(status: InodeStatus, parent: InodeNumber): Entry {
    const inode = this.#inodes.numberOf(status);
    const entryMs = this.#volume.held.rememberNamesMs(this.#inodes.directory(parent).inode);
    return { ...this.#knownOf(status), inode, entryMs };
  }
}
