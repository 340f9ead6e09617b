/**
 * Aim: records and wrapped keys are nonce ‖ ciphertext ‖ tag of AES-256-GCM and open only as they
 * were sealed. Method: a published vector first; then every altered byte, other keys, other places.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, errorCode, fromHex, toHex, utf8 } from '../base/index.ts';
import { openRecord, RECORD_OVERHEAD_BYTES, sealRecord, unwrapKey, wrapKey } from './index.ts';

/** Test case 16 of McGrew and Viega, "The Galois/Counter Mode of Operation". */
const VECTOR = {
  key: fromHex('feffe9928665731c6d6a8f9467308308'.repeat(2)),
  nonce: fromHex('cafebabefacedbaddecaf888'),
  aad: fromHex('feedfacedeadbeeffeedfacedeadbeefabaddad2'),
  record: fromHex(
    'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72' +
      '1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39',
  ),
  ciphertext:
    '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa' +
    '8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662',
  tag: '76fc6ece0f4e1768cddf8853bb2d551b',
};
const { key, nonce, aad } = VECTOR;

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    return errorCode(error) ?? String(error);
  }
  return undefined;
}

describe('a sealed record', () => {
  it('is the published vector behind its nonce', () => {
    const sealed = sealRecord(VECTOR);
    expect(toHex(sealed)).toBe(toHex(nonce) + VECTOR.ciphertext + VECTOR.tag);
    expect(openRecord({ key, aad, sealed })).toEqual(VECTOR.record);
  });

  it('opens to what was sealed, of any length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (record) => {
        const sealed = sealRecord({ key, nonce, aad, record });
        expect(sealed.length).toBe(record.length + RECORD_OVERHEAD_BYTES);
        expect(openRecord({ key, aad, sealed })).toEqual(record);
      }),
    );
  });

  it('is HF_FORGED when any byte of it is altered or it is cut', () => {
    const sealed = sealRecord(VECTOR);
    for (let index = 0; index < sealed.length; index++) {
      const altered = sealed.slice();
      altered[index]! ^= 0x10;
      expect(codeOf(() => openRecord({ key, aad, sealed: altered }))).toBe('HF_FORGED');
      const cut = sealed.subarray(0, index);
      expect(codeOf(() => openRecord({ key, aad, sealed: cut }))).toBe('HF_FORGED');
    }
    const longer = concatBytes(sealed, Uint8Array.of(0));
    expect(codeOf(() => openRecord({ key, aad, sealed: longer }))).toBe('HF_FORGED');
  });

  it('is HF_FORGED under another key and at another place', () => {
    const sealed = sealRecord(VECTOR);
    const otherKey = Uint8Array.from(key, (byte) => byte ^ 0x80);
    expect(codeOf(() => openRecord({ key: otherKey, aad, sealed }))).toBe('HF_FORGED');
    expect(codeOf(() => openRecord({ key, aad: utf8('elsewhere'), sealed }))).toBe('HF_FORGED');
  });
});

describe('a wrapped key', () => {
  const stripeKey = fromHex('42'.repeat(32));

  it('is 60 bytes and unwraps at its own place only', () => {
    const wrapped = wrapKey({ wrapKey: key, nonce, aad, key: stripeKey });
    expect(wrapped.length).toBe(60);
    expect(unwrapKey({ wrapKey: key, aad, wrapped })).toEqual(stripeKey);
    const elsewhere = () => unwrapKey({ wrapKey: key, aad: utf8('inode 2'), wrapped });
    expect(codeOf(elsewhere)).toBe('HF_FORGED');
  });

  it('is HF_FORGED when it is another record', () => {
    const wrapped = sealRecord({ key, nonce, aad, record: utf8('not a key') });
    expect(codeOf(() => unwrapKey({ wrapKey: key, aad, wrapped }))).toBe('HF_FORGED');
  });

  it('must be a key', () => {
    const short = () => wrapKey({ wrapKey: key, nonce, aad, key: new Uint8Array(31) });
    expect(short).toThrow(/32 bytes/);
  });
});
