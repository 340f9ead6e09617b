/**
 * Aim: an invitation survives being mailed, and what is not one is refused with a line that helps.
 * Method: round trips of made-up invitations, every character mistyped, cuts, garbage.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ClusterId, errorCode, errorMessage, type NodeId } from '../base/index.ts';
import {
  decodeInvitation,
  encodeInvitation,
  type Invitation,
  invitationKey,
  keyId,
} from './index.ts';

const INVITATION: Invitation = {
  clusterId: '00112233445566778899aabbccddeeff' as ClusterId,
  clusterKeyId: 'abcdef0123456789abcdef0123456789',
  inviter: 'ffeeddccbbaa99887766554433221100' as NodeId,
  secret: new Uint8Array(32).fill(0x5a),
  expiresAtMs: 1_800_000_000_000,
  addresses: ['tls://192.168.100.200:7450', 'wss://store.example.org:443/net'],
};
const TEXT = encodeInvitation(INVITATION);

function refusal(text: string): string | undefined {
  try {
    decodeInvitation(text);
  } catch (error) {
    return `${errorCode(error)}: ${errorMessage(error)}`;
  }
  return undefined;
}

describe('an invitation', () => {
  it('comes back as it was, also with white space in it', () => {
    expect(decodeInvitation(TEXT)).toEqual(INVITATION);
    expect(decodeInvitation(` ${TEXT.slice(0, 60)}\r\n${TEXT.slice(60)}\n`)).toEqual(INVITATION);
    expect(TEXT).toMatch(/^hfj1_[\w-]+$/);
  });

  it('comes back whatever it says, and stays short', () => {
    const id = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((b) => Buffer.from(b));
    const text = fc.string({ unit: 'grapheme', maxLength: 10 });
    const addresses = fc.array(text, { minLength: 1, maxLength: 4 });
    const secret = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(id, addresses, secret, fc.maxSafeNat(), (bytes, list, seed, expiresAtMs) => {
        const clusterKeyId = bytes.toString('hex');
        const [clusterId, inviter] = [bytes.toString('hex'), bytes.reverse().toString('hex')];
        const invitation = {
          clusterId: clusterId as ClusterId,
          clusterKeyId,
          inviter: inviter as NodeId,
          secret: new Uint8Array(seed),
          expiresAtMs,
          addresses: list.map((address) => address.toWellFormed().slice(0, 12)),
        };
        let encoded: string;
        try {
          encoded = encodeInvitation(invitation);
        } catch (error) {
          expect(errorCode(error)).toBe('HF_TOO_LARGE');
          return;
        }
        expect(encoded.length).toBeLessThanOrEqual(300);
        const decoded = decodeInvitation(encoded);
        expect({ ...decoded, addresses: [] }).toEqual({ ...invitation, addresses: [] });
        expect(decoded.addresses.length).toBe(list.length);
      }),
      { numRuns: 200 },
    );
  });

  it('has room for four addresses of IPv4 and two of IPv6', () => {
    const four = Array.from({ length: 4 }, () => 'tls://192.168.100.200:17450');
    const two = Array.from(
      { length: 2 },
      () => 'tls://[2001:db8:1111:2222:3333:4444:5555:6666]:7450',
    );
    for (const addresses of [four, two]) {
      expect(decodeInvitation(encodeInvitation({ ...INVITATION, addresses }))).toMatchObject({
        addresses,
      });
    }
    const long = { ...INVITATION, addresses: ['tls://' + 'a'.repeat(250) + ':1'] };
    expect(() => encodeInvitation(long)).toThrow(/do not fit/);
    const longer = { ...INVITATION, addresses: ['a'.repeat(140)] };
    expect(() => encodeInvitation(longer)).toThrow(/do not fit/);
  });

  it('is refused when a character is another, or some are missing', () => {
    for (let index = 5; index < TEXT.length; index++) {
      const other = TEXT[index] === 'A' ? 'B' : 'A';
      const text = TEXT.slice(0, index) + other + TEXT.slice(index + 1);
      expect(refusal(text), `character ${index}`).toMatch(/^HF_CORRUPT: .*mistyped/);
      expect(refusal(TEXT.slice(0, index))).toMatch(/^HF_CORRUPT: .*mistyped/);
    }
    expect(refusal(TEXT + '!')).toMatch(/^HF_CORRUPT/);
  });

  it('is told from other texts', () => {
    for (const text of ['', 'hello', '{}', 'x'.repeat(1_000_000), `hfj1_${'A'.repeat(9999)}`]) {
      expect(refusal(text)).toMatch(/^HF_WRONG_KEY/);
    }
    expect(refusal(TEXT.replace('hfj1_', 'hfj2_'))).toMatch(/^HF_UNSUPPORTED/);
  });

  it('is never anything but refused when it is garbage', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 250 }), (bytes) => {
        const text = `hfj1_${Buffer.from(bytes).toString('base64url')}`;
        expect(refusal(text)).toMatch(/^HF_CORRUPT/);
      }),
    );
  });

  it('does not show its secret in its public half', () => {
    const key = invitationKey(INVITATION);
    expect(key.publicKey).toEqual(invitationKey(decodeInvitation(TEXT)).publicKey);
    expect(key.publicKey).not.toEqual(INVITATION.secret);
    expect(keyId(key.publicKey)).toMatch(/^[0-9a-f]{32}$/);
  });
});
