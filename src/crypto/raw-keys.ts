/**
 * Keys of the curves 25519 from and to their 32 raw bytes; node knows them in encodings alone.
 * Source: RFC 8410.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { concatBytes, fromHex } from '../base/index.ts';

/** What RFC 8410 puts before the raw bytes. */
export interface RawKeyPrefixes {
  readonly pkcs8: Uint8Array;
  readonly spki: Uint8Array;
}

export const ED25519: RawKeyPrefixes = {
  pkcs8: fromHex('302e020100300506032b657004220420'),
  spki: fromHex('302a300506032b6570032100'),
};

export const X25519: RawKeyPrefixes = {
  pkcs8: fromHex('302e020100300506032b656e04220420'),
  spki: fromHex('302a300506032b656e032100'),
};

/** @param raw 32 bytes; not kept. */
export function privateKeyOf({ pkcs8 }: RawKeyPrefixes, raw: Uint8Array): KeyObject {
  const key = Buffer.from(concatBytes(pkcs8, raw));
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' });
}

/** @throws an error of node's when the bytes are no key. */
export function publicKeyOf({ spki }: RawKeyPrefixes, raw: Uint8Array): KeyObject {
  const key = Buffer.from(concatBytes(spki, raw));
  return createPublicKey({ key, format: 'der', type: 'spki' });
}

/** The raw bytes of the public key that belongs to a private one. */
export function rawPublicKey({ spki }: RawKeyPrefixes, privateKey: KeyObject): Uint8Array {
  const encoded = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return new Uint8Array(encoded.subarray(spki.length));
}
