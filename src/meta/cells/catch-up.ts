/**
 * Brings a cell's database up to its log. The log is the truth and the database a cache of it: rows
 * that do not belong to the log's history are thrown away and made again from the newest snapshot
 * and the entries after it. Only a log that ends before the rows is an error: it has lost entries.
 */
import { HoldfastError } from '../../base/index.ts';
import type { LocalDb } from '../../db/index.ts';
import type { CellId, FencedLog, Lsn } from '../../log/index.ts';
import {
  type Applied,
  applyEntry,
  decodeApplied,
  decodeEntry,
  NOTHING_APPLIED,
} from './entries.ts';
import { APPLIED_KEY } from './rows.ts';
import { clearRows, loadSnapshot } from './snapshot.ts';

interface Source {
  readonly cell: CellId;
  readonly log: FencedLog;
  readonly db: LocalDb;
}

/**
 * @param lsn the end of the log, as the seize found it.
 * @returns what is applied: entry `lsn`.
 * @throws HF_CORRUPT when log, snapshot and rows cannot be brought together.
 */
export async function catchUp(source: Source, lsn: Lsn): Promise<Applied> {
  const { cell, log, db } = source;
  const { trimmed } = await log.head(cell);
  assertNotAhead({ cell, db }, lsn);
  let applied = readApplied(db);
  if (applied && applied.lsn >= trimmed && (await isOfThisLog(source, applied, trimmed))) {
    return await replay(source, applied, lsn);
  }
  let consistentFrom = 0;
  const snapshot = await log.loadSnapshot(cell);
  if (snapshot) ({ applied, consistentFrom } = await loadSnapshot(db, snapshot));
  else {
    await clearRows(db);
    applied = NOTHING_APPLIED;
  }
  const reached = await replay(source, applied, lsn);
  if (reached.lsn < consistentFrom) {
    const message = `cell ${cell}: the log ends at ${lsn}, its snapshot at ${consistentFrom}`;
    throw new HoldfastError('HF_CORRUPT', message);
  }
  return reached;
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

function readApplied(db: LocalDb): Applied | undefined {
  const bytes = db.get(APPLIED_KEY);
  return bytes && decodeApplied(bytes);
}

/** Whether the last applied entry is the log's; one that was trimmed is taken at its word. */
async function isOfThisLog(source: Source, applied: Applied, trimmed: Lsn): Promise<boolean> {
  if (applied.lsn === trimmed) return true;
  for await (const entry of source.log.read(source.cell, applied.lsn)) {
    return decodeEntry(entry).applied.chainHash === applied.chainHash;
  }
  return false;
}

/** Applies the entries after `from`. */
async function replay({ cell, log, db }: Source, from: Applied, lsn: Lsn): Promise<Applied> {
  let applied = from;
  if (applied.lsn < lsn) {
    for await (const entry of log.read(cell, applied.lsn + 1)) {
      const { previous, applied: next } = decodeEntry(entry);
      if (previous.lsn !== applied.lsn || previous.chainHash !== applied.chainHash) {
        throw new HoldfastError('HF_CORRUPT', `cell ${cell}: entry ${entry.lsn} does not follow`);
      }
      await db.transact(applyEntry(entry));
      applied = next;
    }
  }
  if (applied.lsn !== lsn) {
    const message = `cell ${cell}: entry ${applied.lsn + 1} is missing`;
    throw new HoldfastError('HF_CORRUPT', message);
  }
  return applied;
}
