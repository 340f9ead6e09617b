/**
 * Reads content back. The quick way takes the content's own shards and trusts the seal: if it
 * opens, every byte is what was written. Only when it does not are the shards checked one by one
 * against their digests, the bad ones left out and others fetched in their place.
 */
import { assert, errorCode, formatScheme, HoldfastError, schemeOfNumber } from '../base/index.ts';
import { openSegments, segmentRange } from '../crypto/index.ts';
import type { StripeCoder } from './coder.ts';
import { CONTENT_FORMAT, decodeStripe } from './coding.ts';
import { ShardFinder, type Whereabouts } from './gather.ts';
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
  const finder = new ShardFinder(context, ref.stripe, scheme);
  const { signal, target } = options;
  const range = options.range ?? { offset: 0, lengthBytes: ref.contentBytes };
  assert(range.offset >= 0 && range.lengthBytes >= 1, 'the range holds a byte');
  assert(range.offset + range.lengthBytes <= ref.contentBytes, 'the range lies in the stripe');
  if (scheme.kind === 'copy' && isShort(ref.contentBytes)) {
    return cut(await readShort(finder, shape, ref.key, signal), range);
  }
  if (scheme.kind !== 'ida' && range.lengthBytes < ref.contentBytes) {
    const bytes = await readRange(finder, { shape, key: ref.key, range, signal });
    if (bytes) return bytes;
  }
  return await readWhole(context, finder, { shape, key: ref.key, range, signal, target });
}

function cut(bytes: Uint8Array, { offset, lengthBytes }: ByteRange): Uint8Array {
  return bytes.subarray(offset, offset + lengthBytes);
}

function tooFew(shape: StripeShape, have: number): HoldfastError {
  const { scheme } = shape;
  return new HoldfastError(
    'HF_TOO_FEW_SHARDS',
    `${formatScheme(scheme)}: have ${have} good shards, need ${scheme.k}`,
  );
}

/** Copies, one after the other until one opens. */
async function readShort(
  finder: ShardFinder,
  shape: StripeShape,
  key: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const area = new Uint8Array(shape.paddedBytes);
  for (let index = 0; index < shape.scheme.n; index++) {
    const chunk = await finder.fetch(index, { signal });
    if (!chunk || chunk.length !== shape.chunkBytes) continue;
    try {
      decodeStripe(undefined, { shape, key, chunks: [chunk], area });
      return area;
    } catch (error) {
      if (errorCode(error) !== 'HF_FORGED') throw error;
    }
  }
  throw tooFew(shape, 0);
}

interface RangeRead {
  readonly shape: StripeShape;
  readonly key: Uint8Array;
  readonly range: ByteRange;
  readonly signal: AbortSignal | undefined;
}

/**
 * Reads only the segments of the range, from the one or two data shards that hold them.
 * @returns `undefined` when a shard is not to be had or bad: the whole stripe must be read.
 */
async function readRange(
  finder: ShardFinder,
  { shape, key, range, signal }: RangeRead,
): Promise<Uint8Array | undefined> {
  const segments = segmentRange({ contentBytes: shape.contentBytes, ...range });
  const from = segments.sealedOffset;
  const to = from + segments.sealedBytes;
  const sealed = await fetchSealed(finder, shape, { from, to, signal });
  if (!sealed) return undefined;
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

async function fetchSealed(
  finder: ShardFinder,
  { shardBytes, headerBytes }: StripeShape,
  { from, to, signal }: { from: number; to: number; signal: AbortSignal | undefined },
): Promise<Uint8Array[] | undefined> {
  const parts: Uint8Array[] = [];
  for (let position = from; position < to;) {
    const index = Math.floor(position / shardBytes);
    const end = Math.min(to, (index + 1) * shardBytes);
    const offset = headerBytes + (position % shardBytes);
    const range = { offset, lengthBytes: end - position };
    const part = await finder.fetch(index, { range, signal });
    if (part?.length !== range.lengthBytes) return undefined;
    parts.push(part);
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

async function readWhole(
  { slots, coder }: ReadContext,
  finder: ShardFinder,
  { shape, key, range, signal, target }: RangeRead & ReadOptions,
): Promise<Uint8Array> {
  using lease = await slots.lease();
  const rooms = lease.rooms(shape);
  const { k } = shape.scheme;
  const bad: number[] = [];
  let good: readonly number[] = [];
  for (;;) {
    const exclude = [...good, ...bad];
    const more = await finder.fetchSome(k - good.length, rooms, { exclude, signal });
    const present = [...good, ...more];
    if (present.length < k) throw tooFew(shape, present.length);
    try {
      await coder.decode(lease.slot, shape, { key, present });
      return copyOut(cut(lease.area, range), target);
    } catch (error) {
      if (errorCode(error) !== 'HF_FORGED') throw error;
      good = await coder.check({ slot: lease.slot, stripe: finder.stripe, ...shape }, present);
      // Every shard is what its id names: then the key or the record is wrong.
      if (good.length === present.length) throw error;
      bad.push(...present.filter((index) => !good.includes(index)));
    }
  }
}
