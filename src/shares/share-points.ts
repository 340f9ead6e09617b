/**
 * The *points* of a dispersal matrix: y_1 … y_k and one x for each share, all distinct elements of
 * the field. Row i of the matrix is 1 / (x_i + y_j), a Cauchy matrix, any k of whose rows are
 * independent. Adding one element to all points changes no row, so the points can be found again
 * from rows: with y_1 = 0, x_i is the inverse of the row's first coefficient.
 *
 * Sealed shares take their points from the file id, so that a share's number says its row:
 * splitting again makes the same shares, and a new number never meets an old row. Plain shares take
 * random ones, or those that the user names (gnetraid's key).
 */
import { createHash } from 'node:crypto';
import { asBuffer, HoldfastError } from '../base/index.ts';
import type { Random } from '../env/index.ts';
import { dotProduct, type Rows, type ShareField } from './share-field.ts';

const RANDOM_BLOCK_BYTES = 1024;

export interface Points {
  readonly y: readonly number[];
  /** By share number. */
  readonly x: readonly number[];
}

/** @param made.key x_1 … x_n, y_1 … y_k, as gnetraid orders them. @throws HF_BAD_ARGUMENT. */
export function pointsOfKey(
  field: ShareField,
  made: { readonly key: readonly number[]; readonly k: number; readonly n: number },
): Points {
  const { key, k, n } = made;
  const isField = (value: number) => Number.isInteger(value) && value >= 0 && value < field.order;
  if (key.length !== k + n || !key.every(isField) || new Set(key).size !== key.length) {
    const message = `a key is n + k = ${n + k} different numbers below ${field.order}`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  return { x: key.slice(0, n), y: key.slice(n) };
}

/**
 * @param made.seed the more bytes the more points: called with 0, 1, 2 … for blocks of bytes.
 * @throws HF_BAD_SCHEME when the field has too few elements.
 */
export function pointsOfSeed(
  field: ShareField,
  made: { readonly seed: (block: number) => Uint8Array; readonly k: number; readonly n: number },
): Points {
  const { seed, k, n } = made;
  if (k + n > field.order) {
    const message = `units of ${field.width} byte give ${field.order} points, k + n is ${k + n}`;
    throw new HoldfastError('HF_BAD_SCHEME', `${message}; use --width 2`);
  }
  const points = new Set<number>();
  for (let block = 0; points.size < k + n; block++) {
    const bytes = asBuffer(seed(block));
    for (let at = 0; at + field.width <= bytes.length && points.size < k + n; at += field.width) {
      points.add(bytes.readUIntBE(at, field.width));
    }
  }
  const all = [...points];
  return { y: all.slice(0, k), x: all.slice(k) };
}

/** Blocks of points that belong to a file id for good; byte by byte in the docs. */
export function seedOfFile(fileId: Uint8Array): (block: number) => Uint8Array {
  return (block) => {
    const number = Buffer.alloc(4);
    number.writeUInt32BE(block);
    return createHash('sha256')
      .update('holdfast/share-points/1')
      .update(fileId)
      .update(number)
      .digest();
  };
}

/** Points that nobody can guess, and that are not made again. */
export function randomSeed(random: Pick<Random, 'bytes'>): () => Uint8Array {
  return () => random.bytes(RANDOM_BLOCK_BYTES);
}

export function cauchyRow(field: ShareField, x: number, y: readonly number[]): number[] {
  return y.map((point) => field.inverse((x ^ point) >>> 0));
}

/**
 * The points of rows, moved so that y_1 is 0; `undefined` when the rows are not of one Cauchy
 * matrix.
 */
export function pointsOfRows(field: ShareField, rows: Rows): Points | undefined {
  if (rows.some((row) => row.includes(0))) return undefined;
  const x = rows.map((row) => field.inverse(row[0]!));
  const y = (rows[0] ?? []).map((value) => (field.inverse(value) ^ x[0]!) >>> 0);
  if (new Set([...x, ...y]).size !== x.length + y.length) return undefined;
  const fits = rows.every((row, index) =>
    row.every((value, column) => (field.inverse(value) ^ x[index]!) >>> 0 === y[column]!),
  );
  return fits ? { x, y } : undefined;
}

/** Values of shares from those of the data: what `rows` make of one column. */
export function columnOf(field: ShareField, rows: Rows, data: readonly number[]): number[] {
  return rows.map((row) => dotProduct(field, row, data));
}
