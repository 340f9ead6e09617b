/**
 * Repair: chunk files that are missing or bad, data and parity alike, are made again byte for byte.
 *
 * Every byte is verified first, and only verified blocks are used. What is made is checked against
 * the set id before it takes a name; a bad file is replaced by a rename and never written to, so a
 * repair that is killed leaves all as good as it was.
 */
import path from 'node:path';
import { HoldfastError, throwIfAborted } from '../base/index.ts';
import { ChunkCoder } from './chunk-coder.ts';
import type { ChunkFault } from './chunk-file.ts';
import { chunkFileShape, chunkFileStripe } from './chunk-format.ts';
import { blockViews, eachStripe } from './chunk-memory.ts';
import { checkAll, lackingIndexes } from './chunk-read.ts';
import { CHUNK_FILE_ENDING, chunkFileName, ChunkSet } from './chunk-set.ts';
import { type ChunkFileTarget, ChunkFileWriters } from './chunk-writers.ts';
import { assertRoom, type Reporting } from './files.ts';

export interface ChunkRepairRequest extends Reporting {
  readonly paths: readonly string[];
  /** Where missing chunk files may go; those with the fewest of the set come first. */
  readonly folders: readonly string[];
  /** Says what would be done, and does nothing. */
  readonly isDryRun: boolean;
}

export interface ChunkRepairResult {
  readonly faults: readonly ChunkFault[];
  /** Paths of what was made again. */
  readonly repaired: readonly string[];
}

/** @throws HF_TOO_FEW_SHARDS, HF_EXISTS when a strange file stands in the way. */
export async function repairChunkFiles(request: ChunkRepairRequest): Promise<ChunkRepairResult> {
  await using set = await ChunkSet.open(request.paths);
  set.assertEnough();
  const { header } = set;
  await using coder = ChunkCoder.open(header, undefined);
  const goodCount = await checkAll(set, coder, request);
  const targets = targetsOf(set, request.folders);
  const done = { faults: set.faults, repaired: targets.map((target) => target.path) };
  if (targets.length === 0) return done;
  if (goodCount < header.k) {
    const message = `have ${goodCount}, need ${header.k} in the worst stripe; verify names it`;
    throw new HoldfastError('HF_TOO_FEW_SHARDS', message);
  }
  if (request.isDryRun) return done;
  const bytes = chunkFileShape(header).fileBytes;
  await assertRoom(targets.map((target) => ({ path: target.path, bytes })));
  await using writers = await ChunkFileWriters.create(header, targets);
  const wanted = targets.map(({ index }) => index);
  await eachStripe(coder.slab, chunkFileShape(header).stripeCount, async (stripeIndex, slot) => {
    throwIfAborted(request.signal);
    const place = { stripeIndex, slot };
    const present = await set.gather(coder, place);
    const checksums = await coder.rebuild(place, { present, wanted });
    const stripe = chunkFileStripe(header, stripeIndex);
    await writers.write(stripe, blockViews(coder.slab, slot, stripe.blockBytes), checksums);
  });
  writers.assertRoots(header.roots);
  await writers.finish(header, header.roots);
  return done;
}

/** What is to be made again, and where: in place of the bad file, or in the emptiest folder. */
function targetsOf(set: ChunkSet, folders: readonly string[]): ChunkFileTarget[] {
  const { name } = set;
  const taken = set.files.map((file) => path.dirname(file.path));
  return lackingIndexes(set).map((index) => {
    const bad = set.files.find((file) => file.header.index === index);
    if (bad) return { index, path: bad.path, replaces: true };
    if (name === undefined) {
      const message = 'the chunk files have lost their names; call one NAME.000';
      throw new HoldfastError('HF_BAD_ARGUMENT', message + CHUNK_FILE_ENDING);
    }
    const named = chunkFileName(name, index);
    const lost = set.lost.find((file) => path.basename(file) === named);
    if (lost !== undefined) return { index, path: lost, replaces: true };
    const folder = emptiest(folders, taken);
    taken.push(folder);
    return { index, path: path.join(folder, named), replaces: false };
  });
}

function emptiest(folders: readonly string[], taken: readonly string[]): string {
  const count = (folder: string) => taken.filter((other) => other === folder).length;
  const [best] = folders.toSorted((a, b) => count(a) - count(b));
  if (best === undefined) throw new HoldfastError('HF_BAD_ARGUMENT', 'name folders with -d');
  return best;
}
