/**
 * Aim: a box opens for its node alone, with what it is about, and unaltered. Method: the published
 * vectors of X25519 and HKDF, a box made again from those parts, then wrong keys and damage.
 */
import { createCipheriv, createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, errorCode, fromHex, toHex, utf8 } from '../base/index.ts';
import { BOX_OVERHEAD_BYTES, BoxKey, sealBox } from './index.ts';

const BOB = new BoxKey(fromHex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb'));
const SHARED = '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742';

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });

function hmac(key: Uint8Array, data: Uint8Array): Uint8Array {
  return createHmac('sha256', key).update(data).digest();
}

/** HKDF-SHA-256 as RFC 5869 writes it down. */
function hkdf(
  { ikm, salt, info }: { ikm: Uint8Array; salt: Uint8Array; info: Uint8Array },
  count: number,
): Uint8Array {
  const key = hmac(salt, ikm);
  let block: Uint8Array = new Uint8Array(0);
  let output: Uint8Array = new Uint8Array(0);
  for (let index = 1; output.length < count; index++) {
    block = hmac(key, concatBytes(block, info, Uint8Array.of(index)));
    output = concatBytes(output, block);
  }
  return output.subarray(0, count);
}

describe('X25519', () => {
  it.each([
    [
      'a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4',
      'e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c',
      'c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552',
    ],
    [
      '5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb',
      '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a',
      SHARED,
    ],
  ])('makes the secrets of RFC 7748', (scalar, other, shared) => {
    expect(toHex(new BoxKey(fromHex(scalar)).sharedSecret(fromHex(other)))).toBe(shared);
  });

  it('makes the public key of RFC 7748, 6.1', () => {
    expect(toHex(BOB.publicKey)).toBe(
      'de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f',
    );
  });

  it('refuses keys that would make a secret that everybody knows', () => {
    for (const point of [new Uint8Array(32), Uint8Array.of(1, ...new Uint8Array(31))]) {
      expect(codeOf(() => BOB.sharedSecret(point))).toBe('HF_FORGED');
      const request = { to: point, randomBytes: new Uint8Array(32).fill(9) };
      expect(codeOf(() => sealBox({ ...request, about: utf8('x'), secret: utf8('y') }))).toBe(
        'HF_FORGED',
      );
    }
  });
});

describe('a box', () => {
  it('is made as its header says', () => {
    // RFC 5869, test case 1: the HKDF of this file is sound.
    const vector = {
      ikm: new Uint8Array(22).fill(0x0b),
      salt: fromHex('000102030405060708090a0b0c'),
      info: fromHex('f0f1f2f3f4f5f6f7f8f9'),
    };
    expect(toHex(hkdf(vector, 42))).toBe(
      '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
    );
    // From Bob, as the ephemeral key of RFC 7748, 6.1, to Alice.
    const alice = fromHex('8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a');
    const randomBytes = fromHex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb');
    const [about, secret] = [utf8('about'), new Uint8Array(32).fill(7)];
    const salt = concatBytes(BOB.publicKey, alice);
    const key = hkdf({ ikm: fromHex(SHARED), salt, info: utf8('holdfast/1 box') }, 32);
    const cipher = createCipheriv('aes-256-gcm', key, new Uint8Array(12)).setAAD(about);
    const sealed = concatBytes(cipher.update(secret), cipher.final(), cipher.getAuthTag());
    const box = sealBox({ to: alice, randomBytes, about, secret });
    expect(toHex(box)).toBe(toHex(concatBytes(BOB.publicKey, sealed)));
    expect(box.length).toBe(32 + BOX_OVERHEAD_BYTES);
  });

  it('opens for its node alone, and only with what it is about', () => {
    fc.assert(
      fc.property(bytes32, bytes32, fc.uint8Array({ maxLength: 100 }), (seed, random, secret) => {
        const owner = BoxKey.ofNode(seed);
        const about = utf8('volume 1');
        const box = sealBox({ to: owner.publicKey, randomBytes: random, about, secret });
        expect(owner.open({ box, about })).toEqual(new Uint8Array(secret));
        expect(codeOf(() => BOB.open({ box, about }))).toBe('HF_FORGED');
        expect(codeOf(() => owner.open({ box, about: utf8('volume 2') }))).toBe('HF_FORGED');
      }),
      { numRuns: 50 },
    );
  });

  it('does not open once a bit of it has changed, or it is cut', () => {
    const about = utf8('x');
    const secret = new Uint8Array(32).fill(1);
    const request = { to: BOB.publicKey, randomBytes: new Uint8Array(32).fill(2), about, secret };
    const box = sealBox(request);
    for (let bit = 0; bit < box.length * 8; bit++) {
      // The top bit of an X25519 key means nothing (RFC 7748, 5), but the salt covers it.
      const altered = box.map((byte, i) => (i === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
      expect(codeOf(() => BOB.open({ box: altered, about }))).toBe('HF_FORGED');
    }
    for (let length = 0; length < box.length; length++) {
      expect(codeOf(() => BOB.open({ box: box.subarray(0, length), about }))).toBe('HF_FORGED');
    }
  });

  it('has a key that is not that of the identity', () => {
    const seed = new Uint8Array(32).fill(3);
    expect(BoxKey.ofNode(seed).publicKey).not.toEqual(new BoxKey(seed).publicKey);
  });
});

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    return errorCode(error);
  }
  return undefined;
}
