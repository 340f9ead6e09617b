/**
 * Keys of a volume, all from its one 32-byte secret, and the addresses of content.
 *
 * A *content address* names the plaintext of an object and is shown to users; a *keyed address* is
 * what a cell sees of it, so that nobody without the volume's secret can ask "is this content
 * here?".
 * Source: RFC 5869 (HKDF-SHA256); rulings 1 and 7.
 */
import { createHmac, createSecretKey, hkdfSync } from 'node:crypto';
import { type Address, assert, fromHex, toHex, utf8 } from '../base/index.ts';
import { KEY_BYTES } from './aes-gcm.ts';
import { digest, DIGEST_BYTES } from './digest.ts';
import { NAME_KEY_BYTES } from './names.ts';

/**
 * A key for one purpose. Keys of different purposes say nothing about each other or the secret.
 * @param secret 32 bytes without structure, so that HKDF needs no salt.
 * @param purpose unique text in this code base, with a version in it.
 */
export function deriveKey(secret: Uint8Array, purpose: string, keyBytes = KEY_BYTES): Uint8Array {
  assert(secret.length === KEY_BYTES, 'a secret is 32 bytes');
  const noSalt = new Uint8Array(0);
  // As a key object, of which Node takes half the time.
  const key = createSecretKey(secret);
  return new Uint8Array(hkdfSync('sha256', key, noSalt, utf8(purpose), keyBytes));
}

/** What the secret of a volume opens. 32 bytes each, `nameKey` 64. */
export interface VolumeKeys {
  /** For `stripeKey`. */
  readonly contentSecret: Uint8Array;
  /** For `wrapKey` of stripe keys. */
  readonly wrapKey: Uint8Array;
  /** For {@link NameSeals}. */
  readonly nameKey: Uint8Array;
  /** For `sealRecord` of attributes. */
  readonly attributeKey: Uint8Array;
  /** For {@link keyedAddress}. */
  readonly addressKey: Uint8Array;
}

export function volumeKeys(secret: Uint8Array): VolumeKeys {
  return {
    contentSecret: deriveKey(secret, 'holdfast/1 volume content'),
    wrapKey: deriveKey(secret, 'holdfast/1 volume wrap'),
    nameKey: deriveKey(secret, 'holdfast/1 volume names', NAME_KEY_BYTES),
    attributeKey: deriveKey(secret, 'holdfast/1 volume attributes'),
    addressKey: deriveKey(secret, 'holdfast/1 volume addresses'),
  };
}

/**
 * The address of content: the digest of 'address/1' ‖ the digests of its stripes in order ‖ its
 * length (u64 BE). Content that is cut into other stripes has another address.
 * @param digests 32 bytes each; none for empty content.
 */
export function contentAddress(digests: readonly Uint8Array[], sizeBytes: number): Address {
  assert(Number.isSafeInteger(sizeBytes) && sizeBytes >= 0, 'a size is a whole number');
  const purpose = utf8('address/1');
  const named = Buffer.alloc(purpose.length + digests.length * DIGEST_BYTES + 8);
  named.set(purpose);
  for (const [index, each] of digests.entries()) {
    assert(each.length === DIGEST_BYTES, 'a digest is 32 bytes');
    named.set(each, purpose.length + index * DIGEST_BYTES);
  }
  named.writeBigUInt64BE(BigInt(sizeBytes), named.length - 8);
  return toHex(digest(named)) as Address;
}

/** What a cell may know of an address: 32 bytes, HMAC-SHA256 under the volume's address key. */
export function keyedAddress(addressKey: Uint8Array, address: Address): Uint8Array {
  assert(addressKey.length === KEY_BYTES, 'an address key is 32 bytes');
  const hmac = createHmac('sha256', createSecretKey(addressKey));
  return new Uint8Array(hmac.update(fromHex(address)).digest());
}
