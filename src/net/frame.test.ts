/**
 * Aim: what is written is read, however the bytes are cut; nothing damaged is read. Method: a frame
 * written out by hand; random frames in random pieces; every bit of a frame flipped.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errorCode, LIMITS, xxh64 } from '../base/index.ts';
import { encodeFrame, FRAME, FrameReader, type FrameType, HEADER_BYTES } from './frame.ts';

interface Read {
  readonly type: number;
  readonly stream: number;
  readonly payload: string;
}

function readAll(reader: FrameReader, chunk: Buffer): Read[] {
  return [...reader.read(chunk)].map(({ type, stream, slices }) => ({
    type,
    stream,
    payload: Buffer.concat(slices).toString('hex'),
  }));
}

function codeOf(bytes: Buffer): unknown {
  try {
    return readAll(new FrameReader(), bytes).length;
  } catch (error) {
    return errorCode(error);
  }
}

it('has the form that the page about it says', () => {
  // The seed is length · 2^40 + type · 2^32 + stream.
  const checksum = Buffer.alloc(8);
  checksum.writeBigUInt64LE(xxh64(Buffer.from('abc'), (3n << 40n) | (4n << 32n) | 7n));
  const head = Buffer.from('0300000004' + '07000000', 'hex');
  const expected = Buffer.concat([head, checksum, Buffer.from('abc')]);
  expect(encodeFrame(FRAME.data, 7, Buffer.from('abc'))).toEqual(expected);
});

it('is read as it was written, in whatever pieces it comes', () => {
  const payload = fc.uint8Array({ minLength: 1, maxLength: 5000 });
  const types = fc.constantFrom<FrameType>(FRAME.request, FRAME.reply, FRAME.data);
  const frames = fc.array(fc.tuple(types, fc.nat(0xffff_ffff), payload), { maxLength: 8 });
  const cuts = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1 });
  const property = fc.property(frames, cuts, (list, lengths) => {
    const bytes = Buffer.concat(list.map((frame) => encodeFrame(...frame)));
    const reader = new FrameReader();
    const read: Read[] = [];
    for (let at = 0, turn = 0; at < bytes.length; turn++) {
      const end = at + lengths[turn % lengths.length]!;
      read.push(...readAll(reader, bytes.subarray(at, end)));
      at = end;
    }
    const wanted = list.map(([type, stream, content]) => ({
      type,
      stream,
      payload: Buffer.from(content).toString('hex'),
    }));
    expect(read).toEqual(wanted);
  });
  fc.assert(property, { numRuns: 60 });
});

describe('a bad frame', () => {
  it('is not read, whichever bit is wrong', () => {
    const frame = encodeFrame(FRAME.data, 1, Buffer.alloc(40, 9));
    for (let bit = 0; bit < frame.length * 8; bit++) {
      const flipped = Buffer.from(frame);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      // A longer length waits for bytes that do not come.
      expect([0, 'HF_CORRUPT']).toContain(codeOf(flipped));
    }
    expect(codeOf(frame)).toBe(1);
  });

  it.each([
    ['an unknown type', 99, 1],
    ['type 0', 0, 1],
    ['a large piece', FRAME.data, LIMITS.dataFrameBytesMax + 1],
    ['a large message', FRAME.request, LIMITS.messageBytesMax + 1],
    ['no bytes in a piece', FRAME.data, 0],
    ['a payload in a ping', FRAME.ping, 1],
    ['a credit of the wrong width', FRAME.credit, 8],
    ['the largest length', FRAME.data, 0xffff_ffff],
  ])('with %s is refused by its header alone', (_name, type, length) => {
    const head = Buffer.alloc(HEADER_BYTES);
    head.writeUInt32LE(length, 0);
    head.writeUInt8(type, 4);
    expect(codeOf(head)).toBe('HF_CORRUPT');
  });
});
