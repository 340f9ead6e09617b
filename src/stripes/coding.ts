/**
 * What is done to one stripe in one thread, without effects: seal, encode, name; reconstruct, open;
 * rebuild. The pool's workers, the tests and the simulator run the same functions.
 */
import { assert, HoldfastError, schemeNumber, type StripeId } from '../base/index.ts';
import { type CodecMemory, MATRIX_IDS, openCodec } from '../codec/index.ts';
import { digest, openSegments, sealContent, stripeKey } from '../crypto/index.ts';
import { checkChunk, encodeChunkHeader, stripeIdOf } from '../store/index.ts';
import { chunkIds, type StripeShape } from './shape.ts';

/** Says what the AEAD's input was made by; a change of padding or compression is a new format. */
export const CONTENT_FORMAT = 1;

export interface EncodeRequest {
  readonly shape: StripeShape;
  /** The content, with room for its padding; overwritten. */
  readonly content: Uint8Array;
  /** Where pieces go that are not shards themselves; may overlap the content (see slab.ts). */
  readonly area: Uint8Array;
  /** Where the chunks go, in index order. */
  readonly chunks: readonly Uint8Array[];
  /** The volume's content secret, for a key that follows from the content. */
  readonly secret: Uint8Array | undefined;
  /** The key where there is no secret. */
  readonly randomKey: Uint8Array;
}

export interface EncodeResult {
  readonly stripe: StripeId;
  readonly key: Uint8Array;
  readonly contentDigest: Uint8Array;
}

/** Turns content into the stripe's chunks. */
export function encodeStripe(
  memory: CodecMemory | undefined,
  request: EncodeRequest,
): EncodeResult {
  const { shape, area, chunks, secret, randomKey } = request;
  const padded = request.content.subarray(0, shape.paddedBytes);
  padded.fill(0, shape.contentBytes);
  const contentDigest = digest(padded);
  const key = secret ? stripeKey({ secret, format: CONTENT_FORMAT, contentDigest }) : randomKey;
  const shards = chunks.map((chunk) => chunk.subarray(shape.headerBytes));
  const pieces = piecesOf(shape, area, shards);
  sealContent({ content: padded, key, format: CONTENT_FORMAT, target: pieces });
  let matrixId: number = MATRIX_IDS.copy;
  if (shape.scheme.kind !== 'copy') {
    assert(memory, 'mixing shards needs a codec memory');
    const codec = openCodec(shape.scheme, memory);
    codec.encode(pieces, shards);
    matrixId = codec.matrixId;
  }
  return { stripe: writeHeaders(shape, matrixId, chunks), key, contentDigest };
}

/** A systematic scheme's first k shards are the pieces; else they are cut from the content area. */
function piecesOf(
  { scheme, shardBytes }: StripeShape,
  area: Uint8Array,
  shards: readonly Uint8Array[],
): Uint8Array[] {
  if (scheme.kind !== 'ida') return shards.slice(0, scheme.k);
  return Array.from({ length: scheme.k }, (_, index) =>
    area.subarray(index * shardBytes, (index + 1) * shardBytes),
  );
}

function writeHeaders(
  shape: StripeShape,
  matrixId: number,
  chunks: readonly Uint8Array[],
): StripeId {
  const { scheme, headerBytes, shardBytes, sealedBytes } = shape;
  const distinct = scheme.kind === 'copy' ? chunks.slice(0, 1) : chunks;
  const header = {
    schemeNumber: schemeNumber(scheme),
    matrixId,
    shardBytes,
    sealedBytes,
    shardDigests: distinct.map((chunk) => digest(chunk.subarray(headerBytes))),
  };
  const [first, ...others] = distinct;
  assert(first, 'a stripe has chunks');
  encodeChunkHeader(header, first);
  for (const chunk of others) chunk.set(first.subarray(0, headerBytes));
  return stripeIdOf(header);
}

export interface DecodeRequest {
  readonly shape: StripeShape;
  readonly key: Uint8Array;
  /** Chunks in index order; `undefined` = not there. Read, not written. */
  readonly chunks: readonly (Uint8Array | undefined)[];
  /** Where the content goes, from 0 on. */
  readonly area: Uint8Array;
}

/**
 * Opens the content of a stripe from any k chunks.
 * @throws HF_FORGED when the chunks are not what was sealed; HF_TOO_FEW_SHARDS.
 */
export function decodeStripe(memory: CodecMemory | undefined, request: DecodeRequest): void {
  const { shape, key, chunks, area } = request;
  const shards = chunks.map((chunk) => chunk?.subarray(shape.headerBytes));
  const pieces = piecesToFill(shape, area, shards);
  if (shape.scheme.kind !== 'copy') {
    assert(memory, 'mixed shards need a codec memory');
    openCodec(shape.scheme, memory).decode(shards, pieces);
  }
  openSegments({
    sealed: pieces,
    sealedBytes: shape.sealedBytes,
    key,
    format: CONTENT_FORMAT,
    target: area,
  });
}

/** Present data shards are their own pieces; what is missing is rebuilt into the content area. */
function piecesToFill(
  { scheme, shardBytes }: StripeShape,
  area: Uint8Array,
  shards: readonly (Uint8Array | undefined)[],
): Uint8Array[] {
  if (scheme.kind === 'copy') {
    const copy = shards.find((shard) => shard !== undefined);
    if (!copy) throw new HoldfastError('HF_TOO_FEW_SHARDS');
    return [copy];
  }
  return Array.from({ length: scheme.k }, (_, index) => {
    const own = scheme.kind === 'rs' ? shards[index] : undefined;
    return own ?? area.subarray(index * shardBytes, (index + 1) * shardBytes);
  });
}

export interface RebuildRequest {
  readonly stripe: StripeId;
  readonly scheme: StripeShape['scheme'];
  readonly headerBytes: number;
  /** Room for n chunks in index order; those in `present` hold verified chunks. */
  readonly chunks: readonly Uint8Array[];
  readonly present: readonly number[];
  readonly wanted: readonly number[];
}

/**
 * Makes wanted chunks from present ones, without keys, and checks each against the digest list.
 * @throws HF_CORRUPT when what was rebuilt is not what the list names.
 */
export function rebuildChunks(memory: CodecMemory, request: RebuildRequest): void {
  const { stripe, scheme, headerBytes, chunks, present, wanted } = request;
  const source = chunks[present[0] ?? -1];
  if (!source) throw new HoldfastError('HF_TOO_FEW_SHARDS');
  const shardOf = (index: number): Uint8Array => chunks[index]!.subarray(headerBytes);
  if (scheme.kind !== 'copy') {
    const shards = chunks.map((_, index) => (present.includes(index) ? shardOf(index) : undefined));
    const targets = new Map(wanted.map((index) => [index, shardOf(index)]));
    openCodec(scheme, memory).rebuild(shards, targets);
  }
  const ids = chunkIds(stripe, scheme);
  for (const index of wanted) {
    const chunk = chunks[index]!;
    // Copies share one array, which holds the header already.
    if (chunk !== source) chunk.set(source.subarray(0, headerBytes));
    checkChunk(ids[index]!, chunk);
  }
}

/** Which of these chunks are what their ids say. */
export function goodChunks(
  stripe: StripeId,
  scheme: StripeShape['scheme'],
  chunks: readonly (Uint8Array | undefined)[],
): number[] {
  const ids = chunkIds(stripe, scheme);
  return [...chunks.keys()].filter((index) => {
    const chunk = chunks[index];
    if (!chunk) return false;
    try {
      checkChunk(ids[index]!, chunk);
      return true;
    } catch {
      return false; // a bad chunk is an answer here, not a failure
    }
  });
}
