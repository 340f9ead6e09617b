/**
 * Aim: derived keys are HKDF-SHA256 and differ by purpose; addresses follow from content alone,
 * keyed addresses from the key too. Method: HKDF written out here and checked by RFC 5869;
 * distinctness.
 */
import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type Address, concatBytes, fromHex, isAddress, toHex, utf8 } from '../base/index.ts';
import { contentAddress, deriveKey, digest, keyedAddress, volumeKeys } from './index.ts';

function hmac(key: Uint8Array, message: Uint8Array): Uint8Array {
  return createHmac('sha256', key).update(message).digest();
}

/** HKDF without salt, RFC 5869 section 2. */
function hkdf(secret: Uint8Array, purpose: Uint8Array, count: number): Uint8Array {
  const extracted = hmac(new Uint8Array(32), secret);
  let block = new Uint8Array(0);
  let expanded = new Uint8Array(0);
  for (let number = 1; expanded.length < count; number++) {
    block = new Uint8Array(hmac(extracted, concatBytes(block, purpose, Uint8Array.of(number))));
    expanded = new Uint8Array(concatBytes(expanded, block));
  }
  return expanded.slice(0, count);
}

const secret = Uint8Array.from({ length: 32 }, (_, index) => 200 - index);

describe('a derived key', () => {
  it('is HKDF-SHA256 (RFC 5869, case 3, vouches for the test’s own)', () => {
    expect(toHex(hkdf(fromHex('0b'.repeat(22)), new Uint8Array(0), 42))).toBe(
      '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8',
    );
    for (const count of [32, 64]) {
      expect(toHex(deriveKey(secret, 'a purpose', count))).toBe(
        toHex(hkdf(secret, utf8('a purpose'), count)),
      );
    }
  });

  it('needs a whole secret', () => {
    expect(() => deriveKey(new Uint8Array(31), 'a purpose')).toThrow(/32 bytes/);
  });
});

describe('the keys of a volume', () => {
  it('are all different, and others for another secret', () => {
    const other = volumeKeys(secret.map((byte) => byte ^ 1));
    const keys = [...Object.values(volumeKeys(secret)), ...Object.values(other)];
    const leading = keys.map((key: Uint8Array) => toHex(key.subarray(0, 32)));
    expect(new Set(leading).size).toBe(10);
  });

  it('never change: what was sealed must open with the next version', () => {
    const keys = volumeKeys(secret);
    const joined = concatBytes(
      keys.contentSecret,
      keys.wrapKey,
      keys.nameKey,
      keys.attributeKey,
      keys.addressKey,
    );
    expect(toHex(digest(joined))).toBe(
      '0f815e753f2aaeb620d94f4dc20885f121d2eacc425b63f867d459326eddf0a2',
    );
  });
});

describe('a content address', () => {
  const [first, second] = [digest(utf8('one')), digest(utf8('two'))];

  it('is the digest of its description', () => {
    const described = concatBytes(utf8('address/1'), first, second, fromHex('0000000100000002'));
    expect(contentAddress([first, second], 2 ** 32 + 2)).toBe(toHex(digest(described)));
    expect(isAddress(contentAddress([], 0))).toBe(true);
  });

  it('depends on each digest, their order and the length', () => {
    const addresses = [
      contentAddress([first, second], 6),
      contentAddress([second, first], 6),
      contentAddress([first], 6),
      contentAddress([first, second], 7),
      contentAddress([], 6),
    ];
    expect(new Set(addresses).size).toBe(addresses.length);
  });
});

describe('a keyed address', () => {
  it('is the HMAC of the address under the volume’s key', () => {
    const address = contentAddress([], 0);
    const { addressKey } = volumeKeys(secret);
    expect(toHex(keyedAddress(addressKey, address))).toBe(
      toHex(hmac(addressKey, fromHex(address))),
    );
    const other = '00'.repeat(32) as Address;
    expect(keyedAddress(addressKey, other)).not.toEqual(keyedAddress(addressKey, address));
  });
});
