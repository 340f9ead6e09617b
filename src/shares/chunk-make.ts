/**
 * Makes the chunk files of a file. All are written beside their names, made durable, and only then
 * named; a make that fails leaves none.
 */
import { createHash, type Hash } from 'node:crypto';
import path from 'node:path';
import { mapBounded, throwIfAborted } from '../base/index.ts';
import { ChunkCoder } from './chunk-coder.ts';
import { plainPart } from './chunk-coding.ts';
import { type ChunkFileSet, chunkFileShape, chunkFileStripe } from './chunk-format.ts';
import { blockViews, eachStripe, Turns } from './chunk-memory.ts';
import { type ChunkFileScheme, planChunkFileSet } from './chunk-plan.ts';
import { chunkFileName } from './chunk-set.ts';
import { ChunkFileWriters } from './chunk-writers.ts';
import { sealOf } from './file-seal.ts';
import { assertFree, assertRoom, InputFile, type Reporting } from './files.ts';

const FILES_MAX = 16;

export interface ChunkMakeRequest extends Reporting {
  readonly file: string;
  /** Before the index in the names of the chunk files. */
  readonly name: string;
  /** Folders, one chunk file to each in turn. */
  readonly folders: readonly string[];
  readonly scheme: ChunkFileScheme;
  /** The share key; `undefined` leaves the content plain. */
  readonly key: Uint8Array | undefined;
}

/** @returns the paths, in order of index. @throws HF_EXISTS, HF_NOT_FOUND, as the plan does. */
export async function makeChunkFiles(request: ChunkMakeRequest): Promise<string[]> {
  const { file, name, folders, scheme, key, signal } = request;
  await using input = await InputFile.open(file);
  const count = scheme.dataCount + scheme.parityCount;
  const paths = Array.from({ length: count }, (_, index) =>
    path.join(folders[index % folders.length]!, chunkFileName(name, index)),
  );
  await mapBounded(paths, FILES_MAX, assertFree);
  // Equal content is sealed with an equal key, so the content has to be known first.
  const seal = await sealOf(input, key, { signal });
  const envelope = seal?.envelope ?? new Uint8Array();
  const set = planChunkFileSet({ sizeBytes: input.size, envelope }, scheme);
  const bytes = chunkFileShape(set).fileBytes;
  await assertRoom(paths.map((target) => ({ path: target, bytes })));
  await using writers = await ChunkFileWriters.create(
    set,
    [...paths.entries()].map(([index, target]) => ({ index, path: target, replaces: false })),
  );
  const found = await encodeInto(writers, input, { ...request, set });
  if (key && !seal?.isOf(key, found)) throw input.changed();
  await input.assertUnchanged();
  const roots = writers.roots();
  await writers.finish(seal ? set : { ...set, fileDigest: found }, roots);
  return paths;
}

/** @returns the SHA-256 of what was read. */
async function encodeInto(
  writers: ChunkFileWriters,
  input: InputFile,
  { set, key, signal, progress }: ChunkMakeRequest & { readonly set: ChunkFileSet },
): Promise<Uint8Array> {
  const hash = createHash('sha256');
  const turns = new Turns();
  await using coder = ChunkCoder.open(set, key);
  await eachStripe(coder.slab, chunkFileShape(set).stripeCount, async (stripeIndex, slot) => {
    using turn = turns.next();
    throwIfAborted(signal);
    const stripe = chunkFileStripe(set, stripeIndex);
    const blocks = blockViews(coder.slab, slot, stripe.blockBytes);
    const { offset, views } = plainPart({ set, slab: coder.slab }, stripe, slot);
    await readViews(input, offset, views);
    // Hashing and coding read the same bytes; sealing writes elsewhere.
    const [checksums] = await Promise.all([
      coder.encode({ stripeIndex, slot }),
      turn.run(() => updateAll(hash, views)),
    ]);
    await writers.write(stripe, blocks, checksums);
    progress?.({ done: stripe.contentOffset + stripe.contentBytes, total: set.contentBytes });
  });
  return hash.digest();
}

export function updateAll(hash: Hash, views: readonly Uint8Array[]): void {
  for (const view of views) hash.update(view);
}

async function readViews(
  input: InputFile,
  start: number,
  views: readonly Uint8Array[],
): Promise<void> {
  let offset = start;
  for (const view of views) {
    await input.read(view, offset);
    offset += view.length;
  }
}
