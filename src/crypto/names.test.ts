/**
 * Aim: sealed names are AES-256-SIV of the padded name. Method: the vectors of RFC 5297 (they have
 * AES-128 keys) check the library and an independent SIV written here on node:crypto; that one then
 * checks our names. Alterations must be HF_FORGED.
 */
import { createCipheriv } from 'node:crypto';
import { aessiv } from '@noble/ciphers/aes.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, errorCode, fromHex, toHex, utf8 } from '../base/index.ts';
import { NameCipher } from './name-cipher.ts';
import { NameSeals } from './names.ts';

const VECTORS = [
  {
    title: 'A.1, deterministic',
    key: 'fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff',
    contexts: ['101112131415161718191a1b1c1d1e1f2021222324252627'],
    plaintext: '112233445566778899aabbccddee',
    sealed: '85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c',
  },
  {
    title: 'A.2, with a nonce',
    key: '7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f',
    contexts: [
      '00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100',
      '102030405060708090a0',
      '09f911029d74e35bd84156c5635688c0',
    ],
    plaintext:
      '7468697320697320736f6d6520706c61696e7465787420746f20656e63727970' +
      '74207573696e67205349562d414553',
    sealed:
      '7bdb6e3b432667eb06f4d14bff2fbd0fcb900f2fddbe404326601965c889bf17' +
      'dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d',
  },
];

/** Doubling in GF(2^128), RFC 5297 section 2.3. */
function double(block: Uint8Array): Uint8Array {
  const doubled = block.map((byte, index) => (byte << 1) | ((block[index + 1] ?? 0) >> 7));
  if (block[0]! & 0x80) doubled[15]! ^= 0x87;
  return doubled;
}

function xorEnd(bytes: Uint8Array, block: Uint8Array): Uint8Array {
  const start = bytes.length - block.length;
  return bytes.map((byte, index) => (index < start ? byte : byte ^ block[index - start]!));
}

function padded(bytes: Uint8Array): Uint8Array {
  return concatBytes(bytes, Uint8Array.of(0x80), new Uint8Array(15 - (bytes.length % 16)));
}

/** CMAC as the last block of CBC (RFC 4493). */
function cmac(key: Uint8Array, message: Uint8Array): Uint8Array {
  const cbc = (bytes: Uint8Array) => {
    const cipher = createCipheriv(`aes-${key.length * 8}-cbc`, key, new Uint8Array(16));
    cipher.setAutoPadding(false);
    return new Uint8Array(cipher.update(bytes)).slice(-16);
  };
  const subkey = double(cbc(new Uint8Array(16)));
  const isWhole = message.length > 0 && message.length % 16 === 0;
  return cbc(isWhole ? xorEnd(message, subkey) : xorEnd(padded(message), double(subkey)));
}

/** RFC 5297, sections 2.4 and 2.6. */
function siv(key: Uint8Array, contexts: readonly Uint8Array[], plaintext: Uint8Array): Uint8Array {
  const half = key.length / 2;
  const [macKey, counterKey] = [key.subarray(0, half), key.subarray(half)];
  let sum = cmac(macKey, new Uint8Array(16));
  for (const context of contexts) sum = xorEnd(double(sum), cmac(macKey, context));
  const last =
    plaintext.length >= 16 ? xorEnd(plaintext, sum) : xorEnd(padded(plaintext), double(sum));
  const iv = cmac(macKey, last);
  const counter = iv.slice();
  counter[8]! &= 0x7f;
  counter[12]! &= 0x7f;
  const cipher = createCipheriv(`aes-${half * 8}-ctr`, counterKey, counter);
  return concatBytes(iv, cipher.update(plaintext));
}

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    return errorCode(error) ?? String(error);
  }
  return undefined;
}

const key = Uint8Array.from({ length: 64 }, (_, index) => index * 3);
const context = utf8('a volume and the salt of a directory');

const sealName = (about: { key: Uint8Array; name: Uint8Array; context: Uint8Array }) =>
  new NameSeals(about.key).seal(about.name, about.context);
const openName = (about: { key: Uint8Array; sealed: Uint8Array; context: Uint8Array }) =>
  new NameSeals(about.key).open(about.sealed, about.context);

describe('AES-SIV', () => {
  it.each(VECTORS)('is that of RFC 5297, $title', ({ key, contexts, plaintext, sealed }) => {
    const associated = contexts.map(fromHex);
    expect(toHex(siv(fromHex(key), associated, fromHex(plaintext)))).toBe(sealed);
    expect(toHex(aessiv(fromHex(key), ...associated).encrypt(fromHex(plaintext)))).toBe(sealed);
  });
});

describe('the cipher of names', () => {
  const blocks = fc
    .integer({ min: 1, max: 17 })
    .chain((count) => fc.uint8Array({ minLength: count * 16, maxLength: count * 16 }));

  it('is that of the library, for all keys and contexts', () => {
    const keys = fc.uint8Array({ minLength: 64, maxLength: 64 });
    const contexts = fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(keys, contexts, blocks, (key, contexts, plaintext) => {
        const cipher = new NameCipher(key);
        for (const context of [...contexts, ...contexts]) {
          const sealed = cipher.seal(plaintext, context);
          expect(toHex(sealed)).toBe(toHex(aessiv(key, context).encrypt(plaintext)));
          expect(cipher.open(sealed, context)).toEqual(plaintext);
        }
      }),
    );
  });

  it('remembers contexts without an end', () => {
    const cipher = new NameCipher(key);
    const plaintext = new Uint8Array(16);
    for (let number = 0; number < 1200; number++) {
      const context = utf8(`context ${number % 700}`);
      const wanted = aessiv(key, context).encrypt(plaintext);
      expect(toHex(cipher.seal(plaintext, context))).toBe(toHex(wanted));
    }
  });
});

describe('a sealed name', () => {
  it('is the independent AES-256-SIV of the padded name', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 255 }), (name) => {
        const sealed = sealName({ key, name, context });
        expect(toHex(sealed)).toBe(toHex(siv(key, [context], padded(name))));
        expect(openName({ key, sealed, context })).toEqual(name);
      }),
    );
  });

  it('has a length in steps of 16', () => {
    const lengthOf = (nameBytes: number) =>
      sealName({ key, name: new Uint8Array(nameBytes), context }).length;
    expect([0, 1, 15, 16, 31, 255].map(lengthOf)).toEqual([32, 32, 32, 48, 48, 272]);
  });

  it('is the same for the same name and context, another for any other', () => {
    const name = utf8('report.pdf');
    const sealed = toHex(sealName({ key, name, context }));
    expect(toHex(sealName({ key, name, context }))).toBe(sealed);
    expect(toHex(sealName({ key, name: utf8('report.pdg'), context }))).not.toBe(sealed);
    expect(toHex(sealName({ key, name, context: utf8('another') }))).not.toBe(sealed);
  });

  it('keeps names that look like padding', () => {
    for (const name of [Uint8Array.of(0x80), Uint8Array.of(0x80, 0, 0), new Uint8Array(16)]) {
      expect(openName({ key, sealed: sealName({ key, name, context }), context })).toEqual(name);
    }
  });

  it('is HF_FORGED when altered, cut, moved or opened with another key', () => {
    const sealed = sealName({ key, name: utf8('notes'), context });
    for (let index = 0; index < sealed.length; index++) {
      const altered = sealed.slice();
      altered[index]! ^= 4;
      expect(codeOf(() => openName({ key, sealed: altered, context }))).toBe('HF_FORGED');
      const cut = sealed.subarray(0, index);
      expect(codeOf(() => openName({ key, sealed: cut, context }))).toBe('HF_FORGED');
    }
    const otherKey = key.map((byte) => byte ^ 1);
    expect(codeOf(() => openName({ key: otherKey, sealed, context }))).toBe('HF_FORGED');
    expect(codeOf(() => openName({ key, sealed, context: utf8('x') }))).toBe('HF_FORGED');
  });

  it('is HF_FORGED when its padding is none', () => {
    const markedInside = concatBytes(Uint8Array.of(0x80), utf8('fifteen bytes !'));
    for (const unpadded of [utf8('sixteen bytes!!!'), markedInside]) {
      const sealed = aessiv(key, context).encrypt(unpadded);
      expect(codeOf(() => openName({ key, sealed, context }))).toBe('HF_FORGED');
    }
  });
});
