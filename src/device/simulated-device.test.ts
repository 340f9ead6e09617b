/**
 * Aim: the simulated device loses what a real one may lose, and nothing else.
 * Method: writes and flushes held at will by the delay hook; then what each crash image holds.
 */
import { describe, expect, it } from 'vitest';
import { errorCode, LIMITS } from '../base/index.ts';
import {
  crashImage,
  crashImages,
  Media,
  SimulatedDevice,
  type SimulatedEvent,
  type SimulatedOperation,
} from './index.ts';

const { blockBytes } = LIMITS;
const SIZE_BYTES = 64 * blockBytes;

function block(fill: number, count = 1): Uint8Array {
  return new Uint8Array(count * blockBytes).fill(fill);
}

/** First byte of each of the leading blocks: enough to tell the blocks of these tests apart. */
function firstBytes(media: Media, count: number): number[] {
  const bytes = new Uint8Array(count * blockBytes);
  media.read(bytes, 0);
  return Array.from({ length: count }, (_, index) => bytes[index * blockBytes]!);
}

/** Numbers that repeat from run to run; not good ones. */
function sequence(): { below: (limit: number) => number } {
  let state = 1;
  return {
    below(limit) {
      state = (state * 48_271) % 0x7fff_ffff;
      return state % limit;
    },
  };
}

/** Operations of one kind wait until they are let go. */
function gate(kind: SimulatedOperation['kind']): {
  delay: (operation: SimulatedOperation) => Promise<void>;
  release: () => void;
} {
  let release: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    release = resolve;
  });
  return {
    release,
    delay: async (operation) => {
      if (operation.kind === kind) await opened;
    },
  };
}

describe('the simulated device', () => {
  it('shrinks at once and durably, and cuts what is pending', async () => {
    const device = new SimulatedDevice({ sizeBytes: SIZE_BYTES, capacityBytes: SIZE_BYTES });
    const last = SIZE_BYTES - 2 * blockBytes;
    await device.write([block(1, 2)], last);
    await device.flush();
    await device.write([block(2)], 0);
    await device.write([block(3, 2)], last - blockBytes);
    await device.write([block(4)], last + blockBytes);
    const before = device.crashPoint();
    await device.shrink(last);
    const after = device.crashPoint();
    expect(after.durable.sizeBytes).toBe(last);
    expect(after.pending.map((write) => write.bytes.length / blockBytes)).toEqual([1, 1]);
    for (const { media } of crashImages(after, { random: sequence() })) {
      expect(media.sizeBytes).toBe(last);
    }
    await device.grow(SIZE_BYTES - last);
    await device.flush();
    const read = block(9, 3);
    await device.read(read, last - blockBytes);
    expect([0, 1, 2].map((index) => read[index * blockBytes])).toEqual([3, 0, 0]);
    // A point taken before is as it was.
    before.durable.read(read, last - blockBytes);
    expect([0, 1, 2].map((index) => read[index * blockBytes])).toEqual([0, 1, 1]);
    expect(before.pending.length).toBe(3);
  });

  it('has zeros where it was cut and grew again, in crash points too', async () => {
    const sizeBytes = 300 * blockBytes;
    const device = new SimulatedDevice({ sizeBytes, capacityBytes: sizeBytes });
    await device.write([block(1, 300)], 0);
    await device.flush();
    device.crashPoint();
    await device.shrink(blockBytes);
    await device.grow(sizeBytes - blockBytes);
    expect(firstBytes(device.crashPoint().durable, 3)).toEqual([1, 0, 0]);
  });

  it('has shrunk after a failed shrink as little as before', async () => {
    const fault = (operation: SimulatedOperation) =>
      operation.kind === 'shrink' ? ('HF_IO' as const) : undefined;
    const device = new SimulatedDevice({ sizeBytes: SIZE_BYTES, fault });
    expect(errorCode(await device.shrink(blockBytes).catch((error: unknown) => error))).toBe(
      'HF_IO',
    );
    expect(device.sizeBytes).toBe(SIZE_BYTES);
  });

  it('makes durable what completed before the flush started, and only that', async () => {
    const { delay, release } = gate('flush');
    const device = new SimulatedDevice({ sizeBytes: SIZE_BYTES, delay });
    await device.write([block(1)], 0);
    const flush = device.flush();
    await device.write([block(2)], blockBytes);
    expect(firstBytes(device.crashPoint().durable, 2)).toEqual([0, 0]);
    release();
    await flush;
    expect(firstBytes(device.crashPoint().durable, 2)).toEqual([1, 0]);
    expect(device.pending.map((write) => write.offset)).toEqual([blockBytes]);
  });

  it('does not cover a write that is under way when the flush starts', async () => {
    const { delay, release } = gate('write');
    const device = new SimulatedDevice({ sizeBytes: SIZE_BYTES, delay });
    const write = device.write([block(1)], 0);
    const flush = device.flush();
    release();
    await Promise.all([write, flush]);
    expect(device.pending.length).toBe(1);
    expect(firstBytes(device.crashPoint().durable, 1)).toEqual([0]);
  });

  it('keeps the newer bytes when two flushes end in the other order', async () => {
    const releases: (() => void)[] = [];
    const delay = async ({ kind }: SimulatedOperation): Promise<void> => {
      if (kind === 'flush') await new Promise<void>((resolve) => releases.push(resolve));
    };
    const device = new SimulatedDevice({ sizeBytes: SIZE_BYTES, delay });
    await device.write([block(1)], 0);
    const first = device.flush();
    await device.write([block(2)], 0);
    const second = device.flush();
    releases[1]!();
    await second;
    releases[0]!();
    await first;
    expect(firstBytes(device.crashPoint().durable, 1)).toEqual([2]);
  });

  it('yields every subset of few pending writes', async () => {
    const device = new SimulatedDevice({ sizeBytes: SIZE_BYTES });
    for (const number of [0, 1, 2]) {
      await device.write([block(number + 1)], number * blockBytes);
    }
    const options = { random: sequence(), tornCount: 0 };
    const images = [...crashImages(device.crashPoint(), options)];
    const found = images.map(({ media }) => firstBytes(media, 3).join(''));
    expect(found.toSorted()).toEqual(['000', '003', '020', '023', '100', '103', '120', '123']);
  });

  it('samples many pending writes, none and all among them', async () => {
    const device = new SimulatedDevice({ sizeBytes: SIZE_BYTES });
    for (let at = 0; at < 20; at++) await device.write([block(1)], at * blockBytes);
    const options = { random: sequence(), subsetCountMax: 12, tornCount: 0 };
    const images = [...crashImages(device.crashPoint(), options)];
    const counts = images.map(({ media }) => firstBytes(media, 20).filter((byte) => byte).length);
    expect(counts.length).toBe(12);
    expect(counts[0]).toBe(0);
    expect(counts[1]).toBe(20);
    expect(new Set(counts).size).toBeGreaterThan(3);
  });

  it('applies overlapping pending writes in their order', async () => {
    const device = new SimulatedDevice({ sizeBytes: SIZE_BYTES });
    await device.write([block(1, 2)], 0);
    await device.write([block(2)], blockBytes);
    const point = device.crashPoint();
    expect(firstBytes(crashImage(point, point.pending), 2)).toEqual([1, 2]);
    expect(firstBytes(crashImage(point, [point.pending[1]!]), 2)).toEqual([0, 2]);
  });

  it('tears writes at sectors', async () => {
    const device = new SimulatedDevice({ sizeBytes: SIZE_BYTES });
    await device.write([block(7, 16)], 0);
    const options = { random: sequence(), subsetCountMax: 1, tornCount: 5 };
    for (const { media, description } of crashImages(device.crashPoint(), options)) {
      if (!description.startsWith('torn')) continue;
      const bytes = Buffer.alloc(16 * blockBytes);
      media.read(bytes, 0);
      let kept = 0;
      for (let at = 0; at < bytes.length; at += 512) {
        const sector = bytes.subarray(at, at + 512);
        expect(sector.every((byte) => byte === sector[0])).toBe(true);
        if (sector[0] === 7) kept += 1;
      }
      expect(kept).toBeGreaterThan(0);
      expect(kept).toBeLessThan(128);
    }
  });

  it('mounts an image, and leaves the image as it was', async () => {
    const media = new Media(SIZE_BYTES);
    media.write(block(3), 0);
    await using device = new SimulatedDevice({ media });
    await device.write([block(4)], 0);
    await device.flush();
    const page = device.allocate(blockBytes);
    await device.read(page, 0);
    expect(page[0]).toBe(4);
    expect(firstBytes(media, 1)).toEqual([3]);
  });

  it('fails everything when the power goes, also what is under way', async () => {
    const { delay, release } = gate('write');
    const seen: string[] = [];
    const onEvent = ({ kind }: SimulatedEvent): void => void seen.push(kind);
    const device = new SimulatedDevice({ sizeBytes: SIZE_BYTES, delay, onEvent });
    const write = device.write([block(1)], 0);
    const failure = expect(write).rejects.toMatchObject({ code: 'HF_DEVICE_FAILED' });
    const point = device.powerOff();
    release();
    await failure;
    expect(seen).toEqual(['write-start']);
    expect(point.pending.length).toBe(1);
    await expect(device.flush()).rejects.toMatchObject({ code: 'HF_DEVICE_FAILED' });
  });

  it('is closed only when what was under way has ended', async () => {
    const { delay, release } = gate('write');
    const device = new SimulatedDevice({ sizeBytes: SIZE_BYTES, delay });
    const order: string[] = [];
    const write = device.write([block(1)], 0).then(() => order.push('written'));
    const close = device[Symbol.asyncDispose]().then(() => order.push('closed'));
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    expect(order).toEqual([]);
    release();
    await Promise.all([write, close]);
    expect(order.length).toBe(2);
  });

  it('reports its events at the moment they happen', async () => {
    const seen: string[] = [];
    const device = new SimulatedDevice({
      sizeBytes: SIZE_BYTES,
      onEvent: ({ kind }, source) => seen.push(`${kind} ${source.pending.length}`),
    });
    await device.write([block(1)], 0);
    await device.flush();
    expect(seen).toEqual(['write-start 1', 'write-end 1', 'flush-start 1', 'flush-end 0']);
  });
});

describe('faults of the simulated device', () => {
  it('fails reads of a range, for as long as told', async () => {
    const device = new SimulatedDevice({ sizeBytes: SIZE_BYTES });
    device.fault = ({ kind, offset, lengthBytes }) =>
      kind === 'read' && offset <= blockBytes && offset + lengthBytes > blockBytes
        ? 'HF_IO'
        : undefined;
    const page = device.allocate(blockBytes);
    await device.read(page, 0);
    await expect(device.read(page, blockBytes)).rejects.toMatchObject({ code: 'HF_IO' });
    device.fault = undefined;
    await device.read(page, blockBytes);
  });

  it('leaves half of a write that fails, and goes on', async () => {
    const device = new SimulatedDevice({ sizeBytes: SIZE_BYTES });
    device.fault = ({ kind }) => (kind === 'write' ? 'HF_IO' : undefined);
    const failure = await device.write([block(1, 2)], 0).catch(errorCode);
    expect(failure).toBe('HF_IO');
    device.fault = undefined;
    await device.flush();
    expect(device.pending).toEqual([]);
    expect(firstBytes(device.crashPoint().durable, 2)).toEqual([1, 0]);
  });

  it('may keep any pending write when a flush fails', async () => {
    const device = new SimulatedDevice({ sizeBytes: SIZE_BYTES });
    await device.write([block(1)], 0);
    device.fault = ({ kind }) => (kind === 'flush' ? 'HF_IO' : undefined);
    await expect(device.flush()).rejects.toMatchObject({ code: 'HF_DEVICE_FAILED' });
    expect(device.crashPoint().pending.length).toBe(1);
  });

  it('finds no space when told so', async () => {
    const device = new SimulatedDevice({ sizeBytes: SIZE_BYTES, capacityBytes: 2 * SIZE_BYTES });
    device.fault = ({ kind }) => (kind === 'grow' ? 'HF_NO_SPACE' : undefined);
    await expect(device.grow(blockBytes)).rejects.toMatchObject({ code: 'HF_NO_SPACE' });
    device.fault = undefined;
    await device.grow(blockBytes);
    expect(device.sizeBytes).toBe(SIZE_BYTES + blockBytes);
  });

  it('flips one bit on the media', async () => {
    const device = new SimulatedDevice({ sizeBytes: SIZE_BYTES });
    device.flipBit(blockBytes + 5, 3);
    const page = device.allocate(blockBytes);
    await device.read(page, blockBytes);
    expect(page.findIndex((byte) => byte !== 0)).toBe(5);
    expect(page[5]).toBe(8);
  });

  it('notices sources that change, and writes that overlap', async () => {
    const device = new SimulatedDevice({ sizeBytes: SIZE_BYTES });
    const source = block(1);
    const write = device.write([source], 0);
    source[0] = 2;
    await expect(write).rejects.toThrow('sources stay');
    const first = device.write([block(1, 2)], 0);
    await expect(device.write([block(2)], blockBytes)).rejects.toThrow('do not overlap');
    await first;
  });
});

describe('media', () => {
  it('forks do not see each other, however many blocks they share', () => {
    const media = new Media(1024 * blockBytes);
    media.write(block(1, 600), 0);
    const forks = [media.fork(), media.fork()];
    forks[0]!.write(block(2), 0);
    media.write(block(3), blockBytes);
    const again = forks[0]!.fork();
    again.flipBit(2 * blockBytes, 0);
    expect(firstBytes(media, 3)).toEqual([1, 3, 1]);
    expect(firstBytes(forks[0]!, 3)).toEqual([2, 1, 1]);
    expect(firstBytes(forks[1]!, 3)).toEqual([1, 1, 1]);
    expect(firstBytes(again, 3)).toEqual([2, 1, 0]);
  });
});
