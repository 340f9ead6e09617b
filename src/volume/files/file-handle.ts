/** One opening of a file: what it was told of failures, and whether it reads in order. */
import { assert, errorCode, KiB } from '../../base/index.ts';
import type { Inode, InodeStatus } from '../../meta/index.ts';
import { copyRange } from './copy-range.ts';
import type { FileContent } from './file-content.ts';
import type { FilesContext } from './files-context.ts';
import type { FileRange, OpenFile } from './open-file.ts';

/** Who has read so much in order is likely to go on. */
const SEQUENTIAL_BYTES_MIN = 512 * KiB;

export class FileHandle implements OpenFile {
  readonly content: FileContent;
  readonly #context: FilesContext;
  readonly #onLastClose: () => void;
  #failuresSeen: number;
  #isClosed = false;
  /** Where the last read ended, and how many bytes had been read in order by then. */
  #readTo = 0;
  #inOrderBytes = 0;
  #isReadingAhead = false;

  constructor(context: FilesContext, content: FileContent, onLastClose: () => void) {
    this.#context = context;
    this.content = content;
    this.#onLastClose = onLastClose;
    this.#failuresSeen = content.failureCount;
  }

  get inode(): Inode {
    return this.content.state.inode;
  }

  get status(): InodeStatus {
    return this.content.state.status;
  }

  get foreignChanges(): number {
    return this.content.state.foreignChanges;
  }

  async read(
    { offset, lengthBytes }: FileRange,
    options: { readonly target?: Uint8Array | undefined } = {},
  ): Promise<Uint8Array> {
    this.#checkOpen();
    const { background } = this.#context;
    const wanted = Math.max(0, Math.min(lengthBytes, this.content.state.sizeBytes - offset));
    const target = (options.target ?? Buffer.allocUnsafeSlow(wanted)).subarray(0, wanted);
    this.#inOrderBytes = offset === this.#readTo ? this.#inOrderBytes + lengthBytes : 0;
    this.#readTo = offset + lengthBytes;
    const isSequential = this.#inOrderBytes >= SEQUENTIAL_BYTES_MIN;
    if (isSequential) background.start('reading ahead', this.#readAhead(this.#readTo));
    const filled = await this.content.reading.read(offset, target, isSequential);
    return target.subarray(0, filled);
  }

  /** What fails here is met again by who reads it. */
  async #readAhead(offset: number): Promise<void> {
    if (this.#isReadingAhead) return;
    this.#isReadingAhead = true;
    try {
      await this.content.reading.readAhead(offset);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
    } finally {
      this.#isReadingAhead = false;
    }
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    this.#checkOpen();
    this.#tell();
    await this.content.write(offset, bytes);
  }

  async truncate(sizeBytes: number): Promise<void> {
    this.#checkOpen();
    await this.content.truncate(sizeBytes);
  }

  async deallocate({ offset, lengthBytes }: FileRange): Promise<void> {
    this.#checkOpen();
    await this.content.deallocate({ start: offset, end: offset + lengthBytes });
  }

  async copyFrom(source: OpenFile, from: FileRange, offset: number): Promise<number> {
    this.#checkOpen();
    this.#tell();
    assert(source instanceof FileHandle, 'both files are of one volume');
    const { offset: start, lengthBytes } = from;
    const files = { source: source.content, target: this.content };
    return await copyRange(this.#context, files, { from: start, to: start + lengthBytes, offset });
  }

  async seekData(offset: number): Promise<number | undefined> {
    this.#checkOpen();
    return await this.content.reading.seekData(offset);
  }

  async seekHole(offset: number): Promise<number | undefined> {
    this.#checkOpen();
    return await this.content.reading.seekHole(offset);
  }

  setModified(modifiedNs: bigint): void {
    this.#checkOpen();
    this.content.setModified(modifiedNs);
  }

  async sync({
    dataOnly = false,
  }: { readonly dataOnly?: boolean | undefined } = {}): Promise<void> {
    this.#checkOpen();
    await this.content.sync({ dataOnly });
    this.#tell();
  }

  async close(): Promise<void> {
    this.#checkOpen();
    this.#isClosed = true;
    try {
      await this.content.sync({ dataOnly: false });
      this.#tell();
    } finally {
      await this.#leave();
    }
  }

  /** Nobody waits: @returns what it failed with, which nobody is told. */
  async tryStore(): Promise<unknown> {
    this.#checkOpen();
    return await this.content.trySync();
  }

  /** As `close`, and nothing is stored for its sake. */
  async giveUp(): Promise<void> {
    this.#checkOpen();
    this.#isClosed = true;
    await this.#leave();
  }

  async #leave(): Promise<void> {
    this.content.handleCount -= 1;
    if (this.content.handleCount > 0) return;
    await this.content.giveUp();
    if (this.content.handleCount === 0) this.#onLastClose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isClosed) await this.close();
  }

  /** @throws a failure to store that this handle was not told of, once. */
  #tell(): void {
    const failure = this.content.failureSince(this.#failuresSeen);
    this.#failuresSeen = this.content.failureCount;
    if (failure !== undefined) throw failure;
  }

  #checkOpen(): void {
    assert(!this.#isClosed, 'a file is not used after it was closed');
  }
}
