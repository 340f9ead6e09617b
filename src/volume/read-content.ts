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

/** Bytes of an inode in order; each array is valid until the next is asked for. */
export async function* readContent(
  context: ReadContext,
  { inode }: InodeRecord,
  options: { range: ReadRange; signal: AbortSignal | undefined },
): AsyncGenerator<Uint8Array> {
  const ahead: Promise<Uint8Array>[] = [];
  const memory = new ReadMemory();
  const parts = partsOf(context.namespace, inode, options.range);
  try {
    for (let isEnd = false; ;) {
      while (!isEnd && ahead.length < STRIPES_AHEAD_MAX) {
        const next = await parts.next();
        isEnd = next.done === true;
        if (next.done) continue;
        const target = memory.take(next.value.range.lengthBytes);
        ahead.push(startRead(context, inode, next.value, { target, signal: options.signal }));
      }
      const first = ahead.shift();
      if (!first) return;
      const bytes = await first;
      throwIfAborted(options.signal);
      yield bytes;
      memory.giveBack(bytes);
    }
  } finally {
    // The reader may stop early: nothing is under way when it has.
    await Promise.allSettled(ahead);
  }
}

/**
 * Memory for stripes, used again within one read: fresh pages for each stripe cost the system more
 * than decoding it.
 */
class ReadMemory {
  readonly #free: Uint8Array[] = [];

  /** Nothing for short reads: those bring their own. */
  take(lengthBytes: number): Uint8Array | undefined {
    if (lengthBytes < LIMITS.stripeBytesMax / 2) return undefined;
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(LIMITS.stripeBytesMax);
  }

  giveBack({ buffer }: Uint8Array): void {
    if (buffer.byteLength === LIMITS.stripeBytesMax) this.#free.push(new Uint8Array(buffer));
  }
}

function startRead(
  { stripes, stripeKeys }: ReadContext,
  inode: InodeRecord['inode'],
  { extent, range }: Part,
  options: { target: Uint8Array | undefined; signal: AbortSignal | undefined },
): Promise<Uint8Array> {
  const { stripe, schemeNumber, lengthBytes: contentBytes } = extent;
  const key = stripeKeys.unwrap(inode, extent);
  const reading = stripes.read({ stripe, schemeNumber, key, contentBytes }, range, options);
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
  if (position >= end) return;
  if (await namespace.record(inode)) {
    throw new HoldfastError('HF_CORRUPT', 'the record of an object has a gap');
  }
  throw new HoldfastError('HF_NOT_FOUND', 'the object was removed or replaced while it was read');
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
