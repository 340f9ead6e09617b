// Aim: what a steward answers is durable, in order, and no other steward's; whatever stops it, the
// next one has the same rows. Method: a cell of counters over the memory engines, with a log and a
// database that fail where a test says so.
import { describe, expect, it } from 'vitest';
import { changedLog } from '../../../test/suites/changed-log.ts';
import { errorCode, HoldfastError, LIMITS, toHex, utf8, xxh64 } from '../../base/index.ts';
import {
  type Changes,
  type LocalDb,
  MemoryDb,
  type RangeOptions,
  type Row,
} from '../../db/index.ts';
import { realEnv } from '../../env/index.ts';
import { type FencedLog, type LogEntry, MemoryLog } from '../../log/index.ts';
import type { Rows } from './overlay.ts';
import { rowKey } from './rows.ts';
import { digestOfDatabase, loadSnapshot } from './snapshot.ts';
import { type CellParts, type Operation, Steward } from './steward.ts';

const env = realEnv();
const KEY = rowOf('counter');
const ALL = { from: new Uint8Array(), to: new Uint8Array([0xff, 0xff]) };

function rowOf(name: string): Uint8Array {
  return utf8(`\0\0T${name}`);
}

function counter(rows: Rows): number {
  return Number(rows.get(KEY)?.[0] ?? 0);
}

const increment: Operation<number> = (rows) => {
  const next = counter(rows) + 1;
  rows.put(KEY, new Uint8Array([next]));
  return next;
};

function fill(name: string, bytes: number): Operation<void> {
  return (rows) => rows.put(rowOf(name), new Uint8Array(bytes).fill(7));
}

function partsOf(overrides: Partial<CellParts> = {}): CellParts {
  return { env, cell: 'cell', log: new MemoryLog(), db: new MemoryDb(), ...overrides };
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(
    () => undefined,
    (error: unknown) => errorCode(error) ?? 'another error',
  );
}

describe('Steward', () => {
  it('executes in order and answers with what each operation saw', async () => {
    await using steward = await Steward.open(partsOf());
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => steward.execute(increment)),
    );
    expect(answers).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
  });

  it('commits in groups what waits for an append', async () => {
    const parts = partsOf();
    await using steward = await Steward.open(parts);
    await Promise.all(Array.from({ length: 100 }, () => steward.execute(increment)));
    expect((await parts.log.head('cell')).lsn).toBeLessThan(5);
  });

  it('splits what does not fit one entry, and refuses an operation that fits none', async () => {
    const parts = partsOf();
    await using steward = await Steward.open(parts);
    const bytes = LIMITS.logEntryBytesMax / 2;
    await Promise.all(['a', 'b', 'c'].map((name) => steward.execute(fill(name, bytes))));
    expect((await parts.log.head('cell')).lsn).toBeGreaterThanOrEqual(3);
    const tooLarge = steward.execute(fill('d', LIMITS.logEntryBytesMax));
    expect(await codeOf(tooLarge)).toBe('HF_TOO_LARGE');
    expect(await steward.execute((rows) => rows.get(rowOf('d')))).toBeUndefined();
  });

  it('drops all rows of an operation that throws', async () => {
    await using steward = await Steward.open(partsOf());
    const failing = steward.execute((rows) => {
      increment(rows);
      throw new HoldfastError('HF_EXISTS');
    });
    expect(await codeOf(failing)).toBe('HF_EXISTS');
    expect(await steward.execute(counter)).toBe(0);
  });

  it('reports a bug of an operation at once and goes on', async () => {
    await using steward = await Steward.open(partsOf());
    const bug = steward.execute(() => {
      throw new TypeError('a bug');
    });
    await expect(bug).rejects.toThrow('a bug');
    expect(await steward.execute(increment)).toBe(1);
  });

  it('answers no read, and no refusal, once another steward has taken over', async () => {
    const parts = partsOf();
    await using old = await Steward.open(parts);
    await old.execute(increment);
    await using next = await Steward.open({ ...parts, db: new MemoryDb() });
    const read = codeOf(old.execute(counter));
    const refusal = codeOf(
      old.execute(() => {
        throw new HoldfastError('HF_EXISTS');
      }),
    );
    const write = codeOf(old.execute(increment));
    expect([await read, await refusal, await write]).toEqual(Array(3).fill('HF_FENCED'));
    expect(await next.execute(counter)).toBe(1);
  });

  it('takes its cell back when it is asked again, with what the other one did', async () => {
    const parts = partsOf();
    await using first = await Steward.open(parts);
    await using second = await Steward.open({ ...parts, db: new MemoryDb() });
    await second.execute(increment);
    expect(await codeOf(first.execute(increment))).toBe('HF_FENCED');
    expect(await first.execute(increment)).toBe(2);
    expect(await codeOf(second.execute(counter))).toBe('HF_FENCED');
    expect(await second.execute(counter)).toBe(2);
  });

  it('waits for what it was asked before it closes, and takes nothing afterwards', async () => {
    const parts = partsOf();
    const steward = await Steward.open(parts);
    const last = steward.execute(increment);
    await steward[Symbol.asyncDispose]();
    expect(await last).toBe(1);
    expect(await codeOf(steward.execute(counter))).toBe('HF_CLOSED');
  });
});

describe('a steward whose log does not answer', () => {
  it.each([true, false])('reports an unknown outcome (it was appended: %s)', async (isAppended) => {
    const memory = new MemoryLog();
    let isFailing = false;
    const log = changedLog(memory, {
      async append(cell, position, bytes) {
        if (!isFailing) return await memory.append(cell, position, bytes);
        isFailing = false;
        if (isAppended) await memory.append(cell, position, bytes);
        throw new HoldfastError('HF_UNKNOWN_OUTCOME');
      },
    });
    await using steward = await Steward.open(partsOf({ log }));
    await steward.execute(increment);
    isFailing = true;
    const sent = codeOf(steward.execute(increment));
    const sentRead = codeOf(steward.execute(counter));
    expect(await sent).toBe('HF_UNKNOWN_OUTCOME');
    expect(await sentRead).toBe('HF_FENCED');
    expect(await steward.execute(counter)).toBe(isAppended ? 2 : 1);
  });

  it('says so when the cell cannot be seized, and tries again', async () => {
    const memory = new MemoryLog();
    let failures = 0;
    const log = changedLog(memory, {
      async seize(cell) {
        if (failures-- > 0) throw new HoldfastError('HF_UNKNOWN_OUTCOME');
        return await memory.seize(cell);
      },
    });
    failures = 1;
    expect(await codeOf(Steward.open(partsOf({ log })))).toBe('HF_UNAVAILABLE');
    await using steward = await Steward.open(partsOf({ log }));
    expect(await steward.execute(increment)).toBe(1);
  });
});

describe('a steward whose database fails', () => {
  class FailingDb extends MemoryDb {
    failure: 'HF_IO' | 'HF_NO_SPACE' | undefined;
    override async transact(changes: Changes): Promise<void> {
      if (this.failure) throw new HoldfastError(this.failure);
      await super.transact(changes);
    }
  }

  it('answers from the log, which has everything, and reads it again', async () => {
    const db = new FailingDb();
    await using steward = await Steward.open(partsOf({ db }));
    await steward.execute(increment);
    db.failure = 'HF_IO';
    expect(await steward.execute(increment)).toBe(2);
    let code: string | undefined;
    for (let tries = 0; tries < 20 && !code; tries++) code = await codeOf(steward.execute(counter));
    expect(code).toBe('HF_IO');
    db.failure = undefined;
    expect(await steward.execute(counter)).toBe(2);
  });

  it('goes on while the database is full, and fills it up later', async () => {
    const db = new FailingDb();
    const parts = partsOf({ db });
    {
      await using steward = await Steward.open(parts);
      await steward.execute(increment);
      db.failure = 'HF_NO_SPACE';
      for (let count = 2; count <= 30; count++) {
        expect(await steward.execute(increment)).toBe(count);
        expect(await steward.execute(counter)).toBe(count);
      }
      db.failure = undefined;
      expect(await steward.execute(increment)).toBe(31);
    }
    const rows = db.range({ from: new Uint8Array(), to: Uint8Array.of(0xff, 0xff) });
    await using next = await Steward.open(parts);
    expect(await next.execute(counter)).toBe(31);
    // All of it was in the database, so that nothing had to be read from the log again.
    expect(db.range({ from: new Uint8Array(), to: Uint8Array.of(0xff, 0xff) })).toEqual(rows);
  });
});

describe('reopening', () => {
  /** Enough log for a snapshot, and rows after it. */
  async function filled(parts: CellParts): Promise<void> {
    await using steward = await Steward.open(parts);
    const bytes = LIMITS.logEntryBytesMax - 200;
    const count = Math.ceil(LIMITS.logBytesBeforeSnapshot / bytes) + 3;
    for (let index = 0; index < count; index++) {
      await steward.execute(fill(`big${index % 4}`, bytes));
      await steward.execute(increment);
    }
    await trimmed(parts.log);
    await steward.execute((rows) => rows.delete(rowOf('big0')));
  }

  it('comes to the same rows from a snapshot, the log, or a database that is behind', async () => {
    const parts = partsOf();
    await filled(parts);
    const head = await parts.log.head('cell');
    expect(head.trimmed).toBeGreaterThan(0);
    expect(head.trimmed).toBeLessThan(head.lsn);
    const [before, emptyDb] = [parts.db, new MemoryDb()];
    for (const db of [before, emptyDb]) await (await Steward.open({ ...parts, db }))[dispose]();
    expect(cellRows(emptyDb)).toEqual(cellRows(before));
    await using steward = await Steward.open({ ...parts, db: emptyDb });
    expect(await steward.execute(increment)).toBe(counter(before) + 1);
    const behind = await Steward.open({ ...parts, db: before });
    expect(await behind.execute(counter)).toBe(counter(emptyDb));
    await behind[dispose]();
  });

  it('makes the rows again when they are those of another log', async () => {
    for (const isLong of [false, true]) {
      const parts = partsOf();
      await using own = await Steward.open(parts);
      await own.execute(increment);
      if (isLong) await own.execute(increment);
      const other = partsOf();
      await using steward = await Steward.open(other);
      await steward.execute(fill('of the other', 10));
      await using mixed = await Steward.open({ ...parts, db: other.db });
      expect(await mixed.execute(counter)).toBe(isLong ? 2 : 1);
      expect(cellRows(other.db)).toEqual(cellRows(parts.db));
    }
  });

  it('refuses entries that do not follow each other', async () => {
    const parts = partsOf();
    await using steward = await Steward.open(parts);
    for (let count = 0; count < 3; count++) await steward.execute(increment);
    const log = changedLog(parts.log, {
      read: (cell, from) => damaged(parts.log.read(cell, from)),
    });
    expect(await codeOf(Steward.open({ ...parts, log, db: new MemoryDb() }))).toBe('HF_CORRUPT');
  });

  it('refuses a log that ends before the rows, and a damaged snapshot', async () => {
    const parts = partsOf();
    await filled(parts);
    expect(await codeOf(Steward.open({ ...parts, log: new MemoryLog() }))).toBe('HF_CORRUPT');
    const damaged = changedLog(parts.log, {
      async loadSnapshot(cell) {
        const snapshot = await parts.log.loadSnapshot(cell);
        return snapshot && { ...snapshot, parts: withoutOne(snapshot.parts) };
      },
    });
    const open = Steward.open({ ...parts, log: damaged, db: new MemoryDb() });
    expect(await codeOf(open)).toBe('HF_CORRUPT');
  });

  it('begins again when a crash interrupted the loading of a snapshot', async () => {
    const parts = partsOf();
    await filled(parts);
    for (let kept = 0; kept < 12; kept++) {
      const other = partsOf();
      await using steward = await Steward.open(other);
      await steward.execute((rows) => {
        for (let row = 0; row < 1200; row++) fill(`other${row}`, 1)(rows);
      });
      const otherCount = await steward.execute((rows) => rows.range(ALL).length);
      const db = new FailingDb((other.db as MemoryDb).crash(), kept);
      await codeOf(Steward.open({ ...parts, db }));
      if (kept === 1 || kept === 2) {
        // Nor does it count as filled to whom the rows belonged.
        await using back = await Steward.open({ ...other, db: db.below });
        expect(await back.execute((rows) => rows.range(ALL).length)).toBe(otherCount);
      }
      await using next = await Steward.open({ ...parts, db: db.below });
      expect(await next.execute(counter)).toBe(counter(parts.db));
      expect(cellRows(db.below)).toEqual(cellRows(parts.db));
    }
  });

  it('begins again when a part of a snapshot could not be read', async () => {
    const parts = partsOf();
    await filled(parts);
    const cut = changedLog(parts.log, {
      async loadSnapshot(cell) {
        const snapshot = await parts.log.loadSnapshot(cell);
        return snapshot && { ...snapshot, parts: failingAfter(snapshot.parts, 2) };
      },
    });
    const db = new MemoryDb();
    expect(await codeOf(Steward.open({ ...parts, log: cut, db }))).toBe('HF_IO');
    expect(cellRows(db).length).toBeGreaterThan(0);
    await using steward = await Steward.open({ ...parts, db: db.crash() });
    expect(await steward.execute(counter)).toBe(counter(parts.db));
  });

  it('keeps what is written while a snapshot is taken', async () => {
    const memory = new MemoryLog();
    let steward: Steward | undefined;
    let written = 0;
    const log = changedLog(memory, {
      async saveSnapshot(cell, position, parts, options) {
        async function* slow(): AsyncGenerator<Uint8Array> {
          for await (const part of parts) {
            yield part;
            written = (await steward?.execute(increment)) ?? 0;
          }
        }
        await memory.saveSnapshot(cell, position, slow(), options);
      },
    });
    const parts = partsOf({ log });
    steward = await Steward.open(parts);
    const count = LIMITS.logBytesBeforeSnapshot / 500_000 + 4;
    for (let index = 0; index < count; index++) await steward.execute(fill(`${index}`, 500_000));
    await trimmed(memory);
    await steward[dispose]();
    const db = new MemoryDb();
    await using next = await Steward.open({ ...parts, db });
    expect(written).toBeGreaterThan(3);
    expect(await next.execute(counter)).toBe(counter(parts.db));
    expect(cellRows(db)).toEqual(cellRows(parts.db));
    // What was written meanwhile was put into it before the log was trimmed: it needs no entries.
    const alone = new MemoryDb();
    const { applied, consistentFrom } = await loadSnapshot(
      alone,
      (await memory.loadSnapshot('cell'))!,
    );
    expect(applied.lsn).toBeGreaterThanOrEqual(consistentFrom);
    expect(applied.digest).toBe(await digestOfDatabase(alone, async () => {}));
    expect(counter(alone)).toBeGreaterThan(3);
  });

  it('does not try a snapshot again at once when it could not be made', async () => {
    const memory = new MemoryLog();
    let attempts = 0;
    const log = changedLog(memory, {
      async saveSnapshot() {
        attempts += 1;
        throw new HoldfastError('HF_NO_SPACE');
      },
    });
    await using steward = await Steward.open(partsOf({ log }));
    const count = (1.5 * LIMITS.logBytesBeforeSnapshot) / 500_000;
    for (let index = 0; index < count; index++) await steward.execute(fill('a', 500_000));
    expect(attempts).toBe(1);
    expect((await memory.head('cell')).trimmed).toBe(0);
  });

  it('leaves a snapshot unfinished when it closes', async () => {
    const memory = new MemoryLog();
    let steward: Steward | undefined;
    let closing: Promise<void> | undefined;
    const log = changedLog(memory, {
      async saveSnapshot(cell, position, parts) {
        closing = steward?.[dispose]();
        await memory.saveSnapshot(cell, position, parts);
      },
    });
    steward = await Steward.open(partsOf({ log }));
    const count = LIMITS.logBytesBeforeSnapshot / 500_000 + 4;
    for (let index = 0; index < count && !closing; index++) {
      await steward.execute(fill(`${index}`, 500_000));
    }
    await closing;
    expect(closing).toBeDefined();
    expect(await memory.loadSnapshot('cell')).toBeUndefined();
  });

  it('finds what was answered after a crash at any moment', async () => {
    for (let turns = 0; turns < 60; turns++) {
      const memory = new MemoryLog();
      let isCrashed = false;
      const log = changedLog(memory, {
        async seize(cell) {
          if (isCrashed) throw new HoldfastError('HF_CLOSED');
          return await memory.seize(cell);
        },
      });
      const db = new MemoryDb();
      const steward = await Steward.open(partsOf({ log, db }));
      let answered = 0;
      const asked = Array.from({ length: 30 }, async (_, index) => {
        for (let turn = 0; turn < index; turn++) await Promise.resolve();
        answered = Math.max(answered, await steward.execute(increment));
      });
      const settled = Promise.allSettled(asked);
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      isCrashed = true;
      const known = answered;
      await using next = await Steward.open(partsOf({ log: memory, db: db.crash() }));
      expect(await next.execute(counter)).toBeGreaterThanOrEqual(known);
      await settled;
      expect(await next.execute(counter)).toBeGreaterThanOrEqual(answered);
    }
  });

  it('keeps a bounded part of what the database has', async () => {
    const parts = partsOf();
    await using steward = await Steward.open(parts);
    await steward.execute(increment);
    await env.clock.turn(); // answers do not wait for the database
    await steward.execute((rows) => {
      for (let other = 0n; other < 10_000n; other++) rows.get(rowKey(1, 'O', other));
    });
    // Another hand would not write here; it shows where the steward reads from.
    await parts.db.transact({ puts: [], deletes: [KEY] });
    expect(await steward.execute(counter)).toBe(0);
  });
});

/** Fails, and goes on failing, after so many transactions. */
class FailingDb implements LocalDb {
  readonly below: MemoryDb;
  #left: number;

  constructor(below: MemoryDb, left: number) {
    this.below = below;
    this.#left = left;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.below.get(key);
  }

  range(options: RangeOptions): Row[] {
    return this.below.range(options);
  }

  async transact(changes: Changes): Promise<void> {
    if (this.#left-- <= 0) throw new HoldfastError('HF_IO');
    await this.below.transact(changes);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** The second entry with another last byte of its row. */
async function* damaged(entries: AsyncIterable<LogEntry>): AsyncGenerator<LogEntry> {
  for await (const entry of entries) {
    const bytes = new Uint8Array(entry.bytes);
    if (entry.lsn === 2) bytes[bytes.length - 2] = 99;
    yield { ...entry, bytes };
  }
}

const dispose: typeof Symbol.asyncDispose = Symbol.asyncDispose;

/** Waits for a snapshot. */
async function trimmed(log: FencedLog): Promise<void> {
  for (let turn = 0; turn < 5000 && (await log.head('cell')).trimmed === 0; turn++) {
    await env.clock.sleep(1);
  }
}

/** All rows, each as its key and a checksum of its value. */
function cellRows(db: LocalDb): string[] {
  return db.range(ALL).map(({ key, value }) => `${toHex(key)} ${xxh64(value)}`);
}

async function* withoutOne(parts: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let index = 0;
  for await (const part of parts) if (index++ !== 1) yield part;
}

async function* failingAfter(
  parts: AsyncIterable<Uint8Array>,
  count: number,
): AsyncGenerator<Uint8Array> {
  let left = count;
  for await (const part of parts) {
    if (left-- === 0) throw new HoldfastError('HF_IO');
    yield part;
  }
}
