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
  PutOptions,
  ScrubFinding,
  ScrubReport,
  StoreState,
  StoreUsage,
} from './chunk-store.ts';
export { ExtentStore, type OpenOptions, openStore, type StoreDescription } from './extent-store.ts';
export { chunkMemoryBytes } from './footer.ts';
export { formatStore, type FormatOptions } from './format.ts';
export type { StoreLimits } from './superblock.ts';
export { MemoryChunkStore, type MemoryStoreOptions } from './memory-store.ts';
