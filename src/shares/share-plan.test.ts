/**
 * Aim: sizes are known to the byte before anything is written, also where a file would be too large
 * to write here. Method: plans against files that were made; arithmetic beyond 32 bits.
 */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Chunking, planShares, splitFile } from './index.ts';
import { decodeHeader, encodeHeader } from './sf-format.ts';

const GiB = 2 ** 30;

describe('a plan', () => {
  it('is what is written, whatever the chunking', async () => {
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-plan-'));
    const file = path.join(folder, 'f');
    const size = 1_000_000;
    await fs.writeFile(file, Buffer.alloc(size, 'abc'));
    const chunkings: Chunking[] = [
      {},
      { chunkCount: 3 },
      { inputChunkBytes: 400_000 },
      { outputChunkBytes: 140_000 },
      { outputFileBytes: 200_000 },
    ];
    let number = 0;
    try {
      for (const isSealed of [true, false]) {
        for (const width of [1, 2] as const) {
          for (const chunking of chunkings) {
            const scheme = { k: 2, n: 3, width };
            const plan = planShares({ size, scheme, isSealed, chunking });
            const target = path.join(folder, String(number++));
            await fs.mkdir(target);
            const protection = isSealed
              ? { shareKey: new Uint8Array(32) }
              : {
                  shareKey: undefined,
                  points: [1, 2, 3, 4, 5],
                  random: { bytes: () => new Uint8Array() },
                };
            const { paths } = await splitFile({
              file,
              scheme,
              protection,
              folders: [target],
              chunking,
            });
            const sizes = await Promise.all(paths.map(async (name) => (await fs.stat(name)).size));
            expect(sizes).toEqual(plan.chunks.flatMap(({ shareBytes: s }) => [s, s, s]));
            expect(plan.totalBytes).toBe(sizes.reduce((sum, bytes) => sum + bytes, 0));
            if (chunking.chunkCount) expect(plan.chunks.length).toBe(3);
            if (chunking.outputFileBytes) expect(Math.max(...sizes)).toBeLessThanOrEqual(200_000);
          }
        }
      }
    } finally {
      await fs.rm(folder, { recursive: true });
    }
  });

  it('has as many chunks as were asked for, one after the other, to the end', () => {
    for (const k of [1, 2, 3]) {
      const scheme = { k, n: 4, width: 1 } as const;
      for (const size of [0, 1, 10, 31, 97, 998]) {
        for (let chunkCount = 1; chunkCount <= Math.max(1, Math.ceil(size / k)); chunkCount++) {
          const { chunks } = planShares({
            size,
            scheme,
            isSealed: false,
            chunking: { chunkCount },
          });
          const ends = chunks.map(({ next }) => next);
          expect(ends.length).toBe(chunkCount);
          expect(ends.at(-1)).toBe(size);
          expect(chunks.map(({ start }) => start)).toEqual([0, ...ends.slice(0, -1)]);
          expect(ends).toEqual(ends.toSorted((a, b) => a - b));
        }
      }
    }
  });

  it('of 60 MB, 3 of 4, is 20 MB for each disk and some bytes', () => {
    const scheme = { k: 3, n: 4, width: 1 } as const;
    const plan = planShares({ size: 60_000_000, scheme, isSealed: false });
    expect(plan.chunks.map(({ shareBytes }) => shareBytes)).toEqual([20_000_015]);
  });

  it('takes one way of cutting at the most, and no impossible one', () => {
    const scheme = { k: 3, n: 4, width: 1 } as const;
    const file = { size: 1_000_000, scheme, isSealed: true };
    const refused = expect.objectContaining({ code: 'HF_BAD_ARGUMENT' });
    const wrong = [
      { chunkCount: 2, inputChunkBytes: 500_000 },
      { chunkCount: 1000 },
      { inputChunkBytes: 1000 },
      { outputFileBytes: 100 },
    ];
    for (const chunking of wrong) expect(() => planShares({ ...file, chunking })).toThrow(refused);
  });
});

describe('more than 4 GiB', () => {
  it('has offsets of five bytes and more, exactly', () => {
    const scheme = { k: 3, n: 4, width: 1 } as const;
    for (const size of [4 * GiB - 1, 4 * GiB, 4 * GiB + 1, 2 ** 45 + 5]) {
      const chunking = { outputFileBytes: 700 * 2 ** 20 };
      const { chunks } = planShares({ size, scheme, isSealed: false, chunking });
      expect(chunks.at(-1)!.next).toBe(size);
      for (const [index, { start, next, isFinal, shareBytes }] of chunks.entries()) {
        expect(start).toBe(index === 0 ? 0 : chunks[index - 1]!.next);
        const header = { k: 3, width: 1 as const, start, next, isFinal, row: [1, 2, 3] };
        const bytes = encodeHeader(header);
        expect(decodeHeader(bytes)).toEqual({ header, headerBytes: bytes.length });
        expect(shareBytes).toBe(bytes.length + Math.ceil((next - start) / 3));
        expect(shareBytes).toBeLessThanOrEqual(700 * 2 ** 20);
        if (index > 40 && !isFinal) break;
      }
    }
  });

  it('is written as big-endian digits', () => {
    const header = {
      k: 300,
      width: 2 as const,
      start: 600 * 2 ** 32,
      next: 0x0123456789abc,
      isFinal: true,
    };
    const bytes = Buffer.from(encodeHeader({ ...header, row: undefined }));
    expect(bytes.toString('hex')).toBe(
      '534601' + '05' + '012c' + '02' + '06025800000000' + '06123456789abc',
    );
  });
});
