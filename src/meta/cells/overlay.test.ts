// Aim: reads through an overlay are those of a map in which the changes were made at once. Method:
// random changes in three layers over a MemoryDb against one plain Map.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareBytes, toHex } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { Overlay } from './overlay.ts';

const key = fc.uint8Array({ minLength: 1, maxLength: 2, max: 3 });
const change = fc.record({ key, value: fc.option(fc.uint8Array({ maxLength: 2 })) });
const layer = fc.array(change, { maxLength: 12 });

describe('Overlay', () => {
  it('reads as if its changes were in the database', async () => {
    const ranges = fc.record({
      from: key,
      to: key,
      limit: fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }),
      isReverse: fc.boolean(),
    });
    const property = fc.asyncProperty(
      layer,
      layer,
      layer,
      ranges,
      async (base, lower, upper, at) => {
        const db = new MemoryDb();
        const model = new Map<string, { key: Uint8Array; value: Uint8Array }>();
        const low = new Overlay(db);
        const high = new Overlay(low);
        for (const [changes, overlay] of [[base], [lower, low], [upper, high]] as const) {
          for (const { key, value } of changes) {
            if (value) model.set(toHex(key), { key, value });
            else model.delete(toHex(key));
            if (!overlay) {
              const puts = value ? [{ key, value }] : [];
              await db.transact({ puts, deletes: value ? [] : [key] });
            } else if (value) overlay.put(key, value);
            else overlay.delete(key);
          }
        }
        const expected = [...model.values()]
          .filter((row) => compareBytes(row.key, at.from) >= 0 && compareBytes(row.key, at.to) < 0)
          .sort((a, b) => (at.isReverse ? -1 : 1) * compareBytes(a.key, b.key))
          .slice(0, at.limit);
        const { limit, ...rest } = at;
        expect(high.range(limit === undefined ? rest : { ...rest, limit })).toEqual(expected);
        expect(high.get(at.from)).toEqual(model.get(toHex(at.from))?.value);
      },
    );
    await fc.assert(property, { numRuns: 1500 });
  });

  it('forgets changes that are applied, but not newer ones of the same key', () => {
    const overlay = new Overlay(new MemoryDb());
    const row = new Uint8Array([1]);
    overlay.put(row, new Uint8Array([1]));
    const applied = new Map(overlay.changes);
    overlay.put(row, new Uint8Array([2]));
    overlay.forget(applied);
    expect(overlay.get(row)).toEqual(new Uint8Array([2]));
    overlay.forget(new Map(overlay.changes));
    expect(overlay.get(row)).toBeUndefined();
    expect(overlay.range({ from: row, to: new Uint8Array([2]) })).toEqual([]);
  });
});
