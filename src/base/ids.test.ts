/** Aim: ids are laid out as their header says. Method: known bytes, random round trips. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from './bytes.ts';
import {
  CHUNK_ID_BYTES,
  chunkId,
  chunkIdParts,
  GROUP_COUNT,
  groupOf,
  hexId,
  isAddress,
  isHexId,
  metadataChunkId,
  type ObjectId,
  STRIPE_ID_BYTES,
  stripeId,
} from './ids.ts';
import { METADATA_SCHEME_NUMBER } from './scheme.ts';

const digest = fc.uint8Array({ minLength: 32, maxLength: 32 });
const u16 = fc.integer({ min: 0, max: 0xffff });

describe('chunk ids', () => {
  it('are stripe id, scheme number and shard index, big-endian', () => {
    const stripe = stripeId(new Uint8Array(32).fill(0xaa));
    const id = chunkId(stripe, 0x0102, 0x0304);
    expect(toHex(id)).toBe('aa'.repeat(STRIPE_ID_BYTES) + '01020304');
    expect(id.length).toBe(CHUNK_ID_BYTES);
  });

  it('come apart again, in the group of their stripe', () => {
    fc.assert(
      fc.property(digest, u16, u16, (bytes, schemeNumber, shardIndex) => {
        const stripe = stripeId(bytes);
        const id = chunkId(stripe, schemeNumber, shardIndex);
        const parts = chunkIdParts(id);
        expect(new Uint8Array(parts.stripe)).toEqual(stripe);
        expect([parts.schemeNumber, parts.shardIndex]).toEqual([schemeNumber, shardIndex]);
        expect(groupOf(id)).toBe(groupOf(stripe));
        expect(groupOf(id)).toBe((bytes[0]! << 4) | (bytes[1]! >> 4));
        expect(groupOf(id)).toBeLessThan(GROUP_COUNT);
      }),
    );
  });

  it('of metadata carry the number that no scheme has', () => {
    const parts = chunkIdParts(metadataChunkId(new Uint8Array(32)));
    expect([parts.schemeNumber, parts.shardIndex]).toEqual([METADATA_SCHEME_NUMBER, 0]);
  });

  it('refuse a shard index of more than 16 bits', () => {
    const stripe = stripeId(new Uint8Array(32));
    for (const shardIndex of [-1, 0x10000]) {
      expect(() => chunkId(stripe, 0, shardIndex)).toThrow('must hold');
    }
  });
});

it('stripe ids are copies of 28 bytes', () => {
  const bytes = new Uint8Array(32).fill(1);
  const id = stripeId(bytes);
  bytes.fill(2);
  expect(toHex(id)).toBe('01'.repeat(28));
  expect(() => stripeId(new Uint8Array(27))).toThrow('must hold');
});

it('texts tell ids and addresses apart', () => {
  const id = hexId<ObjectId>(fromHex('00112233445566778899aabbccddeeff'));
  expect(id).toBe('00112233445566778899aabbccddeeff');
  expect([isHexId(id), isAddress(id), isAddress(id + id)]).toEqual([true, false, true]);
  for (const text of ['', id.toUpperCase(), id.slice(1), `${id}\n`, `${id}0`, 'photo.jpg']) {
    expect(isHexId(text), JSON.stringify(text)).toBe(false);
    expect(isAddress(text), JSON.stringify(text)).toBe(false);
  }
  expect(() => hexId(new Uint8Array(15))).toThrow('must hold');
});
