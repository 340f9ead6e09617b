/**
 * Aim: MemoryDb passes the suite, and does what only it does: forgets in a crash, takes its time,
 * stays quick with many rows. Method: the suite of all engines; a clock that the test moves.
 */
import { describe, expect, it } from 'vitest';
import { testLocalDb } from '../../test/suites/local-db.ts';
import { errorCode, utf8 } from '../base/index.ts';
import type { Clock } from '../env/index.ts';
import { MemoryDb } from './index.ts';
import { SortedRows } from './sorted-rows.ts';

testLocalDb('memory', async () => {
  let last: MemoryDb | undefined;
  return {
    async open(options = {}) {
      last = last ? last.crash(options) : new MemoryDb(options);
      return last;
    },
    async [Symbol.asyncDispose]() {},
  };
});

/** Sleepers wake when the test says so. */
function stoppedClock(): { clock: Clock; wake: () => void } {
  const sleepers: (() => void)[] = [];
  const clock: Clock = {
    now: () => 0,
    monotonic: () => 0,
    sleep: () => new Promise((resolve) => sleepers.push(resolve)),
    async turn() {},
    async *every() {},
  };
  return { clock, wake: () => sleepers.splice(0).forEach((resolve) => resolve()) };
}

const A = { key: utf8('a'), value: utf8('1') };
const B = { key: utf8('b'), value: utf8('2') };
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('MemoryDb', () => {
  it('forgets in a crash what was not committed, and only that', async () => {
    const { clock, wake } = stoppedClock();
    const db = new MemoryDb({ clock, commitDelayMs: () => 5 });
    const first = db.transact({ puts: [A], deletes: [] });
    await turn();
    wake();
    await first;
    const second = db.transact({ puts: [B], deletes: [A.key] }).catch(errorCode);
    await turn();
    const next = db.crash();
    wake();
    await turn();
    expect(await second).toBe('HF_CLOSED');
    expect(() => db.get(A.key)).toThrow(expect.objectContaining({ code: 'HF_CLOSED' }));
    expect(next.get(A.key)).toEqual(A.value);
    expect(next.get(B.key)).toBeUndefined();
  });

  it('commits all that waits at once', async () => {
    const { clock, wake } = stoppedClock();
    let groupCount = 0;
    const db = new MemoryDb({ clock, commitDelayMs: () => ++groupCount });
    const all = Array.from({ length: 10 }, () => db.transact({ puts: [A], deletes: [] }));
    await turn();
    wake();
    await Promise.all(all);
    expect(groupCount).toBe(1);
  });
});

describe('SortedRows', () => {
  it('keeps many rows in order, put and deleted in another order', () => {
    const rows = new SortedRows();
    const keyOf = (index: number): Uint8Array => utf8(String(index).padStart(6, '0'));
    const count = 100_000;
    // 7919 shares no factor with the count, so every index comes once.
    for (let step = 0; step < count; step++) {
      rows.put({ key: keyOf((step * 7919) % count), value: new Uint8Array(0) });
    }
    for (let index = 0; index < count; index += 2) rows.delete(keyOf(index));
    const up = Array.from(rows.ascend(new Uint8Array(0)), ({ key }) => Number(Buffer.from(key)));
    const down = Array.from(rows.descend(keyOf(count)), ({ key }) => Number(Buffer.from(key)));
    const odd = Array.from({ length: count / 2 }, (_, index) => 2 * index + 1);
    // As text: comparing arrays of this length takes seconds.
    expect(up.join()).toBe(odd.join());
    expect(down.join()).toBe(odd.toReversed().join());
  });
});
