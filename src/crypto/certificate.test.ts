/**
 * Aim: a certificate says what the cluster said, and nobody else can make one. Method: round trips,
 * every bit flipped, other clusters, signatures made for other purposes.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ClusterId, concatBytes, errorCode, hexId, utf8 } from '../base/index.ts';
import {
  ALL_ROLES,
  areRoles,
  BoxKey,
  type Certificate,
  CERTIFICATE_BYTES,
  issueCertificate,
  NodeKey,
  readCertificate,
  ROLES,
  SigningKey,
} from './index.ts';

const clusterKey = new SigningKey(new Uint8Array(32).fill(1));
const clusterId = 'aa'.repeat(16) as ClusterId;
const cluster = { clusterId, clusterPublicKey: clusterKey.publicKey };
const nodeKey = new NodeKey(new Uint8Array(32).fill(2));

const CERTIFICATE: Certificate = {
  clusterId,
  nodeId: nodeKey.nodeId,
  publicKey: nodeKey.publicKey,
  boxKey: BoxKey.ofNode(new Uint8Array(32).fill(2)).publicKey,
  roles: ROLES.store | ROLES.metadata,
  serial: 7,
  issuedAtMs: 1_700_000_000_000,
  notAfterMs: 0,
};
const BYTES = issueCertificate(clusterKey, CERTIFICATE);

function codeOf(bytes: Uint8Array, by = cluster): string | undefined {
  try {
    readCertificate(bytes, by);
  } catch (error) {
    return errorCode(error);
  }
  return undefined;
}

describe('a membership certificate', () => {
  it('comes back as it was issued, the same bytes each time', () => {
    expect(readCertificate(BYTES, cluster)).toEqual(CERTIFICATE);
    expect(issueCertificate(clusterKey, CERTIFICATE)).toEqual(BYTES);
    expect(CERTIFICATE_BYTES).toBe(171);
    const number = fc.maxSafeNat();
    const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(number, number, number, key, (serial, issuedAtMs, notAfterMs, boxKey) => {
        const numbers = { serial: Math.max(1, serial), issuedAtMs, notAfterMs };
        const certificate = { ...CERTIFICATE, ...numbers, boxKey: new Uint8Array(boxKey) };
        const bytes = issueCertificate(clusterKey, certificate);
        expect(readCertificate(bytes, cluster)).toEqual(certificate);
      }),
      { numRuns: 50 },
    );
  });

  it('is forged when any bit of it is another', () => {
    for (let bit = 0; bit < BYTES.length * 8; bit++) {
      const altered = BYTES.map((byte, i) => (i === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
      expect(codeOf(altered), `bit ${bit}`).toBe(bit < 8 ? 'HF_UNSUPPORTED' : 'HF_FORGED');
    }
  });

  it('is refused when cut, lengthened, empty, or far too large', () => {
    for (const length of [0, 1, 64, BYTES.length - 1]) {
      expect(codeOf(BYTES.subarray(0, length))).toBe('HF_FORGED');
    }
    expect(codeOf(concatBytes(BYTES, Uint8Array.of(0)))).toBe('HF_FORGED');
    expect(codeOf(new Uint8Array(1_000_000).fill(1))).toBe('HF_FORGED');
  });

  it('of another cluster is refused, whichever half of the cluster is the other', () => {
    const otherKey = new SigningKey(new Uint8Array(32).fill(9)).publicKey;
    expect(codeOf(BYTES, { ...cluster, clusterPublicKey: otherKey })).toBe('HF_FORGED');
    const otherId = hexId<ClusterId>(new Uint8Array(16));
    expect(codeOf(BYTES, { ...cluster, clusterId: otherId })).toBe('HF_FORGED');
  });

  it('cannot be made of what the cluster key signed for other purposes', () => {
    const body = BYTES.subarray(0, -64);
    for (const purpose of ['', 'holdfast/1 invitation']) {
      const signature = clusterKey.sign(concatBytes(utf8(purpose), body));
      expect(codeOf(concatBytes(body, signature))).toBe('HF_FORGED');
    }
    const own = nodeKey.sign(concatBytes(utf8('holdfast/1 membership certificate'), body));
    expect(codeOf(concatBytes(body, own))).toBe('HF_FORGED');
  });

  it('is not issued with roles that are none', () => {
    expect([0, 8, -1, 1.5, ALL_ROLES + 1].map(areRoles)).toEqual(Array(5).fill(false));
    expect(() => issueCertificate(clusterKey, { ...CERTIFICATE, roles: 8 })).toThrow(/roles/);
    expect(() => issueCertificate(clusterKey, { ...CERTIFICATE, serial: 0 })).toThrow(/serials/);
  });
});
