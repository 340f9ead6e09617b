/**
 * What every BlockDevice does, whatever it lies on. A kind of device runs this suite from a test of
 * its own with a *harness* that makes devices; what a kind cannot do is absent from its harness.
 */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { errorCode, LIMITS, MiB } from '../../src/base/index.ts';
import type { BlockDevice } from '../../src/device/index.ts';

export interface BlockDeviceHarness extends AsyncDisposable {
  /** Makes the one device of this harness, of SUITE_SIZE_BYTES. */
  create(): Promise<BlockDevice>;
  /** Opens it once more, where it outlives the closing. */
  open?(): Promise<BlockDevice>;
  /** Makes the next flush fail. */
  failFlush?(device: BlockDevice): void;
}

/** The size of a directory with one segment. */
export const SUITE_SIZE_BYTES: number = 16 * MiB;
/** What a device of the suite that grows may grow to; ends inside a segment of a directory. */
export const SUITE_CAPACITY_BYTES: number = 40 * MiB;

const { blockBytes } = LIMITS;

export function blockDeviceSuite(
  name: string,
  options: { grows: boolean; makeHarness: () => Promise<BlockDeviceHarness> },
): void {
  describe(`block device: ${name}`, () => {
    let harness: BlockDeviceHarness;
    let device: BlockDevice;

    beforeEach(async () => {
      harness = await options.makeHarness();
      device = await harness.create();
    });
    afterEach(async () => {
      await device[Symbol.asyncDispose]();
      await harness[Symbol.asyncDispose]();
    });

    async function readBack(offset: number, bytes: number): Promise<Uint8Array> {
      const target = device.allocate(bytes);
      await device.read(target, offset);
      return new Uint8Array(target);
    }

    it('is zeros of the right size at first', async () => {
      expect(device.sizeBytes).toBe(SUITE_SIZE_BYTES);
      expect(device.capacityBytes).toBe(options.grows ? SUITE_CAPACITY_BYTES : SUITE_SIZE_BYTES);
      expect(isZero(await readBack(0, MiB))).toBe(true);
      expect(isZero(await readBack(device.sizeBytes - MiB, MiB))).toBe(true);
    });

    it('allocates zeroed memory of the size asked for', () => {
      const memory = device.allocate(3 * blockBytes);
      expect(memory.length).toBe(3 * blockBytes);
      expect(isZero(memory)).toBe(true);
    });

    it('writes several sources one after the other', async () => {
      const sources = [pattern(device, 1, 2), pattern(device, 2, 1), pattern(device, 3, 5)];
      await device.write(sources, 7 * blockBytes);
      const whole = await readBack(7 * blockBytes, 8 * blockBytes);
      expect(Buffer.concat(sources).equals(whole)).toBe(true);
      expect(isZero(await readBack(6 * blockBytes, blockBytes))).toBe(true);
      expect(isZero(await readBack(15 * blockBytes, blockBytes))).toBe(true);
    });

    it('takes a great many sources at once', async () => {
      const sources = Array.from({ length: 1500 }, (_, seed) => pattern(device, seed, 1));
      await device.write(sources, 0);
      expect(Buffer.concat(sources).equals(await readBack(0, 1500 * blockBytes))).toBe(true);
    });

    it('transfers memory that starts anywhere', async () => {
      const source = new Uint8Array(3 * blockBytes + 1).fill(9).subarray(1);
      const shared = new Uint8Array(new SharedArrayBuffer(blockBytes)).fill(8);
      await device.write([source, shared], blockBytes);
      const target = new Uint8Array(4 * blockBytes + 5).subarray(5);
      await device.read(target, blockBytes);
      expect(Buffer.concat([source, shared]).equals(target)).toBe(true);

      const large = new Uint8Array(MiB).fill(7);
      await device.write([device.allocate(blockBytes), large, shared], 0);
      await device.read(large.fill(0), blockBytes);
      expect(large.every((byte) => byte === 7)).toBe(true);
    });

    it('transfers the memory of WebAssembly', async () => {
      const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
      const source = new Uint8Array(memory.buffer, 0, 65_536).fill(5);
      await device.write([source], 0);
      const target = new Uint8Array(memory.buffer, 65_536, 65_536);
      await device.read(target, 0);
      expect(Buffer.compare(source, target)).toBe(0);
    });

    it('refuses what is not whole blocks or not inside it, loudly', async () => {
      const page = device.allocate(blockBytes);
      const end = device.sizeBytes;
      for (const offset of [1, 512, -blockBytes, end, end + blockBytes, 0.5, Number.NaN]) {
        await expect(device.read(page, offset)).rejects.toThrow('must hold');
        await expect(device.write([page], offset)).rejects.toThrow('must hold');
      }
      await expect(device.read(page.subarray(0, 512), 0)).rejects.toThrow('must hold');
      await expect(device.write([page, page.subarray(1)], 0)).rejects.toThrow('must hold');
      await expect(device.write([page, page], end - blockBytes)).rejects.toThrow('must hold');
      expect(() => device.allocate(100)).toThrow('must hold');
    });

    it('agrees with an array, whatever is written in whatever order', async () => {
      const blocks = 64;
      const model = new Uint8Array(blocks * blockBytes);
      const step = fc.record({
        seed: fc.nat(255),
        at: fc.nat(blocks - 8),
        lengths: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 2 }),
        flush: fc.boolean(),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
          for (const { seed, at, lengths, flush } of steps) {
            const sources = lengths.map((length, index) => pattern(device, seed + index, length));
            await device.write(sources, at * blockBytes);
            model.set(Buffer.concat(sources), at * blockBytes);
            if (flush) await device.flush();
          }
          const target = device.allocate(model.length);
          await device.read(target, 0);
          return Buffer.compare(target, model) === 0;
        }),
        { numRuns: 15 },
      );
    });

    it('serves many operations at once', async () => {
      const writes = Array.from({ length: 100 }, (_, index) =>
        device.write([pattern(device, index, 4)], index * 4 * blockBytes),
      );
      await Promise.all([...writes, device.flush(), device.flush()]);
      const parts = await Promise.all(
        writes.map((_, index) => readBack(index * 4 * blockBytes, 4 * blockBytes)),
      );
      parts.forEach((part, index) =>
        expect(Buffer.compare(part, pattern(device, index, 4))).toBe(0),
      );
    });

    it('waits for writes under way, then refuses everything', async () => {
      const write = device.write([pattern(device, 1, 256)], 0);
      await device[Symbol.asyncDispose]();
      await write;
      const page = device.allocate(blockBytes);
      expect(await codeOf(device.read(page, 0))).toBe('HF_CLOSED');
      expect(await codeOf(device.write([page], 0))).toBe('HF_CLOSED');
      expect(await codeOf(device.flush())).toBe('HF_CLOSED');
      expect(await codeOf(device.grow(blockBytes))).toBe('HF_CLOSED');
      expect(await codeOf(device.shrink(blockBytes))).toBe('HF_CLOSED');
      await device[Symbol.asyncDispose]();
    });

    it('keeps what was flushed when it is opened again', async (context) => {
      if (!harness.open) return context.skip('this kind does not outlive its closing');
      const last = device.sizeBytes - blockBytes;
      await device.write([pattern(device, 4, 3)], 0);
      await device.write([pattern(device, 5, 1)], last);
      await device.flush();
      await device[Symbol.asyncDispose]();
      device = await harness.open();
      expect(device.sizeBytes).toBe(SUITE_SIZE_BYTES);
      expect(Buffer.compare(await readBack(0, 3 * blockBytes), pattern(device, 4, 3))).toBe(0);
      expect(Buffer.compare(await readBack(last, blockBytes), pattern(device, 5, 1))).toBe(0);
    });

    it('is opened by one at a time', async (context) => {
      if (!harness.open) return context.skip('this kind does not outlive its closing');
      expect(await codeOf(harness.open())).toBe('HF_BUSY');
      await device[Symbol.asyncDispose]();
      device = await harness.open();
    });

    it('grows to its capacity and no further', async (context) => {
      if (!options.grows) {
        expect(await codeOf(device.grow(blockBytes))).toBe('HF_NO_SPACE');
        return context.skip('this kind does not grow');
      }
      await device.write([pattern(device, 6, 1)], SUITE_SIZE_BYTES - blockBytes);
      await device.grow(blockBytes);
      expect(device.sizeBytes).toBeGreaterThanOrEqual(SUITE_SIZE_BYTES + blockBytes);
      const grownBytes = device.sizeBytes;
      expect(await codeOf(device.grow(SUITE_CAPACITY_BYTES))).toBe('HF_NO_SPACE');
      expect(device.sizeBytes).toBe(grownBytes);
      await device.grow(SUITE_CAPACITY_BYTES - grownBytes);
      expect(device.sizeBytes).toBe(SUITE_CAPACITY_BYTES);
      expect(await codeOf(device.grow(1))).toBe('HF_NO_SPACE');

      const seam = SUITE_SIZE_BYTES - blockBytes;
      expect(Buffer.compare(await readBack(seam, blockBytes), pattern(device, 6, 1))).toBe(0);
      expect(isZero(await readBack(SUITE_SIZE_BYTES, MiB))).toBe(true);
      expect(isZero(await readBack(SUITE_CAPACITY_BYTES - MiB, MiB))).toBe(true);
    });

    it('transfers across the seams of what it has grown by', async (context) => {
      if (!options.grows) return context.skip('this kind does not grow');
      await device.grow(SUITE_CAPACITY_BYTES - SUITE_SIZE_BYTES);
      for (const seam of [16 * MiB, 32 * MiB]) {
        const sources = [pattern(device, 1, 3), pattern(device, 2, 2), pattern(device, 3, 3)];
        await device.write(sources, seam - 4 * blockBytes);
        const whole = await readBack(seam - 4 * blockBytes, 8 * blockBytes);
        expect(Buffer.concat(sources).equals(whole)).toBe(true);
      }
      await device.flush();
      if (!harness.open) return;
      await device[Symbol.asyncDispose]();
      device = await harness.open();
      expect(device.sizeBytes).toBe(SUITE_CAPACITY_BYTES);
      const part = await readBack(32 * MiB - 4 * blockBytes, 3 * blockBytes);
      expect(Buffer.compare(part, pattern(device, 1, 3))).toBe(0);
    });

    it('gives room at its end back, and can have it again', async (context) => {
      await device.shrink(SUITE_SIZE_BYTES);
      expect(device.sizeBytes).toBe(SUITE_SIZE_BYTES);
      if (!options.grows) {
        await device.shrink(8 * MiB);
        expect(device.sizeBytes).toBe(SUITE_SIZE_BYTES);
        return context.skip('this kind does not shrink');
      }
      await device.grow(SUITE_CAPACITY_BYTES - SUITE_SIZE_BYTES);
      const seams = [SUITE_SIZE_BYTES, SUITE_CAPACITY_BYTES];
      for (const seam of seams) await device.write([pattern(device, 7, 2)], seam - 2 * blockBytes);
      await device.shrink(24 * MiB);
      expect(device.sizeBytes).toBeGreaterThanOrEqual(24 * MiB);
      expect(device.sizeBytes).toBeLessThan(SUITE_CAPACITY_BYTES);
      await device.shrink(SUITE_SIZE_BYTES);
      expect(device.sizeBytes).toBe(SUITE_SIZE_BYTES);
      expect(device.capacityBytes).toBe(SUITE_CAPACITY_BYTES);
      await device.flush();
      if (harness.open) {
        await device[Symbol.asyncDispose]();
        device = await harness.open();
        expect(device.sizeBytes).toBe(SUITE_SIZE_BYTES);
      }
      await device.grow(SUITE_CAPACITY_BYTES - SUITE_SIZE_BYTES);
      expect(device.sizeBytes).toBe(SUITE_CAPACITY_BYTES);
      const kept = await readBack(SUITE_SIZE_BYTES - 2 * blockBytes, 2 * blockBytes);
      expect(Buffer.compare(kept, pattern(device, 7, 2))).toBe(0);
      expect(isZero(await readBack(SUITE_CAPACITY_BYTES - MiB, MiB))).toBe(true);
    });

    it('does not shrink by parts of blocks', async () => {
      await expect(device.shrink(SUITE_SIZE_BYTES - 512)).rejects.toThrow('must hold');
    });

    it('says which device of the kernel it is on', () => {
      const { major, minor } = device.deviceNumber;
      for (const number of [major, minor]) expect(number).toBeGreaterThanOrEqual(0);
      expect(major === 0 && minor === 0).toBe(['memory', 'simulated'].includes(device.kind));
    });

    it('is dead after a failed flush', async (context) => {
      if (!harness.failFlush) return context.skip('a flush of this kind cannot be made to fail');
      const page = device.allocate(blockBytes);
      await device.write([page], 0);
      harness.failFlush(device);
      expect(await codeOf(device.flush())).toBe('HF_DEVICE_FAILED');
      expect(await codeOf(device.flush())).toBe('HF_DEVICE_FAILED');
      expect(await codeOf(device.write([page], 0))).toBe('HF_DEVICE_FAILED');
      expect(await codeOf(device.read(page, 0))).toBe('HF_DEVICE_FAILED');
      expect(await codeOf(device.grow(blockBytes))).toBe('HF_DEVICE_FAILED');
      expect(await codeOf(device.shrink(blockBytes))).toBe('HF_DEVICE_FAILED');
    });
  });
}

/** Bytes that say which block of which seed they are. */
function pattern(device: BlockDevice, seed: number, blocks: number): Uint8Array {
  const memory = device.allocate(blocks * blockBytes);
  for (let at = 0; at < memory.length; at++) memory[at] = seed * 31 + (at >> 12) * 7 + (at % 251);
  return memory;
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return errorCode(error) ?? String(error);
  }
}
