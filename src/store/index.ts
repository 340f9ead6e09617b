/** The door of `store`: chunks on one device, verified on every read. */
export { checkStore, type CheckOptions, repairStore, type RepairReport } from './check.ts';
export type {
  CheckFinding,
  CheckPlace,
  CheckReport,
  CheckTotals,
  DeviceRange,
} from './check-report.ts';
export {
  checkChunk,
  type ChunkHeader,
  chunkHeaderBytes,
  decodeChunkHeader,
  encodeChunkHeader,
  stripeIdOf,
} from './chunk-format.ts';
export { statChunks } from './chunk-store.ts';
export type {
  ChunkEntry,
  ChunkStore,
  GroupDigest,
  PutOptions,
  ScrubFinding,
  ScrubOptions,
  ScrubReport,
  StoreState,
  StoreUsage,
} from './chunk-store.ts';
export { ExtentStore, type OpenOptions, openStore } from './extent-store.ts';
export { chunkMemoryBytes } from './footer.ts';
export { formatStore, type FormatOptions } from './format.ts';
export { MemoryChunkStore, type MemoryStoreOptions } from './memory-store.ts';
export { checkLimits, type Pressure } from './pressure.ts';
export { PeerTurns } from './peer-turns.ts';
export { RemoteChunkStore, type RemoteStoreOptions } from './remote-store.ts';
export { salvageStore, type SalvageOptions, type SalvageReport } from './salvage.ts';
export { serveStores, type ServeStoresOptions } from './serve-stores.ts';
export { isSilence } from './store-link.ts';
export type { StoreDescription } from './store-description.ts';
export { readSuperblock, type StoreLimits, type Superblock } from './superblock.ts';
export { whileBusy } from './while-busy.ts';
