/**
 * Files that the caller holds open. The node opens them a second time through the kernel's name of
 * the descriptor, so content is read into the memory where it is sealed, and written from where it
 * was opened. Who may use the control socket has this node's rights already, so nothing is gained
 * by naming somebody else's descriptor.
 */
import fs from 'node:fs/promises';
import type { ProgressView } from '../api/index.ts';
import { HoldfastError } from '../base/index.ts';
import type { ContentSource } from '../volume/index.ts';

type OnProgress = (progress: ProgressView) => void;

/** @throws HF_UNSUPPORTED when it cannot be opened from here: another user, another machine. */
async function openHanded(descriptor: string, flags: 'r' | 'r+'): Promise<fs.FileHandle> {
  try {
    return await fs.open(descriptor, flags);
  } catch (error) {
    const message = `${descriptor} cannot be opened by the node`;
    throw new HoldfastError('HF_UNSUPPORTED', message, { cause: error });
  }
}

/** The file from its beginning. @throws as {@link openHanded}. */
export async function handedSource(
  descriptor: string,
  onProgress: OnProgress,
): Promise<ContentSource> {
  const file = await openHanded(descriptor, 'r');
  const { size: totalCount } = await file.stat();
  let position = 0;
  return {
    async fill(target) {
      const { bytesRead } = await file.read(target, 0, target.length, position);
      position += bytesRead;
      onProgress({ doneCount: position, totalCount, bytes: position });
      return bytesRead;
    },
    [Symbol.asyncDispose]: () => file.close(),
  };
}

/** A file to be written: a regular one from its beginning, a device (/dev/null) as it comes. */
export async function handedTarget(descriptor: string): Promise<HandedTarget> {
  const file = await openHanded(descriptor, 'r+');
  const stats = await file.stat();
  if (stats.isFile() || stats.isCharacterDevice()) return new HandedTarget(file, stats.isFile());
  await file.close();
  // Whoever reads a pipe could go without our noticing.
  throw new HoldfastError('HF_UNSUPPORTED', `${descriptor} is no file`);
}

class HandedTarget implements AsyncDisposable {
  readonly #file: fs.FileHandle;
  readonly #hasPositions: boolean;

  constructor(file: fs.FileHandle, hasPositions: boolean) {
    this.#file = file;
    this.#hasPositions = hasPositions;
  }

  async write(
    content: AsyncIterable<Uint8Array>,
    { totalCount, onProgress }: { totalCount: number; onProgress: OnProgress },
  ): Promise<void> {
    let bytes = 0;
    for await (const piece of content) {
      for (let rest = piece; rest.length > 0;) {
        const position = this.#hasPositions ? bytes : null;
        const { bytesWritten } = await this.#file.write(rest, 0, rest.length, position);
        rest = rest.subarray(bytesWritten);
        bytes += bytesWritten;
      }
      onProgress({ doneCount: bytes, totalCount, bytes });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}
