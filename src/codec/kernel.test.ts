/**
 * Aim: the kernel computes rows × sources and writes nothing but its targets and its scratch.
 * Method: compare the whole memory with arithmetic by logarithms, for both swizzles, both kinds of
 * memory, several fields and many shapes; then two threads on one memory.
 */
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import {
  type Arithmetic,
  logArithmetic,
  multiplyRows,
  sampleBytes,
} from '../../test/vectors/codec/oracle.ts';
import { galoisField, type Matrix } from './galois.ts';
import { GaloisKernel, KERNEL_SCRATCH_BYTES_MIN, type KernelOptions } from './kernel.ts';

const PAGE_BYTES = 65_536;
const SCRATCH_BYTES = 65_536;
const field = galoisField(0x11d);
const oracle = logArithmetic(0x11d, 2);

interface Shape {
  readonly sourceCount: number;
  readonly targetCount: number;
  readonly lengthBytes: number;
}

function sampleRows({ sourceCount, targetCount }: Shape): Uint8Array[] {
  return Array.from({ length: targetCount }, (_, row) => sampleBytes(sourceCount, row + 77));
}

/** A memory full of noise, so that a stray write shows. */
function noisyMemory(bytes: number, shared: boolean): WebAssembly.Memory {
  const pages = Math.ceil(bytes / PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
  new Uint8Array(memory.buffer).set(sampleBytes(pages * PAGE_BYTES, 5));
  return memory;
}

function offsetsFrom(start: number, count: number, stride: number): number[] {
  return Array.from({ length: count }, (_, index) => start + index * stride);
}

/** Runs the kernel and returns whether all of the memory is as it should be. */
function isExact(
  shape: Shape,
  options: Partial<KernelOptions> & { shared?: boolean; arithmetic?: Arithmetic } = {},
): boolean {
  const { sourceCount, targetCount, lengthBytes } = shape;
  const { shared = false, arithmetic = oracle, scratchBytes = SCRATCH_BYTES } = options;
  const scratchOffset = 128;
  // Not aligned to anything: offsets are any.
  const stride = lengthBytes + 7;
  const start = scratchOffset + scratchBytes + 3;
  const memory = noisyMemory(start + (sourceCount + targetCount) * stride + 100, shared);
  const sourceOffsets = offsetsFrom(start, sourceCount, stride);
  const targetOffsets = offsetsFrom(start + sourceCount * stride, targetCount, stride);
  const rows = sampleRows(shape);

  const expected = new Uint8Array(memory.buffer).slice();
  const sources = sourceOffsets.map((offset) => expected.subarray(offset, offset + lengthBytes));
  const products = lengthBytes === 0 ? [] : multiplyRows(arithmetic, rows, sources);
  products.forEach((bytes, index) => expected.set(bytes, targetOffsets[index]));

  const kernel = new GaloisKernel({ memory, field, scratchOffset, scratchBytes, ...options });
  kernel.multiply({ rows, sourceOffsets, targetOffsets, lengthBytes });
  const actual = new Uint8Array(memory.buffer).slice();
  for (const bytes of [actual, expected]) {
    bytes.fill(0, scratchOffset, scratchOffset + scratchBytes);
  }
  return Buffer.from(actual.buffer).equals(Buffer.from(expected.buffer));
}

describe('GaloisKernel', () => {
  const shapes: Shape[] = [
    { sourceCount: 1, targetCount: 1, lengthBytes: 32 },
    { sourceCount: 2, targetCount: 3, lengthBytes: 64 },
    { sourceCount: 10, targetCount: 4, lengthBytes: 2080 },
    { sourceCount: 5, targetCount: 5, lengthBytes: 1024 },
    { sourceCount: 7, targetCount: 9, lengthBytes: 1056 },
    { sourceCount: 33, targetCount: 8, lengthBytes: 3168 },
    { sourceCount: 255, targetCount: 5, lengthBytes: 64 },
    { sourceCount: 3, targetCount: 2, lengthBytes: 0 },
    { sourceCount: 3, targetCount: 0, lengthBytes: 64 },
  ];

  for (const swizzle of ['relaxed', 'baseline'] as const) {
    for (const shared of [false, true]) {
      it(`is exact with the ${swizzle} swizzle, shared memory ${shared}`, () => {
        expect(shapes.filter((shape) => !isExact(shape, { swizzle, shared }))).toEqual([]);
      });
    }
  }

  it('is exact with the smallest scratch region, a few targets at a time', () => {
    const shape = { sourceCount: 120, targetCount: 17, lengthBytes: 1120 };
    expect(isExact(shape, { scratchBytes: KERNEL_SCRATCH_BYTES_MIN })).toBe(true);
    const scratchBytes = Math.floor(KERNEL_SCRATCH_BYTES_MIN / 64) * 64;
    expect(() => isExact(shape, { scratchBytes })).toThrow('holds a group');
  });

  it('works in the field modulo 0x11b', () => {
    const shape = { sourceCount: 3, targetCount: 4, lengthBytes: 96 };
    const arithmetic = logArithmetic(0x11b, 3);
    expect(isExact(shape, { field: galoisField(0x11b), arithmetic })).toBe(true);
    expect(isExact(shape, { arithmetic })).toBe(false);
  });

  it('states what its callers owe', () => {
    const memory = noisyMemory(PAGE_BYTES * 2, false);
    const kernel = new GaloisKernel({ memory, field, scratchOffset: 0, scratchBytes: PAGE_BYTES });
    const rows: Matrix = [Uint8Array.of(1)];
    const good = { rows, sourceOffsets: [65_536], targetOffsets: [70_000], lengthBytes: 32 };
    expect(() => kernel.multiply(good)).not.toThrow();
    expect(() => kernel.multiply({ ...good, lengthBytes: 33 })).toThrow('whole number of steps');
    expect(() => kernel.multiply({ ...good, targetOffsets: [131_041] })).toThrow('in the memory');
    expect(() => kernel.multiply({ ...good, sourceOffsets: [-32] })).toThrow('in the memory');
    expect(() => kernel.multiply({ ...good, targetOffsets: [] })).toThrow('a row for each');
    expect(() => kernel.multiply({ ...good, sourceOffsets: [] })).toThrow('sources');
    expect(() => kernel.multiply({ ...good, rows: [new Uint8Array(2)] })).toThrow('coefficient');
  });
});

describe('one shared memory', () => {
  const shape: Shape = { sourceCount: 6, targetCount: 5, lengthBytes: 4096 };
  const rows = sampleRows(shape);
  const sourceOffsets = offsetsFrom(4 * PAGE_BYTES, 6, 4096);

  function expectedTargets(memory: WebAssembly.Memory): Uint8Array[] {
    const sources = sourceOffsets.map((at) => new Uint8Array(memory.buffer, at, 4096).slice());
    return multiplyRows(oracle, rows, sources);
  }

  function targetsAt(memory: WebAssembly.Memory, offsets: readonly number[]): Uint8Array[] {
    return offsets.map((at) => new Uint8Array(memory.buffer, at, 4096).slice());
  }

  it('carries two kernels with disjoint scratch regions, in turns', () => {
    const memory = noisyMemory(16 * PAGE_BYTES, true);
    const expected = expectedTargets(memory);
    const scratchBytes = PAGE_BYTES;
    const kernels = [0, PAGE_BYTES].map(
      (scratchOffset) => new GaloisKernel({ memory, field, scratchOffset, scratchBytes }),
    );
    kernels.forEach((kernel, index) => {
      const targetOffsets = offsetsFrom((6 + index) * PAGE_BYTES, 5, 4096);
      kernel.multiply({ rows, sourceOffsets, targetOffsets, lengthBytes: 4096 });
      expect(targetsAt(memory, targetOffsets)).toEqual(expected);
    });
  });

  it('carries two threads at once', async () => {
    const memory = noisyMemory(16 * PAGE_BYTES, true);
    const expected = expectedTargets(memory);
    const targets = [6, 7].map((page) => offsetsFrom(page * PAGE_BYTES, 5, 4096));
    const code = `
      const { workerData } = require('node:worker_threads');
      const { memory, urls, multiplications, scratchOffset } = workerData;
      void (async () => {
        const { galoisField } = await import(urls.galois);
        const { GaloisKernel } = await import(urls.kernel);
        const field = galoisField(0x11d);
        const kernel = new GaloisKernel({ memory, field, scratchOffset, scratchBytes: 65536 });
        for (let turn = 0; turn < 2000; turn++) kernel.multiply(multiplications[turn % 2]);
      })();`;
    const urls = {
      galois: new URL('./galois.ts', import.meta.url).href,
      kernel: new URL('./kernel.ts', import.meta.url).href,
    };
    const exits = targets.map(async (targetOffsets, index) => {
      const wanted = { rows, sourceOffsets, targetOffsets, lengthBytes: 4096 };
      // Other coefficients in between, so that one thread's tables would spoil the other's targets.
      const other = { ...wanted, rows: sampleRows(shape).toReversed() };
      const multiplications = [other, wanted];
      const workerData = { memory, urls, multiplications, scratchOffset: index * PAGE_BYTES };
      const worker = new Worker(code, { eval: true, workerData });
      return await new Promise<number>((resolve, reject) => {
        worker.on('error', reject).on('exit', resolve);
      });
    });
    expect(await Promise.all(exits)).toEqual([0, 0]);
    for (const offsets of targets) expect(targetsAt(memory, offsets)).toEqual(expected);
  });
});
