/**
 * What a chunk of a stripe is: header ‖ shard. The header is the same for all n chunks of a stripe
 * and carries the digests of all shards, so that anybody can check any chunk against its id without
 * keys.
 *
 * - *stripe id*: first 28 bytes of the digest of the header's fields from the scheme to the last
 *   shard digest; it commits to every shard.
 * - Copies are all equal, so their header has one digest; other schemes have n.
 * - The header is a multiple of 64 bytes, so that a shard in aligned memory stays aligned.
 *
 * Byte by byte: docs/formats/chunk.md.
 */
import {
  asBuffer,
  assert,
  bytesEqual,
  type ChunkId,
  chunkId,
  chunkIdParts,
  errorCode,
  errorMessage,
  HoldfastError,
  LIMITS,
  isMetadataScheme,
  metadataChunkId,
  type PartPlace,
  partPlaceOf,
  partShardId,
  roundUp,
  type Scheme,
  schemeOfNumber,
  type StripeId,
  stripeId,
  toHex,
  xxh64,
} from '../base/index.ts';
import { digest } from '../crypto/index.ts';

/** "HFC1" */
const MAGIC = 0x31434648;
const VERSION = 1;
const DIGEST_BYTES = 32;
/** The stripe id is the digest of the bytes from here to the end of the digests. */
const NAMED_FROM = 8;
const FIXED_BYTES = 24;
const CHECKSUM_BYTES = 8;
const ALIGNMENT = 64;

export interface ChunkHeader {
  readonly schemeNumber: number;
  /** Which matrix made the shards: `MATRIX_IDS` of `codec`. */
  readonly matrixId: number;
  readonly shardBytes: number;
  /** Sealed bytes of the stripe before they were padded to k equal pieces. */
  readonly sealedBytes: number;
  /** Digest of each shard in index order; one entry when the scheme makes copies. */
  readonly shardDigests: readonly Uint8Array[];
}

function digestCount(scheme: Scheme): number {
  return scheme.kind === 'copy' ? 1 : scheme.n;
}

function headerBytesFor(count: number): number {
  return roundUp(FIXED_BYTES + count * DIGEST_BYTES + CHECKSUM_BYTES, ALIGNMENT);
}

/** Bytes before the shard in every chunk of this scheme; a multiple of 64. */
export function chunkHeaderBytes(scheme: Scheme): number {
  return headerBytesFor(digestCount(scheme));
}

/** Writes the header at the start of `target`. @returns its length, where the shard starts. */
export function encodeChunkHeader(header: ChunkHeader, target: Uint8Array): number {
  const count = header.shardDigests.length;
  assert(count === digestCount(schemeOfNumber(header.schemeNumber)), 'each shard has its digest');
  assert(Number.isSafeInteger(header.sealedBytes), 'the sealed length is a whole number');
  const length = headerBytesFor(count);
  const bytes = asBuffer(target).subarray(0, length);
  assert(bytes.length === length, 'the target holds the header');
  bytes.fill(0);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt16LE(VERSION, 4);
  bytes.writeUInt16LE(count, 6);
  bytes.writeUInt16LE(header.schemeNumber, 8);
  bytes.writeUInt8(header.matrixId, 10);
  bytes.writeUInt32LE(header.shardBytes, 12);
  bytes.writeBigUInt64LE(BigInt(header.sealedBytes), 16);
  header.shardDigests.forEach((shardDigest, index) => {
    assert(shardDigest.length === DIGEST_BYTES, 'a shard digest is 32 bytes');
    bytes.set(shardDigest, FIXED_BYTES + index * DIGEST_BYTES);
  });
  const sumAt = length - CHECKSUM_BYTES;
  bytes.writeBigUInt64LE(xxh64(bytes.subarray(0, sumAt)), sumAt);
  return length;
}

/** The stripe id that this header names. */
export function stripeIdOf(header: ChunkHeader): StripeId {
  const bytes = new Uint8Array(headerBytesFor(header.shardDigests.length));
  encodeChunkHeader(header, bytes);
  return namedBy(bytes, header.shardDigests.length);
}

/** Whether bytes may be the start of a chunk of a stripe. */
export function isChunkHeader(bytes: Uint8Array): boolean {
  return asBuffer(bytes).readUInt32LE(0) === MAGIC;
}

function namedBy(header: Uint8Array, count: number): StripeId {
  return stripeId(digest(header.subarray(NAMED_FROM, FIXED_BYTES + count * DIGEST_BYTES)));
}

function corrupt(reason: string): HoldfastError {
  return new HoldfastError('HF_CORRUPT', `chunk: ${reason}`);
}

/**
 * Reads and validates the header of a chunk; the digests are views of it.
 * @throws HF_CORRUPT; HF_UNSUPPORTED for a version that this program does not know.
 */
export function decodeChunkHeader(
  chunk: Uint8Array,
): ChunkHeader & { readonly headerBytes: number } {
  const bytes = asBuffer(chunk);
  if (bytes.length < FIXED_BYTES || bytes.readUInt32LE(0) !== MAGIC) throw corrupt('no header');
  const version = bytes.readUInt16LE(4);
  if (version !== VERSION) {
    throw new HoldfastError('HF_UNSUPPORTED', `chunk: version ${version} is not known`);
  }
  const count = bytes.readUInt16LE(6);
  const headerBytes = headerBytesFor(count);
  if (bytes.length < headerBytes) throw corrupt('it is cut short');
  const sumAt = headerBytes - CHECKSUM_BYTES;
  if (bytes.readBigUInt64LE(sumAt) !== xxh64(bytes.subarray(0, sumAt))) {
    throw corrupt('the checksum of the header does not match');
  }
  const schemeNumber = bytes.readUInt16LE(8);
  if (count !== digestCount(schemeOfNumber(schemeNumber))) throw corrupt('wrong digest count');
  const digestsEnd = FIXED_BYTES + count * DIGEST_BYTES;
  const isPaddedWithZeros = bytes.subarray(digestsEnd, sumAt).every((byte) => byte === 0);
  if (bytes[11] !== 0 || !isPaddedWithZeros) throw corrupt('reserved bytes are in use');
  const sealedBytes = Number(bytes.readBigUInt64LE(16));
  if (!Number.isSafeInteger(sealedBytes)) throw corrupt('the sealed length is out of range');
  return {
    schemeNumber,
    matrixId: bytes.readUInt8(10),
    shardBytes: bytes.readUInt32LE(12),
    sealedBytes,
    shardDigests: Array.from({ length: count }, (_, index) => {
      const at = FIXED_BYTES + index * DIGEST_BYTES;
      return chunk.subarray(at, at + DIGEST_BYTES);
    }),
    headerBytes,
  };
}

/**
 * The ids that a chunk of a stripe may have: its header and its shard tell them. Copies are equal,
 * so any index is possible; else there is one, unless shards happen to be equal.
 * @returns none when the shard is not what the header lists.
 * @throws as {@link decodeChunkHeader}.
 */
export function possibleIds(chunk: Uint8Array): ChunkId[] {
  const { schemeNumber, shardDigests, shardBytes, headerBytes } = decodeChunkHeader(chunk);
  const { kind, n } = schemeOfNumber(schemeNumber);
  const stripe = namedBy(chunk, shardDigests.length);
  const shard = chunk.subarray(headerBytes);
  if (shard.length !== shardBytes) return [];
  const found = digest(shard);
  return Array.from({ length: n }, (_, index) => index)
    .filter((index) => bytesEqual(shardDigests[kind === 'copy' ? 0 : index]!, found))
    .map((index) => chunkId(stripe, schemeNumber, index));
}

export function isMetadataChunk(id: ChunkId): boolean {
  return isMetadataScheme(chunkIdParts(id).schemeNumber);
}

/**
 * Checks a chunk against its id: the header names the stripe, the shard is the one that the header
 * lists, and a metadata chunk is what its id digests.
 * @throws HF_CORRUPT, HF_UNSUPPORTED.
 */
export function checkChunk(id: ChunkId, chunk: Uint8Array): void {
  if (chunk.length > LIMITS.chunkBytesMax) throw corrupt(`${chunk.length} bytes are too many`);
  try {
    if (isMetadataChunk(id)) checkMetadata(id, chunk);
    else checkShard(id, chunk);
  } catch (error) {
    const code = errorCode(error);
    if (!code) throw error;
    throw new HoldfastError(code, `${toHex(id)}: ${errorMessage(error)}`, { cause: error });
  }
}

function checkMetadata(id: ChunkId, chunk: Uint8Array): void {
  const place = partPlaceOf(id);
  if (place) return checkPartShard(id, chunk, place);
  if (!bytesEqual(metadataChunkId(digest(chunk), chunkIdParts(id).schemeNumber), id)) {
    throw corrupt('the bytes are not what the id names');
  }
}

function checkPartShard(id: ChunkId, chunk: Uint8Array, place: PartPlace): void {
  const header = decodeChunkHeader(chunk);
  const { k, n } = schemeOfNumber(header.schemeNumber);
  if (k !== place.k || n !== place.n) throw corrupt('the header names another scheme');
  if (place.index >= n) throw corrupt(`${place.index} is no shard index of the scheme`);
  if (!bytesEqual(partShardId(namedBy(chunk, header.shardDigests.length), place), id)) {
    throw corrupt('the header names another part');
  }
  checkListed(header, chunk, place.index);
}

function checkShard(id: ChunkId, chunk: Uint8Array): void {
  const { stripe, schemeNumber, shardIndex } = chunkIdParts(id);
  const header = decodeChunkHeader(chunk);
  const scheme = schemeOfNumber(header.schemeNumber);
  if (header.schemeNumber !== schemeNumber) throw corrupt('the header names another scheme');
  if (shardIndex >= scheme.n) throw corrupt(`${shardIndex} is no shard index of the scheme`);
  if (!bytesEqual(namedBy(chunk, header.shardDigests.length), stripe)) {
    throw corrupt('the header names another stripe');
  }
  checkListed(header, chunk, shardIndex);
}

function checkListed(
  header: ChunkHeader & { readonly headerBytes: number },
  chunk: Uint8Array,
  shardIndex: number,
): void {
  const scheme = schemeOfNumber(header.schemeNumber);
  const shard = chunk.subarray(header.headerBytes);
  if (shard.length !== header.shardBytes) throw corrupt('the shard has another length');
  const listed = header.shardDigests[scheme.kind === 'copy' ? 0 : shardIndex];
  assert(listed, 'the header lists a digest for each shard');
  if (!bytesEqual(digest(shard), listed)) throw corrupt('the shard is not what the header lists');
}
