/**
 * Copies a range of one file into another one of its volume, or into itself. What is committed and
 * goes over whole is not copied: its stripe gets one more reference, and its key is wrapped for the
 * new place. Holes become holes; all else goes byte for byte.
 */
import { LIMITS, mapBounded, MiB } from '../../base/index.ts';
import type { Extent, Inode } from '../../meta/index.ts';
import { isHole, type Part } from './extent-map.ts';
import type { FileContent } from './file-content.ts';
import type { FilesContext } from './files-context.ts';

/** What is looked at before anything of it is copied. */
const STRIDE_BYTES = 256 * MiB;
const STEP_BYTES = 1 * MiB;

interface Copy {
  readonly source: FileContent;
  readonly target: FileContent;
  /** From offsets in the source to those in the target. */
  readonly shift: number;
}

/** @returns bytes copied. */
export async function copyRange(
  context: FilesContext,
  { source, target }: Pick<Copy, 'source' | 'target'>,
  given: { readonly from: number; readonly to: number; readonly offset: number },
): Promise<number> {
  await source.storePatiently();
  const copy = { source, target, shift: given.offset - given.from };
  const { state } = source;
  // Copying within a file may make it longer.
  const to = Math.min(given.to, state.sizeBytes);
  let at = given.from;
  while (at < to) {
    const end = Math.min(to, at + STRIDE_BYTES);
    const range = { start: at, end };
    await copyParts(context, copy, await state.map.partsOf(range));
    at = end;
  }
  return Math.max(0, at - given.from);
}

async function copyParts(context: FilesContext, copy: Copy, parts: readonly Part[]): Promise<void> {
  const shared: Extent[] = [];
  for (const part of parts) {
    const { start, end, extent } = part;
    const [dirty] = copy.source.state.pieces(part);
    if (!dirty && isHole(part)) await copyHole(copy, part);
    else if (!dirty && isWhole(part) && isOfOne(copy)) shared.push(extent!);
    else await copyBytes(copy, { start, end });
  }
  if (shared.length === 0 || (await shareStripes(context, copy, shared))) return;
  for (const { offset, lengthBytes } of shared) {
    await copyBytes(copy, { start: offset, end: offset + lengthBytes });
  }
}

/** All of a stripe, and none of those that are so small that copying is cheaper. */
function isWhole({ start, end, extent }: Part): boolean {
  const isFull = extent?.lengthBytes === end - start && !extent.whole;
  return isFull && end - start >= LIMITS.copyContentBytesMax;
}

/** A hybrid's other encodings would be missed. */
function isOfOne({ source, target }: Copy): boolean {
  return source.state.policy.length === 1 && target.state.policy.length === 1;
}

async function copyHole({ target, shift }: Copy, { start, end }: Part): Promise<void> {
  await target.deallocate({ start: start + shift, end: end + shift });
  if (target.state.sizeBytes < end + shift) await target.truncate(end + shift);
}

async function copyBytes(
  { source, target, shift }: Copy,
  { start, end }: { readonly start: number; readonly end: number },
): Promise<void> {
  const memory = Buffer.allocUnsafeSlow(Math.min(STEP_BYTES, end - start));
  for (let at = start; at < end;) {
    const count = await source.reading.read(at, memory.subarray(0, end - at), true);
    if (count === 0) return;
    await target.write(at + shift, memory.subarray(0, count));
    at += count;
  }
}

/** @returns whether all of them are stored still; else nothing was done. */
async function shareStripes(
  context: FilesContext,
  { source, target, shift }: Copy,
  extents: readonly Extent[],
): Promise<boolean> {
  const { references, stripeKeys, inodes, session, volume, abandoned } = context;
  const records = await mapBounded(extents, LIMITS.stripesInFlightMax, ({ stripe }) =>
    references.stripe(stripe),
  );
  const stripes = records.filter((record) => record !== undefined);
  if (stripes.length < extents.length) return false;
  const write: Inode = await inodes.take({ inode: target.state.inode });
  const holder = { volume: volume().id, inode: write };
  const named = extents.map(({ stripe }) => stripe);
  try {
    const wanted = stripes.map(({ stripe, schemeNumber, chunkBytes }) => {
      return { stripe, schemeNumber, chunkBytes };
    });
    const added = await references.add({ session: session(), holder, stripes: wanted });
    if (!added.every(({ isStored }) => isStored)) {
      await abandoned.undo(write, named);
      return false;
    }
    const moved = extents.map((extent) => {
      const key = stripeKeys.unwrap(source.state.inode, extent);
      const { lengthBytes, stripe, schemeNumber } = extent;
      const place = { encoding: 0, lengthBytes, stripe, schemeNumber };
      return stripeKeys.wrap(write, { ...place, offset: extent.offset + shift }, key);
    });
    await target.adopt({ write, extents: moved });
    return true;
  } catch (error) {
    await abandoned.undo(write, named);
    throw error;
  }
}
