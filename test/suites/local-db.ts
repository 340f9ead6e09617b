/**
 * What every LocalDb must do, whatever its engine. Aim: transactions are atomic and ordered, reads
 * see exactly what was acknowledged, ranges follow the order of unsigned bytes, a full database
 * says so and loses nothing. Method: examples, and random transactions against a plain map.
 */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { compareBytes, errorCode, toHex, utf8 } from '../../src/base/index.ts';
import type { LocalDb, Row } from '../../src/db/index.ts';

/** One database on its medium; every `open` after the first finds what the last one left. */
export interface LocalDbMedium extends AsyncDisposable {
  open(options?: { bytesMax?: number }): Promise<LocalDb>;
}

const FIRST = new Uint8Array(0);
const END = new Uint8Array(40).fill(0xff);

function row(key: string, value: string): Row {
  return { key: utf8(key), value: utf8(value) };
}

function keysOf(rows: readonly Row[]): string[] {
  return rows.map(({ key }) => Buffer.from(key).toString());
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(
    () => undefined,
    (error: unknown) => errorCode(error) ?? String(error),
  );
}

const bytes = fc.uint8Array({ maxLength: 3 });
const changes = fc.record({
  puts: fc.array(fc.record({ key: bytes, value: fc.uint8Array({ maxLength: 20 }) }), {
    maxLength: 6,
  }),
  deletes: fc.array(bytes, { maxLength: 4 }),
});
const rangeOptions = fc.record(
  { from: bytes, to: bytes, limit: fc.nat(5), isReverse: fc.boolean() },
  { requiredKeys: ['from', 'to'] },
);

export function testLocalDb(engine: string, makeMedium: () => Promise<LocalDbMedium>): void {
  describe(`LocalDb, engine ${engine}`, () => {
    let medium: LocalDbMedium;
    let db: LocalDb;

    beforeEach(async () => {
      medium = await makeMedium();
      db = await medium.open();
    });
    afterEach(async () => {
      await db[Symbol.asyncDispose]();
      await medium[Symbol.asyncDispose]();
    });

    it('knows nothing at first', () => {
      expect(db.get(utf8('a'))).toBeUndefined();
      expect(db.range({ from: FIRST, to: END })).toEqual([]);
    });

    it('puts, replaces and deletes', async () => {
      await db.transact({ puts: [row('a', '1'), row('b', '2')], deletes: [] });
      await db.transact({ puts: [row('a', '3')], deletes: [utf8('b'), utf8('absent')] });
      expect(db.get(utf8('a'))).toEqual(utf8('3'));
      expect(db.get(utf8('b'))).toBeUndefined();
    });

    it('keeps empty keys and empty values', async () => {
      await db.transact({ puts: [{ key: FIRST, value: FIRST }], deletes: [] });
      expect(db.get(FIRST)).toEqual(FIRST);
      expect(db.range({ from: FIRST, to: END })).toEqual([{ key: FIRST, value: FIRST }]);
    });

    it('deletes before it puts; the last put of a key wins', async () => {
      await db.transact({ puts: [row('a', '0')], deletes: [] });
      const puts = [row('a', '1'), row('a', '2')];
      await db.transact({ puts, deletes: [utf8('a')] });
      expect(db.get(utf8('a'))).toEqual(utf8('2'));
    });

    it('shows a transaction when it is acknowledged, not before, and never a part', async () => {
      const commit = db.transact({ puts: [row('a', '1'), row('b', '1')], deletes: [] });
      const seen = new Set<string>();
      let isDone = false;
      const done = commit.then(() => (isDone = true));
      const deadline = performance.now() + 10_000;
      while (!isDone && performance.now() < deadline) {
        seen.add(`${db.get(utf8('a'))?.length ?? 0}${db.get(utf8('b'))?.length ?? 0}`);
        // Turns of the event loop, so that the writer can answer while we look.
        await new Promise((resolve) => setImmediate(resolve));
      }
      await done;
      expect(seen).toEqual(new Set(['00']));
      expect(keysOf(db.range({ from: FIRST, to: END }))).toEqual(['a', 'b']);
    });

    it('commits what is called at once in the order of the calls', async () => {
      const commits = Array.from({ length: 200 }, (_, index) =>
        db.transact({ puts: [row('last', `${index}`), row(`${index}`, '')], deletes: [] }),
      );
      await Promise.all(commits);
      expect(db.get(utf8('last'))).toEqual(utf8('199'));
      expect(db.range({ from: FIRST, to: END })).toHaveLength(201);
    });

    it('gives values that the caller may change', async () => {
      await db.transact({ puts: [row('a', '1')], deletes: [] });
      db.get(utf8('a'))!.fill(0);
      db.range({ from: FIRST, to: END })[0]!.value.fill(0);
      expect(db.get(utf8('a'))).toEqual(utf8('1'));
    });

    it('ranges: from inclusive, to exclusive, limit, both directions', async () => {
      const puts = ['a', 'b', 'c', 'd'].map((key) => row(key, ''));
      await db.transact({ puts, deletes: [] });
      const [from, to] = [utf8('b'), utf8('d')];
      expect(keysOf(db.range({ from, to }))).toEqual(['b', 'c']);
      expect(keysOf(db.range({ from, to, isReverse: true }))).toEqual(['c', 'b']);
      expect(keysOf(db.range({ from, to, limit: 1 }))).toEqual(['b']);
      expect(keysOf(db.range({ from, to, limit: 1, isReverse: true }))).toEqual(['c']);
      expect(db.range({ from, to, limit: 0 })).toEqual([]);
      expect(db.range({ from: to, to: from })).toEqual([]);
    });

    it('agrees with a map under random transactions and ranges', async () => {
      const model = new Map<string, Row>();
      const property = fc.asyncProperty(
        fc.array(changes, { maxLength: 5 }),
        rangeOptions,
        async (transactions, options) => {
          for (const { puts, deletes } of transactions) {
            for (const key of deletes) model.delete(toHex(key));
            for (const each of puts) model.set(toHex(each.key), each);
          }
          await Promise.all(transactions.map((each) => db.transact(each)));
          const { from, to, limit = Infinity, isReverse = false } = options;
          const expected = [...model.values()]
            .filter(({ key }) => compareBytes(key, from) >= 0 && compareBytes(key, to) < 0)
            .sort((a, b) => compareBytes(a.key, b.key) * (isReverse ? -1 : 1))
            .slice(0, limit);
          expect(db.range(options)).toEqual(expected);
          expect(db.get(from)).toEqual(model.get(toHex(from))?.value);
        },
      );
      await fc.assert(property, { numRuns: 150 });
    });

    it('still has everything after it was closed and opened', async () => {
      const commits = [1, 2, 3].map((index) =>
        db.transact({ puts: [row(`${index}`, 'kept')], deletes: [] }),
      );
      await db[Symbol.asyncDispose]();
      await Promise.all(commits);
      db = await medium.open();
      expect(keysOf(db.range({ from: FIRST, to: END }))).toEqual(['1', '2', '3']);
    });

    it('says HF_CLOSED once closed', async () => {
      await db[Symbol.asyncDispose]();
      await db[Symbol.asyncDispose]();
      expect(await codeOf(db.transact({ puts: [], deletes: [] }))).toBe('HF_CLOSED');
      expect(() => db.get(FIRST)).toThrow(expect.objectContaining({ code: 'HF_CLOSED' }));
    });

    it('when full: refuses whole transactions, keeps others, goes on after a delete', async () => {
      await db[Symbol.asyncDispose]();
      db = await medium.open({ bytesMax: 256 * 1024 });
      const page = (name: string): Row => ({ key: utf8(name), value: new Uint8Array(8000) });
      let stored = 0;
      let refused: string | undefined;
      while (refused === undefined && stored < 100) {
        refused = await codeOf(db.transact({ puts: [page(`${stored}`)], deletes: [] }));
        if (refused === undefined) stored += 1;
      }
      expect(refused).toBe('HF_NO_SPACE');
      const both = { puts: [row('small', ''), page('x'), page('y')], deletes: [] };
      expect(await codeOf(db.transact(both))).toBe('HF_NO_SPACE');
      expect(db.get(utf8('small'))).toBeUndefined();
      expect(db.range({ from: FIRST, to: END })).toHaveLength(stored);
      const deletes = ['0', '1', '2', '3', '4', '5'].map((key) => utf8(key));
      await db.transact({ puts: [], deletes });
      await db.transact(both);
      expect(db.get(utf8('small'))).toEqual(FIRST);
    });

    it('fails what was called after a transaction that fails: no gaps', async () => {
      await db[Symbol.asyncDispose]();
      db = await medium.open({ bytesMax: 64 * 1024 });
      const large = { key: utf8('large'), value: new Uint8Array(1 << 20) };
      const outcomes = await Promise.all([
        codeOf(db.transact({ puts: [large], deletes: [] })),
        codeOf(db.transact({ puts: [row('after', '')], deletes: [] })),
      ]);
      expect(outcomes).toEqual(['HF_NO_SPACE', 'HF_NO_SPACE']);
      expect(db.get(utf8('after'))).toBeUndefined();
      await db.transact({ puts: [row('later', '')], deletes: [] });
      expect(db.get(utf8('later'))).toEqual(FIRST);
    });
  });
}
