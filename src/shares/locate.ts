/**
 * Which shares are wrong, when more than k are there and they disagree. Any k shares that are right
 * give the data; so the column whose data most shares agree with is the right one, and at most
 * ⌊(s − k) / 2⌋ wrong ones among s shares leave no other choice: two codewords differ in at least
 * s − k + 1 places. k-subsets are tried until one is found that enough shares agree with.
 */
import { HoldfastError } from '../base/index.ts';
import { columnOf } from './share-points.ts';
import { invertRows, type Rows, type ShareField } from './share-field.ts';

/** Subsets tried at the most; with more than these, some at random instead of all in order. */
const TRIES_MAX = 20_000;

/**
 * @param column.rows of a matrix any k of whose rows are independent.
 * @param column.values one unit of each share, at one place.
 * @param column.wrongMax how many may be wrong, at most ⌊(s − k) / 2⌋.
 * @returns indexes of the wrong ones. @throws HF_CORRUPT when more are wrong.
 */
export function locateWrong(
  field: ShareField,
  column: { readonly rows: Rows; readonly values: readonly number[]; readonly wrongMax: number },
): number[] {
  const { rows, values, wrongMax } = column;
  const k = rows[0]!.length;
  for (const chosen of subsets(rows.length, k)) {
    const inverse = invertRows(
      field,
      chosen.map((index) => rows[index]!),
    );
    if (!inverse) continue;
    const data = columnOf(
      field,
      inverse,
      chosen.map((index) => values[index]!),
    );
    const expected = columnOf(field, rows, data);
    const wrong = values.flatMap((value, index) => (value === expected[index] ? [] : [index]));
    if (wrong.length <= wrongMax) return wrong;
  }
  const wrong = wrongMax > 0 ? `, and more than ${wrongMax} are wrong` : '';
  const message = `the shares disagree${wrong}; give more shares to find out which are bad`;
  throw new HoldfastError('HF_CORRUPT', message);
}

/** All subsets of `size` indexes, or many random ones. */
function* subsets(count: number, size: number): Generator<number[]> {
  if (binomial(count, size) > TRIES_MAX) {
    yield* randomSubsets(count, size);
    return;
  }
  const chosen = Array.from({ length: size }, (_, index) => index);
  while (true) {
    yield chosen;
    let place = size - 1;
    while (place >= 0 && chosen[place] === count - size + place) place -= 1;
    if (place < 0) return;
    chosen[place]! += 1;
    for (let after = place + 1; after < size; after++) chosen[after] = chosen[after - 1]! + 1;
  }
}

/** The same ones every time. The generator is xorshift32 (Marsaglia 2003). */
function* randomSubsets(count: number, size: number): Generator<number[]> {
  let state = 2_463_534_242;
  const below = (limit: number) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
  const indexes = Array.from({ length: count }, (_, index) => index);
  for (let attempt = 0; attempt < TRIES_MAX; attempt++) {
    for (let place = 0; place < size; place++) {
      const other = place + below(count - place);
      [indexes[place], indexes[other]] = [indexes[other]!, indexes[place]!];
    }
    yield indexes.slice(0, size);
  }
}

function binomial(count: number, size: number): number {
  let result = 1;
  for (let i = 1; i <= size; i++) result = (result * (count - size + i)) / i;
  return result;
}
