// Aim: operations over several cells are atomic, durable and of one moment, whatever is lost and
// whoever dies. Method: accounts in slots of two and three cells on virtual time, one crash at each
// message and at each entry of a transaction, random loss, doubling and delay.
import { describe, expect, it } from 'vitest';
import { errorCode, HoldfastError, LIMITS } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { type FencedLog, MemoryLog } from '../../log/index.ts';
import { CellsBed, type CellsBedOptions } from '../../../test/suites/cells-bed.ts';
import type { CellFault } from './cell-faults.ts';
import type { Cell } from './cell.ts';
import { digestOfRows } from './entries.ts';
import type { Overlay, Rows } from './overlay.ts';
import { forgetAnswers } from './retry-rows.ts';
import { decodeNumber, encodeNumber, rowKey, rowsOfTag, SLOT_COUNT } from './rows.ts';
import type { Operation } from './steward.ts';

const HALF = SLOT_COUNT / 2;
/** Slots of cell a, and of cell b. */
const [A, B] = [7, HALF + 7];

const accountKey = (slot: number): Uint8Array => rowKey(slot, 'Y', 1n);
const balance = (rows: Rows, slot: number): number =>
  decodeNumber(rows.get(accountKey(slot)), 'account');
const setBalance = (rows: Overlay, slot: number, value: number): void =>
  rows.put(accountKey(slot), encodeNumber(value));

const deposit =
  (slot: number, amount: number): Operation<number> =>
  (rows) => {
    const next = balance(rows, slot) + amount;
    setBalance(rows, slot, next);
    return next;
  };

/** Moves one unit; HF_NO_SPACE when there is none. */
const transfer =
  (from: number, to: number): Operation<number> =>
  (rows) => {
    const left = balance(rows, from) - 1;
    if (left < 0) throw new HoldfastError('HF_NO_SPACE');
    setBalance(rows, from, left);
    setBalance(rows, to, balance(rows, to) + 1);
    return left;
  };

const balances =
  (...slots: number[]): Operation<number[]> =>
  (rows) =>
    slots.map((slot) => balance(rows, slot));

async function twoCells(options: CellsBedOptions = {}): Promise<CellsBed> {
  const bed = new CellsBed(options);
  await bed.open('a', { from: 0, to: HALF });
  await bed.open('b', { from: HALF, to: SLOT_COUNT });
  return bed;
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(
    () => undefined,
    (error: unknown) => errorCode(error) ?? String(error),
  );
}

/** Asks the steward of the moment until there is an answer that says what happened. */
async function insist<Result>(
  bed: CellsBed,
  name: string,
  ask: (cell: Cell) => Promise<Result>,
): Promise<Result> {
  for (let tries = 0; ; tries++) {
    try {
      return await ask(bed.cell(name));
    } catch (error) {
      if (tries === 200 || !isPassing(error)) throw error;
      await bed.env.clock.sleep(20);
    }
  }
}

function isPassing(error: unknown): boolean {
  const codes = ['HF_FENCED', 'HF_UNKNOWN_OUTCOME', 'HF_UNAVAILABLE', 'HF_CLOSED', 'HF_TIMEOUT'];
  return codes.includes(errorCode(error) ?? '');
}

const session = 'ab'.repeat(16);

describe('an operation over two cells', () => {
  it('reads and changes both at once, or neither', async () => {
    await using bed = await twoCells();
    await bed.cell('a').execute(deposit(A, 2));
    expect(await bed.cell('a').execute(transfer(A, B))).toBe(1);
    expect(await bed.cell('b').execute(transfer(A, B))).toBe(0);
    expect(await codeOf(bed.cell('a').execute(transfer(A, B)))).toBe('HF_NO_SPACE');
    await bed.quiet();
    for (const name of ['a', 'b']) {
      expect(await bed.cell(name).execute(balances(A, B))).toEqual([0, 2]);
      await bed.cell(name).verify();
    }
  });

  it('asks the log of the other cell for nothing when it only reads one row there', async () => {
    await using bed = await twoCells();
    await bed.cell('b').execute(deposit(B, 5));
    const { lsn } = await bed.log.head('b');
    expect(await bed.cell('a').execute(balances(A, B))).toEqual([0, 5]);
    expect((await bed.log.head('b')).lsn).toBe(lsn);
  });

  it('reads rows of many slots with one question when it says which', async () => {
    await using bed = await twoCells();
    let questions = 0;
    bed.onMessage = ({ name }) => (questions += name === 'readRows' ? 1 : 0);
    const slots = Array.from({ length: 20 }, (_, index) => B + index);
    await bed.cell('a').execute((rows) => {
      rows.need(slots.map(accountKey));
      return slots.map((slot) => balance(rows, slot));
    });
    expect(questions).toBe(1);
  });

  it('sees ranges of another cell, limited, both ways, through its own changes', async () => {
    await using bed = await twoCells();
    const key = (n: number): Uint8Array => rowKey(B, 'D', BigInt(n));
    await bed.cell('b').execute((rows) => {
      for (let n = 0; n < 10; n++) rows.put(key(n), encodeNumber(n));
    });
    const seen = await bed.cell('a').execute((rows) => {
      rows.delete(key(8));
      rows.put(key(3), encodeNumber(33));
      const numbers = (limit: number, isReverse: boolean): number[] =>
        rows
          .range({ from: key(2), to: key(9), limit, isReverse })
          .map(({ value }) => decodeNumber(value, 'number'));
      return [numbers(3, false), numbers(3, true), numbers(99, false)];
    });
    expect(seen).toEqual([
      [2, 33, 4],
      [7, 6, 5],
      [2, 33, 4, 5, 6, 7],
    ]);
    await bed.quiet();
    expect(await bed.cell('b').execute((rows) => rows.get(key(8)))).toBeUndefined();
  });

  it('is refused where its slot is not owned, and where it scans all slots', async () => {
    await using bed = await twoCells();
    expect(await codeOf(bed.cell('a').execute(balances(B), { slot: B }))).toBe('HF_MOVED');
    const scan: Operation<unknown> = (rows) =>
      rows.range({ from: rowKey(0, 'Y'), to: rowKey(SLOT_COUNT - 1, 'Y') });
    expect(await codeOf(bed.cell('a').execute(scan))).toBe('HF_MOVED');
  });

  it('passes on a bug, and cannot swallow a detour', async () => {
    await using bed = await twoCells();
    const bug = bed.cell('a').execute((rows) => {
      balance(rows, B);
      throw new TypeError('a bug');
    });
    await expect(bug).rejects.toThrow('a bug');
    await bed.cell('b').execute(deposit(B, 1));
    const swallowing = bed.cell('a').execute((rows) => {
      try {
        return balance(rows, B);
      } catch {
        return 99;
      }
    });
    expect(await swallowing).toBe(1);
  });

  it('over three cells is one, too', async () => {
    await using bed = new CellsBed({ net: { delayMsMax: 3 } });
    const third = 1365;
    await bed.open('a', { from: 0, to: third });
    await bed.open('b', { from: third, to: 2 * third });
    await bed.open('c', { from: 2 * third, to: SLOT_COUNT });
    const slots = [1, third + 1, 2 * third + 1] as const;
    for (const [index, name] of ['a', 'b', 'c'].entries()) {
      await bed.cell(name).execute(deposit(slots[index] as number, 20));
    }
    const work = ['a', 'b', 'c'].flatMap((name, index) =>
      Array.from({ length: 10 }, async (_, turn) => {
        const [from, to] = [slots[(index + turn) % 3] as number, slots[(index + turn + 1) % 3]];
        await insist(bed, name, (cell) => cell.execute(transfer(from, to as number)));
        const now = await insist(bed, name, (cell) => cell.execute(balances(...slots)));
        expect(now.reduce((sum, one) => sum + one)).toBe(60);
      }),
    );
    await Promise.all(work);
    await bed.quiet();
  });
});

/** One transfer with one disaster; afterwards money is where exactly one or no transfer put it. */
async function withDisaster(
  bed: CellsBed,
  disaster: (count: number) => string | undefined,
): Promise<number> {
  await bed.cell('a').execute(deposit(A, 1));
  await bed.cell('b').execute(deposit(B, 1));
  let count = 0;
  const restarts: Promise<unknown>[] = [];
  bed.onMessage = () => {
    const victim = disaster(count++);
    if (victim === undefined) return;
    bed.crash(victim);
    restarts.push(bed.env.clock.sleep(100).then(() => bed.open(victim)));
  };
  const tag = { retry: { session, lane: 0, sequence: 1 }, slot: A };
  const left = await insist(bed, 'a', (cell) => cell.execute(transfer(A, B), tag));
  expect(left).toBe(0);
  await Promise.all(restarts);
  bed.onMessage = () => {};
  await bed.quiet();
  for (const name of ['a', 'b']) {
    expect(await insist(bed, name, (cell) => cell.execute(balances(A, B)))).toEqual([0, 2]);
    await bed.cell(name).verify();
  }
  return count;
}

describe('a transaction', () => {
  it('survives the death of either steward at each message', async () => {
    const count = await withDisaster(await twoCells(), () => undefined);
    expect(count).toBeGreaterThanOrEqual(3);
    for (let at = 0; at < count; at++) {
      for (const victim of ['a', 'b']) {
        await using bed = await twoCells({ seed: at });
        await withDisaster(bed, (now) => (now === at ? victim : undefined));
      }
    }
  });

  it('survives the loss of each log answer, with the entry and without it', async () => {
    for (const isAppended of [true, false]) {
      for (let at = 0; at < 8; at++) {
        const memory = new MemoryLog();
        let left = Number.POSITIVE_INFINITY;
        const log = failingAppends(memory, isAppended, () => left-- === 0);
        await using bed = await twoCells({ log, seed: at });
        left = at + 2;
        await withDisaster(bed, () => undefined);
      }
    }
  });

  it('is one at a time with others, under loss, doubling and delay', async () => {
    for (let seed = 0; seed < 12; seed++) {
      const net = { lostPercent: seed % 3 === 0 ? 0 : 10, doubledPercent: 20, delayMsMax: 8 };
      await using bed = await twoCells({ seed, net });
      await mixedWork(bed);
    }
  });
});

describe('messages of a transaction', () => {
  const change = { key: accountKey(B), value: encodeNumber(7) };
  const txid = { cell: 'a', epoch: 1, number: 99 };
  const nothing = new Uint8Array(16);

  /** A prepare and an apply arrive twice, with all that belongs to others between them. */
  async function lateCopies(fault?: CellFault): Promise<number | undefined> {
    await using bed = await twoCells(fault ? { faults: fault } : {});
    const { messages } = bed.cell('b');
    const request = { txid, reads: [], changes: [change] };
    const first = await messages.prepare(request);
    if (first === 'busy') return undefined;
    await messages.apply({ txid, token: first.token });
    await bed.cell('b').execute((rows) => rows.delete(accountKey(B)));
    await messages.prepare(request);
    await messages.apply({ txid, token: first.token });
    await bed.quiet(); // the intent that came late is asked about, and dropped
    return (await bed.cell('b').execute(balances(B)))[0];
  }

  it('that come again when all is over bring nothing back', async () => {
    expect(await lateCopies()).toBe(0);
    expect(await lateCopies('no-intent-token')).toBe(7);
  });

  it('leave an intent that outlives the steward', async () => {
    for (const fault of [undefined, 'volatile-intent'] as const) {
      await using bed = await twoCells(fault ? { faults: fault } : {});
      const request = { txid, reads: [], changes: [change] };
      const answer = await bed.cell('b').messages.prepare(request);
      await bed.restart('b');
      const { token } = answer as { token: Uint8Array };
      await bed.cell('b').messages.apply({ txid, token });
      expect(await bed.cell('b').execute(balances(B))).toEqual([fault ? 0 : 7]);
    }
  });

  it('are not answered by a steward that was deposed', async () => {
    for (const fault of [undefined, 'status-without-barrier'] as const) {
      await using bed = await twoCells(fault ? { faults: fault } : {});
      const old = bed.cell('a');
      await bed.open('a', undefined, { db: new MemoryDb() });
      await bed.cell('a').execute(deposit(A, 1));
      let asked: Promise<string> | undefined;
      bed.onMessage = ({ name }) => {
        if (name !== 'apply') return;
        const { epoch } = bed.cell('a').view();
        asked ??= old.messages
          .status({ txid: { cell: 'a', epoch, number: 1 }, participant: 'b' })
          .then(({ state }) => state, errorCode as () => string);
      };
      await bed.cell('a').execute(transfer(A, B));
      await bed.quiet();
      expect(await asked).toBe(fault ? 'aborted' : 'HF_FENCED');
    }
  });

  it('hold what was read and what will be written, until it is given up', async () => {
    await using bed = await twoCells();
    const { messages } = bed.cell('b');
    const digest = digestOfRows([]);
    const read = { from: rowKey(B, 'Y'), to: rowKey(B, 'Z'), digest };
    const other = { ...txid, number: 100 };
    expect(await messages.prepare({ txid, reads: [read], changes: [] })).not.toBe('busy');
    expect(await messages.prepare({ txid: other, reads: [read], changes: [] })).not.toBe('busy');
    await messages.abort({ txid: other });
    expect(await messages.prepare({ txid: other, reads: [], changes: [change] })).toBe('busy');
    expect(await bed.cell('b').execute(balances(B))).toEqual([0]);
    const waiting = bed.cell('b').execute(deposit(B, 1));
    await bed.env.clock.sleep(10);
    await messages.abort({ txid });
    expect(await waiting).toBe(1);
    const stale = await messages.prepare({ txid: other, reads: [read], changes: [] });
    expect(stale).toBe('busy');
    const elsewhere = { ...change, key: accountKey(A) };
    const work = messages.prepare({ txid: other, reads: [], changes: [elsewhere] });
    expect(await codeOf(work)).toBe('HF_MOVED');
    expect(await codeOf(messages.apply({ txid, token: nothing }))).toBeUndefined();
  });
});

/** Transfers and looks from both sides; the sum never changes. */
async function mixedWork(bed: CellsBed): Promise<void> {
  await bed.cell('a').execute(deposit(A, 30));
  const ends = Array.from({ length: 6 }, async (_, lane) => {
    const name = lane % 2 === 0 ? 'a' : 'b';
    const slot = name === 'a' ? A : B;
    for (let sequence = 1; sequence <= 6; sequence++) {
      const tag = { retry: { session, lane, sequence }, slot };
      const [from, to] = sequence % 3 === 0 ? [B, A] : [A, B];
      await insist(bed, name, (cell) => cell.execute(transfer(from, to), tag)).catch((error) => {
        expect(errorCode(error)).toBe('HF_NO_SPACE');
      });
      const [inA, inB] = await insist(bed, name, (cell) => cell.execute(balances(A, B)));
      expect((inA as number) + (inB as number)).toBe(30);
    }
  });
  await Promise.all(ends);
  await bed.quiet();
  for (const name of ['a', 'b']) await bed.cell(name).verify();
}

function failingAppends(memory: MemoryLog, isAppended: boolean, isDue: () => boolean): FencedLog {
  return {
    entryBytesTarget: memory.entryBytesTarget,
    head: (cell) => memory.head(cell),
    seize: (cell) => memory.seize(cell),
    async append(cell, position, bytes) {
      if (!isDue()) return await memory.append(cell, position, bytes);
      if (isAppended) await memory.append(cell, position, bytes);
      throw new HoldfastError('HF_UNKNOWN_OUTCOME');
    },
    confirm: (cell, epoch) => memory.confirm(cell, epoch),
    read: (cell, from) => memory.read(cell, from),
    trim: (cell, upTo) => memory.trim(cell, upTo),
    saveSnapshot: (cell, position, parts, options) =>
      memory.saveSnapshot(cell, position, parts, options),
    loadSnapshot: (cell) => memory.loadSnapshot(cell),
    [Symbol.asyncDispose]: () => memory[Symbol.asyncDispose](),
  };
}

describe('a request that is asked again', () => {
  const tag = (
    sequence: number,
    lane = 0,
  ): { session: string; lane: number; sequence: number } => ({
    session,
    lane,
    sequence,
  });

  it('is answered as the first time, by the next steward too; an older one is not', async () => {
    await using bed = await twoCells();
    const ask = async (sequence: number, operation: Operation<number>): Promise<number> =>
      await bed.cell('a').execute(operation, { retry: tag(sequence), slot: A });
    expect(await ask(1, deposit(A, 5))).toBe(5);
    expect(await ask(1, deposit(A, 5))).toBe(5);
    expect(await codeOf(ask(2, transfer(A + 1, A)))).toBe('HF_NO_SPACE');
    await bed.cell('a').execute(deposit(A + 1, 1));
    await bed.restart('a');
    expect(await codeOf(ask(2, transfer(A + 1, A)))).toBe('HF_NO_SPACE');
    expect(await ask(3, transfer(A, B))).toBe(4);
    expect(await ask(3, transfer(A, B))).toBe(4);
    expect(await codeOf(ask(1, deposit(A, 5)))).toBe('HF_FENCED');
    expect(await bed.cell('a').execute(balances(A, B))).toEqual([4, 1]);
  });

  it('is done twice when no answers are kept', async () => {
    await using bed = await twoCells({ faults: 'no-retry-row' });
    const options = { retry: tag(1), slot: A };
    for (let times = 0; times < 2; times++) await bed.cell('a').execute(deposit(A, 5), options);
    expect(await bed.cell('a').execute(balances(A))).toEqual([10]);
  });

  it('is refused in too high a lane, without a slot, with too long an answer', async () => {
    await using bed = await twoCells();
    const cell = bed.cell('a');
    const lane = { retry: tag(1, LIMITS.retryLanesMax), slot: A };
    expect(await codeOf(cell.execute(deposit(A, 1), lane))).toBe('HF_BAD_ARGUMENT');
    expect(await codeOf(cell.execute(deposit(A, 1), { retry: tag(1) }))).toBe('HF_BAD_ARGUMENT');
    const long = (rows: Overlay): Uint8Array => {
      setBalance(rows, A, 1);
      return new Uint8Array(LIMITS.retryAnswerBytesMax);
    };
    expect(await codeOf(cell.execute(long, { retry: tag(1), slot: A }))).toBe('HF_TOO_LARGE');
    expect(await cell.execute(balances(A))).toEqual([0]);
  });

  it('is forgotten with its session', async () => {
    await using bed = await twoCells();
    const cell = bed.cell('a');
    const other = 'cd'.repeat(16);
    for (const [index, name] of [session, other, session].entries()) {
      const retry = { session: name, lane: index, sequence: 1 };
      await cell.execute(deposit(A + index, 1), { retry, slot: A + index });
    }
    const sessions = new Set([session]);
    await cell.execute((rows) => forgetAnswers(rows, { slots: [A, A + 3], sessions }));
    const left = await cell.execute((rows) => [...rowsOfTag(rows, 'R')].length);
    expect(left).toBe(1);
  });
});

describe('slots', () => {
  const QUARTER = { from: HALF / 2, to: HALF };
  const INNER = QUARTER.from + 3;

  async function filled(options: CellsBedOptions = {}): Promise<CellsBed> {
    const bed = await twoCells(options);
    await bed.cell('a').execute(deposit(A, 10));
    await bed.cell('a').execute((rows) => {
      for (let row = 0; row < 1200; row++) {
        rows.put(rowKey(INNER + 1, 'Y', BigInt(row)), encodeNumber(row));
      }
      setBalance(rows, INNER, 10);
    });
    return bed;
  }

  async function checkMoved(bed: CellsBed): Promise<void> {
    expect(bed.cell('a').view().slots).toEqual({ from: 0, to: QUARTER.from });
    expect(bed.cell('b').view().slots).toEqual({ from: QUARTER.from, to: SLOT_COUNT });
    const count = await bed.cell('b').execute((rows) => [...rowsOfTag(rows, 'Y')].length);
    expect(count).toBeGreaterThanOrEqual(1201);
    for (const name of ['a', 'b']) await bed.cell(name).verify();
    const slots = Array.from({ length: QUARTER.to - QUARTER.from }, (_, at) => QUARTER.from + at);
    const left = slots.filter((slot) => bed.db('a').get(accountKey(slot)));
    expect(left).toEqual([]);
  }

  it('move with their rows, while others are served', async () => {
    await using bed = await filled();
    await bed.cell('a').execute((rows) => rows.put(rowKey(0xfffe, 'L'), encodeNumber(1)));
    const moving = bed.cell('a').moveSlots({ slots: QUARTER, target: 'b' });
    const meanwhile = bed.cell('a').execute(transfer(INNER, A));
    expect(await bed.cell('a').execute(deposit(A, 0), { slot: A })).toBe(10);
    await moving;
    bed.learn();
    expect(await meanwhile).toBe(9);
    expect(await codeOf(bed.cell('a').execute(deposit(INNER, 1), { slot: INNER }))).toBe(
      'HF_MOVED',
    );
    await bed.quiet();
    await bed.env.clock.sleep(100);
    await checkMoved(bed);
    expect(await bed.cell('b').execute(balances(A, INNER))).toEqual([11, 9]);
    expect(await bed.cell('b').execute((rows) => rows.get(rowKey(0xfffe, 'L')))).toBeDefined();
    // Asked again, it is over.
    await bed.cell('a').moveSlots({ slots: QUARTER, target: 'b' });
  });

  it('move back and forth', async () => {
    await using bed = await filled({ net: { doubledPercent: 50, delayMsMax: 30 } });
    for (const [name, target] of ['a', 'b', 'a', 'b'].map((n) => [n, n === 'a' ? 'b' : 'a'])) {
      await bed.cell(name as string).moveSlots({ slots: QUARTER, target: target as string });
      bed.learn();
      await bed.cell(target as string).execute(deposit(INNER, 1), { slot: INNER });
      await bed.env.clock.sleep(100);
    }
    expect(await bed.cell('a').execute(balances(INNER), { slot: INNER })).toEqual([14]);
    for (const name of ['a', 'b']) await bed.cell(name).verify();
  });

  it('are moved after the death of either steward at each message', async () => {
    for (let at = 0; at < 8; at++) {
      for (const victim of ['a', 'b']) {
        await using bed = await filled({ seed: at, net: { delayMsMax: 2 } });
        let count = 0;
        let restarting: Promise<unknown> | undefined;
        bed.onMessage = ({ name }) => {
          if (name !== 'adopt' || count++ !== at) return;
          bed.crash(victim);
          restarting = bed.env.clock.sleep(50).then(() => bed.open(victim));
        };
        await codeOf(bed.cell('a').moveSlots({ slots: QUARTER, target: 'b' }));
        await restarting;
        await bed.quiet();
        await bed.env.clock.sleep(500);
        bed.learn();
        await checkMoved(bed);
        expect(await bed.cell('a').execute(balances(INNER))).toEqual([10]);
      }
    }
  });

  it('move while money moves', async () => {
    for (let seed = 0; seed < 6; seed++) {
      const net = { lostPercent: 5, doubledPercent: 20, delayMsMax: 5 };
      await using bed = await filled({ seed, net });
      const slots = [A, INNER, B];
      const work = Array.from({ length: 5 }, async (_, lane) => {
        for (let sequence = 1; sequence <= 6; sequence++) {
          const from = slots[(lane + sequence) % 3] as number;
          const to = slots[(lane + 2 * sequence) % 3] as number;
          const retry = { session, lane, sequence };
          for (;;) {
            bed.learn();
            const name = bed.cellOfSlot(from);
            const ask = bed.cell(name).execute(transfer(from, to), { retry, slot: from });
            const code = await codeOf(ask);
            if (code === undefined || code === 'HF_NO_SPACE') break;
            await bed.env.clock.sleep(10);
          }
          const all = await insist(bed, 'a', (cell) => cell.execute(balances(...slots)));
          expect(all.reduce((sum, one) => sum + one)).toBe(20);
        }
      });
      for (const [name, target] of [
        ['a', 'b'],
        ['b', 'a'],
      ] as const) {
        await bed.env.clock.sleep(15);
        await bed.cell(name).moveSlots({ slots: QUARTER, target });
      }
      await Promise.all(work);
      await bed.quiet();
      for (const name of ['a', 'b']) await bed.cell(name).verify();
    }
  });

  it('are not moved from the middle, nor two ranges at once, nor to a cell far away', async () => {
    await using bed = await filled();
    await bed.open('c', { from: 0, to: 0 });
    const [a, b] = [bed.cell('a'), bed.cell('b')];
    const middle = { slots: { from: 5, to: 6 }, target: 'b' };
    expect(await codeOf(a.moveSlots(middle))).toBe('HF_BAD_ARGUMENT');
    const first = a.moveSlots({ slots: { from: 0, to: 5 }, target: 'c' });
    expect(await codeOf(a.moveSlots({ slots: QUARTER, target: 'c' }))).toBe('HF_BUSY');
    await first;
    expect(bed.cell('c').view().slots).toEqual({ from: 0, to: 5 });
    await b.moveSlots({ slots: { from: HALF, to: SLOT_COUNT }, target: 'a' });
    expect(b.view().slots.from).toBe(b.view().slots.to);
  });
});

describe('a cell', () => {
  it('does not take its place back when it stays lost', async () => {
    await using bed = new CellsBed({ staysLost: true });
    const old = await bed.open('a');
    await old.execute(deposit(A, 1));
    const next = await bed.open('a');
    expect(await codeOf(old.execute(deposit(A, 1)))).toBe('HF_FENCED');
    await old.lost;
    expect(await codeOf(old.execute(deposit(A, 1)))).toBe('HF_NOT_STEWARD');
    expect(old.view().isServing).toBe(false);
    expect(await next.execute(deposit(A, 1))).toBe(2);
  });

  it('answers what it was asked before it hands over', async () => {
    await using bed = new CellsBed();
    const cell = await bed.open('a');
    const last = cell.execute(deposit(A, 1));
    await cell.handOver();
    expect(await last).toBe(1);
    await cell.lost;
    expect(await codeOf(cell.execute(balances(A)))).toBe('HF_NOT_STEWARD');
  });
});
