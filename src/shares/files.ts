/**
 * Files as share and chunk files need them: inputs of known size that are read at offsets, and
 * outputs that appear whole or not at all.
 *
 * An output is written as `<name>.<process id>.part`, made durable, then linked to its name, which
 * fails when the name is taken. Whatever happens before, disposing removes the part.
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import {
  assert,
  errorCode,
  errorMessage,
  HoldfastError,
  mapBounded,
  MiB,
  throwIfAborted,
} from '../base/index.ts';

/** Called now and then with how much is done; `total` is that of the whole call. */
export type Progress = (state: { readonly done: number; readonly total: number }) => void;

const DIGEST_PIECE_BYTES = 1 * MiB;
const LISTS_MAX = 16;
const OPENS_MAX = 16;

/** What tells one state of a file from another, as far as a filesystem tells. */
interface FileState {
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly ino: bigint;
  readonly dev: bigint;
}

export class InputFile {
  readonly path: string;
  readonly size: number;
  readonly #handle: fs.FileHandle;
  readonly #state: FileState;

  private constructor(file: string, handle: fs.FileHandle, state: FileState) {
    this.path = file;
    this.size = Number(state.size);
    this.#handle = handle;
    this.#state = state;
  }

  /** @throws HF_NOT_FOUND, HF_IS_DIRECTORY, HF_BAD_ARGUMENT when it is a pipe or a device. */
  static async open(file: string): Promise<InputFile> {
    // Otherwise a pipe that nobody writes to would be waited for.
    const flags = constants.O_RDONLY | constants.O_NONBLOCK;
    const handle = await fs.open(file, flags).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'ENOENT') throw cause;
      throw new HoldfastError('HF_NOT_FOUND', `there is no file ${file}`, { cause });
    });
    try {
      const stat = await handle.stat({ bigint: true });
      if (stat.isDirectory()) throw new HoldfastError('HF_IS_DIRECTORY', `${file} is a directory`);
      if (!stat.isFile()) throw new HoldfastError('HF_BAD_ARGUMENT', `${file} is no regular file`);
      return new InputFile(file, handle, stat);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Fills `target` from `offset` on. @throws HF_CORRUPT when the file ends before, HF_IO. */
  async read(target: Uint8Array, offset: number): Promise<void> {
    let done = 0;
    while (done < target.length) {
      const left = target.length - done;
      const { bytesRead } = await this.#handle
        .read(target, done, left, offset + done)
        .catch((cause: unknown) => {
          const message = `${this.path} cannot be read: ${errorMessage(cause)}`;
          throw new HoldfastError('HF_IO', message, { cause });
        });
      if (bytesRead === 0) throw new HoldfastError('HF_CORRUPT', `${this.path} is cut short`);
      done += bytesRead;
    }
  }

  /** SHA-256 of the file, or of its first `bytes`. */
  async digest({
    progress,
    signal,
    bytes: total = this.size,
  }: Reporting & { readonly bytes?: number } = {}): Promise<Uint8Array> {
    const hash = createHash('sha256');
    const bufferBytes = Math.min(DIGEST_PIECE_BYTES, total);
    let current = Buffer.allocUnsafe(bufferBytes);
    let other = Buffer.allocUnsafe(bufferBytes);
    const piece = (buffer: Buffer, offset: number) =>
      buffer.subarray(0, Math.min(DIGEST_PIECE_BYTES, total - offset));
    let reading = this.read(piece(current, 0), 0);
    for (let offset = 0; offset < total; offset += DIGEST_PIECE_BYTES) {
      await reading;
      const next = offset + DIGEST_PIECE_BYTES;
      throwIfAborted(signal);
      if (next < total) reading = this.read(piece(other, next), next);
      reading.catch(() => {}); // it is awaited in the next round
      hash.update(piece(current, offset));
      progress?.({ done: Math.min(next, total), total });
      [current, other] = [other, current];
    }
    return hash.digest();
  }

  /** @throws HF_BUSY when the file is not what it was when it was opened. */
  async assertUnchanged(): Promise<void> {
    const now = await this.#handle.stat({ bigint: true });
    const was = this.#state;
    if (now.size === was.size && now.mtimeNs === was.mtimeNs && now.ctimeNs === was.ctimeNs) return;
    throw this.changed();
  }

  changed(): HoldfastError {
    const message = `${this.path} was changed while it was read; try again`;
    return new HoldfastError('HF_BUSY', message);
  }

  /** Whether both are one file under two names, or opened twice. */
  isSameAs(other: InputFile): boolean {
    return this.#state.ino === other.#state.ino && this.#state.dev === other.#state.dev;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

export interface Reporting {
  readonly progress?: Progress | undefined;
  readonly signal?: AbortSignal | undefined;
}

export class OutputFile {
  readonly path: string;
  /** Where it is until it is committed. */
  readonly partPath: string;
  readonly #handle: fs.FileHandle;
  #isOpen = true;
  #isNamed = false;

  private constructor(file: string, part: string, handle: fs.FileHandle) {
    this.path = file;
    this.partPath = part;
    this.#handle = handle;
  }

  /**
   * @param options.replaces whether it takes the place of a file of that name.
   * @throws HF_EXISTS, HF_NOT_FOUND when its directory is missing.
   */
  static async create(
    file: string,
    { mode = 0o666, replaces = false }: { mode?: number; replaces?: boolean } = {},
  ): Promise<OutputFile> {
    if (!replaces) await assertFree(file);
    const part = `${file}.${process.pid}.part`;
    await fs.rm(part, { force: true }).catch(() => {}); // of a process that was killed
    const handle = await fs.open(part, 'wx', mode).catch((cause: NodeJS.ErrnoException) => {
      throw writeError(cause, file);
    });
    return new OutputFile(file, part, handle);
  }

  /** All of the bytes; an offset beyond the end leaves a hole. */
  async write(bytes: Uint8Array, offset: number): Promise<void> {
    let done = 0;
    while (done < bytes.length) {
      const left = bytes.length - done;
      const { bytesWritten } = await this.#handle
        .write(bytes, done, left, offset + done)
        .catch((cause: NodeJS.ErrnoException) => {
          throw writeError(cause, this.path);
        });
      done += bytesWritten;
    }
  }

  /** Everything written is durable. */
  async sync(): Promise<void> {
    await this.#handle.sync();
  }

  /** Makes it durable and names it; a new one has no name when this throws. @throws HF_EXISTS. */
  async commit({ replaces = false }: { replaces?: boolean } = {}): Promise<void> {
    assert(this.#isOpen, 'it is committed once');
    await this.#handle.sync();
    await this.#close();
    if (replaces) await fs.rename(this.partPath, this.path);
    else await nameIt(this.partPath, this.path);
    this.#isNamed = true;
    try {
      await syncFolder(path.dirname(this.path));
    } catch (error) {
      if (!replaces) await this.withdraw();
      throw error;
    }
  }

  /** Takes the name away again, where several files appear together or not at all. */
  async withdraw(): Promise<void> {
    if (this.#isNamed) await fs.rm(this.path, { force: true });
    this.#isNamed = false;
  }

  async #close(): Promise<void> {
    if (this.#isOpen) await this.#handle.close();
    this.#isOpen = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
    await fs.rm(this.partPath, { force: true });
  }
}

/** An error of the filesystem, with the folder that it is about. */
function writeError(cause: NodeJS.ErrnoException, file: string): Error {
  const folder = path.dirname(file);
  switch (cause.code ?? '') {
    case 'ENOENT':
      return new HoldfastError('HF_NOT_FOUND', `there is no directory ${folder}`, { cause });
    case 'ENOSPC':
    case 'EDQUOT': {
      const message = `${folder} is full: there is no room for ${path.basename(file)}`;
      return new HoldfastError('HF_NO_SPACE', message, { cause });
    }
    case 'EROFS':
      return new HoldfastError('HF_DENIED', `${folder} is read-only`, { cause });
    case 'EACCES':
    case 'EPERM':
      return new HoldfastError('HF_DENIED', `${folder} may not be written to`, { cause });
    default:
      return cause;
  }
}

/**
 * That files of these lengths have room, as far as their filesystems tell beforehand.
 * @throws HF_NO_SPACE with the folder, and how many bytes are needed there.
 */
export async function assertRoom(
  files: readonly { readonly path: string; readonly bytes: number }[],
): Promise<void> {
  const needed = new Map<string, { folder: string; bytes: number }>();
  for (const file of files) {
    const folder = path.dirname(file.path);
    // What is missing is told by whoever makes the file.
    const stat = await fs.stat(folder).catch(() => undefined);
    if (!stat) continue;
    const { bytes } = needed.get(String(stat.dev)) ?? { bytes: 0 };
    needed.set(String(stat.dev), { folder, bytes: bytes + file.bytes });
  }
  for (const { folder, bytes } of needed.values()) {
    const { bavail, blocks, bsize } = await fs.statfs(folder);
    const free = bavail * bsize;
    // Some filesystems of networks do not tell how large they are.
    if (bytes <= free || blocks === 0) continue;
    const message = `${folder} has room for ${free} bytes, and ${bytes} are needed on its disk`;
    throw new HoldfastError('HF_NO_SPACE', message);
  }
}

/** @throws HF_EXISTS. */
export async function assertFree(file: string): Promise<void> {
  const isThere = await fs.lstat(file).then(
    () => true,
    () => false,
  );
  if (isThere) throw taken(file);
}

async function nameIt(part: string, file: string): Promise<void> {
  try {
    await fs.link(part, file);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw taken(file);
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(code)) throw error;
    // A filesystem without links: an empty file takes the name, and the whole one replaces it.
    await (await fs.open(file, 'wx')).close();
    await fs.rename(part, file);
    return;
  }
  await fs.rm(part, { force: true });
}

/** Makes names that were added to a folder, or taken from it, durable. @throws HF_IO. */
export async function syncFolder(folder: string): Promise<void> {
  try {
    await using handle = await fs.open(folder, 'r');
    await handle.sync();
  } catch (error) {
    // Some filesystems cannot sync a folder; there is nothing more to be done then.
    if ((error as NodeJS.ErrnoException).code !== 'EIO') return;
    const message = `${folder} cannot be made durable: ${errorMessage(error)}`;
    throw new HoldfastError('HF_IO', message, { cause: error });
  }
}

export const NOT_THERE = 'it is not there';

/**
 * What is wrong with a file that could not be read: it is named, and the others are used.
 * @throws the error, unless it is about that file.
 */
export function faultOf(error: unknown, file: string): string {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'HF_NOT_FOUND') return NOT_THERE;
  const isAboutFile = errorCode(error) ? code !== 'HF_INTERRUPTED' : syscall && code !== 'EMFILE';
  if (!isAboutFile) throw error;
  return errorMessage(error).replace(`${file} `, 'it ');
}

function taken(file: string): HoldfastError {
  return new HoldfastError('HF_EXISTS', `${file} exists; choose another name or place`);
}

/** Files that are named, and those of folders that are named whose names end so; each once. */
export async function findFiles(places: readonly string[], ending: string): Promise<string[]> {
  const found = await mapBounded(places, LISTS_MAX, async (place) => {
    // What cannot be listed is named by whoever opens it.
    const names = await fs.readdir(place).catch(() => undefined);
    if (!names) return [place];
    const fitting = names.filter((name) => name.endsWith(ending)).toSorted();
    return fitting.map((name) => path.join(place, name));
  });
  return [...new Set(found.flat())];
}

/** Share or chunk files of one file, as far as can be seen. */
export interface FileGroup {
  /** Of the file, as their names have it. */
  readonly name: string;
  readonly paths: readonly string[];
}

/**
 * Each path in one group; what cannot be used goes to those whose name it has.
 * @param how.labelOf what files of one group have in common, and the name of the group if it is the
 *   first; `undefined` for what cannot be used.
 * @param how.isNamedFor whether the name of a file is that of one in the group.
 */
export async function groupFiles(
  paths: readonly string[],
  how: {
    readonly labelOf: (file: string) => Promise<{ key: string; name: string } | undefined>;
    readonly isNamedFor: (name: string, file: string) => boolean;
  },
): Promise<FileGroup[]> {
  const groups = new Map<string, { name: string; paths: string[] }>();
  const unread: string[] = [];
  const labels = await mapBounded(paths, OPENS_MAX, how.labelOf);
  for (const [index, file] of paths.entries()) {
    const label = labels[index];
    if (!label) {
      unread.push(file);
      continue;
    }
    const group = groups.get(label.key) ?? { name: label.name, paths: [] };
    groups.set(label.key, group);
    group.paths.push(file);
  }
  for (const file of unread) {
    const owner = [...groups.values()].find(({ name }) => how.isNamedFor(name, file));
    if (owner) owner.paths.push(file);
    else groups.set(file, { name: path.basename(file), paths: [file] });
  }
  return [...groups.values()];
}
