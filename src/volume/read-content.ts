/**
 * Content on its way out: stripes are read ahead while earlier ones are consumed, in bounded
 * number. Each range comes from the encoding that is cheapest to read, and from the others where
 * that one fails.
 */
import {
  assert,
  errorCode,
  HoldfastError,
  LIMITS,
  policyOfNumbers,
  readingOrder,
  throwIfAborted,
} from '../base/index.ts';
import type {
  Extent,
  ExtentPlace,
  InlineContent,
  Inode,
  InodeRecord,
  Namespace,
} from '../meta/index.ts';
import type { StripeStore } from '../stripes/index.ts';
import type { InodeSeals } from './inode-seals.ts';
import type { StripeKeys } from './stripe-keys.ts';

/** Stripes in a reader's memory besides the one that is being consumed. */
const STRIPES_AHEAD_MAX = 2;

export interface ReadContext {
  readonly namespace: Namespace;
  readonly stripes: StripeStore;
  readonly stripeKeys: StripeKeys;
  readonly seals: Pick<InodeSeals, 'openedContent'>;
}

export interface ReadRange {
  readonly offset: number;
  readonly lengthBytes: number;
}

interface Part {
  readonly extent: Extent;
  /** Within the extent. */
  readonly range: ReadRange;
}

/** What no extent holds: inline content, or zeros. */
interface Hole {
  readonly extent?: undefined;
  readonly inline?: Uint8Array | undefined;
  readonly range: ReadRange;
}

interface Wanted extends ReadRange {
  readonly encoding: number;
  readonly mayHaveHoles: boolean;
  /** As far as is known. */
  readonly isInline?: boolean;
}

/** Bytes of an inode in order; each array is valid until the next is asked for. */
export async function* readContent(
  context: ReadContext,
  { inode, schemeNumbers, isInline = false, isRewritten: mayHaveHoles = false }: InodeRecord,
  options: { range: ReadRange; signal: AbortSignal | undefined },
): AsyncGenerator<Uint8Array> {
  const policy = policyOfNumbers(schemeNumbers);
  const [encoding, ...others] = mayHaveHoles ? policy.keys() : readingOrder(policy);
  assert(encoding !== undefined, 'an object has an encoding');
  const ahead: Promise<Uint8Array>[] = [];
  const memory = new ReadMemory();
  const wanted = { ...options.range, encoding, mayHaveHoles, isInline };
  const parts = partsOf(context, inode, wanted);
  try {
    for (let isEnd = false; ;) {
      while (!isEnd && ahead.length < STRIPES_AHEAD_MAX) {
        const next = await parts.next();
        isEnd = next.done === true;
        if (next.done) continue;
        const target = memory.take(next.value.range.lengthBytes);
        const { signal } = options;
        const part = next.value;
        const reading = part.extent
          ? readPart(context, inode, { ...part, others }, { target, signal })
          : Promise.resolve(part.inline ?? zeros(part.range, target));
        // Whoever awaits it sees the failure; until then it must not count as unhandled.
        reading.catch(() => {});
        ahead.push(reading);
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

function zeros({ lengthBytes }: ReadRange, target: Uint8Array | undefined): Uint8Array {
  return (target ?? new Uint8Array(lengthBytes)).subarray(0, lengthBytes).fill(0);
}

interface ReadOptions {
  readonly target?: Uint8Array | undefined;
  readonly signal: AbortSignal | undefined;
}

/** What the extent does not give is read from the other encodings, in their order. */
async function readPart(
  context: ReadContext,
  inode: Inode,
  { extent, range, others }: Part & { readonly others: readonly number[] },
  options: ReadOptions,
): Promise<Uint8Array> {
  try {
    return await readExtent(context, inode, { extent, range }, options);
  } catch (error) {
    if (isFinal(error) || others.length === 0) throw error;
    const { lengthBytes } = range;
    const wanted = { offset: extent.offset + range.offset, lengthBytes };
    const { signal } = options;
    const bytes = await readElsewhere(context, inode, wanted, { encodings: others, signal });
    if (bytes) return bytes;
    throw error;
  }
}

/** The caller gave up, or it is a bug of ours: no other encoding would do better. */
export function isFinal(error: unknown): boolean {
  return errorCode(error) === undefined || errorCode(error) === 'HF_INTERRUPTED';
}

/** A range of the content from the first of the encodings that gives it; `undefined`: none does. */
export async function readElsewhere(
  context: ReadContext,
  inode: Inode,
  range: ReadRange,
  { encodings, signal }: { encodings: readonly number[]; signal: AbortSignal | undefined },
): Promise<Uint8Array | undefined> {
  for (const encoding of encodings) {
    try {
      const target = new Uint8Array(range.lengthBytes);
      let filled = 0;
      const wanted = { ...range, encoding, mayHaveHoles: false };
      for await (const part of partsOf(context, inode, wanted)) {
        if (!part.extent) break; // there are none
        const bytes = await readExtent(context, inode, part, { signal });
        target.set(bytes, filled);
        filled += bytes.length;
      }
      return target;
    } catch (error) {
      if (isFinal(error)) throw error;
    }
  }
  return undefined;
}

async function readExtent(
  { stripes, stripeKeys }: ReadContext,
  inode: Inode,
  { extent, range }: Part,
  options: ReadOptions,
): Promise<Uint8Array> {
  const { stripe, schemeNumber, whole = extent } = extent;
  const key = stripeKeys.unwrap(inode, extent);
  const wanted = { ...range, offset: extent.offset - whole.offset + range.offset };
  const contentBytes = whole.lengthBytes;
  return await stripes.read({ stripe, schemeNumber, key, contentBytes }, wanted, options);
}

/** The stripes of a range in one encoding, and which bytes of each. */
async function* partsOf(
  context: ReadContext,
  inode: Inode,
  wanted: Wanted,
): AsyncGenerator<Part | Hole, void> {
  const { encoding, offset, lengthBytes, mayHaveHoles, isInline = false } = wanted;
  const { namespace } = context;
  const end = offset + lengthBytes;
  let position = offset;
  // The first extent of the range begins less than a stripe before it.
  const from = { encoding, offset: Math.max(0, offset - LIMITS.stripeBytesMax) };
  for await (const extent of extentsFrom(namespace, inode, from)) {
    if (position >= end) return;
    const extentEnd = extent.offset + extent.lengthBytes;
    if (extentEnd <= position) continue;
    if (extent.offset > position) {
      // While it is there no extent has gone with it.
      if (!mayHaveHoles || !(await namespace.record(inode))) break;
      const holeEnd = Math.min(end, extent.offset);
      yield* holesOf(position, holeEnd);
      position = holeEnd;
      if (position >= end) return;
    }
    const from = position - extent.offset;
    const to = Math.min(end, extentEnd) - extent.offset;
    yield { extent, range: { offset: from, lengthBytes: to - from } };
    position = extentEnd;
  }
  if (position >= end) return;
  const found = await namespace.record(inode, { withContent: mayHaveHoles });
  if (!found)
    throw new HoldfastError('HF_NOT_FOUND', 'it was removed or replaced while it was read');
  if (!mayHaveHoles) throw new HoldfastError('HF_CORRUPT', 'the record of an object has a gap');
  const left = { ...wanted, offset: position, lengthBytes: end - position };
  if (found.inline) yield* inlineParts(context, { ...found, inline: found.inline }, left);
  // It has grown out of its inode between the two questions.
  else if (isInline) yield* partsOf(context, inode, { ...left, isInline: false });
  else yield* holesOf(position, end);
}

function* inlineParts(
  { seals }: ReadContext,
  { inode, inline }: { readonly inode: Inode; readonly inline: InlineContent },
  { offset, lengthBytes }: ReadRange,
): Generator<Hole, void> {
  const content = seals.openedContent(inode, inline);
  const end = offset + lengthBytes;
  const to = Math.max(offset, Math.min(end, content.length));
  const range = { offset, lengthBytes: to - offset };
  if (to > offset) yield { inline: content.subarray(offset, to), range };
  yield* holesOf(to, end);
}

/** Cut up, so that none takes more memory than a stripe. */
function* holesOf(from: number, to: number): Generator<Hole, void> {
  for (let offset = from; offset < to; offset += LIMITS.stripeBytesMax) {
    yield { range: { offset, lengthBytes: Math.min(LIMITS.stripeBytesMax, to - offset) } };
  }
}

/** Extents of one encoding of an inode with offset ≥ that of `from`, in order, page by page. */
export async function* extentsFrom(
  namespace: Namespace,
  inode: Inode,
  from: ExtentPlace,
): AsyncGenerator<Extent> {
  const { encoding } = from;
  for (let next = from; ;) {
    const page = await namespace.extents(inode, next);
    for (const extent of page) {
      if (extent.encoding !== encoding) return;
      yield extent;
    }
    const last = page.at(-1);
    if (!last) return;
    next = { encoding, offset: last.offset + 1 };
  }
}
