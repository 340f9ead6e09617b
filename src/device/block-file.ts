/**
 * One open file of blocks, the layer under image, directory and raw devices: a plain file, or a
 * *disk*, which is any block special file (a whole disk, a partition, a loop device). *Direct*
 * transfers bypass the page cache, where the filesystem takes O_DIRECT; else the file is buffered,
 * and durability is the sync's in both cases.
 *
 * Invariants: (1) a short transfer is an error; (2) no more transfers are under way than `permits`
 * allow, so that one hung disk cannot fill the process's thread pool; (3) memory that the kernel
 * refuses for its alignment goes through a copy; (4) a disk is held exclusively: the kernel refuses
 * it to us while it is mounted or held, and to everybody who asks as we do while we hold it.
 */
import fs from 'node:fs';
import { promisify } from 'node:util';
import { asBuffer, concatBytes, HoldfastError, LIMITS, type Semaphore } from '../base/index.ts';
import type { DeviceNumber } from './block-device.ts';
import { DeviceState } from './device-state.ts';
import { allocatePages } from './pages.ts';
import { deviceNumberOf, diskBytes } from './sysfs.ts';

const openFd = promisify(fs.open);
const closeFd = promisify(fs.close);
const readFd = promisify(fs.read);
const writeFd = promisify(fs.write);
const writevFd = promisify(fs.writev);
const statFd = promisify(fs.fstat);
const syncFd = promisify(fs.fdatasync);

export interface BlockFileOptions {
  readonly path: string;
  /** Shared by the files of one device. */
  readonly permits: Semaphore;
  /** `try` bypasses the page cache where the filesystem lets us; `never` is always buffered. */
  readonly direct?: DirectMode;
  /** The file was just made and holds zeros: also probe a write. */
  readonly isNew?: boolean;
  /** It is a disk, not a plain file. */
  readonly isDisk?: boolean;
}

export type DirectMode = 'try' | 'never';

export class BlockFile {
  readonly path: string;
  readonly isDirect: boolean;
  readonly sizeBytes: number;
  /** See {@link identityOf}. */
  readonly identity: string;
  /** Of the disk, or of the filesystem that the file is on. */
  readonly deviceNumber: DeviceNumber;
  readonly #fd: number;
  readonly #permits: Semaphore;
  readonly #state: DeviceState;

  private constructor(
    { path, permits }: BlockFileOptions,
    opened: Pick<BlockFile, 'isDirect' | 'sizeBytes' | 'identity' | 'deviceNumber'> & {
      fd: number;
    },
  ) {
    this.path = path;
    this.isDirect = opened.isDirect;
    this.sizeBytes = opened.sizeBytes;
    this.identity = opened.identity;
    this.deviceNumber = opened.deviceNumber;
    this.#fd = opened.fd;
    this.#permits = permits;
    this.#state = new DeviceState(path);
  }

  /**
   * @throws HF_NOT_FOUND, HF_IS_DIRECTORY, HF_NOT_OURS when it is no plain file (no disk), HF_IO.
   */
  static async open(options: BlockFileOptions): Promise<BlockFile> {
    try {
      const { fd, isDirect } = await openProbed(options);
      try {
        return new BlockFile(options, { fd, isDirect, ...(await inspect(fd, options)) });
      } catch (error) {
        await closeFd(fd);
        throw error;
      }
    } catch (error) {
      throw fileError(error, 'open', options.path);
    }
  }

  /** @throws HF_IO, also when the file ends before the target is full. */
  async read(target: Uint8Array, offset: number): Promise<void> {
    await this.#transfer('read', target.length, {
      plain: async () => (await readFd(this.#fd, target, 0, target.length, offset)).bytesRead,
      copied: async () => {
        const pages = allocatePages(target.length);
        const { bytesRead } = await readFd(this.#fd, pages, 0, pages.length, offset);
        target.set(pages);
        return bytesRead;
      },
    });
  }

  /** @throws HF_IO, HF_NO_SPACE; then any part may have been written. */
  async write(sources: readonly Uint8Array[], offset: number): Promise<void> {
    const lengthBytes = sources.reduce((sum, source) => sum + source.length, 0);
    await this.#transfer('write', lengthBytes, {
      plain: async () => {
        const [first] = sources;
        const { bytesWritten } =
          first && sources.length === 1
            ? await writeFd(this.#fd, first, 0, first.length, offset)
            : await writevFd(this.#fd, sources, offset);
        return bytesWritten;
      },
      copied: async () => {
        const pages = allocatePages(lengthBytes);
        asBuffer(concatBytes(...sources)).copy(pages);
        return (await writeFd(this.#fd, pages, 0, lengthBytes, offset)).bytesWritten;
      },
    });
  }

  /** Makes completed writes durable. The caller stops using the device when it fails. */
  async sync(): Promise<void> {
    await this.#run('sync', () => syncFd(this.#fd));
  }

  /** Waits for what is under way: its number must not become another file's before. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (await this.#state.close()) await closeFd(this.#fd);
  }

  async #transfer(task: 'read' | 'write', lengthBytes: number, ways: TransferWays): Promise<void> {
    if (lengthBytes === 0) return;
    const call = this.isDirect ? () => runTransfer(ways, lengthBytes) : ways.plain;
    const done = await this.#run(task, call);
    if (done === lengthBytes) return;
    throw new HoldfastError(
      'HF_IO',
      `${this.path}: short ${task}, ${done} of ${lengthBytes} bytes`,
      { details: { path: this.path } },
    );
  }

  async #run<Result>(task: string, call: () => Promise<Result>): Promise<Result> {
    using _ = this.#state.begin();
    const release = await this.#permits.acquire();
    try {
      return await call();
    } catch (error) {
      throw fileError(error, task, this.path);
    } finally {
      release();
    }
  }
}

interface TransferWays {
  readonly plain: () => Promise<number>;
  readonly copied: () => Promise<number>;
}

/**
 * Where memory starts cannot be seen from here. The kernel says that it minds by EINVAL, or stops
 * short where it has found out on the way; then once more through aligned memory.
 */
async function runTransfer(ways: TransferWays, lengthBytes: number): Promise<number> {
  try {
    const done = await ways.plain();
    if (done === lengthBytes) return done;
  } catch (error) {
    if (errnoOf(error) !== 'EINVAL') throw error;
  }
  return await ways.copied();
}

/**
 * Opens a file with O_DIRECT when a real transfer works that way. Filesystems differ in where they
 * refuse it: some at the open, some at the first transfer, always with EINVAL. A file in use is
 * only probed by a read: no live block is put at risk for a probe.
 */
async function openProbed(options: BlockFileOptions): Promise<{ fd: number; isDirect: boolean }> {
  const { path, direct = 'try', isNew = false, isDisk = false } = options;
  const { O_RDWR, O_DIRECT, O_EXCL } = fs.constants;
  const flags = isDisk ? O_RDWR | O_EXCL : O_RDWR;
  if (direct === 'try') {
    let fd: number | undefined;
    try {
      fd = await openFd(path, flags | O_DIRECT);
      const page = allocatePages(LIMITS.blockBytes);
      if (isNew) await writeFd(fd, page, 0, page.length, 0);
      await readFd(fd, page, 0, page.length, 0);
      return { fd, isDirect: true };
    } catch (error) {
      // A block that cannot be read is the store's to handle; it says nothing about O_DIRECT.
      if (fd !== undefined && errnoOf(error) === 'EIO') return { fd, isDirect: true };
      if (fd !== undefined) await closeFd(fd);
      if (errnoOf(error) !== 'EINVAL') throw error;
    }
  }
  return { fd: await openFd(path, flags), isDirect: false };
}

/** What an open file is, checked: a path may lead to anything. */
async function inspect(
  fd: number,
  { path, isDisk = false }: BlockFileOptions,
): Promise<Pick<BlockFile, 'sizeBytes' | 'identity' | 'deviceNumber'>> {
  const stat = await statFd(fd, { bigint: true });
  if (!(isDisk ? stat.isBlockDevice() : stat.isFile())) {
    const kind = isDisk ? 'block device' : 'plain file';
    throw new HoldfastError('HF_NOT_OURS', `${path} is not a ${kind}`);
  }
  const deviceNumber = deviceNumberOf(isDisk ? stat.rdev : stat.dev);
  const sizeBytes = isDisk ? await diskBytes(deviceNumber) : Number(stat.size);
  return { sizeBytes, identity: identityOf(stat), deviceNumber };
}

/**
 * What a path leads to, sound to compare as long as that is open: device and inode. A disk is its
 * number instead, whichever of its names is used; one that is plugged in again gets another number
 * while the old one is open.
 */
export function identityOf(stat: fs.BigIntStats): string {
  return stat.isBlockDevice() ? `disk-${stat.rdev}` : `${stat.dev}-${stat.ino}`;
}

/** The system's name of an error, as `ENOENT`; `undefined` for others. */
export function errnoOf(error: unknown): string | undefined {
  const { code, syscall } = error as NodeJS.ErrnoException;
  return syscall === undefined ? undefined : code;
}

/** What a failed call on a file is to our callers; errors that are no system errors stay. */
export function fileError(error: unknown, task: string, path: string): unknown {
  const errno = errnoOf(error);
  if (errno === undefined) return error;
  const options = { cause: error, details: { path, errno } };
  const message = `${path}: cannot ${task} it: ${errno}`;
  switch (errno) {
    case 'ENOENT':
      return new HoldfastError('HF_NOT_FOUND', `${path} does not exist`, options);
    case 'EISDIR':
      return new HoldfastError('HF_IS_DIRECTORY', `${path} is a directory`, options);
    case 'ENOTDIR':
      return new HoldfastError('HF_NOT_DIRECTORY', `${path} is not a directory`, options);
    case 'ENOSPC':
    case 'EDQUOT':
      return new HoldfastError('HF_NO_SPACE', message, options);
    default:
      return new HoldfastError('HF_IO', message, options);
  }
}
