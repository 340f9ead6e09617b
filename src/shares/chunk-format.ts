/**
 * The bytes of a *chunk file*: one of n files, any k of which restore a file (issue 4; not a
 * store's chunk). docs/formats/chunk-file.md shows them one by one. Numbers are little-endian.
 *
 *     header ‖ blocks, one for each stripe ‖ checksum table ‖ the header once more
 *
 * A *block* is a chunk file's part of one stripe; the *table* has the SHA-256 of each block; a
 * *root* is the SHA-256 of a table. Every header lists the roots of all n chunk files, and the *set
 * id* is the digest of all that, so it stands for every byte of every chunk file of one make:
 * 1. What belongs together has one set id; what has another is never combined with it.
 * 2. A block is used only when the set id vouches for it: set id → root → table → block.
 * 3. The same file made the same way is the same set, byte for byte.
 */
import { createHash } from 'node:crypto';
import {
  asBuffer,
  assert,
  bytesEqual,
  ByteReader,
  ByteWriter,
  fromUtf8,
  HoldfastError,
  LIMITS,
  roundUp,
  toHex,
  utf8,
} from '../base/index.ts';
import { MATRIX_IDS } from '../codec/index.ts';
import { SEALED_SEGMENT_BYTES } from './file-seal.ts';

const MAGIC = utf8('HFCHUNK1');
export const CHECKSUM_BYTES = 32;
/** Where the header's parts of fixed length end, and how long its end is. */
const FIXED_BYTES = 64;
export const HEADER_END_BYTES = 8 + CHECKSUM_BYTES;
const HEADER_UNIT_BYTES = 4096;
export const HEADER_BYTES_MAX = 64 * 1024;
const SEALED_FLAG = 1;

/** What all chunk files of a set have in common, roots aside. */
export interface ChunkFileSet {
  readonly matrixId: number;
  /** Chunk files that restore. */
  readonly k: number;
  readonly n: number;
  /** Of a full stripe's block. */
  readonly blockBytes: number;
  /** What the data chunks carry: the file, or its sealed stream. */
  readonly contentBytes: number;
  /** SHA-256 of the file; zeros when it is sealed, as the digest would tell what is inside. */
  readonly fileDigest: Uint8Array;
  /** Empty for a plain set, else what opens the seal together with the key file. */
  readonly envelope: Uint8Array;
}

export interface ChunkFileHeader extends ChunkFileSet {
  readonly roots: readonly Uint8Array[];
  readonly setId: Uint8Array;
  readonly index: number;
}

export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

/** How a set's content is cut. */
export interface ChunkFileShape {
  readonly stripeCount: number;
  /** Content of a full stripe. */
  readonly stripeBytes: number;
  /** Blocks of one chunk file together. */
  readonly dataBytes: number;
  readonly headerBytes: number;
  readonly tableBytes: number;
  readonly fileBytes: number;
}

export function chunkFileShape(set: ChunkFileSet): ChunkFileShape {
  const { k, blockBytes, contentBytes } = set;
  const stripeBytes = blockBytes * k;
  const stripeCount = Math.ceil(contentBytes / stripeBytes);
  const last = stripeCount - 1;
  const dataBytes =
    stripeCount === 0 ? 0 : last * blockBytes + Math.ceil((contentBytes - last * stripeBytes) / k);
  const headerBytes = headerBytesOf(set.envelope.length, set.n);
  const tableBytes = stripeCount * CHECKSUM_BYTES;
  const fileBytes = 2 * headerBytes + dataBytes + tableBytes;
  return { stripeCount, stripeBytes, dataBytes, headerBytes, tableBytes, fileBytes };
}

/** One stripe of a set. */
export interface ChunkFileStripe {
  readonly stripeIndex: number;
  /** Where its content begins in the file or the sealed stream. */
  readonly contentOffset: number;
  readonly contentBytes: number;
  /** Bytes of each of its n blocks, and where these begin in a chunk file. */
  readonly blockBytes: number;
  readonly blockOffset: number;
}

export function chunkFileStripe(set: ChunkFileSet, stripeIndex: number): ChunkFileStripe {
  const { headerBytes, stripeBytes, stripeCount } = chunkFileShape(set);
  assert(stripeIndex >= 0 && stripeIndex < stripeCount, 'the stripe is one of the set');
  const contentOffset = stripeIndex * stripeBytes;
  const contentBytes = Math.min(stripeBytes, set.contentBytes - contentOffset);
  return {
    stripeIndex,
    contentOffset,
    contentBytes,
    blockBytes: Math.ceil(contentBytes / set.k),
    blockOffset: headerBytes + stripeIndex * set.blockBytes,
  };
}

function headerBytesOf(envelopeBytes: number, n: number): number {
  const bytes = FIXED_BYTES + envelopeBytes + (n + 1) * CHECKSUM_BYTES + HEADER_END_BYTES;
  return roundUp(bytes, HEADER_UNIT_BYTES);
}

/** Up to the set id: what the set id is the digest of. */
function encodeSet(set: ChunkFileSet, roots: readonly Uint8Array[]): Uint8Array {
  assert(roots.length === set.n, 'there is a root for each chunk file');
  assert(set.fileDigest.length === CHECKSUM_BYTES, 'the digest is a SHA-256');
  const writer = new ByteWriter();
  writer.raw(MAGIC).u8(set.matrixId).u8(set.k).u8(set.n);
  writer.u8(set.envelope.length > 0 ? SEALED_FLAG : 0);
  writer.u32(headerBytesOf(set.envelope.length, set.n));
  writer.u32(set.blockBytes).u32(set.envelope.length).u64(set.contentBytes);
  writer.raw(set.fileDigest).raw(set.envelope);
  for (const root of roots) writer.raw(root);
  return writer.finish();
}

/** The header of chunk file `index`; it is also the file's end. */
export function encodeChunkFileHeader(
  set: ChunkFileSet,
  roots: readonly Uint8Array[],
  index: number,
): Uint8Array {
  const front = encodeSet(set, roots);
  const bytes = Buffer.alloc(headerBytesOf(set.envelope.length, set.n));
  bytes.set(front);
  bytes.set(sha256(front), front.length);
  const end = bytes.length - HEADER_END_BYTES;
  bytes.writeUInt32LE(bytes.length, end);
  bytes.writeUInt32LE(index, end + 4);
  const digestAt = bytes.length - CHECKSUM_BYTES;
  bytes.set(sha256(bytes.subarray(0, digestAt)), digestAt);
  return bytes;
}

/** Length of a header of any version, by its first bytes; `undefined` when it is none of ours. */
export function headerBytesAtFront(front: Uint8Array): number | undefined {
  const name = MAGIC.subarray(0, -1);
  if (front.length < FIXED_BYTES || !bytesEqual(front.subarray(0, name.length), name)) {
    return undefined;
  }
  return plausible(asBuffer(front).readUInt32LE(12));
}

/** The same, by its last {@link HEADER_END_BYTES} bytes. */
export function headerBytesAtEnd(end: Uint8Array): number | undefined {
  return end.length < HEADER_END_BYTES ? undefined : plausible(asBuffer(end).readUInt32LE(0));
}

function plausible(bytes: number): number | undefined {
  const isOne = bytes > 0 && bytes % HEADER_UNIT_BYTES === 0 && bytes <= HEADER_BYTES_MAX;
  return isOne ? bytes : undefined;
}

/** @throws HF_CORRUPT with what is wrong with it. */
export function decodeChunkFileHeader(bytes: Uint8Array): ChunkFileHeader {
  const digestAt = bytes.length - CHECKSUM_BYTES;
  const isWhole =
    bytes.length >= HEADER_UNIT_BYTES &&
    bytesEqual(sha256(bytes.subarray(0, digestAt)), bytes.subarray(digestAt));
  if (!isWhole) throw new HoldfastError('HF_CORRUPT', 'its header does not match its checksum');
  const reader = new ByteReader(bytes, 'header');
  const magic = reader.raw(MAGIC.length);
  if (!bytesEqual(magic, MAGIC)) {
    throw new HoldfastError('HF_UNSUPPORTED', `"${fromUtf8(magic)}" is no version we can read`);
  }
  const [matrixId, k, n, flags] = [reader.u8(), reader.u8(), reader.u8(), reader.u8()];
  const [headerBytes, blockBytes, envelopeBytes] = [reader.u32(), reader.u32(), reader.u32()];
  const contentBytes = reader.u64();
  const fileDigest = reader.raw(CHECKSUM_BYTES).slice();
  const envelope = reader.raw(envelopeBytes).slice();
  const roots = Array.from({ length: n }, () => reader.raw(CHECKSUM_BYTES).slice());
  const setId = reader.raw(CHECKSUM_BYTES).slice();
  const set = { matrixId, k, n, blockBytes, contentBytes, fileDigest, envelope };
  const index = asBuffer(bytes).readUInt32LE(bytes.length - HEADER_END_BYTES + 4);
  if (matrixId !== MATRIX_IDS.vandermonde) {
    throw new HoldfastError('HF_UNSUPPORTED', `its code is of kind ${matrixId}, which is unknown`);
  }
  const isSound =
    headerBytes === bytes.length &&
    headerBytes === headerBytesOf(envelopeBytes, n) &&
    k >= 1 &&
    k <= n &&
    index < n &&
    blockBytes >= 1 &&
    blockBytes * n <= LIMITS.chunkFileStripeBytesMax &&
    (envelopeBytes === 0 || blockBytes % SEALED_SEGMENT_BYTES === 0) &&
    flags === (envelopeBytes > 0 ? SEALED_FLAG : 0) &&
    bytesEqual(sha256(encodeSet(set, roots)), setId);
  if (!isSound) throw new HoldfastError('HF_CORRUPT', 'its header contradicts itself');
  return { ...set, roots, setId, index };
}

/** Enough of a set's id to tell it from another. */
export function shortSetId({ setId }: Pick<ChunkFileHeader, 'setId'>): string {
  return toHex(setId).slice(0, 12);
}
