/** Restores a file from share files. The output appears whole and checked, or not at all. */
import { HoldfastError } from '../base/index.ts';
import { assertEnough, checkShares, type CheckOptions, missingRange } from './check-shares.ts';
import { decodeChunk, rowsOf, type Strip } from './decode.ts';
import { type FileSeal, SEALED_SEGMENT_BYTES, SEGMENT_BYTES } from './file-seal.ts';
import { assertFree, OutputFile } from './files.ts';
import { gatherIn } from './ida-coder.ts';
import { pointsOfRows } from './share-points.ts';
import type { BadShare } from './share-set.ts';
import { stripBytesOf } from './split.ts';

export interface CombineOptions extends CheckOptions {
  readonly paths: readonly string[];
  readonly output: string;
}

export interface CombineResult {
  readonly plainBytes: number;
  readonly isSealed: boolean;
  /** Sealed, or more than k shares agreed. */
  readonly isVerified: boolean;
  /** Whether the shares of each chunk come from one split, as far as can be seen. */
  readonly isOneSplit: boolean;
  readonly bad: readonly BadShare[];
  readonly repeated: readonly BadShare[];
}

/** @throws HF_TOO_FEW_SHARDS, HF_CORRUPT, HF_WRONG_KEY, HF_EXISTS, HF_BAD_ARGUMENT. */
export async function combineShares(options: CombineOptions): Promise<CombineResult> {
  const { paths, output } = options;
  await assertFree(output);
  const checked = await checkShares(paths, options);
  const { set, field, chunks } = checked;
  const { seal } = set;
  assertEnough(checked);
  const missing = missingRange(checked);
  if (missing) throw new HoldfastError('HF_TOO_FEW_SHARDS', `there are no shares ${missing}`);
  const streamBytes = chunks.at(-1)!.next;
  if (seal && seal.sealedBytes !== streamBytes) {
    throw new HoldfastError('HF_CORRUPT', 'the shares do not hold as much as was sealed');
  }
  await using target = await OutputFile.create(output);
  const stripBytes = stripBytesOf(set.k, seal);
  const sink = new StreamSink(target, { seal, stripBytes });
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
  await target.commit();
  return {
    plainBytes: seal?.plainBytes ?? streamBytes,
    isSealed: seal !== undefined,
    isVerified: seal !== undefined || isVerified,
    isOneSplit: chunks.every(({ shares }) => pointsOfRows(field, rowsOf(shares)) !== undefined),
    bad,
    repeated: checked.repeated,
  };
}

export function identity(size: number): number[][] {
  return Array.from({ length: size }, (_, row) =>
    Array.from({ length: size }, (_unused, column) => (row === column ? 1 : 0)),
  );
}

/** From lanes to the plain file. */
class StreamSink {
  readonly #target: OutputFile;
  readonly #seal: FileSeal | undefined;
  /** By bank: what is to be written. */
  readonly #plain: readonly Uint8Array[];
  readonly #sealed: Uint8Array;

  constructor(
    target: OutputFile,
    { seal, stripBytes }: { seal: FileSeal | undefined; stripBytes: number },
  ) {
    this.#target = target;
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
    if (!this.#seal) return await this.#target.write(plain.subarray(0, bytes), offset);
    const start = (offset / SEALED_SEGMENT_BYTES) * SEGMENT_BYTES;
    const count = Math.ceil(bytes / SEALED_SEGMENT_BYTES);
    const end = Math.min(start + count * SEGMENT_BYTES, this.#seal.plainBytes);
    await this.#target.write(plain.subarray(0, end - start), start);
  }
}
