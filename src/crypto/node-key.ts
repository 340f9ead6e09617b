/**
 * Ed25519 keys from 32-byte seeds: the identity of a node, and the cluster key that certifies
 * nodes.
 *
 * The *node id* is the first 16 bytes of the digest of the public key: whoever proves the key
 * proves the id. Signed messages begin with their own purpose; one key signs several kinds.
 * Source: RFC 8032; the encodings around raw keys are those of RFC 8410.
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { assert, concatBytes, fromHex, hexId, type NodeId } from '../base/index.ts';
import { digest } from './digest.ts';

export const SEED_BYTES = 32;
export const PUBLIC_KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;

/** What RFC 8410 puts before the raw bytes. */
const PKCS8_PREFIX = fromHex('302e020100300506032b657004220420');
const SPKI_PREFIX = fromHex('302a300506032b6570032100');

const NODE_ID_BYTES = 16;

export class SigningKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** For TLS. */
  readonly privateKey: KeyObject;

  /** @param seed 32 random bytes; not kept. */
  constructor(seed: Uint8Array) {
    assert(seed.length === SEED_BYTES, 'a seed is 32 bytes');
    const key = Buffer.from(concatBytes(PKCS8_PREFIX, seed));
    this.privateKey = createPrivateKey({ key, format: 'der', type: 'pkcs8' });
    const spki = createPublicKey(this.privateKey).export({ format: 'der', type: 'spki' });
    this.publicKey = new Uint8Array(spki.subarray(SPKI_PREFIX.length));
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

/** @param publicKey 32 bytes. */
export function nodeIdOf(publicKey: Uint8Array): NodeId {
  assert(publicKey.length === PUBLIC_KEY_BYTES, 'a public key is 32 bytes');
  return hexId(digest(publicKey).subarray(0, NODE_ID_BYTES));
}

/** Whether the holder of `publicKey` signed the message. Anything malformed is a plain no. */
export function isSignedBy(
  publicKey: Uint8Array,
  { message, signature }: { readonly message: Uint8Array; readonly signature: Uint8Array },
): boolean {
  if (publicKey.length !== PUBLIC_KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  const key = Buffer.from(concatBytes(SPKI_PREFIX, publicKey));
  return verify(null, message, createPublicKey({ key, format: 'der', type: 'spki' }), signature);
}
