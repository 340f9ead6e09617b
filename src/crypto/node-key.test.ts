/**
 * Aim: identities are Ed25519 and their ids follow from the public key. Method: the vectors of
 * RFC 8032, then false signatures and malformed input.
 */
import { describe, expect, it } from 'vitest';
import { fromHex, toHex, utf8 } from '../base/index.ts';
import { digest, isSignedBy, NodeKey, nodeIdOf, SigningKey } from './index.ts';

/** RFC 8032, section 7.1, tests 1 and 2. */
const VECTORS = [
  {
    seed: '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    publicKey: 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    message: '',
    signature:
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555' +
      'fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  },
  {
    seed: '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    publicKey: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    message: '72',
    signature:
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da0' +
      '85ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  },
];

const seed = fromHex(VECTORS[0]!.seed);

describe('a signing key', () => {
  it.each(VECTORS)('matches RFC 8032: message "$message"', (vector) => {
    const key = new SigningKey(fromHex(vector.seed));
    const message = fromHex(vector.message);
    expect(toHex(key.publicKey)).toBe(vector.publicKey);
    expect(toHex(key.sign(message))).toBe(vector.signature);
    const signature = fromHex(vector.signature);
    expect(isSignedBy(fromHex(vector.publicKey), { message, signature })).toBe(true);
  });

  it('does not vouch for anything else', () => {
    const key = new SigningKey(seed);
    const message = utf8('purpose/1 a message');
    const signature = key.sign(message);
    for (let index = 0; index < signature.length; index++) {
      const altered = signature.slice();
      altered[index]! ^= 1;
      expect(isSignedBy(key.publicKey, { message, signature: altered })).toBe(false);
    }
    const other = new SigningKey(fromHex(VECTORS[1]!.seed));
    expect(isSignedBy(other.publicKey, { message, signature })).toBe(false);
    expect(isSignedBy(key.publicKey, { message: utf8('purpose/2'), signature })).toBe(false);
  });

  it('says no to what is malformed', () => {
    const key = new SigningKey(seed);
    const message = utf8('a message');
    const signature = key.sign(message);
    expect(isSignedBy(key.publicKey.subarray(1), { message, signature })).toBe(false);
    const short = signature.subarray(1);
    expect(isSignedBy(key.publicKey, { message, signature: short })).toBe(false);
    const noPoint = new Uint8Array(32).fill(0xff);
    expect(isSignedBy(noPoint, { message, signature })).toBe(false);
    expect(() => new SigningKey(new Uint8Array(31))).toThrow(/32 bytes/);
  });
});

describe('a node key', () => {
  it('has an id that follows from its public key', () => {
    const key = new NodeKey(seed);
    expect(key.nodeId).toBe(toHex(digest(key.publicKey)).slice(0, 32));
    expect(nodeIdOf(key.publicKey)).toBe(key.nodeId);
    expect(new NodeKey(fromHex(VECTORS[1]!.seed)).nodeId).not.toBe(key.nodeId);
  });
});
