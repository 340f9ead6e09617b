/**
 * Multiplies a matrix over GF(2^8) with rows of bytes, in place in one WebAssembly memory. Encoding
 * and reconstruction are the same call with other rows.
 *
 * The kernel owns a *scratch* region of the memory for offsets and nibble tables, laid out as
 * [offsets of the sources] then, for each *group* of up to four targets, [offsets of the targets]
 * [nibble tables]. Kernels of several threads work on one shared memory as long as their scratch
 * regions and targets are disjoint.
 */
import { assert, KiB, roundUp } from '../base/index.ts';
import { BoundedCache } from './bounded-cache.ts';
import type { GaloisField, Matrix } from './galois.ts';
import {
  emitKernel,
  type KernelFunction,
  type KernelShape,
  NIBBLE_TABLE_BYTES,
  STEP_BYTES,
  TARGETS_MAX,
} from './kernel-code.ts';

/** Sources of one call at the most: a row has at most as many coefficients. */
const SOURCES_MAX = 255;
const SOURCE_LIST_BYTES = 1 * KiB;
const TARGET_LIST_BYTES = 4 * TARGETS_MAX;
/** One group of the widest matrix must fit. */
export const KERNEL_SCRATCH_BYTES_MIN: number = SOURCE_LIST_BYTES + groupBytes(SOURCES_MAX);

/** With several groups: sources of this length stay in the first-level cache between groups. */
const BLOCK_BYTES = 1 * KiB;
/** Functions kept; each is 1 to 100 KB of machine code and takes about a millisecond to compile. */
const FUNCTIONS_MAX = 64;

export interface KernelOptions {
  readonly memory: WebAssembly.Memory;
  readonly field: GaloisField;
  /** Offset of the scratch region, a multiple of 64. */
  readonly scratchOffset: number;
  readonly scratchBytes: number;
  /** By default what the runtime has. */
  readonly swizzle?: KernelShape['swizzle'];
}

export interface Multiplication {
  /** One row for each target, one coefficient for each source. */
  readonly rows: Matrix;
  /** Byte offsets in the memory; targets overlap neither sources nor each other. */
  readonly sourceOffsets: readonly number[];
  readonly targetOffsets: readonly number[];
  /** Of each source and target; a multiple of 32. */
  readonly lengthBytes: number;
}

/** One group, ready to run. */
interface Group {
  readonly run: KernelFunction;
  readonly targetList: number;
  readonly tables: number;
}

export class GaloisKernel {
  readonly field: GaloisField;
  readonly #memory: WebAssembly.Memory;
  readonly #scratchOffset: number;
  readonly #scratchBytes: number;
  readonly #isShared: boolean;
  readonly #swizzle: KernelShape['swizzle'];
  /** Nibble tables of all 256 coefficients, as words. */
  readonly #nibbleTables: Uint32Array;
  readonly #functions = new BoundedCache<number, KernelFunction>(FUNCTIONS_MAX);

  constructor(options: KernelOptions) {
    const { memory, field, scratchOffset, scratchBytes } = options;
    assert(scratchOffset % 64 === 0, 'the scratch region is aligned');
    assert(scratchBytes >= KERNEL_SCRATCH_BYTES_MIN, 'the scratch region holds a group');
    assert(
      scratchOffset >= 0 && scratchOffset + scratchBytes <= memory.buffer.byteLength,
      'the scratch region lies in the memory',
    );
    this.field = field;
    this.#memory = memory;
    this.#scratchOffset = scratchOffset;
    this.#scratchBytes = scratchBytes;
    this.#isShared = memory.buffer instanceof SharedArrayBuffer;
    this.#swizzle = options.swizzle ?? (hasRelaxedSwizzle() ? 'relaxed' : 'baseline');
    this.#nibbleTables = nibbleTables(field);
  }

  /** Overwrites each target with its row times the sources. */
  multiply({ rows, sourceOffsets, targetOffsets, lengthBytes }: Multiplication): void {
    const sourceCount = sourceOffsets.length;
    assert(sourceCount >= 1 && sourceCount <= SOURCES_MAX, 'there are 1 to 255 sources');
    assert(rows.length === targetOffsets.length, 'there is a row for each target');
    assert(
      rows.every((row) => row.length === sourceCount),
      'a row has a coefficient for each source',
    );
    assert(lengthBytes % STEP_BYTES === 0, 'the length is a whole number of steps');
    const limit = this.#memory.buffer.byteLength - lengthBytes;
    for (const offset of [...sourceOffsets, ...targetOffsets]) {
      assert(offset >= 0 && offset <= limit, 'sources and targets lie in the memory');
    }
    if (lengthBytes === 0) return;

    const words = new Uint32Array(this.#memory.buffer);
    words.set(sourceOffsets, this.#scratchOffset / 4);
    const groupsMax = Math.floor(
      (this.#scratchBytes - SOURCE_LIST_BYTES) / groupBytes(sourceCount),
    );
    const targetsMax = groupsMax * TARGETS_MAX;
    for (let first = 0; first < rows.length; first += targetsMax) {
      const groups = this.#loadGroups(words, {
        rows: rows.slice(first, first + targetsMax),
        targetOffsets: targetOffsets.slice(first, first + targetsMax),
      });
      this.#run(groups, lengthBytes);
    }
  }

  #run(groups: readonly Group[], lengthBytes: number): void {
    const blockBytes = groups.length === 1 ? lengthBytes : BLOCK_BYTES;
    for (let start = 0; start < lengthBytes; start += blockBytes) {
      const end = Math.min(start + blockBytes, lengthBytes);
      for (const { run, tables, targetList } of groups) {
        run(tables, this.#scratchOffset, targetList, start, end);
      }
    }
  }

  #loadGroups(
    words: Uint32Array,
    { rows, targetOffsets }: Pick<Multiplication, 'rows' | 'targetOffsets'>,
  ): Group[] {
    const groups: Group[] = [];
    let targetList = this.#scratchOffset + SOURCE_LIST_BYTES;
    for (let first = 0; first < rows.length; first += TARGETS_MAX) {
      const groupRows = rows.slice(first, first + TARGETS_MAX);
      const sourceCount = groupRows[0]!.length;
      const tables = targetList + TARGET_LIST_BYTES;
      words.set(targetOffsets.slice(first, first + TARGETS_MAX), targetList / 4);
      this.#loadTables(words, groupRows, tables);
      groups.push({ run: this.#function(sourceCount, groupRows.length), targetList, tables });
      targetList += groupBytes(sourceCount);
    }
    return groups;
  }

  /** Copies the nibble tables in the order in which the function reads them. */
  #loadTables(words: Uint32Array, rows: Matrix, tables: number): void {
    const tableWords = NIBBLE_TABLE_BYTES / 4;
    let at = tables / 4;
    for (let source = 0; source < rows[0]!.length; source++) {
      for (const row of rows) {
        const from = row[source]! * tableWords;
        for (let i = 0; i < tableWords; i++) words[at + i] = this.#nibbleTables[from + i]!;
        at += tableWords;
      }
    }
  }

  #function(sourceCount: number, targetCount: number): KernelFunction {
    return this.#functions.getOrMake(sourceCount * (TARGETS_MAX + 1) + targetCount, () => {
      const isShared = this.#isShared;
      const code = emitKernel({ sourceCount, targetCount, isShared, swizzle: this.#swizzle });
      const env = { memory: this.#memory };
      const instance = new WebAssembly.Instance(new WebAssembly.Module(code), { env });
      return instance.exports['run'] as KernelFunction;
    });
  }
}

function groupBytes(sourceCount: number): number {
  return roundUp(TARGET_LIST_BYTES + sourceCount * TARGETS_MAX * NIBBLE_TABLE_BYTES, 16);
}

function hasRelaxedSwizzle(): boolean {
  const shape = { sourceCount: 1, targetCount: 1, isShared: false };
  return WebAssembly.validate(emitKernel({ ...shape, swizzle: 'relaxed' }));
}

function nibbleTables({ products }: GaloisField): Uint32Array {
  const bytes = new Uint8Array(256 * NIBBLE_TABLE_BYTES);
  for (const [coefficient, row] of products.entries()) {
    const at = coefficient * NIBBLE_TABLE_BYTES;
    for (let nibble = 0; nibble < 16; nibble++) {
      bytes[at + nibble] = row[nibble]!;
      bytes[at + 16 + nibble] = row[nibble << 4]!;
    }
  }
  return new Uint32Array(bytes.buffer);
}
