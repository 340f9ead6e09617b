/**
 * A *box*: a few bytes sealed to one node, which anybody can make and only that node can open. So
 * members hand each other keys through places that others read.
 *
 *     ephemeral public key 32 | ciphertext | tag 16
 *
 * The AEAD key is HKDF-SHA-256 of the shared secret of an ephemeral X25519 key and the box key of
 * the node, salted with both public keys. Each box has a key of its own, hence the nonce is zero.
 * A box does not say who made it.
 * Source: RFC 7748, RFC 5869, NIST SP 800-38D.
 */
import { diffieHellman, hkdfSync, type KeyObject } from 'node:crypto';
import { assert, concatBytes, HoldfastError, utf8 } from '../base/index.ts';
import { gcmKey, gcmOpen, gcmSeal, KEY_BYTES, NONCE_BYTES, TAG_BYTES } from './aes-gcm.ts';
import { deriveKey } from './keys.ts';
import { privateKeyOf, publicKeyOf, rawPublicKey, X25519 } from './raw-keys.ts';

export const BOX_KEY_BYTES = 32;
/** What sealing adds. */
export const BOX_OVERHEAD_BYTES: number = BOX_KEY_BYTES + TAG_BYTES;

const PURPOSE = utf8('holdfast/1 box');
const ZERO_NONCE = new Uint8Array(NONCE_BYTES);

/** The key with which a node opens boxes. */
export class BoxKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly #privateKey: KeyObject;

  /** @param scalar 32 random bytes; not kept. */
  constructor(scalar: Uint8Array) {
    assert(scalar.length === BOX_KEY_BYTES, 'a box key is 32 bytes');
    this.#privateKey = privateKeyOf(X25519, scalar);
    this.publicKey = rawPublicKey(X25519, this.#privateKey);
  }

  /** The box key of the node whose identity has this seed. */
  static ofNode(nodeSeed: Uint8Array): BoxKey {
    return new BoxKey(deriveKey(nodeSeed, 'holdfast/1 node box'));
  }

  /** @throws HF_FORGED when the other key is none: then anybody would know the secret. */
  sharedSecret(otherPublicKey: Uint8Array): Uint8Array {
    assert(otherPublicKey.length === BOX_KEY_BYTES, 'a box key is 32 bytes');
    try {
      const publicKey = publicKeyOf(X25519, otherPublicKey);
      return new Uint8Array(diffieHellman({ privateKey: this.#privateKey, publicKey }));
    } catch (error) {
      throw new HoldfastError('HF_FORGED', 'this is no box key', { cause: error });
    }
  }

  /**
   * @param about the bytes that it was sealed with.
   * @returns the secret, owned by the caller.
   * @throws HF_FORGED when it is of another node, was sealed with other bytes, or was altered.
   */
  open({ box, about }: { readonly box: Uint8Array; readonly about: Uint8Array }): Uint8Array {
    const tagAt = box.length - TAG_BYTES;
    if (tagAt < BOX_KEY_BYTES) throw new HoldfastError('HF_FORGED', 'the box is cut short');
    const ephemeral = box.subarray(0, BOX_KEY_BYTES);
    const key = sealingKey(this.sharedSecret(ephemeral), ephemeral, this.publicKey);
    const use = { key: gcmKey(key), nonce: ZERO_NONCE, aad: about, tag: box.subarray(tagAt) };
    return concatBytes(...gcmOpen(use, [box.subarray(BOX_KEY_BYTES, tagAt)]));
  }
}

/**
 * @param randomBytes 32, used for this box alone.
 * @param about what the secret is for; the box opens only together with the same bytes.
 * @returns a new array, BOX_OVERHEAD_BYTES longer than the secret.
 * @throws HF_FORGED when `to` is no box key.
 */
export function sealBox(request: {
  readonly to: Uint8Array;
  readonly randomBytes: Uint8Array;
  readonly about: Uint8Array;
  readonly secret: Uint8Array;
}): Uint8Array {
  const { to, randomBytes, about, secret } = request;
  const ephemeral = new BoxKey(randomBytes);
  const { publicKey } = ephemeral;
  const key = gcmKey(sealingKey(ephemeral.sharedSecret(to), publicKey, to));
  const { ciphertext, tag } = gcmSeal({ key, nonce: ZERO_NONCE, aad: about }, secret);
  return concatBytes(publicKey, ciphertext, tag);
}

function sealingKey(shared: Uint8Array, ephemeral: Uint8Array, recipient: Uint8Array): Uint8Array {
  const salt = concatBytes(ephemeral, recipient);
  return new Uint8Array(hkdfSync('sha256', shared, salt, PURPOSE, KEY_BYTES));
}
