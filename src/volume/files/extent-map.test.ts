/**
 * Aim: the map has of each byte the extent that the cell has, however much of it was looked up, in
 * whatever order, between commits and cuts. Method: random steps on files of more extents than a
 * page has, against the list of all.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LIMITS, stripeId } from '../../base/index.ts';
import type { Extent } from '../../meta/index.ts';
import { ExtentMap } from './extent-map.ts';

/** Each cell is one extent or a hole. */
const CELL_BYTES = 100;
const CELLS = 2 * LIMITS.listPageMax;

class File {
  /** By cell: which extent is there. */
  readonly cells: (number | undefined)[] = [];
  readonly map: ExtentMap;
  asked = 0;

  constructor(holes: ReadonlySet<number>) {
    for (let cell = 0; cell < CELLS; cell++) this.cells.push(holes.has(cell) ? undefined : cell);
    const extents = async (from: { offset: number }): Promise<readonly Extent[]> => {
      this.asked += 1;
      const all = [...this.cells.keys()]
        .filter((cell) => this.cells[cell] !== undefined)
        .map((cell) => this.extent(cell));
      const other = { ...this.extent(0), encoding: 1, offset: 0 };
      const found = [...all.filter(({ offset }) => offset >= from.offset), other];
      return found.slice(0, LIMITS.listPageMax);
    };
    this.map = new ExtentMap({ extents, isInline: () => false, refresh: async () => {} });
  }

  extent(cell: number): Extent {
    const stripe = new Uint8Array(32);
    new DataView(stripe.buffer).setUint32(0, this.cells[cell] ?? 0);
    return {
      encoding: 0,
      offset: cell * CELL_BYTES,
      lengthBytes: CELL_BYTES,
      stripe: stripeId(stripe),
      schemeNumber: 1,
      wrappedKey: new Uint8Array(),
    };
  }

  async check(start: number, end: number): Promise<void> {
    await this.map.look({ start, end });
    expect(this.map.isKnown({ start, end })).toBe(true);
    let position = start;
    for (const part of this.map.parts({ start, end })) {
      expect(part.start).toBe(position);
      const cell = Math.floor(part.start / CELL_BYTES);
      if (part.extent) {
        expect(part.extent.stripe).toEqual(this.extent(cell).stripe);
        expect(part.end).toBeLessThanOrEqual((cell + 1) * CELL_BYTES);
      } else {
        for (let hole = cell; hole * CELL_BYTES < part.end; hole++) {
          expect(this.cells[hole]).toBeUndefined();
        }
      }
      position = part.end;
    }
    expect(position).toBe(end);
  }
}

const cell = fc.nat(CELLS - 1);
const step = fc.oneof(
  fc.record({
    do: fc.constant('look' as const),
    from: cell,
    cells: fc.integer({ min: 1, max: 90 }),
  }),
  fc.record({ do: fc.constant('commit' as const), from: cell, cells: fc.constant(1) }),
  fc.record({ do: fc.constantFrom('cut' as const, 'drop' as const), from: cell, cells: cell }),
);

describe('a map of extents', () => {
  it('is as the file is, whatever was asked for', async () => {
    const property = fc.asyncProperty(
      fc.uniqueArray(cell, { maxLength: 50 }),
      fc.array(step, { maxLength: 25 }),
      async (holes, steps) => {
        const file = new File(new Set(holes));
        let stamp = CELLS;
        for (const { do: what, from, cells } of steps) {
          const start = from * CELL_BYTES;
          if (what === 'look') await file.check(start + 7, start + cells * CELL_BYTES);
          if (what === 'drop') file.map.drop();
          if (what === 'commit') {
            file.cells[from] = stamp++;
            file.map.commit([file.extent(from)]);
          }
          if (what === 'cut') {
            file.cells.fill(undefined, from);
            file.map.truncate(start);
          }
        }
        await file.check(0, CELLS * CELL_BYTES);
      },
    );
    await fc.assert(property, { seed: 3, numRuns: 12 });
  });

  it('asks once for what it knows, and does not keep what came too late', async () => {
    const file = new File(new Set());
    await file.check(0, 1000);
    await file.check(500, 90_000);
    expect(file.asked).toBe(1);
    file.map.drop();
    const looked = file.map.look({ start: 0, end: 100 });
    file.cells[0] = 77;
    file.map.commit([file.extent(0)]);
    await looked;
    await file.check(0, 1000);
  });
});
