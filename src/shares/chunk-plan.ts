/** How a file will be cut into chunk files, and how large these become; before anything is made. */
import { assert, HoldfastError, LIMITS, SHARDS_MAX } from '../base/index.ts';
import { MATRIX_IDS } from '../codec/index.ts';
import { CHECKSUM_BYTES, type ChunkFileSet, chunkFileShape } from './chunk-format.ts';
import { ENVELOPE_BYTES, SEALED_SEGMENT_BYTES, sealedBytes, SEGMENT_BYTES } from './file-seal.ts';

/** fls's defaults; the stripe's is that of the store, LIMITS.stripeBytesMax. */
export const CHUNK_FILE_DATA = 10;
export const CHUNK_FILE_PARITY = 4;

/** Checksum tables of all chunk files are in memory: 32 bytes for each block. */
const STRIPES_MAX = 2 ** 21;

export interface ChunkFileScheme {
  /** Chunk files that restore. */
  readonly dataCount: number;
  /** Chunk files that may be lost. */
  readonly parityCount: number;
  /** Bytes of the file in one stripe; rounded up so that its blocks are equal. */
  readonly stripeBytes: number;
}

/**
 * @param made.envelope of a sealed file, else empty.
 * @throws HF_BAD_SCHEME, HF_BAD_ARGUMENT, HF_TOO_LARGE.
 */
export function planChunkFileSet(
  made: { readonly sizeBytes: number; readonly envelope: Uint8Array },
  { dataCount: k, parityCount, stripeBytes }: ChunkFileScheme,
): ChunkFileSet {
  const n = k + parityCount;
  if (!(k >= 1 && parityCount >= 1 && n <= SHARDS_MAX)) {
    const message = `${k}+${parityCount}: both start at 1 and make ${SHARDS_MAX} at most`;
    throw new HoldfastError('HF_BAD_SCHEME', message);
  }
  if (stripeBytes < 1) throw new HoldfastError('HF_BAD_ARGUMENT', 'a stripe has at least one byte');
  const isSealed = made.envelope.length > 0;
  const blockBytes = isSealed
    ? Math.ceil(stripeBytes / (k * SEGMENT_BYTES)) * SEALED_SEGMENT_BYTES
    : Math.ceil(stripeBytes / k);
  if (blockBytes * n > LIMITS.chunkFileStripeBytesMax) {
    const message = `a stripe of ${n} blocks of ${blockBytes} bytes is too large; choose --stripe`;
    throw new HoldfastError('HF_TOO_LARGE', message);
  }
  const contentBytes = isSealed ? sealedBytes(made.sizeBytes) : made.sizeBytes;
  if (contentBytes / (blockBytes * k) > STRIPES_MAX) {
    const message = `that makes more than ${STRIPES_MAX} stripes; choose a larger --stripe`;
    throw new HoldfastError('HF_TOO_LARGE', message);
  }
  return {
    matrixId: MATRIX_IDS.vandermonde,
    k,
    n,
    blockBytes,
    contentBytes,
    fileDigest: new Uint8Array(CHECKSUM_BYTES),
    envelope: made.envelope,
  };
}

export interface ChunkFilePlan extends ChunkFileScheme {
  readonly sizeBytes: number;
  readonly isSealed: boolean;
  readonly stripeCount: number;
  /** Of each chunk file, to the byte. */
  readonly chunkFileBytes: number;
  readonly totalBytes: number;
}

/** What `make` will write. */
export function planChunkFiles(
  file: { readonly sizeBytes: number; readonly isSealed: boolean },
  scheme: ChunkFileScheme,
): ChunkFilePlan {
  const envelope = new Uint8Array(file.isSealed ? ENVELOPE_BYTES : 0);
  const set = planChunkFileSet({ sizeBytes: file.sizeBytes, envelope }, scheme);
  const { stripeCount, fileBytes } = chunkFileShape(set);
  const segments = set.blockBytes / SEALED_SEGMENT_BYTES;
  const plainBlockBytes = file.isSealed ? segments * SEGMENT_BYTES : set.blockBytes;
  return {
    ...file,
    ...scheme,
    stripeBytes: plainBlockBytes * set.k,
    stripeCount,
    chunkFileBytes: fileBytes,
    totalBytes: fileBytes * set.n,
  };
}

/**
 * The fewest data chunk files with which each is no longer than `chunkFileBytesMax`.
 * @throws HF_BAD_ARGUMENT when there is no such number.
 */
export function fitDataCount(
  file: { readonly sizeBytes: number; readonly isSealed: boolean },
  scheme: Omit<ChunkFileScheme, 'dataCount'>,
  chunkFileBytesMax: number,
): number {
  assert(Number.isSafeInteger(chunkFileBytesMax), 'the goal is a whole number');
  for (let dataCount = 1; dataCount + scheme.parityCount <= SHARDS_MAX; dataCount++) {
    const set = { ...scheme, dataCount };
    // A wide stripe for few files would be refused; with more files it fits.
    if (Math.ceil(file.sizeBytes / dataCount) > chunkFileBytesMax) continue;
    if (planChunkFiles(file, set).chunkFileBytes <= chunkFileBytesMax) return dataCount;
  }
  const message = `no number of chunk files makes each ${chunkFileBytesMax} bytes or less`;
  throw new HoldfastError('HF_BAD_ARGUMENT', message);
}
