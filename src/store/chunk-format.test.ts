/**
 * Aim: the chunk header is what docs/formats/chunk.md says, and no change of a chunk passes the
 * check.
 * Method: one header spelled out byte by byte, round trips, and every bit of a small chunk flipped.
 */
import { describe, expect, it } from 'vitest';
import { testChunk, testStripe } from '../../test/suites/store-fixtures.ts';
import {
  type ChunkId,
  chunkId,
  errorCode,
  parseScheme,
  schemeNumber,
  SHARDS_MAX,
  stripeId,
  toHex,
  xxh64,
} from '../base/index.ts';
import { digest } from '../crypto/index.ts';
import {
  checkChunk,
  chunkHeaderBytes,
  decodeChunkHeader,
  encodeChunkHeader,
  stripeIdOf,
} from './index.ts';

const HEADER = {
  schemeNumber: schemeNumber(parseScheme('rs-2+1')),
  matrixId: 1,
  shardBytes: 0x1234,
  sealedBytes: 0x2345,
  shardDigests: [1, 2, 3].map((byte) => new Uint8Array(32).fill(byte)),
};

function refused(id: ChunkId, chunk: Uint8Array): boolean {
  try {
    checkChunk(id, chunk);
    return false;
  } catch (error) {
    return ['HF_CORRUPT', 'HF_UNSUPPORTED'].includes(errorCode(error) ?? '');
  }
}

describe('chunk format', () => {
  it('is written byte by byte as documented', () => {
    const bytes = new Uint8Array(128).fill(0xee);
    expect(encodeChunkHeader(HEADER, bytes)).toBe(128);
    expect(toHex(bytes.subarray(0, 24))).toBe(
      '48464331' + '0100' + '0300' + '0400' + '01' + '00' + '34120000' + '4523000000000000',
    );
    const digests = '01'.repeat(32) + '02'.repeat(32) + '03'.repeat(32);
    expect(toHex(bytes.subarray(24, 120))).toBe(digests);
    expect(Buffer.from(bytes).readBigUInt64LE(120)).toBe(xxh64(bytes.subarray(0, 120)));
    expect(decodeChunkHeader(bytes)).toEqual({ ...HEADER, headerBytes: 128 });
  });

  it('names a stripe by all of its fields', () => {
    const bytes = new Uint8Array(128);
    encodeChunkHeader(HEADER, bytes);
    expect(stripeIdOf(HEADER)).toEqual(stripeId(digest(bytes.subarray(8, 120))));
    const others = [
      { ...HEADER, matrixId: 2 },
      { ...HEADER, shardBytes: 1 },
      { ...HEADER, sealedBytes: 1 },
      { ...HEADER, shardDigests: HEADER.shardDigests.toReversed() },
    ];
    const ids = [HEADER, ...others].map((header) => toHex(stripeIdOf(header)));
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('has headers of whole multiples of 64 bytes, one digest for copies', () => {
    expect(chunkHeaderBytes(parseScheme('copy-5'))).toBe(64);
    expect(chunkHeaderBytes(parseScheme('rs-10+4'))).toBe(512);
    for (let n = 2; n <= SHARDS_MAX; n++) {
      const bytes = chunkHeaderBytes({ kind: 'ida', k: 1, n });
      expect(bytes % 64).toBe(0);
      expect(bytes).toBeGreaterThanOrEqual(32 + 32 * n);
    }
  });

  it('accepts every chunk of a stripe under its own id only', () => {
    for (const text of ['rs-4+2', 'ida-2of4', 'copy-3']) {
      const chunks = testStripe(1, parseScheme(text), 256);
      for (const [at, { bytes }] of chunks.entries()) {
        for (const [index, { id }] of chunks.entries()) {
          // Copies are equal, so each is right under each id.
          expect(refused(id, bytes)).toBe(text !== 'copy-3' && at !== index);
        }
      }
      const { schemeNumber: number } = decodeChunkHeader(chunks[0]!.bytes);
      const stripe = stripeIdOf(decodeChunkHeader(chunks[0]!.bytes));
      expect(refused(chunkId(stripe, number, chunks.length), chunks[0]!.bytes)).toBe(true);
      expect(refused(chunkId(stripe, number + 1, 0), chunks[0]!.bytes)).toBe(true);
    }
  });

  it('refuses a chunk with any bit flipped, cut, or longer', () => {
    const [shard] = testStripe(1, parseScheme('rs-2+1'), 64);
    for (const { id, bytes } of [shard!, testChunk(1, 50)]) {
      expect(refused(id, bytes)).toBe(false);
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const flipped = bytes.slice();
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        expect(refused(id, flipped), `bit ${bit}`).toBe(true);
      }
      for (let length = 0; length < bytes.length; length++) {
        expect(refused(id, bytes.subarray(0, length))).toBe(true);
      }
      expect(refused(id, new Uint8Array([...bytes, 0]))).toBe(true);
    }
  });

  it('refuses reserved bytes in use and later versions, their checksum right or not', () => {
    const [{ id, bytes } = testChunk(0, 1)] = testStripe(1, parseScheme('copy-3'), 64);
    for (const [at, code] of [
      [4, 'HF_UNSUPPORTED'],
      [11, 'HF_CORRUPT'],
    ] as const) {
      const changed = Buffer.from(bytes);
      changed[at] = 9;
      changed.writeBigUInt64LE(xxh64(changed.subarray(0, 56)), 56);
      expect(() => checkChunk(id, changed)).toThrow(expect.objectContaining({ code }));
    }
  });
});
