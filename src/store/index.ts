/** The door of `store`: chunks on one device, verified on every read. */
export {
  checkChunk,
  type ChunkHeader,
  chunkHeaderBytes,
  decodeChunkHeader,
  encodeChunkHeader,
  stripeIdOf,
} from './chunk-format.ts';
export type {
  ChunkEntry,
  ChunkStore,
  GroupDigest,
  ScrubFinding,
  ScrubReport,
  StoreState,
  StoreUsage,
} from './chunk-store.ts';
