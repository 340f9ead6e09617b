/**
 * A file that appears whole or not at all: written beside its target under a name of its own, made
 * durable, then linked to its name. Linking fails when the name is taken, so nothing is overwritten
 * even when two write at once.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError, MiB } from '../base/index.ts';

/** Bytes gathered for one write. */
const WRITE_BYTES = MiB;

type Kind = 'none' | 'file' | 'stream';

/**
 * Refuses early what would be refused at the end.
 * @throws HF_EXISTS, HF_IS_DIRECTORY, HF_NOT_FOUND when its directory is missing.
 */
export async function checkTarget(
  target: string,
  { isForced }: { readonly isForced: boolean },
): Promise<void> {
  if ((await kindOf(target)) === 'file' && !isForced) throw taken(target);
}

/**
 * @param write fills the file from its beginning.
 * @throws as {@link checkTarget}, and what `write` and the filesystem throw.
 */
export async function writeFile(
  target: string,
  write: (file: fs.FileHandle) => Promise<void>,
  { isForced, uniqueName }: { readonly isForced: boolean; readonly uniqueName: string },
): Promise<void> {
  const kind = await kindOf(target);
  if (kind === 'file' && !isForced) throw taken(target);
  if (kind === 'stream') {
    await using file = await fs.open(target, 'w');
    return await write(file);
  }
  const temporary = path.join(path.dirname(target), `.holdfast-${uniqueName}.part`);
  try {
    await writeDurably(await fs.open(temporary, 'wx'), write);
    if (isForced) await fs.rename(temporary, target);
    else await nameIt(temporary, target);
  } finally {
    await fs.rm(temporary, { force: true });
  }
}

async function kindOf(target: string): Promise<Kind> {
  try {
    const stats = await fs.stat(target);
    if (stats.isDirectory()) {
      throw new HoldfastError('HF_IS_DIRECTORY', `${target} is a directory; name a file`);
    }
    return stats.isFile() ? 'file' : 'stream';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const folder = path.dirname(target);
  await fs.stat(folder).catch((cause: unknown) => {
    throw new HoldfastError('HF_NOT_FOUND', `there is no directory ${folder}`, { cause });
  });
  return 'none';
}

async function writeDurably(
  file: fs.FileHandle,
  write: (file: fs.FileHandle) => Promise<void>,
): Promise<void> {
  await using handle = file;
  await write(handle);
  await handle.sync();
}

/** Writes a stream; one write is under way while the next one's bytes are gathered. */
export async function writeStream(
  handle: fs.FileHandle,
  content: AsyncIterable<Uint8Array>,
): Promise<void> {
  let pieces: Uint8Array[] = [];
  let pieceBytes = 0;
  let writing: Promise<void> = Promise.resolve();
  try {
    for await (const piece of content) {
      pieces.push(piece);
      pieceBytes += piece.length;
      if (pieceBytes < WRITE_BYTES) continue;
      await writing;
      writing = writeAll(handle, pieces);
      writing.catch(() => {});
      pieces = [];
      pieceBytes = 0;
    }
  } finally {
    await writing;
  }
  await writeAll(handle, pieces);
}

/** Writes may be short; what is left of the pieces is written again. */
async function writeAll(handle: fs.FileHandle, pieces: readonly Uint8Array[]): Promise<void> {
  let left = pieces.filter(({ length }) => length > 0);
  while (left.length > 0) {
    const { bytesWritten } = await handle.writev(left);
    let written = bytesWritten;
    left = left.flatMap((piece) => {
      const taken = Math.min(written, piece.length);
      written -= taken;
      return taken === piece.length ? [] : [piece.subarray(taken)];
    });
  }
}

/** Gives the file its name, unless that is taken. */
async function nameIt(temporary: string, target: string): Promise<void> {
  try {
    await fs.link(temporary, target);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw taken(target);
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP') throw error;
    // A filesystem without links: an empty file takes the name, and the whole one replaces it.
    await (await fs.open(target, 'wx')).close();
    await fs.rename(temporary, target);
  }
}

function taken(target: string): HoldfastError {
  return new HoldfastError(
    'HF_EXISTS',
    `${target} exists; choose another name with -o, or replace it with --force`,
  );
}
