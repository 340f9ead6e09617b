/**
 * Brings a cell's database up to its log. The log is the truth and the database a cache of it: rows
 * that do not belong to the log's history are thrown away and made again from the newest snapshot
 * and the entries after it. Only a log that ends before the rows is an error: it has lost entries.
 *
 * Others snapshot and trim meanwhile: what was to be read is gone then, and a newer snapshot says
 * it. So it begins again, a few times.
 */
import { errorCode, HoldfastError } from '../../base/index.ts';
import type { LocalDb } from '../../db/index.ts';
import type { Env } from '../../env/index.ts';
import type { CellId, FencedLog, Lsn } from '../../log/index.ts';
import { type ApplyOptions, applyEntry } from './apply.ts';
import {
  type Applied,
  chainHashOf,
  decodeApplied,
  NOTHING_APPLIED,
  type StoredApplied,
} from './entries.ts';
import { APPLIED_KEY } from './rows.ts';
import { clearRows, digestOfDatabase, loadSnapshot } from './snapshot.ts';

/** Snapshots are made so seldom that a second one hardly comes in the way of loading one. */
const TRIES_MAX = 5;

interface Source {
  readonly env: Env;
  /** A planted fault. */
  readonly isDigestUnchecked?: boolean | undefined;
  readonly cell: CellId;
  readonly log: FencedLog;
  readonly db: LocalDb;
}

/**
 * @param lsn an entry that the log has.
 * @returns what is applied: entry `lsn`, or a later one when a newer snapshot had to be loaded.
 * @throws HF_CORRUPT when log, snapshot and rows cannot be brought together; HF_UNAVAILABLE when
 *   the log was trimmed again and again before it was read.
 */
export async function catchUp(source: Source, lsn: Lsn): Promise<Applied> {
  assertNotAhead(source, lsn);
  for (let tries = 1; ; tries += 1) {
    try {
      return await catchUpOnce(source, lsn);
    } catch (error) {
      if (errorCode(error) !== 'HF_NOT_FOUND') throw error;
      if (tries < TRIES_MAX) continue;
      const message = `cell ${source.cell}: its log is trimmed faster than it can be read`;
      throw new HoldfastError('HF_UNAVAILABLE', message, { cause: error });
    }
  }
}

/**
 * The same for whoever has seized the cell.
 * @param end what `seize` has answered.
 * @throws HF_FENCED when another has seized it since, and appended.
 */
export async function catchUpToEnd(
  source: Source,
  { epoch, lsn }: { readonly epoch: number; readonly lsn: Lsn },
): Promise<Applied> {
  const { cell, log } = source;
  const applied = await catchUp(source, lsn);
  if (applied.lsn === lsn) return applied;
  if (!(await log.confirm(cell, epoch))) throw new HoldfastError('HF_FENCED');
  const message = `cell ${cell}: the log ends at ${lsn}, its snapshot at ${applied.lsn}`;
  throw new HoldfastError('HF_CORRUPT', message);
}

/** @throws HF_NOT_FOUND when the log was trimmed meanwhile, or another snapshot saved. */
async function catchUpOnce(source: Source, lsn: Lsn): Promise<Applied> {
  const { cell, log, db } = source;
  const { trimmed } = await log.head(cell);
  const applied = readApplied(db);
  if (applied && applied.lsn >= trimmed && (await isOfThisLog(source, applied, trimmed))) {
    try {
      return await replay(source, await withDigest(source, applied), { lsn });
    } catch (error) {
      if (errorCode(error) !== 'HF_CORRUPT') throw error;
      source.env.log.warn('rows of a cell are not as its log says: made again', { cell, error });
    }
  }
  return await rebuild(source, lsn);
}

/** Makes the rows from nothing but the log and its snapshot. */
async function rebuild(source: Source, lsn: Lsn): Promise<Applied> {
  const { env, cell, log, db } = source;
  const onWrongSteward = (entry: Lsn): void =>
    env.log.error("a steward's rows were not as its log says", { cell, entry });
  let start = { applied: NOTHING_APPLIED, consistentFrom: 0 };
  const snapshot = await log.loadSnapshot(cell);
  if (snapshot) {
    try {
      start = await loadSnapshot(db, snapshot, { onWrongSteward });
    } catch (error) {
      if (errorCode(error) !== 'HF_CORRUPT') throw error;
      const newest = await log.loadSnapshot(cell);
      if (!newest || newest.lsn === snapshot.lsn) throw error;
      const message = `snapshot ${snapshot.lsn} was replaced as it was read`;
      throw new HoldfastError('HF_NOT_FOUND', message, { cause: error });
    }
  } else await clearRows(db);
  const { applied, consistentFrom } = start;
  const end = Math.max(lsn, consistentFrom, applied.lsn);
  return await replay(source, applied, { lsn: end, consistentFrom, onWrongSteward });
}

/** Rows of before there were digests are summed up once. */
async function withDigest({ env, db }: Source, applied: StoredApplied): Promise<Applied> {
  const { digest } = applied;
  if (digest !== undefined) return { ...applied, digest };
  return { ...applied, digest: await digestOfDatabase(db, () => env.clock.turn()) };
}

/**
 * Asked of every cell before any is seized, too: a log that has lost its end must not be written.
 * @param lsn the end of the cell's log.
 * @throws HF_CORRUPT when the rows know of entries that the log has lost.
 */
export function assertNotAhead({ cell, db }: Pick<Source, 'cell' | 'db'>, lsn: Lsn): void {
  const applied = readApplied(db);
  if (!applied || applied.lsn <= lsn) return;
  const message = `cell ${cell}: the log ends at ${lsn}, the rows at ${applied.lsn}`;
  throw new HoldfastError('HF_CORRUPT', message);
}

export function readApplied(db: LocalDb): StoredApplied | undefined {
  const bytes = db.get(APPLIED_KEY);
  return bytes && decodeApplied(bytes);
}

/** Whether the last applied entry is the log's; one that was trimmed is taken at its word. */
async function isOfThisLog(source: Source, applied: StoredApplied, trimmed: Lsn): Promise<boolean> {
  if (applied.lsn === trimmed) return true;
  for await (const entry of source.log.read(source.cell, applied.lsn)) {
    return chainHashOf(entry.bytes) === applied.chainHash;
  }
  return false;
}

/** Applies the entries after `from`, up to `lsn`. */
async function replay(
  { cell, log, db, isDigestUnchecked }: Source,
  from: Applied,
  { lsn, ...options }: { readonly lsn: Lsn } & ApplyOptions,
): Promise<Applied> {
  let applied = from;
  if (applied.lsn < lsn) {
    for await (const entry of log.read(cell, applied.lsn + 1)) {
      if (entry.lsn > lsn) break; // whoever only follows reads while others append
      applied = await applyEntry(db, applied, entry, { ...options, isDigestUnchecked });
    }
  }
  if (applied.lsn < lsn) {
    const message = `cell ${cell}: entry ${applied.lsn + 1} is missing`;
    throw new HoldfastError('HF_CORRUPT', message);
  }
  return applied;
}
