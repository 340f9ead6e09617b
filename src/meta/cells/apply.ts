/**
 * Applies entries to the rows of one copy: whoever is not the steward grows its rows this way. The
 * digest is kept here from the rows that are really there, and compared with what an entry says.
 */
import { HoldfastError } from '../../base/index.ts';
import type { Changes, LocalDb } from '../../db/index.ts';
import type { LogEntry, Lsn } from '../../log/index.ts';
import { type Applied, appliedAfter, appliedRow, decodeEntry, digestDelta } from './entries.ts';
import type { Rows } from './overlay.ts';

/** What to go by besides the rows. */
export interface ApplyOptions {
  /** Before this entry the rows are of no one moment (`snapshot.ts`), so that no digest fits. */
  readonly consistentFrom?: Lsn | undefined;
  /** A planted fault. */
  readonly isDigestUnchecked?: boolean | undefined;
  /**
   * The rows are made of nothing but the log, which counts: when they are not the steward's, it was
   * the steward's that had gone wrong. This is told, and its digest is taken over, so that the
   * entries after it are compared as before.
   */
  readonly onWrongSteward?: ((lsn: Lsn) => void) | undefined;
}

/**
 * What an entry does to the rows, the applied row left out. Pure (ruling 18).
 * @throws HF_CORRUPT when it does not follow what is applied, or the rows are not the steward's.
 */
export function entryChanges(
  rows: Pick<Rows, 'get'>,
  applied: Applied,
  entry: Pick<LogEntry, 'lsn' | 'bytes'>,
  { consistentFrom = 0, isDigestUnchecked = false, onWrongSteward }: ApplyOptions = {},
): { changes: Changes; applied: Applied } {
  const { previous, changes } = decodeEntry(entry);
  if (previous.lsn !== applied.lsn || previous.chainHash !== applied.chainHash) {
    throw new HoldfastError('HF_CORRUPT', `entry ${entry.lsn} does not follow`);
  }
  let { digest } = applied;
  const isComparable = previous.digest !== undefined && previous.lsn >= consistentFrom;
  if (isComparable && previous.digest !== digest && !isDigestUnchecked) {
    if (!onWrongSteward) {
      const message = `the rows before entry ${entry.lsn} are not as they were`;
      throw new HoldfastError('HF_CORRUPT', message);
    }
    onWrongSteward(entry.lsn);
    digest = previous.digest;
  }
  let delta = 0n;
  const puts = [];
  const deletes = [];
  for (const change of changes) {
    const { key, value } = change;
    delta += digestDelta(change, rows.get(key));
    if (value) puts.push({ key, value });
    else deletes.push(key);
  }
  return {
    changes: { puts, deletes },
    applied: appliedAfter({ ...applied, digest }, entry.bytes, delta),
  };
}

/** One transaction: the rows and how far they have come. @throws HF_CORRUPT. */
export async function applyEntry(
  db: LocalDb,
  applied: Applied,
  entry: Pick<LogEntry, 'lsn' | 'bytes'>,
  options?: ApplyOptions,
): Promise<Applied> {
  const next = entryChanges(db, applied, entry, options);
  const { puts, deletes } = next.changes;
  await db.transact({ puts: [...puts, appliedRow(next.applied)], deletes });
  return next.applied;
}
