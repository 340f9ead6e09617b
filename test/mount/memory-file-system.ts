/**
 * A whole POSIX file system in memory, in as few lines as can be read: what the tests of `mount`
 * serve, and an example of how one is written. It answers everything at once.
 */
import { constants } from 'node:fs';
import { HoldfastError } from '../../src/base/index.ts';
import {
  type Allocation,
  type AttributeChanges,
  type Caller,
  type CopyRequest,
  type DirectoryEntry,
  type Entry,
  type FileSystem,
  type Kernel,
  type KnownAttributes,
  type ListRequest,
  type NewFile,
  type NewNode,
  type NewXattr,
  type NoEntry,
  type OpenFile,
  type OpenRequest,
  type ReadRequest,
  type Release,
  type Rename,
  ROOT_INODE_NUMBER as ROOT,
  type SeekRequest,
  type Statistics,
  type WriteRequest,
} from '../../src/mount/index.ts';
import {
  keyOf,
  MemoryInode,
  nameOf,
  type Origin,
  PERMISSION_BITS,
  SET_GROUP_ID,
  timeOf,
} from './memory-inode.ts';
import { MemoryLocks } from './memory-locks.ts';

const LINKS_MAX = 65_000;
const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
/** Nothing else can make a name appear. */
const NO_ENTRY: NoEntry = { inode: undefined, entryMs: 3600_000 };

export class MemoryFileSystem implements FileSystem {
  kernel: Kernel | undefined;
  readonly locks = new MemoryLocks();
  readonly #inodes = new Map<number, MemoryInode>();
  /** Listings of open directories, as they were when they were opened. */
  readonly #listings = new Map<number, readonly DirectoryEntry[]>();
  #lastNumber = ROOT;
  #lastFile = 0;

  /** @param owner of the root directory. */
  constructor(owner = { uid: 0, gid: 0 }) {
    const mode = constants.S_IFDIR | 0o755;
    this.#inodes.set(ROOT, new MemoryInode({ number: ROOT, mode, ...owner }));
  }

  begin(kernel: Kernel): void {
    this.kernel = kernel;
  }

  /** Inodes that the kernel or a name holds. */
  get inodeCount(): number {
    return this.#inodes.size;
  }

  // Names.

  lookup(_: Caller, parent: number, name: Uint8Array): Entry | NoEntry {
    return this.#directory(parent).children.get(keyOf(name))?.entry ?? NO_ENTRY;
  }

  forget(number: number): void {
    const inode = this.#inodes.get(number);
    if (inode?.linkCount === 0) this.#inodes.delete(number);
  }

  makeNode(caller: Caller, parent: number, node: NewNode): Entry {
    return this.#add(caller, parent, node).entry;
  }

  makeDirectory(caller: Caller, parent: number, node: { name: Uint8Array; mode: number }): Entry {
    return this.#add(caller, parent, node).entry;
  }

  makeSymlink(
    caller: Caller,
    parent: number,
    { name, target }: { name: Uint8Array; target: Uint8Array },
  ): Entry {
    const inode = this.#add(caller, parent, { name, mode: constants.S_IFLNK | 0o777 });
    inode.target = new Uint8Array(target);
    return inode.entry;
  }

  readSymlink(_: Caller, number: number): Uint8Array {
    return this.#inode(number).target;
  }

  link(_: Caller, number: number, { parent, name }: { parent: number; name: Uint8Array }): Entry {
    const inode = this.#inode(number);
    const directory = this.#directory(parent);
    if (directory.children.has(keyOf(name))) throw new HoldfastError('HF_EXISTS');
    if (inode.linkCount >= LINKS_MAX) throw new HoldfastError('HF_TOO_MANY_LINKS');
    inode.linkCount += 1;
    inode.touchStatus();
    directory.children.set(keyOf(name), inode);
    directory.touchContent();
    return inode.entry;
  }

  unlink(_: Caller, parent: number, name: Uint8Array): void {
    const directory = this.#directory(parent);
    const inode = this.#child(directory, keyOf(name));
    if (inode.isDirectory) throw new HoldfastError('HF_IS_DIRECTORY');
    this.#drop(directory, keyOf(name), inode);
  }

  removeDirectory(_: Caller, parent: number, name: Uint8Array): void {
    const directory = this.#directory(parent);
    const inode = this.#child(directory, keyOf(name));
    if (!inode.isDirectory) throw new HoldfastError('HF_NOT_DIRECTORY');
    if (inode.children.size > 0) throw new HoldfastError('HF_NOT_EMPTY');
    this.#drop(directory, keyOf(name), inode);
  }

  rename(_: Caller, parent: number, { name, newParent, newName, flag }: Rename): void {
    const source = { directory: this.#directory(parent), key: keyOf(name) };
    const target = { directory: this.#directory(newParent), key: keyOf(newName) };
    const moved = this.#child(source.directory, source.key);
    const there = target.directory.children.get(target.key);
    if (flag === 'noReplace' && there) throw new HoldfastError('HF_EXISTS');
    if (flag === 'exchange' && !there) throw new HoldfastError('HF_NOT_FOUND');
    if (moved === there) return;
    if (there && flag !== 'exchange') {
      checkReplaceable(moved, there);
      this.#drop(target.directory, target.key, there);
    }
    source.directory.children.delete(source.key);
    if (there && flag === 'exchange') put(there, source, target.directory);
    put(moved, target, source.directory);
    for (const directory of [source.directory, target.directory]) directory.touchContent();
  }

  // Attributes.

  getAttributes(_: Caller, number: number): KnownAttributes {
    return this.#inode(number).entry;
  }

  setAttributes(_: Caller, number: number, changes: AttributeChanges): KnownAttributes {
    const inode = this.#inode(number);
    const { mode, uid, gid, sizeBytes, accessed, modified, changed } = changes;
    if (mode !== undefined) inode.mode = (inode.mode & ~PERMISSION_BITS) | (mode & PERMISSION_BITS);
    else if (changes.killsPrivileges) inode.killPrivileges();
    if (uid !== undefined) inode.uid = uid;
    if (gid !== undefined) inode.gid = gid;
    if (sizeBytes !== undefined) inode.truncate(sizeBytes);
    inode.touchStatus();
    if (accessed !== undefined) inode.accessed = timeOf(accessed);
    if (modified !== undefined) inode.modified = timeOf(modified);
    if (changed !== undefined) inode.changed = changed;
    return inode.entry;
  }

  getXattr(_: Caller, number: number, name: Uint8Array): Uint8Array {
    const value = this.#inode(number).xattrs.get(keyOf(name));
    if (!value) throw new HoldfastError('HF_NO_DATA');
    return value;
  }

  setXattr(_: Caller, number: number, { name, value, mode }: NewXattr): void {
    const inode = this.#inode(number);
    const isThere = inode.xattrs.has(keyOf(name));
    if (mode === 'create' && isThere) throw new HoldfastError('HF_EXISTS');
    if (mode === 'replace' && !isThere) throw new HoldfastError('HF_NO_DATA');
    inode.xattrs.set(keyOf(name), new Uint8Array(value));
    inode.touchStatus();
  }

  listXattrs(_: Caller, number: number): Uint8Array[] {
    return Array.from(this.#inode(number).xattrs.keys(), nameOf);
  }

  removeXattr(_: Caller, number: number, name: Uint8Array): void {
    const inode = this.#inode(number);
    if (!inode.xattrs.delete(keyOf(name))) throw new HoldfastError('HF_NO_DATA');
    inode.touchStatus();
  }

  // Files.

  open(_: Caller, number: number, { flags, killsPrivileges }: OpenRequest): OpenFile {
    const inode = this.#inode(number);
    if ((flags & constants.O_TRUNC) !== 0) {
      inode.truncate(0);
      if (killsPrivileges) inode.killPrivileges();
    }
    return this.#opened();
  }

  create(caller: Caller, parent: number, { name, mode, flags }: NewFile): Entry & OpenFile {
    const there = this.#directory(parent).children.get(keyOf(name));
    if (there && (flags & constants.O_EXCL) !== 0) throw new HoldfastError('HF_EXISTS');
    if (there && (flags & constants.O_TRUNC) !== 0) there.truncate(0);
    const inode = there ?? this.#add(caller, parent, { name, mode: mode | constants.S_IFREG });
    return { ...inode.entry, ...this.#opened() };
  }

  createUnnamed(caller: Caller, parent: number, { mode }: { mode: number }): Entry & OpenFile {
    const directory = this.#directory(parent);
    const inode = this.#make(caller, directory, { mode: mode | constants.S_IFREG });
    inode.linkCount = 0;
    return { ...inode.entry, ...this.#opened() };
  }

  read(
    _: Caller,
    number: number,
    { offset, lengthBytes }: ReadRequest,
  ): readonly Uint8Array[] | Promise<readonly Uint8Array[]> {
    return this.#inode(number).content.read(offset, lengthBytes);
  }

  write(_: Caller, number: number, { offset, data, isFromCache, killsPrivileges }: WriteRequest) {
    const inode = this.#inode(number);
    inode.content.write(offset, data);
    if (killsPrivileges) inode.killPrivileges();
    if (!isFromCache) inode.touchContent();
  }

  flush(_: Caller, number: number, { owner }: { owner: bigint }): void {
    this.locks.release(number, { owner, kind: 'posix' });
  }

  release(_: Caller, number: number, { flockOwner }: Release): void {
    if (flockOwner !== undefined) this.locks.release(number, { owner: flockOwner, kind: 'flock' });
  }

  sync(): void {}

  allocate(_: Caller, number: number, { offset, lengthBytes, flags }: Allocation): void {
    const inode = this.#inode(number);
    const end = offset + lengthBytes;
    if (flags === (PUNCH_HOLE | KEEP_SIZE)) inode.content.punch(offset, end);
    else if ((flags & ~KEEP_SIZE) !== 0) throw new HoldfastError('HF_UNSUPPORTED');
    else if (flags === 0 && end > inode.sizeBytes) inode.content.truncate(end);
    inode.touchContent();
  }

  seek(_: Caller, number: number, { offset, finds }: SeekRequest): number | undefined {
    return this.#inode(number).content.seek(offset, finds);
  }

  copy(_: Caller, number: number, request: CopyRequest): number {
    const source = this.#inode(number);
    const target = this.#inode(request.target);
    let copiedBytes = 0;
    for (const part of source.content.read(request.offset, request.lengthBytes)) {
      target.content.write(request.targetOffset + copiedBytes, part);
      copiedBytes += part.length;
    }
    target.touchContent();
    return copiedBytes;
  }

  // Directories.

  openDirectory(_: Caller, number: number): { file: number; cachesListing: boolean } {
    const directory = this.#directory(number);
    const all = [['.', directory] as const, ['..', directory.parent] as const];
    const listing = [...all, ...directory.children].map(([key, { inode, mode, entry }], index) => ({
      name: nameOf(key),
      inode,
      mode,
      cookie: index + 1,
      entry: index < all.length ? undefined : entry,
    }));
    const file = ++this.#lastFile;
    this.#listings.set(file, listing);
    return { file, cachesListing: true };
  }

  list(_: Caller, __: number, { file, cookie }: ListRequest): readonly DirectoryEntry[] {
    return this.#listings.get(file)!.slice(cookie);
  }

  releaseDirectory(_: Caller, __: number, file: number): void {
    this.#listings.delete(file);
  }

  syncDirectory(): void {}

  statistics(): Statistics {
    return {
      blockBytes: 4096,
      blockCount: 2 ** 22,
      freeBlockCount: 2 ** 22,
      availableBlockCount: 2 ** 22,
      inodeCount: 10_000_000,
      freeInodeCount: 10_000_000 - this.#inodes.size,
      nameBytesMax: 255,
    };
  }

  syncAll(): void {}

  // Helpers.

  #inode(number: number): MemoryInode {
    const inode = this.#inodes.get(number);
    if (!inode) throw new HoldfastError('HF_NOT_FOUND');
    return inode;
  }

  #directory(number: number): MemoryInode {
    const inode = this.#inode(number);
    if (!inode.isDirectory) throw new HoldfastError('HF_NOT_DIRECTORY');
    return inode;
  }

  #child(directory: MemoryInode, key: string): MemoryInode {
    const inode = directory.children.get(key);
    if (!inode) throw new HoldfastError('HF_NOT_FOUND');
    return inode;
  }

  #opened(): OpenFile {
    return { file: ++this.#lastFile, keepsCache: true, allowsParallelWrites: true };
  }

  #add(
    caller: Caller,
    parent: number,
    { name, ...node }: { name: Uint8Array; mode: number; deviceNumber?: number },
  ): MemoryInode {
    const directory = this.#directory(parent);
    const key = keyOf(name);
    if (directory.children.has(key)) throw new HoldfastError('HF_EXISTS');
    const inode = this.#make(caller, directory, node);
    directory.children.set(key, inode);
    directory.touchContent();
    if (inode.isDirectory) directory.linkCount += 1;
    return inode;
  }

  /** In a set-group-id directory everything is of its group, and directories are like it. */
  #make(
    { uid, gid }: Caller,
    directory: MemoryInode,
    node: Pick<Origin, 'mode' | 'deviceNumber'>,
  ): MemoryInode {
    const number = ++this.#lastNumber;
    const inode = new MemoryInode({ ...node, number, uid, gid });
    if ((directory.mode & SET_GROUP_ID) !== 0) {
      inode.gid = directory.gid;
      if (inode.isDirectory) inode.mode |= SET_GROUP_ID;
    }
    inode.parent = directory;
    this.#inodes.set(number, inode);
    return inode;
  }

  #drop(directory: MemoryInode, key: string, inode: MemoryInode): void {
    directory.children.delete(key);
    directory.touchContent();
    inode.linkCount -= 1;
    if (inode.isDirectory) {
      inode.linkCount = 0;
      directory.linkCount -= 1;
    }
    inode.touchStatus();
  }
}

interface Position {
  readonly directory: MemoryInode;
  readonly key: string;
}

function put(inode: MemoryInode, { directory, key }: Position, from: MemoryInode): void {
  directory.children.set(key, inode);
  inode.touchStatus();
  if (!inode.isDirectory) return;
  from.linkCount -= 1;
  directory.linkCount += 1;
  inode.parent = directory;
}

function checkReplaceable(moved: MemoryInode, there: MemoryInode): void {
  if (there.isDirectory && !moved.isDirectory) throw new HoldfastError('HF_IS_DIRECTORY');
  if (!there.isDirectory && moved.isDirectory) throw new HoldfastError('HF_NOT_DIRECTORY');
  if (there.children.size > 0) throw new HoldfastError('HF_NOT_EMPTY');
}
