/**
 * When a steward's cell gets a new snapshot, and when the newest one is extended: after so much log
 * or so much time. What is in a snapshot can be trimmed from the log, and extending one costs what
 * is new, so the log stays short whatever the size of the cell.
 *
 * A new one that was taken while entries were applied has rows of several moments. It is extended
 * at once up to the moment from which on they fit, and the log is trimmed only then, with which
 * older ones go: at any time one is stored that needs no log (log's pool-snapshots.ts).
 */
import { errorCode, HoldfastError, LIMITS } from '../../base/index.ts';
import type { LocalDb } from '../../db/index.ts';
import type { Env } from '../../env/index.ts';
import {
  type CellId,
  type FencedLog,
  type LogEntry,
  type Lsn,
  storedEntryBytes,
} from '../../log/index.ts';
import type { Applied } from './entries.ts';
import {
  extensionParts,
  type KnownSnapshot,
  knownSnapshotRow,
  NO_SNAPSHOT,
  readKnownSnapshot,
  snapshotParts,
  type SnapshotSource,
} from './snapshot.ts';

interface Parts {
  readonly env: Env;
  readonly cell: CellId;
  readonly log: FencedLog;
  readonly db: LocalDb;
}

/** The steward's state, as it is at each look. */
export interface Position {
  readonly epoch: number;
  readonly applied: Applied;
  /** Number of the last entry known to be in the log. */
  readonly durableLsn: Lsn;
}

export class Snapshotter {
  readonly #parts: Parts;
  /** `undefined` when nobody serves. */
  readonly #position: () => Position | undefined;
  /** The newest snapshot, or the last attempt at one. */
  #known: KnownSnapshot = NO_SNAPSHOT;
  #running: Promise<void> | undefined;
  #timer = new AbortController();

  constructor(parts: Parts, position: () => Position | undefined) {
    this.#parts = parts;
    this.#position = position;
  }

  /** The rows have been taken over. */
  begin(): void {
    this.#known = readKnownSnapshot(this.#parts.db);
    this.#timer.abort();
    this.#timer = new AbortController();
    void this.#everyNowAndThen(this.#timer.signal);
  }

  /** Ends the snapshot that is being taken, if nobody serves any more. */
  async stop(): Promise<void> {
    this.#timer.abort();
    await this.#running;
  }

  /** Called whenever more has been applied. */
  takeWhenDue(): void {
    const position = this.#position();
    if (!position) return;
    const { lsn, atLogBytes, snapshotBytes, extensionBytes } = this.#known;
    const sinceBytes = position.applied.logBytes - atLogBytes;
    if (sinceBytes <= LIMITS.logBytesBeforeSnapshot) return;
    // One that cannot be extended waits until its cost is in proportion.
    if (lsn > 0 || extensionBytes + sinceBytes > snapshotBytes) this.#take(position);
  }

  /** Begins one, unless one is under way. */
  take(): void {
    const position = this.#position();
    if (position) this.#take(position);
  }

  async #everyNowAndThen(signal: AbortSignal): Promise<void> {
    for await (const _ of this.#parts.env.clock.every(LIMITS.snapshotAgeMs, { signal })) {
      const position = this.#position();
      if (position && position.applied.logBytes > this.#known.atLogBytes) this.#take(position);
    }
  }

  #take(position: Position): void {
    this.#running ??= this.#save(position).finally(() => (this.#running = undefined));
  }

  /** Never fails: what was not made is tried again when the log has grown as much again. */
  async #save(position: Position): Promise<void> {
    const { env, cell, log, db } = this.#parts;
    const { epoch, applied } = position;
    const before = this.#known;
    this.#known = { ...before, lsn: 0, atLogBytes: applied.logBytes };
    try {
      const extended = await this.#extend(before, position);
      const saved = extended ?? (await this.#saveWhole(epoch, applied));
      this.#known = saved;
      await db.transact({ puts: [knownSnapshotRow(saved)], deletes: [] });
      await log.trim(cell, saved.lsn);
    } catch (error) {
      env.log.warn('a snapshot was not made', { cell, error });
    }
  }

  /** @returns `undefined` when a whole one is to be made. */
  async #extend(
    before: KnownSnapshot,
    { epoch, applied }: Position,
  ): Promise<KnownSnapshot | undefined> {
    const { snapshotBytes, extensionBytes, atLogBytes } = before;
    const sinceBytes = applied.logBytes - atLogBytes;
    // With its extensions it takes at most twice the room, and the reading, of a new one.
    if (before.lsn === 0 || extensionBytes + sinceBytes > snapshotBytes) return undefined;
    try {
      return await this.#extendTo(before, { epoch, lsn: applied.lsn });
    } catch (error) {
      if (errorCode(error) === 'HF_NOT_FOUND') return undefined; // another steward has made one
      throw error;
    }
  }

  /** @throws HF_NOT_FOUND when the newest snapshot is another one. */
  async #extendTo(
    before: KnownSnapshot,
    position: { readonly epoch: number; readonly lsn: Lsn },
  ): Promise<KnownSnapshot> {
    const { cell, log } = this.#parts;
    const { lsn } = position;
    let { atLogBytes } = before;
    async function* entries(): AsyncGenerator<LogEntry> {
      for await (const entry of log.read(cell, before.lsn + 1)) {
        if (entry.lsn > lsn) return;
        atLogBytes += storedEntryBytes(entry.bytes.length);
        yield entry;
      }
    }
    const parts = counted(extensionParts(entries()));
    await log.saveSnapshot(cell, position, parts.bytes, { extends: before.lsn });
    const extensionBytes = before.extensionBytes + parts.count();
    return { ...before, lsn, atLogBytes, extensionBytes };
  }

  async #saveWhole(epoch: number, applied: Applied): Promise<KnownSnapshot> {
    const { env, cell, log, db } = this.#parts;
    let consistentFrom = 0;
    const source: SnapshotSource = {
      applied,
      newestLsn: () => {
        const position = this.#position();
        if (position?.epoch !== epoch) throw new HoldfastError('HF_FENCED');
        return (consistentFrom = position.durableLsn);
      },
      pause: () => env.clock.sleep(0),
    };
    const parts = counted(snapshotParts(db, source));
    const { lsn, logBytes } = applied;
    await log.saveSnapshot(cell, { epoch, lsn }, parts.bytes);
    const whole = { lsn, atLogBytes: logBytes, snapshotBytes: parts.count(), extensionBytes: 0 };
    if (consistentFrom <= lsn) return whole;
    return await this.#extendTo(whole, { epoch, lsn: consistentFrom });
  }
}

/** Parts on their way, and how many bytes of them have passed. */
function counted(parts: AsyncIterable<Uint8Array>): {
  bytes: AsyncIterable<Uint8Array>;
  count(): number;
} {
  let total = 0;
  async function* passing(): AsyncGenerator<Uint8Array> {
    for await (const part of parts) {
      total += part.length;
      yield part;
    }
  }
  return { bytes: passing(), count: () => total };
}
