/**
 * One history of everything at once: accounts in two cells, requests asked again, deposed stewards
 * that are still asked, lost answers of the log, slots that move to and fro, a bad network. It
 * fails when somebody sees what must not be.
 */
import { assert, errorCode, HoldfastError } from '../../src/base/index.ts';
import { type FencedLog, MemoryLog, type MemoryLogBugs } from '../../src/log/index.ts';
import type { Cell, CellFault, Operation, Overlay, Rows } from '../../src/meta/index.ts';
import { decodeNumber, encodeNumber, rowKey, SLOT_COUNT } from '../../src/meta/index.ts';
import { CellsBed } from './cells-bed.ts';

const HALF = SLOT_COUNT / 2;
const MOVING = { from: HALF - 64, to: HALF };
/** In cell a, in the slots that move, in cell b. */
const SLOTS = [7, HALF - 7, HALF + 7] as const;
const START = 10;
const LANES = 4;
const ROUNDS = 7;

const rowOf = (slot: number, name: string): Uint8Array => rowKey(slot, 'Y', Buffer.from(name));
const read = (rows: Rows, slot: number, name: string): number =>
  decodeNumber(rows.get(rowOf(slot, name)), name);
const write = (rows: Overlay, slot: number, name: string, value: number): void =>
  rows.put(rowOf(slot, name), encodeNumber(value));

const transfer =
  (from: number, to: number): Operation<number> =>
  (rows) => {
    const left = read(rows, from, 'money') - 1;
    if (left < 0) throw new HoldfastError('HF_NO_SPACE');
    write(rows, from, 'money', left);
    if (from !== to) write(rows, to, 'money', read(rows, to, 'money') + 1);
    else write(rows, from, 'money', left + 1);
    return left;
  };

/** Counts requests, each once. */
const count =
  (slot: number): Operation<number> =>
  (rows) => {
    const next = read(rows, slot, 'count') + 1;
    write(rows, slot, 'count', next);
    return next;
  };

/** Goes off duty when somebody else is on: what others do is only read. */
const leave =
  (slot: number): Operation<number> =>
  (rows) => {
    const others = SLOTS.filter((other) => other !== slot);
    if (!others.some((other) => read(rows, other, 'duty') === 1)) {
      throw new HoldfastError('HF_BUSY');
    }
    write(rows, slot, 'duty', 0);
    return 0;
  };
const join =
  (slot: number): Operation<number> =>
  (rows) => {
    write(rows, slot, 'duty', 1);
    return 1;
  };

interface Look {
  readonly money: number;
  readonly duty: number;
  readonly counts: readonly number[];
}

const look: Operation<Look> = (rows) => {
  const all = (name: string): number[] => SLOTS.map((slot) => read(rows, slot, name));
  const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
  return { money: sum(all('money')), duty: sum(all('duty')), counts: all('count') };
};

/** Loses answers now and then, of entries that it took and of entries that it did not. */
function badLog(bed: () => CellsBed | undefined, bugs: MemoryLogBugs): FencedLog {
  const memory = new MemoryLog({ bugs });
  const log = Object.create(memory) as FencedLog;
  const methods: Partial<FencedLog> = {
    head: (cell) => memory.head(cell),
    seize: (cell) => memory.seize(cell),
    async append(cell, position, bytes) {
      const env = bed()?.env;
      await env?.clock.sleep(env.random.below(4));
      const dice = env?.random.below(100) ?? 99;
      if (dice === 0) throw new HoldfastError('HF_UNKNOWN_OUTCOME');
      const outcome = await memory.append(cell, position, bytes);
      if (dice === 1) throw new HoldfastError('HF_UNKNOWN_OUTCOME');
      return outcome;
    },
    confirm: (cell, epoch) => memory.confirm(cell, epoch),
    read: (cell, from) => memory.read(cell, from),
    trim: (cell, upTo) => memory.trim(cell, upTo),
    saveSnapshot: (cell, position, parts, options) =>
      memory.saveSnapshot(cell, position, parts, options),
    loadSnapshot: (cell) => memory.loadSnapshot(cell),
  };
  Object.defineProperty(log, 'entryBytesTarget', { value: memory.entryBytesTarget });
  return Object.assign(log, methods);
}

/** @throws when something was seen that must not be. */
export async function history(seed: number, fault?: CellFault | 'no-fence'): Promise<void> {
  const faults = fault === 'no-fence' ? undefined : fault;
  let made: CellsBed | undefined;
  await using bed = new CellsBed({
    seed,
    staysLost: true,
    log: badLog(() => made, { isFenceUnchecked: fault === 'no-fence' }),
    net: { lostPercent: 5, doubledPercent: 25, delayMsMax: 12 },
    ...(faults ? { faults } : {}),
  });
  await bed.open('a', { from: 0, to: HALF });
  await bed.open('b', { from: HALF, to: SLOT_COUNT });
  for (const slot of SLOTS) {
    await bed.cell(bed.cellOfSlot(slot)).execute((rows) => {
      write(rows, slot, 'money', START);
      write(rows, slot, 'duty', 1);
    });
  }
  made = bed;
  let isOver = false;
  const nemesis = disturb(bed, () => isOver).catch(passingOnly);
  const counted = [0, 0, 0];
  const clients = Array.from({ length: LANES }, (_, lane) => client(bed, lane, counted));
  const ends = await Promise.allSettled(clients);
  isOver = true;
  // What goes on in the background then ends with the cells.
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  await nemesis;
  await bed.quiet();
  const last = await insist(bed, SLOTS[0], {}, look);
  assert(last.money === START * SLOTS.length, `${last.money} are left`);
  assert(
    String(last.counts) === String(counted),
    `${last.counts.join()} counted, not ${counted.join()}`,
  );
  for (const name of ['a', 'b']) await bed.cell(name).verify();
}

async function client(bed: CellsBed, lane: number, counted: number[]): Promise<void> {
  const { random } = bed.env;
  const some = (): number => SLOTS[random.below(SLOTS.length)] as number;
  for (let sequence = 1; sequence <= ROUNDS; sequence++) {
    const slot = some();
    const kinds = [transfer(slot, some()), count(slot), leave(slot), join(slot)];
    const kind = random.below(kinds.length);
    const retry = { session: `0${lane}`.repeat(16), lane: 0, sequence };
    const work = insist(bed, slot, { retry }, kinds[kind] as Operation<number>);
    await work.catch((error: unknown) => {
      if (!['HF_NO_SPACE', 'HF_BUSY'].includes(errorCode(error) ?? '')) throw error;
    });
    if (kind === 1) counted[SLOTS.indexOf(slot as 7)]! += 1;
    const before = [...counted];
    const seen = await insist(bed, some(), {}, look);
    assert(seen.money === START * SLOTS.length, `${seen.money} are seen`);
    assert(seen.duty > 0, 'somebody is on duty');
    for (const [index, known] of before.entries()) {
      assert(seen.counts[index]! >= known, 'what was answered is seen');
    }
  }
}

/** Asks whoever seems to have the slot until there is an answer that says what happened. */
async function insist<Result>(
  bed: CellsBed,
  slot: number,
  options: { retry?: { session: string; lane: number; sequence: number } },
  operation: Operation<Result>,
): Promise<Result> {
  const passing = new Set([
    'HF_FENCED',
    'HF_UNKNOWN_OUTCOME',
    'HF_UNAVAILABLE',
    'HF_CLOSED',
    'HF_MOVED',
    'HF_NOT_STEWARD',
    'HF_TIMEOUT',
    'HF_INTERRUPTED',
  ]);
  for (let tries = 0; ; tries++) {
    try {
      const cell: Cell = await bed.someSteward(bed.cellOfSlot(slot));
      return await cell.execute(operation, { ...options, slot });
    } catch (error) {
      if (tries === 150 || !passing.has(errorCode(error) ?? '')) throw error;
      bed.learn();
      await bed.env.clock.sleep(10 + bed.env.random.below(20));
    }
  }
}

/** Stewards die, are deposed without knowing it, and slots move to and fro. */
async function disturb(bed: CellsBed, isOver: () => boolean): Promise<void> {
  const { clock, random } = bed.env;
  while (!isOver()) {
    await clock.sleep(50 + random.below(400));
    const name = random.below(2) === 0 ? 'a' : 'b';
    const kind = random.below(3);
    if (kind === 0) await bed.restart(name).catch(passingOnly);
    else if (kind === 1) await bed.depose(name).catch(passingOnly);
    else {
      const target = name === 'a' ? 'b' : 'a';
      await bed.cell(name).moveSlots({ slots: MOVING, target }).catch(passingOnly);
      bed.learn();
    }
  }
  for (const name of ['a', 'b']) {
    for (let tries = 0; tries < 20 && !bed.has(name); tries++) {
      await bed.open(name).catch(passingOnly);
    }
  }
}

function passingOnly(error: unknown): void {
  if (errorCode(error) === undefined) throw error;
}
