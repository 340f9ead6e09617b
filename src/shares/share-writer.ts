/** Writes share files: header, share, and for a sealed file the trailer. */
import { mapBounded } from '../base/index.ts';
import type { FileSeal } from './file-seal.ts';
import { OutputFile } from './files.ts';
import type { ShareDigester } from './share-digester.ts';
import { encodeHeader, encodeSums, encodeTrailer, type ShareHeader } from './sf-format.ts';

export interface NewShare {
  readonly path: string;
  readonly shareNumber: number;
  readonly row: readonly number[];
}

/** Files that are made durable at the same time. */
const SYNCS_MAX = 16;

/** The share files of one chunk, written side by side. */
export class ShareWriters {
  readonly #writers: readonly ShareWriter[];

  private constructor(writers: readonly ShareWriter[]) {
    this.#writers = writers;
  }

  static async create(
    shares: readonly NewShare[],
    chunk: {
      readonly header: Omit<ShareHeader, 'row'>;
      readonly chunkNumber: number;
      readonly seal: FileSeal | undefined;
    },
  ): Promise<ShareWriters> {
    const writers: ShareWriter[] = [];
    try {
      for (const share of shares) {
        const output = await OutputFile.create(share.path);
        const { chunkNumber, seal } = chunk;
        const trailer = seal && { shareNumber: share.shareNumber, chunkNumber, seal };
        const header = encodeHeader({ ...chunk.header, row: share.row });
        writers.push(new ShareWriter(output, header, trailer));
      }
    } catch (error) {
      await new ShareWriters(writers)[Symbol.asyncDispose]();
      throw error;
    }
    return new ShareWriters(writers);
  }

  /** Appends to each share; the bytes may be reused once it is written. */
  async append(pieces: readonly Uint8Array[]): Promise<void> {
    const writes = this.#writers.map((writer, index) => writer.append(pieces[index]!));
    await settleAll(writes);
  }

  /** Trailers, durability and names; none of them is there when this throws. */
  async commit(digester: ShareDigester): Promise<OutputFile[]> {
    const committed: OutputFile[] = [];
    try {
      await mapBounded(this.#writers, digester.width, (writer) => writer.finish(digester));
      await mapBounded(this.#writers, SYNCS_MAX, async ({ output }) => {
        await output.commit();
        committed.push(output);
      });
    } catch (error) {
      for (const output of committed) await output.withdraw();
      throw error;
    }
    return committed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { output } of this.#writers) await output[Symbol.asyncDispose]();
  }
}

interface TrailerParts {
  readonly shareNumber: number;
  readonly chunkNumber: number;
  readonly seal: FileSeal;
}

class ShareWriter {
  readonly output: OutputFile;
  readonly #trailer: TrailerParts | undefined;
  #header: Uint8Array | undefined;
  #offset: number;

  constructor(output: OutputFile, header: Uint8Array, trailer: TrailerParts | undefined) {
    this.output = output;
    this.#trailer = trailer;
    this.#header = header;
    this.#offset = header.length;
  }

  async append(bytes: Uint8Array): Promise<void> {
    const offset = this.#offset;
    this.#offset += bytes.length;
    const header = this.#header;
    this.#header = undefined;
    if (header) await this.output.write(header, 0);
    await this.output.write(bytes, offset);
  }

  /** The trailer, made of what is in the file by now. */
  async finish(digester: ShareDigester): Promise<void> {
    if (!this.#trailer) return await this.append(new Uint8Array(0));
    const { seal, shareNumber, chunkNumber } = this.#trailer;
    await this.append(encodeTrailer({ shareNumber, chunkNumber, envelope: seal.envelope }));
    const digest = await digester.digest({ path: this.output.partPath, bytes: this.#offset });
    await this.append(encodeSums(seal, digest));
  }
}

/** Waits for all, then throws the first failure: buffers are free in any case. */
export async function settleAll(work: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(work);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}
