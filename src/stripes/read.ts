/**
 * Reads content back. The quick way takes the content's own shards and trusts the seal: if it
 * opens, every byte is what was written. Only when it does not are the shards checked one by one
 * against their digests, the bad ones left out and others fetched in their place.
 */
import { assert, errorCode, schemeOfNumber, type StripeId, throwIfAborted } from '../base/index.ts';
import { openSegments, segmentRange } from '../crypto/index.ts';
import type { StripeCoder } from './coder.ts';
import { CONTENT_FORMAT, decodeStripe } from './coding.ts';
import { ShardFinder, tooFewShards, type Whereabouts } from './gather.ts';
import { firstFew } from './hedge.ts';
import { isShort, type StripeShape, stripeShape } from './shape.ts';
import type { SlotPool } from './slab.ts';
import type { ReadOptions, StripeRef } from './stripe-store.ts';

export interface ReadContext extends Whereabouts {
  readonly slots: SlotPool;
  readonly coder: StripeCoder;
}

export interface ByteRange {
  readonly offset: number;
  readonly lengthBytes: number;
}

export async function readStripe(
  context: ReadContext,
  ref: StripeRef,
  options: ReadOptions & { range?: ByteRange | undefined },
): Promise<Uint8Array> {
  const scheme = schemeOfNumber(ref.schemeNumber);
  const shape = stripeShape(scheme, ref.contentBytes);
  const range = options.range ?? { offset: 0, lengthBytes: ref.contentBytes };
  assert(range.offset >= 0 && range.lengthBytes >= 1, 'the range holds a byte');
  assert(range.offset + range.lengthBytes <= ref.contentBytes, 'the range lies in the stripe');
  const { signal, target } = options;
  const read = { stripe: ref.stripe, shape, key: ref.key, range, signal, target };
  if (scheme.kind === 'copy' && isShort(ref.contentBytes)) {
    return cut(await readShort(context, read), range);
  }
  if (scheme.kind !== 'ida' && range.lengthBytes < ref.contentBytes) {
    return await readRange(context, read);
  }
  return await readWhole(context, read);
}

interface Read extends ReadOptions {
  readonly stripe: StripeId;
  readonly shape: StripeShape;
  readonly key: Uint8Array;
  readonly range: ByteRange;
}

function cut(bytes: Uint8Array, { offset, lengthBytes }: ByteRange): Uint8Array {
  return bytes.subarray(offset, offset + lengthBytes);
}

/** Copies, one after the other until one opens; one more when that takes long. */
async function readShort(
  context: ReadContext,
  { stripe, shape, key, signal }: Read,
): Promise<Uint8Array> {
  const finder = new ShardFinder(context, stripe, shape.scheme);
  const bytes = shape.chunkBytes;
  let content: Uint8Array | undefined;
  const ask = async (index: number, stopped: AbortSignal): Promise<boolean> => {
    for (;;) {
      const chunk = await finder.fetchKnown(index, { bytes, signal: stopped });
      if (!chunk) return false;
      const opened = openShort(shape, key, chunk);
      content ??= opened;
      if (opened) return true;
      void finder.report([index]);
    }
  };
  await finder.takeSome(1, { bytes, signal, extraMax: 1, ask });
  if (!content) throw tooFewShards(shape.scheme, 0);
  return content;
}

/** `undefined` when the chunk is not what was sealed. */
function openShort(shape: StripeShape, key: Uint8Array, chunk: Uint8Array): Uint8Array | undefined {
  if (chunk.length !== shape.chunkBytes) return undefined;
  const area = new Uint8Array(shape.paddedBytes);
  try {
    decodeStripe(undefined, { shape, key, chunks: [chunk], area });
    return area;
  } catch (error) {
    if (errorCode(error) !== 'HF_FORGED') throw error;
    return undefined;
  }
}

/**
 * Reads only the segments of the range, from the one or two data shards that hold them. When that
 * fails, or takes long, the whole stripe is read from others.
 */
async function readRange(context: ReadContext, read: Read): Promise<Uint8Array> {
  const { calls } = context;
  const { shape, range, signal } = read;
  const segments = segmentRange({ contentBytes: shape.contentBytes, ...range });
  const parts = partsOf(shape, segments);
  const indexes = parts.map(({ index }) => index);
  const finder = new ShardFinder(context, read.stripe, shape.scheme);
  const bytes = segments.sealedBytes;
  let answer: Uint8Array | undefined;
  let failure: unknown;
  const ways = {
    parts: (stopped: AbortSignal) => readParts(finder, { ...read, signal: stopped }, parts),
    whole: (stopped: AbortSignal) =>
      readWhole(context, { ...read, signal: stopped }, indexes).catch((error: unknown) => {
        if (errorCode(error) === undefined || signal?.aborted) throw error;
        failure = error;
        return undefined;
      }),
  };
  const go = async (way: keyof typeof ways, stopped: AbortSignal): Promise<boolean> => {
    const bytesRead = await ways[way](stopped);
    answer ??= bytesRead;
    return bytesRead !== undefined;
  };
  const hedgeMs = finder.hedgeMs(indexes, bytes);
  await firstFew(1, ['parts', 'whole'], go, calls.hedge({ signal, hedgeMs, extraMax: 1 }));
  if (!answer) throw failure;
  return answer;
}

/** @returns `undefined` when a shard is not to be had or bad. */
async function readParts(
  finder: ShardFinder,
  { shape, key, range, signal }: Read,
  parts: readonly Part[],
): Promise<Uint8Array | undefined> {
  const segments = segmentRange({ contentBytes: shape.contentBytes, ...range });
  const sealed: Uint8Array[] = [];
  for (const { index, ...part } of parts) {
    const bytes = part.lengthBytes;
    const fetched = await finder.fetch(index, { range: part, bytes, signal });
    if (fetched?.length !== bytes) return undefined;
    sealed.push(fetched);
  }
  const target = new Uint8Array(segments.openedBytes);
  const { sealedBytes } = shape;
  try {
    openSegments({ sealed, sealedBytes, key, format: CONTENT_FORMAT, range: segments, target });
  } catch (error) {
    if (errorCode(error) === 'HF_FORGED') return undefined;
    throw error;
  }
  const offset = range.offset - segments.contentOffset;
  return cut(target, { offset, lengthBytes: range.lengthBytes });
}

/** A part of a chunk. */
interface Part {
  readonly index: number;
  readonly offset: number;
  readonly lengthBytes: number;
}

function partsOf(
  { shardBytes, headerBytes }: StripeShape,
  { sealedOffset, sealedBytes }: { readonly sealedOffset: number; readonly sealedBytes: number },
): Part[] {
  const parts: Part[] = [];
  const to = sealedOffset + sealedBytes;
  for (let position = sealedOffset; position < to;) {
    const index = Math.floor(position / shardBytes);
    const end = Math.min(to, (index + 1) * shardBytes);
    const offset = headerBytes + (position % shardBytes);
    parts.push({ index, offset, lengthBytes: end - position });
    position = end;
  }
  return parts;
}

/** The slot is needed again, so what is read leaves it. */
function copyOut(bytes: Uint8Array, target: Uint8Array | undefined): Uint8Array {
  if (!target || target.length < bytes.length) return new Uint8Array(bytes);
  target.set(bytes);
  return target.subarray(0, bytes.length);
}

/** @param avoid shards to ask for last. */
async function readWhole(
  context: ReadContext,
  { stripe, shape, key, range, signal, target }: Read,
  avoid: readonly number[] = [],
): Promise<Uint8Array> {
  const { slots, coder } = context;
  const finder = new ShardFinder(context, stripe, shape.scheme);
  using lease = await slots.lease();
  const rooms = lease.rooms(shape);
  const { k } = shape.scheme;
  const bad: number[] = [];
  let good: readonly number[] = [];
  for (;;) {
    const exclude = [...good, ...bad];
    const options = { rooms, lease, exclude, avoid, signal };
    const more = await finder.gather(k - good.length, options);
    const present = [...good, ...more];
    if (present.length < k) throw tooFewShards(shape.scheme, present.length);
    try {
      await coder.decode(lease.slot, shape, { key, present });
      // Who has got the content elsewhere meanwhile may use `target` for something else.
      throwIfAborted(signal);
      return copyOut(cut(lease.area, range), target);
    } catch (error) {
      if (errorCode(error) !== 'HF_FORGED') throw error;
      good = await coder.check({ slot: lease.slot, stripe, ...shape }, present);
      // Every shard is what its id names: then the key or the record is wrong.
      if (good.length === present.length) throw error;
      const forged = present.filter((index) => !good.includes(index));
      void finder.report(forged);
      bad.push(...forged);
    }
  }
}
