/**
 * Content on its way out: stripes are read ahead while earlier ones are consumed, in bounded number.
 */
import { HoldfastError, LIMITS, throwIfAborted } from '../base/index.ts';
import type { Extent, InodeRecord, Namespace } from '../meta/index.ts';
import type { StripeContent, StripeStore } from '../stripes/index.ts';
import type { StripeKeys } from './stripe-keys.ts';

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

/** Bytes of an inode in order; each array is valid until the next is asked for. */
export async function* readContent(
  context: ReadContext,
  { inode }: InodeRecord,
  options: { range: ReadRange; signal: AbortSignal | undefined },
): AsyncGenerator<Uint8Array> {
  const ahead: Promise<StripeContent>[] = [];
  const parts = partsOf(context.namespace, inode, options.range);
  try {
    for (let isEnd = false; ;) {
      while (!isEnd && ahead.length < LIMITS.stripesInFlightMax) {
        const next = await parts.next();
        isEnd = next.done === true;
        if (!next.done) ahead.push(startRead(context, inode, next.value, options.signal));
      }
      const first = ahead.shift();
      if (!first) return;
      using content = await first;
      throwIfAborted(options.signal);
      yield content.bytes;
    }
  } finally {
    // The reader may stop early: what was read ahead is given back.
    for (const left of await Promise.allSettled(ahead)) {
      if (left.status === 'fulfilled') left.value[Symbol.dispose]();
    }
  }
}

function startRead(
  { stripes, stripeKeys }: ReadContext,
  inode: InodeRecord['inode'],
  { extent, range }: Part,
  signal: AbortSignal | undefined,
): Promise<StripeContent> {
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
  for await (const extent of extentsFrom(namespace, inode)) {
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

/** All extents of an inode in order, page by page. */
export async function* extentsFrom(
  namespace: Namespace,
  inode: InodeRecord['inode'],
): AsyncGenerator<Extent> {
  let from = 0;
  for (;;) {
    const page = await namespace.extents(inode, from);
    yield* page;
    const last = page.at(-1);
    if (!last) return;
    from = last.offset + 1;
  }
}
