/**
 * The work on content: a stream of units is dealt out to k *lanes* in turn (unit p to lane p mod
 * k); a share is a row of coefficients times the lanes, and back. Lanes are byte arrays; for units
 * of one byte they lie in the codec's memory and are multiplied by its kernel, wider ones by
 * tables, which needs no speed.
 */
import { assert, roundUp } from '../base/index.ts';
import { CodecMemory } from '../codec/index.ts';
import type { Rows, ShareField } from './share-field.ts';

/** What the kernel wants lengths to be a multiple of. */
const UNIT_BYTES = 64;
/** Between lanes, so that they do not compete for the same lines of the cache. */
const GAP_BYTES = 192;
const PAGE_BYTES = 65_536;

export class IdaCoder {
  readonly field: ShareField;
  /** Each at least as long as asked for, rounded up to 64 bytes. */
  readonly lanes: readonly Uint8Array[];
  readonly #memory: CodecMemory | undefined;

  /** @param lanes how many, of how many bytes at the most. */
  constructor(field: ShareField, lanes: { readonly count: number; readonly bytes: number }) {
    this.field = field;
    const capacity = Math.max(UNIT_BYTES, roundUp(lanes.bytes, UNIT_BYTES));
    const stride = capacity + GAP_BYTES;
    const pages = Math.ceil((lanes.count * stride) / PAGE_BYTES);
    this.#memory = field.byteField && CodecMemory.create({ pages, field: field.byteField });
    const buffer = this.#memory?.memory.buffer ?? new ArrayBuffer(pages * PAGE_BYTES);
    this.lanes = Array.from(
      { length: lanes.count },
      (_, index) => new Uint8Array(buffer, index * stride, capacity),
    );
  }

  /**
   * targets = rows × sources.
   * @param bytes of each lane that matter; some more may be overwritten, up to a multiple of 64.
   */
  transform(work: {
    readonly rows: Rows;
    readonly sources: readonly Uint8Array[];
    readonly targets: readonly Uint8Array[];
    readonly bytes: number;
  }): void {
    const { rows, sources, targets, bytes } = work;
    assert(rows.length === targets.length, 'there is a row for each target');
    if (bytes === 0) return;
    if (!this.#memory) {
      for (const [index, row] of rows.entries()) {
        multiplyWide(this.field, { row, sources, target: targets[index]!, bytes });
      }
      return;
    }
    const length = roundUp(bytes, UNIT_BYTES);
    const cut = (lane: Uint8Array) => lane.subarray(0, length);
    this.#memory.transform(
      rows.map((row) => Uint8Array.from(row)),
      sources.map(cut),
      targets.map(cut),
    );
  }
}

/** Deals a stream out to lanes; what is missing at its end is zero. */
export function dealOut(stream: Uint8Array, lanes: readonly Uint8Array[], width: number): void {
  const columns = Math.ceil(stream.length / (lanes.length * width));
  for (const [index, lane] of lanes.entries()) {
    if (width === 1) dealBytes(stream, lane, { index, count: lanes.length, columns });
    else dealUnits(stream, lane, { index, count: lanes.length, columns, width });
  }
}

/** The inverse of {@link dealOut}: fills `stream`. */
export function gatherIn(lanes: readonly Uint8Array[], stream: Uint8Array, width: number): void {
  for (const [index, lane] of lanes.entries()) {
    if (width === 1) gatherBytes(lane, stream, { index, count: lanes.length });
    else gatherUnits(lane, stream, { index, count: lanes.length, width });
  }
}

interface Place {
  /** Of the lane, of so many. */
  readonly index: number;
  readonly count: number;
}

interface Deal extends Place {
  readonly columns: number;
}

function gatherBytes(lane: Uint8Array, stream: Uint8Array, { index, count }: Place): void {
  const words = new Uint32Array(lane.buffer, lane.byteOffset, lane.length >> 2);
  const whole = Math.max(0, Math.floor((stream.length - index) / count)) >> 2;
  let at = index;
  for (let number = 0; number < whole; number++) {
    const word = words[number]!;
    stream[at] = word;
    stream[at + count] = word >>> 8;
    stream[at + 2 * count] = word >>> 16;
    stream[at + 3 * count] = word >>> 24;
    at += 4 * count;
  }
  for (let column = whole * 4; at < stream.length; column++, at += count) {
    stream[at] = lane[column]!;
  }
}

function gatherUnits(
  lane: Uint8Array,
  stream: Uint8Array,
  { index, count, width }: Place & { readonly width: number },
): void {
  for (let part = 0; part < width; part++) {
    let at = index * width + part;
    for (let column = 0; at < stream.length; column++, at += count * width) {
      stream[at] = lane[column * width + part]!;
    }
  }
}

/** Four columns to a store, which is faster than one; little-endian, as WebAssembly is. */
function dealBytes(stream: Uint8Array, lane: Uint8Array, { index, count, columns }: Deal): void {
  const words = new Uint32Array(lane.buffer, lane.byteOffset, lane.length >> 2);
  const whole = Math.max(0, Math.floor((stream.length - index) / count)) >> 2;
  let at = index;
  for (let word = 0; word < whole; word++) {
    words[word] =
      stream[at]! |
      (stream[at + count]! << 8) |
      (stream[at + 2 * count]! << 16) |
      (stream[at + 3 * count]! << 24);
    at += 4 * count;
  }
  for (let column = whole * 4; column < columns; column++, at += count) {
    lane[column] = stream[at] ?? 0;
  }
}

function dealUnits(
  stream: Uint8Array,
  lane: Uint8Array,
  { index, count, columns, width }: Deal & { readonly width: number },
): void {
  for (let column = 0; column < columns; column++) {
    const from = (column * count + index) * width;
    for (let part = 0; part < width; part++) lane[column * width + part] = stream[from + part] ?? 0;
  }
}

/** One table of 256 products for each byte of a unit, as multiplication is linear. */
function multiplyWide(
  field: ShareField,
  work: {
    readonly row: readonly number[];
    readonly sources: readonly Uint8Array[];
    readonly target: Uint8Array;
    readonly bytes: number;
  },
): void {
  const { row, sources, target, bytes } = work;
  const { width } = field;
  const sums = new Uint32Array(bytes / width);
  for (const [index, factor] of row.entries()) {
    const tables = Array.from({ length: width }, (_, part) =>
      Uint32Array.from({ length: 256 }, (_unused, byte) =>
        field.multiply(factor, (byte << (8 * (width - 1 - part))) >>> 0),
      ),
    );
    const source = sources[index]!;
    for (let unit = 0; unit < sums.length; unit++) {
      let sum = sums[unit]!;
      for (let part = 0; part < width; part++) sum ^= tables[part]![source[unit * width + part]!]!;
      sums[unit] = sum;
    }
  }
  for (let unit = 0; unit < sums.length; unit++) {
    for (let part = 0; part < width; part++) {
      target[unit * width + part] = sums[unit]! >>> (8 * (width - 1 - part));
    }
  }
}
