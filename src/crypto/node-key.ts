/**
 * Ed25519 keys from 32-byte seeds: the identity of a node, and the cluster key that certifies
 * nodes.
 *
 * The *node id* is the first 16 bytes of the digest of the public key: whoever proves the key
 * proves the id. Signed messages begin with their own purpose; one key signs several kinds.
 * Source: RFC 8032.
 */
import { type KeyObject, sign, verify } from 'node:crypto';
import { assert, type NodeId, toHex } from '../base/index.ts';
import { digest } from './digest.ts';
import { ED25519, privateKeyOf, publicKeyOf, rawPublicKey } from './raw-keys.ts';

export const SEED_BYTES = 32;
export const PUBLIC_KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;

export const KEY_ID_BYTES = 16;

export class SigningKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** For TLS. */
  readonly privateKey: KeyObject;

  /** @param seed 32 random bytes; not kept. */
  constructor(seed: Uint8Array) {
    assert(seed.length === SEED_BYTES, 'a seed is 32 bytes');
    this.privateKey = privateKeyOf(ED25519, seed);
    this.publicKey = rawPublicKey(ED25519, this.privateKey);
    assert(this.publicKey.length === PUBLIC_KEY_BYTES, 'a public key is 32 bytes');
  }

  /** 64 bytes; the same message always gives the same signature. */
  sign(message: Uint8Array): Uint8Array {
    return new Uint8Array(sign(null, message, this.privateKey));
  }
}

/** The identity of a node. */
export class NodeKey extends SigningKey {
  readonly nodeId: NodeId;

  constructor(seed: Uint8Array) {
    super(seed);
    this.nodeId = nodeIdOf(this.publicKey);
  }
}

/** Names a public key: the first 16 bytes of its digest as 32 hexadecimal digits. */
export function keyId(publicKey: Uint8Array): string {
  return toHex(digest(publicKey).subarray(0, KEY_ID_BYTES));
}

/** @param publicKey 32 bytes. */
export function nodeIdOf(publicKey: Uint8Array): NodeId {
  assert(publicKey.length === PUBLIC_KEY_BYTES, 'a public key is 32 bytes');
  return keyId(publicKey) as NodeId;
}

/** Whether the holder of `publicKey` signed the message. Anything malformed is a plain no. */
export function isSignedBy(
  publicKey: Uint8Array,
  { message, signature }: { readonly message: Uint8Array; readonly signature: Uint8Array },
): boolean {
  if (publicKey.length !== PUBLIC_KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  return verify(null, message, publicKeyOf(ED25519, publicKey), signature);
}
