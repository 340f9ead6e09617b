/**
 * Reading chunk files: `get` restores the file, `verify` looks at every byte. Both only read.
 */
import { createHash } from 'node:crypto';
import { bytesEqual, HoldfastError, throwIfAborted } from '../base/index.ts';
import { ChunkCoder } from './chunk-coder.ts';
import { plainPart } from './chunk-coding.ts';
import type { ChunkFault, ChunkFile } from './chunk-file.ts';
import { chunkFileShape, chunkFileStripe } from './chunk-format.ts';
import { updateAll } from './chunk-make.ts';
import { eachStripe, Turns } from './chunk-memory.ts';
import { ChunkSet } from './chunk-set.ts';
import { FileSeal } from './file-seal.ts';
import { assertRoom, OutputFile, type Reporting } from './files.ts';

export interface ChunkGetRequest extends Reporting {
  readonly paths: readonly string[];
  readonly output: string;
  readonly replaces: boolean;
  /** The share key, for sealed files. */
  readonly key: Uint8Array | undefined;
}

export interface ChunkGetResult {
  /** Of the file, as the names of the chunk files have it; `undefined` when they have lost it. */
  readonly name: string | undefined;
  readonly sizeBytes: number;
  /** What was found wrong on the way; the file is whole all the same. */
  readonly faults: readonly ChunkFault[];
}

/**
 * Restores a file, with up to n − k chunk files missing or bad in any stripe. The output gets its
 * name when its digest is right.
 * @throws HF_TOO_FEW_SHARDS, HF_WRONG_KEY, HF_CORRUPT, HF_EXISTS.
 */
export async function getFromChunkFiles(request: ChunkGetRequest): Promise<ChunkGetResult> {
  const { paths, replaces } = request;
  await using set = await ChunkSet.open(paths);
  set.assertEnough();
  const seal = openSeal(set, request.key);
  const bytes = seal?.plainBytes ?? set.header.contentBytes;
  await assertRoom([{ path: request.output, bytes }]);
  await using output = await OutputFile.create(request.output, { replaces });
  const digest = await decodeInto(output, set, { ...request, key: seal && request.key });
  const isRight =
    seal && request.key
      ? seal.isOf(request.key, digest)
      : bytesEqual(digest, set.header.fileDigest);
  if (!isRight) {
    throw new HoldfastError('HF_CORRUPT', 'what the chunk files hold is not the file they name');
  }
  await output.commit({ replaces });
  return { name: set.name, sizeBytes: bytes, faults: set.faults };
}

function openSeal(set: ChunkSet, key: Uint8Array | undefined): FileSeal | undefined {
  const { envelope, contentBytes } = set.header;
  if (envelope.length === 0) return undefined;
  if (!key) throw new HoldfastError('HF_WRONG_KEY', 'the chunk files are sealed; give --key');
  const seal = FileSeal.fromEnvelope({ key, envelope });
  if (seal.sealedBytes === contentBytes) return seal;
  throw new HoldfastError('HF_CORRUPT', 'the chunk files and their envelope disagree on the size');
}

/** @returns the SHA-256 of what was written. */
async function decodeInto(
  output: OutputFile,
  set: ChunkSet,
  { key, signal, progress }: ChunkGetRequest,
): Promise<Uint8Array> {
  const { header } = set;
  const hash = createHash('sha256');
  const turns = new Turns();
  await using coder = ChunkCoder.open(header, key);
  await eachStripe(coder.slab, chunkFileShape(header).stripeCount, async (stripeIndex, slot) => {
    using turn = turns.next();
    throwIfAborted(signal);
    const present = await set.gather(coder, { stripeIndex, slot });
    await coder.decode({ stripeIndex, slot }, present);
    const stripe = chunkFileStripe(header, stripeIndex);
    const { offset, views } = plainPart({ set: header, slab: coder.slab }, stripe, slot);
    const writing = writeViews(output, offset, views);
    writing.catch(() => {}); // it is awaited when the hash has been there
    try {
      await turn.run(() => updateAll(hash, views));
    } finally {
      await writing; // the slot is in use until then
    }
    progress?.({ done: stripe.contentOffset + stripe.contentBytes, total: header.contentBytes });
  });
  return hash.digest();
}

async function writeViews(
  output: OutputFile,
  start: number,
  views: readonly Uint8Array[],
): Promise<void> {
  let offset = start;
  for (const view of views) {
    await output.write(view, offset);
    offset += view.length;
  }
}

export interface ChunkVerifyResult {
  readonly faults: readonly ChunkFault[];
  /** Indexes of which no file without fault was named. */
  readonly lacking: readonly number[];
  readonly k: number;
  readonly n: number;
  /** In the worst stripe, good blocks of different indexes. */
  readonly goodCount: number;
}

/** Reads every byte of the files. @throws HF_NOT_OURS, HF_BAD_ARGUMENT. */
export async function verifyChunkFiles(
  paths: readonly string[],
  reporting: Reporting,
): Promise<ChunkVerifyResult> {
  await using set = await ChunkSet.open(paths);
  await using coder = ChunkCoder.open(set.header, undefined);
  const goodCount = await checkAll(set, coder, reporting);
  const { k, n } = set.header;
  return { faults: set.faults, lacking: lackingIndexes(set), k, n, goodCount };
}

/** Indexes of which there is no sound file. */
export function lackingIndexes(set: ChunkSet): number[] {
  const sound = new Set(
    set.files.filter((file) => set.isSound(file)).map(({ header }) => header.index),
  );
  return Array.from({ length: set.header.n }, (_, index) => index).filter((i) => !sound.has(i));
}

/** Checks every block. @returns how many different ones the worst stripe has. */
export async function checkAll(
  set: ChunkSet,
  coder: ChunkCoder,
  { signal, progress }: Reporting,
): Promise<number> {
  const { header } = set;
  const counts = await eachStripe(
    coder.slab,
    chunkFileShape(header).stripeCount,
    async (stripeIndex, slot) => {
      const good = new Set<number>();
      for (const files of layers(set.files)) {
        throwIfAborted(signal);
        for (const index of await set.check(coder, { stripeIndex, slot }, files)) good.add(index);
      }
      const { contentOffset, contentBytes } = chunkFileStripe(header, stripeIndex);
      progress?.({ done: contentOffset + contentBytes, total: header.contentBytes });
      return good.size;
    },
  );
  return counts.reduce((least, count) => Math.min(least, count), set.present.length);
}

/** The files in groups in which each index comes once: a slot has one room for each. */
function layers(files: readonly ChunkFile[]): ChunkFile[][] {
  const same = [...Map.groupBy(files, ({ header }) => header.index).values()];
  const depth = same.reduce((most, { length }) => Math.max(most, length), 0);
  return Array.from({ length: depth }, (_, layer) => same.flatMap((copies) => copies[layer] ?? []));
}
