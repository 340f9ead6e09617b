/** The door of `shares`: files that need no daemon. */
export { type ChunkFault, faultLines } from './chunk-file.ts';
export { type ChunkMakeRequest, makeChunkFiles } from './chunk-make.ts';
export {
  CHUNK_FILE_DATA,
  CHUNK_FILE_PARITY,
  type ChunkFilePlan,
  type ChunkFileScheme,
  fitDataCount,
  planChunkFiles,
} from './chunk-plan.ts';
export {
  type ChunkGetRequest,
  type ChunkGetResult,
  type ChunkVerifyResult,
  getFromChunkFiles,
  verifyChunkFiles,
} from './chunk-read.ts';
export {
  type ChunkRepairRequest,
  type ChunkRepairResult,
  repairChunkFiles,
} from './chunk-repair.ts';
export { chunkFileName, findChunkFiles, groupChunkFiles, isChunkNamedFor } from './chunk-set.ts';
export { addShares, type AddOptions, type AddResult } from './add-shares.ts';
export { rangeName, verifyShares, type VerifyResult } from './check-shares.ts';
export {
  type CombineOptions,
  combineShares,
  type CombineResult,
  digestOfShares,
} from './combine.ts';
export { FileSeal, sealedBytes } from './file-seal.ts';
export { InputFile, OutputFile, type Progress, syncFolder } from './files.ts';
export {
  formatShareKey,
  readKeyFile,
  SHARE_KEY_BYTES,
  SHARE_KEY_FILE,
  writeKeyFile,
  writeSecretFile,
} from './key-file.ts';
export type { UnitWidth } from './share-field.ts';
export { type Chunking, planShares, type SharePlan, type ShareScheme } from './share-plan.ts';
export {
  type BadShare,
  findShareFiles,
  groupShareFiles,
  inspectShare,
  isNamedFor,
  type Share,
} from './share-set.ts';
export { combineSecret, splitSecret } from './shamir.ts';
export { splitFile, type SplitOptions, type SplitResult } from './split.ts';
