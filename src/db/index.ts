/** The door of `db`: an ordered map in one file, or in memory. */
export type { Changes, LocalDb, RangeOptions, Row } from './local-db.ts';
export { MemoryDb, type MemoryDbOptions } from './memory-db.ts';
export { SqliteDb, type SqliteDbOptions, SqliteThread } from './sqlite-db.ts';
