/**
 * A volume as a file system for the kernel. First version, right before fast: each request is asked
 * of the volume, and every answer is a promise.
 *
 * 1. Time-outs of names and attributes are 0: other nodes, and `put` on this one, change what is
 *    mounted, and nobody tells the kernel yet. Who opens a file must see what was closed elsewhere
 *    before (*close-to-open*), and a name or size that the kernel remembers for even a second could
 *    be an older one. Directory leases (docs/design/0010) will allow longer ones.
 * 2. Content that the kernel has cached is dropped with each open, for the same reason.
 * 3. The kernel checks modes (`default_permissions`), and keeps locks to itself.
 * 4. Times of access are not kept (`noatime`).
 */
import { constants } from 'node:fs';
import { errorCode, HoldfastError } from '../../base/index.ts';
import type { InodeStatus, MountableVolume, NewInode } from '../../volume/index.ts';
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
import type {
  DirectoryEntry,
  Entry,
  FileNumber,
  InodeNumber,
  KnownAttributes,
  NoEntry,
  Statistics,
} from '../inode.ts';
import {
  attributesOf,
  nodeTypeOf,
  PERMISSION_BITS,
  SET_GROUP_ID,
  treeChangesOf,
  withoutPrivileges,
} from './attributes-of.ts';
import { DirectoryListings } from './directory-listing.ts';
import { InodeTable } from './inode-table.ts';
import { OpenedFiles } from './opened-files.ts';
import { statisticsOf } from './statistics.ts';
import { checkXattrName } from './xattr-names.ts';

const NO_ENTRY: NoEntry = { inode: undefined, entryMs: 0 };
/** See 1. */
const KNOWN_MS = 0;
/** Of fallocate(2). */
const PUNCH_HOLE = 0x02 | 0x01;

export class VolumeFileSystem implements FileSystem, AsyncDisposable {
  readonly #volume: MountableVolume;
  readonly #inodes = new InodeTable();
  readonly #files: OpenedFiles;
  readonly #listings = new DirectoryListings();

  private constructor(volume: MountableVolume) {
    this.#volume = volume;
    this.#files = new OpenedFiles(volume);
  }

  static async open(volume: MountableVolume): Promise<VolumeFileSystem> {
    const opened = new VolumeFileSystem(volume);
    opened.#inodes.numberOf(await volume.tree.root());
    return opened;
  }

  // Names.

  async lookup(_: Caller, parent: InodeNumber, name: Uint8Array): Promise<Entry | NoEntry> {
    const directory = this.#inodes.directory(parent);
    const status = await this.#volume.tree.lookup({ directory, name });
    return status ? this.#entryOf(status) : NO_ENTRY;
  }

  forget(inode: InodeNumber): void {
    this.#inodes.forget(inode);
  }

  async makeNode(caller: Caller, parent: InodeNumber, node: NewNode): Promise<Entry> {
    return this.#entryOf(await this.#makeNode(caller, parent, node));
  }

  async #makeNode(
    caller: Caller,
    parent: InodeNumber,
    { name, mode, deviceNumber }: Omit<NewNode, 'name'> & { name: Uint8Array | undefined },
  ): Promise<InodeStatus> {
    const directory = this.#inodes.directory(parent);
    const type = nodeTypeOf(mode);
    const isDevice = type === 'characterDevice' || type === 'blockDevice';
    const { owned } = await this.#ownedIn(parent, caller, mode);
    const node: NewInode = {
      ...owned,
      type,
      ...(isDevice && { deviceNumber }),
    };
    return await this.#volume.tree.makeNode(name && { directory, name }, node);
  }

  async makeDirectory(
    caller: Caller,
    parent: InodeNumber,
    { name, mode }: { name: Uint8Array; mode: number },
  ): Promise<Entry> {
    const directory = this.#inodes.directory(parent);
    const { owned, isGroupInherited } = await this.#ownedIn(parent, caller, mode);
    const inherited = isGroupInherited ? SET_GROUP_ID : 0;
    const wanted = { ...owned, mode: owned.mode | inherited };
    return this.#entryOf(await this.#volume.tree.makeDirectory({ directory, name }, wanted));
  }

  async makeSymlink(
    caller: Caller,
    parent: InodeNumber,
    { name, target }: { name: Uint8Array; target: Uint8Array },
  ): Promise<Entry> {
    const directory = this.#inodes.directory(parent);
    const { owned } = await this.#ownedIn(parent, caller, 0o777);
    return this.#entryOf(await this.#volume.tree.makeSymlink({ directory, name }, target, owned));
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
    return this.#entryOf(status);
  }

  async unlink(_: Caller, parent: InodeNumber, name: Uint8Array): Promise<void> {
    const directory = this.#inodes.directory(parent);
    this.#volume.opens.removed(await this.#volume.tree.unlink({ directory, name }));
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
    const replaced = await this.#volume.tree.rename(from, to, flag);
    if (replaced) this.#volume.opens.removed(replaced);
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
    if (wanted.modifiedNs !== undefined) this.#files.setModified(inode, status.modifiedNs);
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

  async getXattr(_: Caller, number: InodeNumber, name: Uint8Array): Promise<Uint8Array> {
    checkXattrName(name);
    const value = await this.#volume.tree.getXattr(this.#inodes.get(number).inode, name);
    if (!value) throw new HoldfastError('HF_NO_DATA');
    return value;
  }

  async setXattr(_: Caller, number: InodeNumber, xattr: NewXattr): Promise<void> {
    checkXattrName(xattr.name);
    const { name, value, mode } = xattr;
    const { inode } = this.#inodes.get(number);
    await this.#volume.tree.setXattr(inode, { name, value, ...(mode && { mode }) });
  }

  async listXattrs(_: Caller, number: InodeNumber): Promise<readonly Uint8Array[]> {
    return await this.#volume.tree.listXattrs(this.#inodes.get(number).inode);
  }

  async removeXattr(_: Caller, number: InodeNumber, name: Uint8Array): Promise<void> {
    checkXattrName(name);
    await this.#volume.tree.removeXattr(this.#inodes.get(number).inode, name);
  }

  // Files.

  async open(
    _: Caller,
    number: InodeNumber,
    { flags, killsPrivileges }: OpenRequest,
  ): Promise<OpenFile> {
    const isCut = (flags & constants.O_TRUNC) !== 0;
    const file = await this.#files.open(this.#inodes.get(number).inode, { isCut });
    if (isCut && killsPrivileges) await this.#killPrivileges(number);
    return { file };
  }

  async create(caller: Caller, parent: InodeNumber, wanted: NewFile): Promise<Entry & OpenFile> {
    const status = await this.#madeOrFound(caller, parent, wanted);
    const isCut = (wanted.flags & constants.O_TRUNC) !== 0 && status.sizeBytes > 0;
    const file = await this.#files.open(status.inode, { isCut });
    return { ...this.#entryOf(status), file };
  }

  async #madeOrFound(
    caller: Caller,
    parent: InodeNumber,
    { name, mode, flags }: NewFile,
  ): Promise<InodeStatus> {
    for (;;) {
      try {
        const bits = mode | constants.S_IFREG;
        return await this.#makeNode(caller, parent, { name, mode: bits, deviceNumber: 0 });
      } catch (error) {
        const isTaken = errorCode(error) === 'HF_EXISTS';
        if (!isTaken || (flags & constants.O_EXCL) !== 0) throw error;
      }
      const directory = this.#inodes.directory(parent);
      const found = await this.#volume.tree.lookup({ directory, name });
      if (found) return found;
    }
  }

  async createUnnamed(
    caller: Caller,
    parent: InodeNumber,
    { mode }: { mode: number; flags: number },
  ): Promise<Entry & OpenFile> {
    const node = { name: undefined, mode: mode | constants.S_IFREG, deviceNumber: 0 };
    const status = await this.#makeNode(caller, parent, node);
    const file = await this.#files.open(status.inode, { isCut: false });
    this.#volume.opens.removed({ status, release: undefined });
    return { ...this.#entryOf(status), file };
  }

  async read(
    _: Caller,
    __: InodeNumber,
    { file, offset, lengthBytes }: ReadRequest,
  ): Promise<Uint8Array> {
    return await this.#files.get(file).read({ offset, lengthBytes });
  }

  async write(_: Caller, number: InodeNumber, request: WriteRequest): Promise<void> {
    const { file, offset, data, killsPrivileges } = request;
    await this.#files.get(file).write(offset, data);
    if (killsPrivileges) await this.#killPrivileges(number);
  }

  async flush(_: Caller, __: InodeNumber, { file }: { file: FileNumber }): Promise<void> {
    await this.#files.get(file).sync();
  }

  async release(_: Caller, __: InodeNumber, { file }: Release): Promise<void> {
    await this.#files.close(file);
  }

  async sync(
    _: Caller,
    __: InodeNumber,
    { file, dataOnly }: { file: FileNumber; dataOnly: boolean },
  ): Promise<void> {
    await this.#files.get(file).sync({ dataOnly });
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

  /** What was done to names is durable when it is answered. */
  syncDirectory(): void {}

  async statistics(): Promise<Statistics> {
    return await statisticsOf(this.#volume);
  }

  async syncAll(): Promise<void> {
    for (const file of this.#files.all) await file.sync();
  }

  /** The mount is gone. @throws what could not be stored of files that were left open. */
  async [Symbol.asyncDispose](): Promise<void> {
    const [error] = await this.#files.closeAll();
    if (error !== undefined) throw error;
  }

  // Helpers.

  /** In a set-group-id directory everything is of its group. */
  async #ownedIn(parent: InodeNumber, { uid, gid }: Caller, mode: number) {
    const directory = await this.#statusOf(parent);
    const isGroupInherited = (directory.mode & SET_GROUP_ID) !== 0;
    const owner = { uid, gid: isGroupInherited ? directory.gid : gid };
    return { owned: { ...owner, mode: mode & PERMISSION_BITS }, isGroupInherited };
  }

  /** @throws HF_NOT_FOUND. */
  async #statusOf(number: InodeNumber): Promise<InodeStatus> {
    const status = await this.#volume.tree.status(this.#inodes.get(number).inode);
    if (!status) throw new HoldfastError('HF_NOT_FOUND', `inode number ${number} is gone`);
    return status;
  }

  #knownOf(status: InodeStatus): KnownAttributes {
    const attributes = attributesOf(this.#volume.files.merged(status));
    return { attributes, attributesMs: KNOWN_MS };
  }

  /** Nothing may be awaited between this and the answer: the kernel may forget the number. */
  #entryOf(status: InodeStatus): Entry {
    const inode = this.#inodes.numberOf(status);
    return { ...this.#knownOf(status), inode, entryMs: KNOWN_MS };
  }
}
