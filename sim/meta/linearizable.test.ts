/**
 * Aim: the checker says yes to what is linearizable and no to what is not.
 * Method: small histories with known verdicts, over a register and over the tree; histories that a
 * real sequential run made, loosened in time, are linearizable; with one answer changed they are
 * compared with a search through all orders.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkLinearizable, type HistoryCall, type Model } from './linearizable.ts';
import { partsOf, treeModel, type TreeCall, type TreeState } from './tree-model.ts';

/** A register: `w3` writes 3, `r` reads. */
const register: Model<string, string> = {
  initial: '0',
  step(state, call, answer) {
    if (call !== 'r') return call.slice(1);
    return answer === undefined || answer === state ? state : undefined;
  },
  textOf: (state) => state,
};

type Row<Call> = readonly [begunAt: number, endedAt: number, call: Call, answer?: string];

function historyOf<Call>(...rows: readonly Row<Call>[]): HistoryCall<Call>[] {
  return rows.map(([begunAt, endedAt, call, answer]) => ({ begunAt, endedAt, call, answer }));
}

const NEVER = Infinity;
const kindOf = (...rows: readonly Row<string>[]) =>
  checkLinearizable(register, historyOf(...rows)).kind;

describe('a register', () => {
  it.each<[why: string, kind: string, ...rows: Row<string>[]]>([
    ['one after the other', 'linearizable', [1, 2, 'w1', 'ok'], [3, 4, 'r', '1']],
    ['a read of what is over', 'violation', [1, 2, 'w1', 'ok'], [3, 4, 'r', '0']],
    ['a read beside a write, old', 'linearizable', [1, 4, 'w1', 'ok'], [2, 3, 'r', '0']],
    ['a read beside a write, new', 'linearizable', [1, 4, 'w1', 'ok'], [2, 3, 'r', '1']],
    [
      'new, then old again, beside a write',
      'violation',
      [1, 8, 'w1', 'ok'],
      [2, 3, 'r', '1'],
      [4, 5, 'r', '0'],
    ],
    ['an unknown write that happened', 'linearizable', [1, NEVER, 'w1'], [3, 4, 'r', '1']],
    ['an unknown write that never happened', 'linearizable', [1, NEVER, 'w1'], [3, 4, 'r', '0']],
    [
      'an unknown write that happens late',
      'linearizable',
      [1, NEVER, 'w1'],
      [3, 4, 'r', '0'],
      [5, 6, 'r', '1'],
    ],
    [
      'an unknown write that happens twice',
      'violation',
      [1, NEVER, 'w1'],
      [3, 4, 'r', '1'],
      [5, 6, 'w2', 'ok'],
      [7, 8, 'r', '1'],
    ],
    ['a write before its time', 'violation', [1, 2, 'r', '1'], [3, NEVER, 'w1']],
  ])('%s', (_why, kind, ...rows) => {
    expect(kindOf(...rows)).toBe(kind);
  });

  it('gives the longest order that is allowed, and what is left', () => {
    const history = historyOf<string>([1, 2, 'w1', 'ok'], [3, 4, 'r', '1'], [5, 6, 'r', '0']);
    const verdict = checkLinearizable(register, history);
    expect(verdict).toEqual({
      kind: 'violation',
      longest: history.slice(0, 2),
      left: history.slice(2),
    });
  });

  it('agrees with a search through all orders', () => {
    const kinds = fc.record({
      isWrite: fc.boolean(),
      value: fc.integer({ min: 0, max: 2 }),
      length: fc.integer({ min: 1, max: 6 }),
      pause: fc.integer({ min: 0, max: 3 }),
      isKnown: fc.integer({ min: 0, max: 4 }).map((roll) => roll > 0),
    });
    let violations = 0;
    fc.assert(
      fc.property(fc.array(kinds, { maxLength: 6 }), (drawn) => {
        let at = 0;
        const history = drawn.map(({ isWrite, value, length, pause, isKnown }, index) => {
          at += pause;
          const call = isWrite ? `w${value}` : 'r';
          const answer = isKnown ? (isWrite ? 'ok' : `${value}`) : undefined;
          // Apart by a hair, so that no two events are at the same time.
          const begunAt = at + index / 100;
          return { begunAt, endedAt: isKnown ? begunAt + length + 0.005 : NEVER, call, answer };
        });
        const isAllowed = anyOrder(history, register.initial);
        if (!isAllowed) violations += 1;
        const { kind } = checkLinearizable(register, history);
        expect(kind).toBe(isAllowed ? 'linearizable' : 'violation');
      }),
      { numRuns: 500 },
    );
    expect(violations).toBeGreaterThan(20);
  });
});

/** Without memory and without wit. */
function anyOrder(left: readonly HistoryCall<string>[], state: string): boolean {
  if (left.every(({ endedAt }) => endedAt === NEVER)) return true;
  return left.some((next) => {
    if (left.some(({ endedAt }) => endedAt < next.begunAt)) return false;
    const after = register.step(state, next.call, next.answer);
    return (
      after !== undefined &&
      anyOrder(
        left.filter((call) => call !== next),
        after,
      )
    );
  });
}

const at = (directory: string, name: string) => ({ directory, name });
const checkTree = (...rows: readonly Row<TreeCall>[]) =>
  partsOf(historyOf(...rows)).every(
    (part) => checkLinearizable<TreeState, TreeCall>(treeModel, part).kind === 'linearizable',
  );

describe('a tree', () => {
  it('has one winner of two exclusive creates', () => {
    const one: TreeCall = { do: 'create', at: at('d0', 'x'), node: 'f1' };
    const other: TreeCall = { do: 'create', at: at('d0', 'x'), node: 'f2' };
    expect(checkTree([1, 4, one, 'ok'], [2, 5, other, 'HF_EXISTS'])).toBe(true);
    expect(checkTree([1, 4, one, 'ok'], [2, 5, other, 'ok'])).toBe(false);
    expect(checkTree([1, 4, one, 'HF_EXISTS'], [2, 5, other, 'HF_EXISTS'])).toBe(false);
  });

  it('never shows a renamed file twice or not at all', () => {
    const create: TreeCall = { do: 'create', at: at('d0', 'x'), node: 'f1' };
    const rename: TreeCall = {
      do: 'rename',
      at: at('d0', 'x'),
      to: at('d1', 'y'),
      mayReplace: true,
    };
    const before: Row<TreeCall>[] = [
      [1, 2, create, 'ok'],
      [3, 8, rename, 'ok'],
    ];
    const old: TreeCall = { do: 'lookup', at: at('d0', 'x') };
    const fresh: TreeCall = { do: 'lookup', at: at('d1', 'y') };
    expect(checkTree(...before, [4, 5, fresh, 'f1*1'], [6, 7, old, 'HF_NOT_FOUND'])).toBe(true);
    expect(checkTree(...before, [4, 5, fresh, 'f1*1'], [6, 7, old, 'f1*1'])).toBe(false);
    const gone: Row<TreeCall> = [4, 5, old, 'HF_NOT_FOUND'];
    expect(checkTree(...before, gone, [6, 7, fresh, 'HF_NOT_FOUND'])).toBe(false);
  });

  it('has no cycle after two directories were renamed into each other', () => {
    const makes: Row<TreeCall>[] = [
      [1, 2, { do: 'mkdir', at: at('d0', 'a'), node: 'd8' }, 'ok'],
      [3, 4, { do: 'mkdir', at: at('d0', 'b'), node: 'd9' }, 'ok'],
    ];
    const down = (from: string, into: string): TreeCall => ({
      do: 'rename',
      at: at('d0', from),
      to: at(into, 'c'),
      mayReplace: true,
    });
    const one = down('a', 'd9');
    const other = down('b', 'd8');
    expect(checkTree(...makes, [5, 8, one, 'ok'], [6, 7, other, 'HF_BAD_ARGUMENT'])).toBe(true);
    expect(checkTree(...makes, [5, 8, one, 'ok'], [6, 7, other, 'ok'])).toBe(false);
  });

  it('counts the links of a file wherever they are', () => {
    const rows: Row<TreeCall>[] = [
      [1, 2, { do: 'create', at: at('d0', 'x'), node: 'f1' }, 'ok'],
      [3, 4, { do: 'link', at: at('d1', 'y'), node: 'f1' }, 'ok'],
    ];
    expect(checkTree(...rows, [5, 6, { do: 'list', directory: 'd0' }, 'x=f1*2'])).toBe(true);
    expect(checkTree(...rows, [5, 6, { do: 'list', directory: 'd0' }, 'x=f1*1'])).toBe(false);
  });

  it('lets nothing be made in a directory that is gone', () => {
    const rows: Row<TreeCall>[] = [
      [1, 2, { do: 'mkdir', at: at('d0', 'x'), node: 'd7' }, 'ok'],
      [3, 6, { do: 'rmdir', at: at('d0', 'x') }, 'ok'],
    ];
    const create: TreeCall = { do: 'create', at: at('d7', 'y'), node: 'f1' };
    expect(checkTree(...rows, [4, 5, create, 'HF_NOT_FOUND'])).toBe(true);
    expect(checkTree(...rows, [4, 5, create, 'ok'])).toBe(false);
  });

  it('is cut where directories have nothing to do with each other', () => {
    const calls: { call: TreeCall }[] = [
      { call: { do: 'lookup', at: at('d0', 'x') } },
      { call: { do: 'list', directory: 'd1' } },
      { call: { do: 'link', at: at('d2', 'x'), node: 'f5' } },
      { call: { do: 'rename', at: at('d0', 'x'), to: at('d3', 'x'), mayReplace: true } },
      { call: { do: 'create', at: at('d1', 'x'), node: 'f5' } },
    ];
    const indexes = partsOf(calls).map((part) => part.map((item) => calls.indexOf(item)));
    expect(indexes).toEqual([
      [0, 3],
      [1, 2, 4],
    ]);
  });
});
