/** Restores a file from share files. The output appears whole and checked, or not at all. */
import { createHash } from 'node:crypto';
import { HoldfastError } from '../base/index.ts';
import {
  assertEnough,
  assertGapless,
  type CheckedSet,
  checkShares,
  type CheckOptions,
} from './check-shares.ts';
import { decodeChunk, rowsOf } from './decode.ts';
import { type FileSeal, SEALED_SEGMENT_BYTES, SEGMENT_BYTES } from './file-seal.ts';
import { assertFree, assertRoom, OutputFile } from './files.ts';
import { gatherIn } from './ida-coder.ts';
import { NoiseMeter } from './looks-sealed.ts';
import type { Strip } from './pipeline.ts';
import { pointsOfRows } from './share-points.ts';
import type { BadShare } from './share-set.ts';
import { stripBytesOf } from './split.ts';

export interface CombineOptions extends CheckOptions {
  readonly paths: readonly string[];
}

export interface CombineResult {
  readonly plainBytes: number;
  readonly isSealed: boolean;
  /** Not sealed as far as the shares say, but like it: their trailers may have been cut off. */
  readonly looksSealed: boolean;
  /** Sealed; or of each chunk more than k shares agreed, and the chunks are of one split. */
  readonly isVerified: boolean;
  /** Whether all shares come from one split, as far as can be seen. */
  readonly isOneSplit: boolean;
  readonly bad: readonly BadShare[];
  readonly repeated: readonly BadShare[];
}

/** @throws HF_TOO_FEW_SHARDS, HF_CORRUPT, HF_WRONG_KEY, HF_EXISTS, HF_BAD_ARGUMENT. */
export async function combineShares(
  options: CombineOptions & { readonly output: string; readonly replaces?: boolean },
): Promise<CombineResult> {
  const { output, replaces = false } = options;
  if (!replaces) await assertFree(output);
  const checked = await checkWhole(options);
  const bytes = checked.set.seal?.plainBytes ?? checked.chunks.at(-1)!.next;
  await assertRoom([{ path: output, bytes }]);
  await using target = await OutputFile.create(output, { replaces });
  const write: Write = (bytes, offset) => target.write(bytes, offset);
  const result = await restore(checked, { ...options, write });
  await target.commit({ replaces });
  return result;
}

/** SHA-256 of the file that the shares hold; nothing is written. @throws as `combineShares`. */
export async function digestOfShares(
  options: CombineOptions,
): Promise<CombineResult & { readonly digest: Uint8Array }> {
  const hash = createHash('sha256');
  const write: Write = async (bytes) => void hash.update(bytes);
  const result = await restore(await checkWhole(options), { ...options, write });
  return { ...result, digest: new Uint8Array(hash.digest()) };
}

async function checkWhole(options: CombineOptions): Promise<CheckedSet> {
  const checked = await checkShares(options.paths, options);
  assertEnough(checked);
  assertGapless(checked);
  const { seal } = checked.set;
  if (seal && seal.sealedBytes !== checked.chunks.at(-1)!.next) {
    throw new HoldfastError('HF_CORRUPT', 'the shares do not hold as much as was sealed');
  }
  return checked;
}

/** Called in the order of the file. */
type Write = (bytes: Uint8Array, offset: number) => Promise<void>;

async function restore(
  checked: CheckedSet,
  options: CombineOptions & { readonly write: Write },
): Promise<CombineResult> {
  const { set, field, chunks } = checked;
  const { seal } = set;
  const streamBytes = chunks.at(-1)!.next;
  const stripBytes = stripBytesOf(set.k, seal);
  // A short file takes short buffers: archives have many of them.
  const sinkBytes = Math.min(stripBytes, streamBytes);
  const meter = new NoiseMeter();
  const write: Write = async (bytes, offset) => {
    if (!seal) meter.add(bytes);
    await options.write(bytes, offset);
  };
  const sink = new StreamSink(write, { seal, stripBytes: sinkBytes });
  const bad = [...checked.bad];
  let isVerified = true;
  for (const chunk of chunks) {
    const result = await decodeChunk(
      {
        field,
        chunk,
        comparesExtras: seal === undefined,
        wanted: identity(set.k),
        stripBytes,
        work: (lanes, strip, bank) => sink.take(lanes, { strip, bank, width: set.width }),
        async write(_, strip, bank) {
          await sink.write(strip, bank);
          options.progress?.({ done: strip.offset + strip.bytes, total: streamBytes });
        },
      },
      options,
    );
    bad.push(...result.bad);
    isVerified &&= result.isVerified;
  }
  const isOne = isOneSplit(checked);
  return {
    plainBytes: seal?.plainBytes ?? streamBytes,
    isSealed: seal !== undefined,
    looksSealed: seal === undefined && meter.looksSealed,
    isVerified: seal !== undefined || (isVerified && (isOne || chunks.length === 1)),
    isOneSplit: isOne,
    bad,
    repeated: checked.repeated,
  };
}

/** Chunks of one split have one matrix: a share of each chunk with the same number, one row. */
function isOneSplit({ field, chunks }: CheckedSet): boolean {
  const rows = chunks.flatMap(({ shares }) => rowsOf(shares));
  const distinct = new Map(rows.map((row) => [row.join(), row]));
  return pointsOfRows(field, [...distinct.values()]) !== undefined;
}

function identity(size: number): number[][] {
  return Array.from({ length: size }, (_, row) =>
    Array.from({ length: size }, (_unused, column) => (row === column ? 1 : 0)),
  );
}

/** From lanes to the plain file. */
class StreamSink {
  readonly #write: Write;
  readonly #seal: FileSeal | undefined;
  /** By bank: what is to be written. */
  readonly #plain: readonly Uint8Array[];
  readonly #sealed: Uint8Array;

  constructor(
    write: Write,
    { seal, stripBytes }: { seal: FileSeal | undefined; stripBytes: number },
  ) {
    this.#write = write;
    this.#seal = seal;
    this.#plain = [Buffer.allocUnsafe(stripBytes), Buffer.allocUnsafe(stripBytes)];
    this.#sealed = Buffer.allocUnsafe(seal ? stripBytes : 0);
  }

  take(
    lanes: readonly Uint8Array[],
    { strip, bank, width }: { strip: Strip; bank: 0 | 1; width: number },
  ): void {
    const plain = this.#plain[bank]!;
    const stream = (this.#seal ? this.#sealed : plain).subarray(0, strip.bytes);
    gatherIn(lanes, stream, width);
    if (!this.#seal) return;
    const first = strip.offset / SEALED_SEGMENT_BYTES;
    for (let at = 0, index = first; at < stream.length; at += SEALED_SEGMENT_BYTES, index++) {
      const segment = stream.subarray(at, at + SEALED_SEGMENT_BYTES);
      plain.set(this.#seal.openSegment(index, segment), (index - first) * SEGMENT_BYTES);
    }
  }

  async write({ offset, bytes }: Strip, bank: 0 | 1): Promise<void> {
    const plain = this.#plain[bank]!;
    if (!this.#seal) return await this.#write(plain.subarray(0, bytes), offset);
    const start = (offset / SEALED_SEGMENT_BYTES) * SEGMENT_BYTES;
    const count = Math.ceil(bytes / SEALED_SEGMENT_BYTES);
    const end = Math.min(start + count * SEGMENT_BYTES, this.#seal.plainBytes);
    await this.#write(plain.subarray(0, end - start), start);
  }
}
