/** The door of `codec`: n shards from k pieces and back. */
export { openCodec } from './codec.ts';
export { CodecMemory, SCRATCH_BYTES, type ScratchRegion } from './codec-memory.ts';
export { type ErasureCodec, MATRIX_IDS } from './erasure-codec.ts';
export {
  type GaloisField,
  galoisField,
  identityMatrix,
  invertMatrix,
  type Matrix,
  multiplyMatrices,
} from './galois.ts';
export type * from './web-assembly.ts';
