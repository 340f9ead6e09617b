/**
 * Splits a file into n share files, any k of which restore it: Rabin's information dispersal, every
 * share a mixture of all of the file ("Efficient dispersal of information", 1989). Memory does not
 * depend on the size of the file.
 */
import path from 'node:path';
import { HoldfastError, mapBounded, MiB } from '../base/index.ts';
import type { Random } from '../env/index.ts';
import { type FileSeal, SEALED_SEGMENT_BYTES, sealOf, SEGMENT_BYTES } from './file-seal.ts';
import { assertFree, assertRoom, InputFile, type OutputFile, type Reporting } from './files.ts';
import { dealOut, IdaCoder } from './ida-coder.ts';
import { runStrips, Strips } from './pipeline.ts';
import { ShareDigester } from './share-digester.ts';
import { type ShareField, shareField } from './share-field.ts';
import {
  cauchyRow,
  pointsOfKey,
  pointsOfSeed,
  type Points,
  randomSeed,
  seedOfFile,
} from './share-points.ts';
import { type Chunking, planShares, type PlannedChunk, type ShareScheme } from './share-plan.ts';
import { ShareSource } from './share-source.ts';
import { type NewShare, ShareWriters } from './share-writer.ts';

/** What protects the shares: a share key, or nothing; then the matrix is the user's or random. */
export type Protection =
  | { readonly shareKey: Uint8Array }
  | {
      readonly shareKey: undefined;
      /** gnetraid's key: x_1 … x_n, y_1 … y_k. */
      readonly points?: readonly number[] | undefined;
      readonly random: Pick<Random, 'bytes'>;
    };

export interface SplitOptions extends Reporting {
  readonly file: string;
  readonly scheme: ShareScheme;
  readonly protection: Protection;
  /** One for each share, or fewer, which are then used in turn. */
  readonly folders: readonly string[];
  /** `%f` file, `%c` chunk, `%s` share; by default `%f-%s.sf`, with chunks `%f-%c-%s.sf`. */
  readonly namePattern?: string | undefined;
  readonly chunking?: Chunking | undefined;
}

export interface SplitResult {
  readonly paths: readonly string[];
  readonly plainBytes: number;
  readonly shareBytes: number;
}

/** Bytes of the stream worked on at once, about. */
const STRIP_BYTES = 1 * MiB;
const CHECKS_MAX = 16;

/** @throws HF_EXISTS before anything is written; nothing is left behind when it fails. */
export async function splitFile(options: SplitOptions): Promise<SplitResult> {
  const { scheme, protection, chunking } = options;
  await using file = await InputFile.open(options.file);
  const isSealed = protection.shareKey !== undefined;
  const plan = planShares({ size: file.size, scheme, isSealed, chunking });
  const seal = await sealOf(file, protection.shareKey, options);
  const field = shareField(scheme.width);
  const points = pointsOf(field, { scheme, protection, seal });
  const names = new ShareNames(options, plan.chunks.length);
  const chunks = plan.chunks.map((chunk) => ({
    chunk,
    shares: points.x.map((x, shareNumber) => ({
      path: names.of(shareNumber, chunk.chunkNumber),
      shareNumber,
      row: cauchyRow(field, x, points.y),
    })),
  }));
  const paths = chunks.flatMap(({ shares }) => shares.map((share) => share.path));
  await mapBounded(paths, CHECKS_MAX, assertFree);
  await assertRoom(
    chunks.flatMap(({ chunk, shares }) =>
      shares.map((share) => ({ path: share.path, bytes: chunk.shareBytes })),
    ),
  );
  const totalBytes = isSealed ? plan.totalBytes : 0;
  await using digester = ShareDigester.open({ totalBytes, signal: options.signal });
  const made: OutputFile[] = [];
  try {
    for (const { chunk, shares } of chunks) {
      const { streamBytes } = plan;
      const work = { file, seal, field, k: scheme.k, chunk, shares, streamBytes, digester };
      made.push(...(await writeChunk(work, options)));
    }
    await file.assertUnchanged();
  } catch (error) {
    for (const output of made) await output.withdraw();
    throw error;
  }
  return { paths, plainBytes: file.size, shareBytes: plan.totalBytes };
}

function pointsOf(
  field: ShareField,
  made: { scheme: ShareScheme; protection: Protection; seal: FileSeal | undefined },
): Points {
  const { scheme, protection, seal } = made;
  if (seal) return pointsOfSeed(field, { seed: seedOfFile(seal.fileId), ...scheme });
  if (protection.shareKey) throw new HoldfastError('HF_INTERNAL', 'a share key has a seal');
  const { points: key, random } = protection;
  if (key) return pointsOfKey(field, { key, ...scheme });
  return pointsOfSeed(field, { seed: randomSeed(random), ...scheme });
}

/** Where each share goes. */
class ShareNames {
  readonly #folders: readonly string[];
  readonly #pattern: string;
  readonly #fileName: string;

  /** @throws HF_BAD_ARGUMENT when names would not differ. */
  constructor(options: Pick<SplitOptions, 'file' | 'folders' | 'namePattern'>, chunkCount: number) {
    const { file, folders, namePattern } = options;
    const pattern = namePattern ?? (chunkCount === 1 ? '%f-%s.sf' : '%f-%c-%s.sf');
    if (!pattern.includes('%s') || (chunkCount > 1 && !pattern.includes('%c'))) {
      const message = 'a name pattern needs %s for the share, and %c when there are chunks';
      throw new HoldfastError('HF_BAD_ARGUMENT', message);
    }
    this.#folders = folders;
    this.#pattern = pattern;
    this.#fileName = path.basename(file);
  }

  of(shareNumber: number, chunkNumber: number): string {
    const name = this.#pattern.replace(/%[fcs]/g, (mark) => {
      if (mark === '%f') return this.#fileName;
      return String(mark === '%c' ? chunkNumber : shareNumber);
    });
    return path.join(this.#folders[shareNumber % this.#folders.length]!, name);
  }
}

interface ChunkWork {
  readonly file: InputFile;
  readonly seal: FileSeal | undefined;
  readonly field: ShareField;
  readonly k: number;
  readonly chunk: Pick<PlannedChunk, 'chunkNumber' | 'start' | 'next' | 'isFinal'>;
  readonly shares: readonly NewShare[];
  /** Of the whole file; for progress. */
  readonly streamBytes: number;
  readonly digester: ShareDigester;
}

/** The share files of one chunk, from the plain file. */
export async function writeChunk(work: ChunkWork, reporting: Reporting): Promise<OutputFile[]> {
  const { file, seal, field, k, chunk, shares, streamBytes } = work;
  const { start, next, isFinal, chunkNumber } = chunk;
  const header = { k, width: field.width, start, next, isFinal };
  await using writers = await ShareWriters.create(shares, { header, chunkNumber, seal });
  const strips = new Strips(chunk, { k, width: field.width, most: stripBytesOf(k, seal) });
  const source = new ShareSource(file, seal, strips.bytes);
  const coder = new IdaCoder(field, { count: k + 2 * shares.length, bytes: strips.laneBytes });
  const pieces = coder.lanes.slice(0, k);
  const targets = [0, 1].map((bank) => {
    const first = k + bank * shares.length;
    return coder.lanes.slice(first, first + shares.length);
  });
  const rows = shares.map(({ row }) => row);
  await runStrips(
    strips,
    {
      read: (strip, bank) => source.load(strip, bank),
      work(strip, bank) {
        dealOut(source.take(strip, bank), pieces, field.width);
        coder.transform({ rows, sources: pieces, targets: targets[bank]!, bytes: strip.laneBytes });
      },
      async write({ offset, bytes, laneBytes }, bank) {
        await writers.append(targets[bank]!.map((lane) => lane.subarray(0, laneBytes)));
        reporting.progress?.({ done: offset + bytes, total: streamBytes });
      },
    },
    reporting,
  );
  // Before anything gets its name: a sealing key seals one content.
  await file.assertUnchanged();
  return await writers.commit(work.digester);
}

/** A multiple of whole columns, and of whole segments where the stream is sealed. */
export function stripBytesOf(k: number, seal: FileSeal | undefined): number {
  const unit = k * (seal ? SEALED_SEGMENT_BYTES : SEGMENT_BYTES);
  return unit * Math.max(1, Math.floor(STRIP_BYTES / unit));
}
