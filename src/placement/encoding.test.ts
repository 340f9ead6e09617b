/**
 * Aim: topologies and layouts survive the registry, and damage is noticed. Method: round trips of
 * random topologies, every single cut and flip of a small record, bytes written by hand.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteWriter, type DeviceId, errorCode, GROUP_COUNT, xxh64 } from '../base/index.ts';
import {
  decodeLayout,
  decodeTopology,
  encodeLayout,
  encodeTopology,
  type Topology,
} from './index.ts';

const hexId = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((bytes) => Buffer.from(bytes).toString('hex') as DeviceId);

const anyTopology: fc.Arbitrary<Topology> = fc.integer({ min: 0, max: 3 }).chain((levelCount) =>
  fc.record({
    epoch: fc.maxSafeNat(),
    levels: fc.array(fc.string(), { minLength: levelCount, maxLength: levelCount }),
    devices: fc.array(
      fc.record({
        id: hexId,
        number: fc.integer({ min: 0, max: 0xfffe }),
        weightBytes: fc.maxSafeNat(),
        state: fc.constantFrom('in', 'draining', 'out'),
        labels: fc.array(fc.string(), { minLength: levelCount, maxLength: levelCount }),
      }),
      { maxLength: 5 },
    ),
  }),
);

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return errorCode(error);
  }
}

const sample: Topology = {
  epoch: 7,
  levels: ['disk'],
  devices: [
    { id: '0a'.repeat(16) as DeviceId, number: 3, weightBytes: 5, state: 'out', labels: ['x'] },
  ],
};

describe('topology', () => {
  it('comes back as it was', () => {
    fc.assert(
      fc.property(anyTopology, (topology) => {
        expect(decodeTopology(encodeTopology(topology))).toEqual(topology);
      }),
    );
  });

  it('has the bytes that the format says', () => {
    const writer = new ByteWriter().u8(1).u64(7).u8(1).text('disk').u16(1);
    writer.raw(new Uint8Array(16).fill(10)).u16(3).u64(5).u8(2).text('x');
    expect(encodeTopology(sample)).toEqual(writer.bigU64(xxh64(writer.finish())).finish());
  });

  it('cut or changed anywhere is corrupt', () => {
    const bytes = encodeTopology(sample);
    for (const at of bytes.keys()) {
      expect(codeOf(() => decodeTopology(bytes.subarray(0, at)))).toBe('HF_CORRUPT');
      const flipped = bytes.map((byte, i) => (i === at ? byte ^ 4 : byte));
      expect(codeOf(() => decodeTopology(flipped))).toBe('HF_CORRUPT');
    }
  });

  it('of a newer version is not supported', () => {
    const writer = new ByteWriter().u8(2);
    const newer = writer.bigU64(xxh64(writer.finish())).finish();
    expect(codeOf(() => decodeTopology(newer))).toBe('HF_UNSUPPORTED');
    expect(codeOf(() => decodeLayout(newer))).toBe('HF_UNSUPPORTED');
  });
});

describe('layout', () => {
  it('comes back as it was', () => {
    const table = Uint16Array.from({ length: GROUP_COUNT * 3 }, (_, i) => (i * 40503) % 65536);
    const layout = { epoch: 12, width: 3, table };
    const bytes = encodeLayout(layout);
    expect(decodeLayout(bytes)).toEqual(layout);
    expect(bytes.length).toBe(1 + 8 + 2 + 1 + GROUP_COUNT * 3 * 2 + 8);
    expect(codeOf(() => decodeLayout(bytes.fill(0, 100, 101)))).toBe('HF_CORRUPT');
  });

  it('of another number of groups is corrupt', () => {
    const writer = new ByteWriter().u8(1).u64(1).u16(8).u8(0);
    const other = writer.bigU64(xxh64(writer.finish())).finish();
    expect(codeOf(() => decodeLayout(other))).toBe('HF_CORRUPT');
  });
});
