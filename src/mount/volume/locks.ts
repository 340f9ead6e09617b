/**
 * Locks of one mount, as the kernel asks for them, on a volume: across mounts and nodes. They carry
 * content with them (as in NFS): what was written under a lock is durable when it is given up, and
 * who is granted one reads what the last one wrote. What is written through a mapping (mmap(2)) is
 * the kernel's until msync(2) or close(2): to bring it with each lock would cost those most who map
 * a file on one machine, as databases do.
 *
 * *Lost*: the session of this node's mounts was over, so that others may have locked what somebody
 * here believes to hold. An open file by which a lock was held then reads and writes no more until
 * it is closed (EIO), as NFS has it. Source: Linux fcntl(2), flock(2), fs/fuse/file.c (fuse_setlk).
 */
import { HoldfastError } from '../../base/index.ts';
import type { FileLockOwner, FileLockRange, MountableVolume } from '../../volume/index.ts';
import type { Caller } from '../file-system.ts';
import type { FileNumber, InodeNumber } from '../inode.ts';
import type { Kernel } from '../kernel.ts';
import type { HeldLock, LockAnswer, LockRequest, Locks, LockTest } from '../locks.ts';
import type { InodeTable } from './inode-table.ts';
import type { OpenedFiles } from './opened-files.ts';

/** An open file that was locked. */
interface LockedFile {
  /** Who has locked by it, and may hold something still. */
  owners: FileLockOwner[];
  /** Of the volume's locks, when they were locked. */
  age: number;
  /** The content that the kernel may have cached: as of so many foreign changes. */
  cachedChanges: number | undefined;
}

export interface MountLocksOptions {
  readonly volume: Pick<MountableVolume, 'tree' | 'files' | 'locks'>;
  readonly inodes: Pick<InodeTable, 'get'>;
  readonly opened: Pick<OpenedFiles, 'get' | 'flush'>;
}

const ALL_CONTENT = { offset: 0, lengthBytes: 0 };

export class MountLocks implements Locks {
  readonly #volume: MountLocksOptions['volume'];
  readonly #inodes: MountLocksOptions['inodes'];
  readonly #opened: MountLocksOptions['opened'];
  readonly #files = new Map<FileNumber, LockedFile>();
  readonly #joined: Disposable;
  #kernel: Kernel | undefined;

  constructor({ volume, inodes, opened }: MountLocksOptions) {
    this.#volume = volume;
    this.#inodes = inodes;
    this.#opened = opened;
    this.#joined = volume.locks.join();
  }

  begin(kernel: Kernel): void {
    this.#kernel = kernel;
  }

  async test(
    _: Caller,
    number: InodeNumber,
    { owner, kind, start, end, isExclusive }: LockTest,
  ): Promise<HeldLock | undefined> {
    const { inode } = this.#inodes.get(number);
    const request = { inode, owner, kind, start, end, isExclusive, processId: 0 };
    const held = await this.#volume.locks.test(request);
    return held && { ...held, processId: held.processId ?? 0 };
  }

  async lock(caller: Caller, number: InodeNumber, request: LockRequest): Promise<LockAnswer> {
    const { inode } = this.#inodes.get(number);
    const { file, owner, kind, start, end, mode, processId, waits } = request;
    const range = { inode, owner, kind, start, end };
    if (mode === 'unlocked') {
      await this.#unlock(file, range);
      return 'granted';
    }
    await this.checkHeld(file);
    const wanted = { ...range, isExclusive: mode === 'exclusive', processId };
    const isFirst = (this.#files.get(file)?.owners.length ?? 0) === 0;
    const locked = this.#note(file, range);
    const { locks } = this.#volume;
    const answer = await locks.lock(wanted, { waits, signal: caller.signal });
    // Another session may have begun meanwhile: it is in that, if it is there.
    if (isFirst && locks.holds(range)) locked.age = locks.age;
    if (answer !== 'granted') {
      this.#forgetIdle(file, range);
      return answer;
    }
    await this.checkHeld(file);
    if (await this.#isCacheOlder(file)) await this.#kernel?.invalidateInode(number, ALL_CONTENT);
    return 'granted';
  }

  /**
   * Nothing is to be waited for when the open file has no locks, or they are sure to be held.
   * @throws HF_IO when one was lost; when nobody can tell, as the call fails that would.
   */
  async checkHeld(file: FileNumber): Promise<void> {
    const locked = this.#files.get(file);
    if (!locked || locked.owners.length === 0) return;
    const { locks } = this.#volume;
    if (locked.age === locks.age && !locks.isSure) await locks.makeSure();
    if (locked.age === locks.age) return;
    throw new HoldfastError('HF_IO', 'a lock was lost: the node was away for too long');
  }

  /**
   * A process has closed a descriptor of the inode: its posix locks go, of all open files of it.
   */
  async flushed(file: FileNumber, owner: bigint): Promise<void> {
    const { inode } = this.#opened.get(file);
    await this.#release({ inode, owner, kind: 'posix' });
  }

  /** The open file is gone, and all locks that were got by it and are left. */
  async released(file: FileNumber): Promise<void> {
    const locked = this.#files.get(file);
    for (const owner of locked?.owners ?? []) await this.#release(owner);
    this.#files.delete(file);
  }

  /** Of a mount that is gone. */
  async close(): Promise<void> {
    for (const file of this.#files.keys()) await this.released(file);
    this.#joined[Symbol.dispose]();
  }

  async #release(owner: FileLockOwner): Promise<void> {
    if (!this.#volume.locks.holds(owner)) return;
    await this.#volume.locks.unlockAll(owner);
    for (const file of this.#files.keys()) this.#forgetIdle(file, owner);
  }

  /** What was written is durable before others may have the lock; it is given up in any case. */
  async #unlock(file: FileNumber, range: FileLockRange): Promise<void> {
    if (!this.#volume.locks.holds(range)) return;
    try {
      await this.#opened.flush(file);
    } finally {
      await this.#volume.locks.unlock(range);
      this.#forgetIdle(file, range);
    }
  }

  /**
   * Looks at what others have changed.
   * @returns whether what the kernel has cached may be older. @throws HF_NOT_FOUND.
   */
  async #isCacheOlder(file: FileNumber): Promise<boolean> {
    const { tree, files, locks } = this.#volume;
    const opened = this.#opened.get(file);
    const status = await tree.status(opened.inode);
    files.merged(status);
    const locked = this.#files.get(file);
    const isSame = !locks.isShared && locked?.cachedChanges === opened.foreignChanges;
    if (locked) locked.cachedChanges = opened.foreignChanges;
    return !isSame;
  }

  #note(file: FileNumber, { inode, owner, kind }: FileLockOwner): LockedFile {
    const { age } = this.#volume.locks;
    const none: LockedFile = { owners: [], age, cachedChanges: undefined };
    const locked = this.#files.get(file) ?? none;
    this.#files.set(file, locked);
    if (locked.owners.length === 0) locked.age = age;
    const isKnown = locked.owners.some((each) => isSame(each, { inode, owner, kind }));
    if (!isKnown) locked.owners.push({ inode, owner, kind });
    return locked;
  }

  #forgetIdle(file: FileNumber, owner: FileLockOwner): void {
    const locked = this.#files.get(file);
    if (!locked || locked.age !== this.#volume.locks.age) return; // what was lost stays so
    if (this.#volume.locks.holds(owner)) return;
    locked.owners = locked.owners.filter((each) => !isSame(each, owner));
  }
}

function isSame(a: FileLockOwner, b: FileLockOwner): boolean {
  return a.inode === b.inode && a.owner === b.owner && a.kind === b.kind;
}
