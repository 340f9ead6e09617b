// Aim: concurrent renames of directories never make a cycle, though each only reads the way up from
// its target and there is no lock of the whole tree. Method: six directories in three cells, each
// named by its parent alone; all rename at once, many rounds; without read locks a cycle is found.
import { describe, expect, it } from 'vitest';
import { errorCode, HoldfastError } from '../../base/index.ts';
import { CellsBed } from '../../../test/suites/cells-bed.ts';
import type { CellFault } from './cell-faults.ts';
import type { Overlay, Rows } from './overlay.ts';
import { decodeNumber, encodeNumber, rowKey } from './rows.ts';

/** Directory n lives in slot 500 n; the root is 0. */
const DIRECTORIES = [1, 2, 3, 4, 5, 6];
const parentKey = (directory: number): Uint8Array => rowKey(500 * directory, 'P', 1n);
const parentOf = (rows: Rows, directory: number): number =>
  decodeNumber(rows.get(parentKey(directory)), 'parent');

function rename(rows: Overlay, directory: number, target: number): void {
  let steps = 0; // a trial run may see rows of several moments, and a circle in them
  for (let at = target; at !== 0; at = parentOf(rows, at)) {
    steps += 1;
    if (at === directory || steps > DIRECTORIES.length)
      throw new HoldfastError('HF_BAD_ARGUMENT', 'it is among its ancestors');
  }
  if (parentOf(rows, directory) !== target) rows.put(parentKey(directory), encodeNumber(target));
}

/** @returns whether every directory still hangs below the root after each round. */
async function staysTree(seed: number, fault?: CellFault): Promise<boolean> {
  const faults = fault ? { faults: fault } : {};
  await using bed = new CellsBed({ seed, net: { delayMsMax: 6, doubledPercent: 10 }, ...faults });
  await bed.open('a', { from: 0, to: 1250 });
  await bed.open('b', { from: 1250, to: 2250 });
  await bed.open('c', { from: 2250, to: 4096 });
  const { random } = bed.env;
  for (let round = 0; round < 4; round++) {
    const renames = DIRECTORIES.map(async (directory) => {
      const target = random.below(DIRECTORIES.length + 1);
      const cell = bed.cell(bed.cellOfSlot(500 * directory));
      const slot = 500 * directory;
      await cell
        .execute((rows) => rename(rows, directory, target), { slot })
        .catch((error) => {
          expect(errorCode(error)).toBe('HF_BAD_ARGUMENT');
        });
    });
    await Promise.all(renames);
    await bed.quiet();
    const parents = await bed.cell('a').execute((rows) => {
      rows.need(DIRECTORIES.map(parentKey));
      return DIRECTORIES.map((directory) => parentOf(rows, directory));
    });
    for (const directory of DIRECTORIES) {
      let at = directory;
      for (let step = 0; at !== 0; step++) {
        if (step > DIRECTORIES.length) return false;
        at = parents[at - 1] as number;
      }
    }
  }
  return true;
}

describe('concurrent renames of directories', () => {
  it('leave a tree', async () => {
    for (let seed = 0; seed < 25; seed++)
      expect([seed, await staysTree(seed)]).toEqual([seed, true]);
  });

  it('make a cycle when what was read is not held', async () => {
    let isNoticed = false;
    for (let seed = 0; seed < 60 && !isNoticed; seed++) {
      isNoticed = !(await staysTree(seed, 'no-read-locks'));
    }
    expect(isNoticed).toBe(true);
  });
});
