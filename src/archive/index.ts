/** The door of `archive`: trees of files and their shares on named stores. */
export { Archive, type ArchiveOptions } from './archive.ts';
export { Catalogue } from './catalogue.ts';
export {
  type ArchiveConfig,
  configValue,
  describePlace,
  dumpConfig,
  parseConfig,
} from './config.ts';
export { type Disk, realDisk } from './disk.ts';
export type { ScanRow } from './scan.ts';
export { isOnline, type Store } from './stores.ts';
export type { Part } from './validate.ts';
export type { KnownDisks } from './volumes.ts';
export type { Outcome } from './work.ts';
