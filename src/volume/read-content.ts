/**
 * Content on its way out: stripes are read ahead while earlier ones are consumed, in bounded
 * number.
 */
import { HoldfastError, LIMITS, throwIfAborted } from '../base/index.ts';
import type { Extent, InodeRecord, Namespace } from '../meta/index.ts';
import type { StripeStore } from '../stripes/index.ts';
import type { StripeKeys } from './stripe-keys.ts';

/** Stripes in a reader's memory besides the one that is being consumed. */
const STRIPES_AHEAD_MAX = 2;

export interface ReadContext {
  readonly namespace: Namespace;
  readonly stripes: StripeStore;
  readonly stripeKeys: StripeKeys;
}

export interface ReadRange {
  readonly offset: number;
  readonly lengthBytes: number;
}

interface Part {
  readonly extent: Extent;
  readonly range: ReadRange;
}

/** Bytes of an inode in order. */
export async function* readContent(
  context: ReadContext,
  { inode }: InodeRecord,
  options: { range: ReadRange; signal: AbortSignal | undefined },
): AsyncGenerator<Uint8Array> {
  const ahead: Promise<Uint8Array>[] = [];
  const parts = partsOf(context.namespace, inode, options.range);
  try {
    for (let isEnd = false; ;) {
      while (!isEnd && ahead.length < STRIPES_AHEAD_MAX) {
        const next = await parts.next();
        isEnd = next.done === true;
        if (!next.done) ahead.push(startRead(context, inode, next.value, options.signal));
      }
      const first = ahead.shift();
      if (!first) return;
      const bytes = await first;
      throwIfAborted(options.signal);
      yield bytes;
    }
  } finally {
    // The reader may stop early: nothing is under way when it has.
    await Promise.allSettled(ahead);
  }
}

function startRead(
  { stripes, stripeKeys }: ReadContext,
  inode: InodeRecord['inode'],
  { extent, range }: Part,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const { stripe, schemeNumber, lengthBytes: contentBytes } = extent;
  const key = stripeKeys.unwrap(inode, extent);
  const reading = stripes.read({ stripe, schemeNumber, key, contentBytes }, range, { signal });
  // Whoever awaits it sees the failure; until then it must not count as unhandled.
  reading.catch(() => {});
  return reading;
}

/** The stripes of a range and which bytes of each. */
async function* partsOf(
  namespace: Namespace,
  inode: InodeRecord['inode'],
  { offset, lengthBytes }: ReadRange,
): AsyncGenerator<Part> {
  const end = offset + lengthBytes;
  let position = offset;
  // The first extent of the range begins less than a stripe before it.
  const from = Math.max(0, offset - LIMITS.stripeBytesMax);
  for await (const extent of extentsFrom(namespace, inode, from)) {
    if (position >= end) return;
    const extentEnd = extent.offset + extent.lengthBytes;
    if (extentEnd <= position) continue;
    if (extent.offset > position) break;
    const from = position - extent.offset;
    const to = Math.min(end, extentEnd) - extent.offset;
    yield { extent, range: { offset: from, lengthBytes: to - from } };
    position = extentEnd;
  }
  if (position < end) throw new HoldfastError('HF_CORRUPT', 'the record of an object has a gap');
}

/** Extents of an inode with offset ≥ `from`, in order, page by page. */
export async function* extentsFrom(
  namespace: Namespace,
  inode: InodeRecord['inode'],
  from = 0,
): AsyncGenerator<Extent> {
  for (let next = from; ;) {
    const page = await namespace.extents(inode, next);
    yield* page;
    const last = page.at(-1);
    if (!last) return;
    next = last.offset + 1;
  }
}
