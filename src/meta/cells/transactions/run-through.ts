/** One run of an operation over the rows of a cell and what was fetched of others. */
import { bytesEqual } from '../../../base/index.ts';
import type { ExecuteOptions } from '../executor.ts';
import type { Change } from '../overlay.ts';
import { type Outcome, runOnce } from '../retry-rows.ts';
import type { Operation } from '../steward.ts';
import type { CellRows } from './cell-rows.ts';

/** @throws Detour. */
export function runThrough<Result>(
  rows: CellRows,
  {
    operation,
    options,
  }: {
    readonly operation: Operation<Result>;
    readonly options: ExecuteOptions;
  },
): Outcome<Result> {
  if (options.slot !== undefined) rows.requireSlot(options.slot);
  const outcome = runOnce(rows, options, operation);
  rows.assertRanThrough();
  return outcome;
}

/** Whether two runs change the same rows in the same way. */
export function isSame(a: ReadonlyMap<string, Change>, b: ReadonlyMap<string, Change>): boolean {
  if (a.size !== b.size) return false;
  for (const [text, { value }] of a) {
    const other = b.get(text);
    if (!other) return false;
    const isEqual = value && other.value ? bytesEqual(value, other.value) : value === other.value;
    if (!isEqual) return false;
  }
  return true;
}
