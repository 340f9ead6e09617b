// Aim: nobody waits for ever: neither for a steward that has a successor and did not hear of it,
// nor for two cells that wait for each other, nor for requests that are in their own way. Method:
// cells on virtual time, one of them deposed or cut off at the moment that matters.
import { describe, expect, it } from 'vitest';
import { errorCode, HoldfastError } from '../../base/index.ts';
import { CellsBed, type CellsBedOptions } from '../../../test/suites/cells-bed.ts';
import type { AdoptAnswer, AdoptRequest } from './cell-peers.ts';
import { decodeNumber, encodeNumber, rowKey, SLOT_COUNT } from './rows.ts';
import type { Operation } from './steward.ts';

const HALF = SLOT_COUNT / 2;
const [A, B] = [7, HALF + 7];
const session = 'ab'.repeat(16);

const keyOf = (slot: number): Uint8Array => rowKey(slot, 'Y', 1n);

const add =
  (...slots: number[]): Operation<number[]> =>
  (rows) =>
    slots.map((slot) => {
      const next = decodeNumber(rows.get(keyOf(slot)), 'count') + 1;
      rows.put(keyOf(slot), encodeNumber(next));
      return next;
    });

async function twoCells(options: CellsBedOptions = {}): Promise<CellsBed> {
  const bed = new CellsBed(options);
  await bed.open('a', { from: 0, to: HALF });
  await bed.open('b', { from: HALF, to: SLOT_COUNT });
  return bed;
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(() => undefined, errorCode);
}

describe('a steward that has a successor and did not hear of it', () => {
  it('finds out before it says that a slot has moved', async () => {
    await using bed = await twoCells({ staysLost: true });
    const old = bed.cell('a');
    expect(await codeOf(old.execute(add(B), { slot: B }))).toBe('HF_MOVED');
    await bed.depose('a');
    await bed.cell('b').moveSlots({ slots: { from: HALF, to: HALF + 100 }, target: 'a' });
    expect(await codeOf(old.execute(add(B), { slot: B }))).toBe('HF_FENCED');
    await old.lost;
  });

  it('does not go on with a slot move, nor lets others wait for its end', async () => {
    await using bed = await twoCells({ staysLost: true });
    const old = bed.cell('a');
    let isCutOff = true;
    bed.onMessage = ({ name }) => {
      if (name === 'adopt' && isCutOff) throw new HoldfastError('HF_TIMEOUT');
    };
    const slots = { from: HALF - 100, to: HALF };
    const move = codeOf(old.moveSlots({ slots, target: 'b' }));
    await bed.env.clock.sleep(100);
    await bed.depose('a');
    const waiting = codeOf(old.execute(add(HALF - 1), { slot: HALF - 1 }));
    const start = bed.env.clock.monotonic();
    expect(await waiting).toBe('HF_FENCED');
    expect(bed.env.clock.monotonic() - start).toBeLessThan(2000);
    isCutOff = false;
    await bed.quiet();
    expect(bed.cell('b').view().slots).toEqual({ from: HALF - 100, to: SLOT_COUNT });
    expect(await move).toBeOneOf(['HF_FENCED', 'HF_INTERRUPTED']);
  });

  it('finds out when the target of its slot move knows its successor', async () => {
    await using bed = await twoCells({ staysLost: true });
    const old = bed.cell('a');
    let isCutOff = true;
    bed.onMessage = ({ name }) => {
      if (name === 'adopt' && isCutOff) throw new HoldfastError('HF_TIMEOUT');
    };
    const slots = { from: HALF - 100, to: HALF };
    const move = codeOf(old.moveSlots({ slots, target: 'b' }));
    await bed.env.clock.sleep(100);
    const next = await bed.depose('a');
    isCutOff = false;
    // The successor, and then one more move of the same slots back and forth.
    await bed.quiet();
    await bed.cell('b').moveSlots({ slots, target: 'a' });
    await next.moveSlots({ slots, target: 'b' });
    await bed.env.clock.sleep(1000);
    expect(await move).toBe('HF_FENCED');
    expect(old.view().isServing).toBe(false);
  });
});

describe('two cells that give each other slots', () => {
  it('do not wait for each other: one of them takes its slots back', async () => {
    await using bed = await twoCells();
    const [a, b] = [bed.cell('a'), bed.cell('b')];
    await a.execute(add(HALF - 1));
    await b.execute(add(HALF));
    const ends = await Promise.all([
      codeOf(a.moveSlots({ slots: { from: HALF - 50, to: HALF }, target: 'b' })),
      codeOf(b.moveSlots({ slots: { from: HALF, to: HALF + 50 }, target: 'a' })),
    ]);
    expect(ends).toEqual([undefined, 'HF_BUSY']);
    expect(a.view().slots).toEqual({ from: 0, to: HALF - 50 });
    expect(b.view().slots).toEqual({ from: HALF - 50, to: SLOT_COUNT });
    expect(await b.execute(add(HALF - 1, HALF))).toEqual([2, 2]);
    await b.moveSlots({ slots: { from: HALF - 50, to: HALF + 50 }, target: 'a' });
    expect(await a.execute(add(HALF - 1, HALF))).toEqual([3, 3]);
  });

  it('nothing that was sent before and comes late takes what was taken back', async () => {
    await using bed = await twoCells();
    const [a, b] = [bed.cell('a'), bed.cell('b')];
    await b.execute(add(HALF));
    const adopt = (request: AdoptRequest): Promise<AdoptAnswer> => a.messages.adopt(request);
    const move = { source: 'b', number: 1 };
    const late = { move, attempt: b.view().epoch } as const;
    const slots = { from: HALF, to: HALF + 50 };
    expect(await adopt({ ...late, step: 'begin', slots, shared: [] })).toEqual({
      state: 'more',
      index: 0,
    });
    await adopt({ ...late, step: 'cancel', slots });
    await adopt({ ...late, step: 'cancel', slots }); // twice is as good as once
    for (const step of [
      { step: 'begin', slots, shared: [] },
      { step: 'rows', index: 0, rows: [] },
      { step: 'end', rowCount: 0, digest: 0n },
    ] as const) {
      expect(await codeOf(adopt({ ...late, ...step }))).toBe('HF_FENCED');
    }
    const later = { move, attempt: late.attempt + 1 };
    expect((await adopt({ ...later, step: 'begin', slots, shared: [] })).state).toBe('more');
    await adopt({ ...later, step: 'end', rowCount: 0, digest: 0n });
    expect(await adopt({ ...later, step: 'cancel', slots })).toEqual({ state: 'done' });
  });
});

describe('a request that is asked again while it is under way', () => {
  it('joins the first one', async () => {
    await using bed = await twoCells({ net: { delayMsMax: 50 } });
    const messages: string[] = [];
    bed.onMessage = ({ name }) => void messages.push(name);
    const options = { retry: { session, lane: 0, sequence: 1 }, slot: A };
    const ask = (): Promise<number[]> => bed.cell('a').execute(add(A, B), options);
    const answers = await Promise.all([ask(), ask(), ask()]);
    expect(answers).toEqual([
      [1, 1],
      [1, 1],
      [1, 1],
    ]);
    expect(messages.filter((name) => name === 'prepare')).toHaveLength(1);
    expect(await ask()).toEqual([1, 1]);
    const next = { ...options, retry: { ...options.retry, sequence: 2 } };
    expect(await bed.cell('a').execute(add(A, B), next)).toEqual([2, 2]);
  });

  it('and is told with a cause why there is no answer, so that it is taken for none', async () => {
    await using bed = await twoCells();
    bed.onMessage = () => {
      throw new HoldfastError('HF_TIMEOUT');
    };
    const options = { retry: { session, lane: 0, sequence: 1 }, slot: A };
    const ask = (): Promise<unknown> =>
      bed
        .cell('a')
        .execute(add(A, B), options)
        .catch((error: unknown) => error);
    const [, joined] = await Promise.all([ask(), ask()]);
    expect(errorCode(joined)).toBe('HF_UNAVAILABLE');
    expect(errorCode((joined as Error).cause)).toBe('HF_UNAVAILABLE');
  });
});

describe('the transactions that a cell is said to have under way', () => {
  it('are none when nobody tells the participants any more', async () => {
    await using bed = await twoCells();
    bed.onMessage = ({ name }) => {
      if (name === 'apply') throw new HoldfastError('HF_BAD_ARGUMENT');
    };
    await bed.cell('a').execute(add(A, B));
    await bed.env.clock.sleep(10);
    expect(bed.cell('a').view().transactionCount).toBe(0);
  });
});
