// Aim: rows are brought up to a log that others trim and snapshot meanwhile, or whose steward had
// wrong rows; and nothing that goes wrong there looks like an operation's answer. Method: a log in
// memory that is trimmed, or gets another snapshot, just as it is read.
import { describe, expect, it } from 'vitest';
import { errorCode, HoldfastError } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { type Log, silentLog } from '../../env/index.ts';
import { type FencedLog, type LogEntry, MemoryLog, type Snapshot } from '../../log/index.ts';
import { changedLog } from '../../../test/suites/changed-log.ts';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { catchUp } from './catch-up.ts';
import { Replica } from './replica.ts';
import { rowKey, slotStart } from './rows.ts';
import { extensionParts, snapshotParts } from './snapshot.ts';
import { type CellParts, Steward } from './steward.ts';

const CELL = 'cell';
const ALL = { from: slotStart(0), to: slotStart(4096) };

/** A steward that writes a row with each number, and saves its rows when told to. */
class Writer {
  readonly parts: CellParts & { readonly log: MemoryLog; readonly db: MemoryDb };
  readonly steward: Steward;
  #written = 0;

  constructor(parts: Writer['parts'], steward: Steward) {
    this.parts = parts;
    this.steward = steward;
  }

  static async open(): Promise<Writer> {
    const parts = { env: virtualEnv(1), cell: CELL, log: new MemoryLog(), db: new MemoryDb() };
    return new Writer(parts, await Steward.open(parts));
  }

  async write(count = 1): Promise<void> {
    for (let left = count; left > 0; left--) {
      this.#written += 1;
      const key = rowKey(7, 'Y', BigInt(this.#written));
      await this.steward.execute((rows) => rows.put(key, Uint8Array.of(1)));
    }
    await this.parts.env.clock.sleep(1);
  }

  async save(): Promise<void> {
    const { epoch, applied } = this.steward.position;
    const pause = async (): Promise<void> => {};
    const source = { applied, newestLsn: () => applied.lsn, pause };
    const { log, db } = this.parts;
    await log.saveSnapshot(CELL, { epoch, lsn: applied.lsn }, snapshotParts(db, source));
    await log.trim(CELL, applied.lsn);
  }

  rows(): string[] {
    return rowsOf(this.parts.db);
  }
}

function rowsOf(db: MemoryDb): string[] {
  return db.range(ALL).map(({ key, value }) => `${String(key)} ${String(value)}`);
}

/** Before the entries are read for the first time they are trimmed. */
function trimmedAsRead(writer: Writer): FencedLog {
  const { log } = writer.parts;
  let isTrimmed = false;
  return changedLog(log, {
    async *read(cell, from) {
      if (!isTrimmed) {
        isTrimmed = true;
        await writer.write();
        await writer.save();
      }
      yield* log.read(cell, from);
    },
  });
}

describe('rows are brought up to a log', () => {
  it('that is trimmed as it is read', async () => {
    const writer = await Writer.open();
    await writer.write(3);
    const db = new MemoryDb();
    const applied = await catchUp({ ...writer.parts, log: trimmedAsRead(writer), db }, 3);
    expect(applied.lsn).toBe(4);
    expect(rowsOf(db)).toEqual(writer.rows());
  });

  it('whose snapshot is replaced as it is read', async () => {
    const writer = await Writer.open();
    await writer.write(3);
    await writer.save();
    let times = 0;
    async function* replaced({ parts }: Snapshot): AsyncGenerator<Uint8Array> {
      for await (const part of parts) {
        yield part;
        break;
      }
      await writer.write();
      await writer.save();
      throw new HoldfastError('HF_CORRUPT', 'a part cannot be read');
    }
    const { log } = writer.parts;
    const loadSnapshot = async (cell: string): Promise<Snapshot | undefined> => {
      const snapshot = await log.loadSnapshot(cell);
      times += 1;
      return snapshot && times === 1 ? { ...snapshot, parts: replaced(snapshot) } : snapshot;
    };
    const db = new MemoryDb();
    await catchUp({ ...writer.parts, log: changedLog(log, { loadSnapshot }), db }, 3);
    expect(rowsOf(db)).toEqual(writer.rows());
  });

  it('a few times; then it is no answer to an operation', async () => {
    const writer = await Writer.open();
    await writer.write(3);
    let times = 0;
    const log = changedLog(writer.parts.log, {
      async *read(cell, from) {
        times += 1;
        for await (const entry of writer.parts.log.read(cell, from)) {
          if (times > 0) throw new HoldfastError('HF_NOT_FOUND', 'it was trimmed');
          yield entry;
        }
      },
    });
    const parts = { ...writer.parts, log, db: new MemoryDb() };
    expect(await catchUp(parts, 3).catch(errorCode)).toBe('HF_UNAVAILABLE');
    expect(times).toBeGreaterThan(1);
    const idle = Steward.idle(parts, {});
    expect(await idle.execute(() => 1).catch(errorCode)).toBe('HF_UNAVAILABLE');
  });

  it('that cannot be read: that is no answer to an operation either', async () => {
    const writer = await Writer.open();
    await writer.write(3);
    for (const code of ['HF_CORRUPT', 'HF_NOT_FOUND', 'HF_EXISTS'] as const) {
      const failing = async (): Promise<never> => {
        throw new HoldfastError(code);
      };
      const log = changedLog(writer.parts.log, { loadSnapshot: failing });
      const idle = Steward.idle({ ...writer.parts, log, db: new MemoryDb() }, {});
      expect(await idle.execute(() => 1).catch(errorCode)).toBe('HF_UNAVAILABLE');
      expect(await idle.peek(() => 1).catch(errorCode)).toBe('HF_UNAVAILABLE');
    }
  });
});

describe('a steward whose rows have gone wrong', () => {
  it('keeps nobody from following its log, and is reported', async () => {
    const writer = await Writer.open();
    await writer.write(2);
    const key = rowKey(7, 'Y', 1n);
    await writer.parts.db.transact({ puts: [{ key, value: Uint8Array.of(9) }], deletes: [] });
    await writer.steward.peek((rows) => {
      // Until the row is in its memory no more.
      for (let other = 0n; other < 10_000n; other++) rows.get(rowKey(7, 'N', other));
    });
    await writer.steward.execute((rows) => rows.put(key, Uint8Array.of(2)));
    await writer.write(2);
    const errors: string[] = [];
    const log: Log = { ...silentLog, error: (message) => errors.push(message) };
    const env = { ...writer.parts.env, log };
    for (const isExtended of [false, true]) {
      if (isExtended) await extended(writer);
      const db = new MemoryDb();
      await using replica = await Replica.open({ ...writer.parts, env, db, intervalMs: 1e9 });
      await replica.caughtUp();
      expect(rowsOf(db)).toEqual(writer.rows());
      expect(errors).toHaveLength(1);
      await writer.write(3);
      await replica.caughtUp();
      expect(rowsOf(db)).toEqual(writer.rows());
      expect(errors.splice(0)).toHaveLength(1);
    }
  });
});

/** A snapshot of before the row went wrong, with the entries since. */
async function extended(writer: Writer): Promise<void> {
  const { log, env } = writer.parts;
  const db = new MemoryDb();
  const entries = await Array.fromAsync(log.read(CELL, 1));
  const two = changedLog(log, {
    async *read(cell, from) {
      for await (const entry of log.read(cell, from)) if (entry.lsn <= 2) yield entry;
    },
  });
  const applied = await catchUp({ env, cell: CELL, log: two, db }, 2);
  const { epoch } = writer.steward.position;
  const pause = async (): Promise<void> => {};
  const parts = snapshotParts(db, { applied, newestLsn: () => 2, pause });
  await log.saveSnapshot(CELL, { epoch, lsn: 2 }, parts);
  const { lsn } = entries.at(-1)!;
  const later = extensionParts(afterTwo(entries));
  await log.saveSnapshot(CELL, { epoch, lsn }, later, { extends: 2 });
  await log.trim(CELL, lsn);
}

async function* afterTwo(entries: readonly LogEntry[]): AsyncGenerator<LogEntry> {
  yield* entries.slice(2);
}
