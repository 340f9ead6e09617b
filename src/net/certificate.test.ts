/** Aim: others can read our certificates, and we the key in them. Method: the parser of Node. */
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { expect, it } from 'vitest';
import { keyOf } from '../../test/suites/net-bed.ts';
import { certificateOf, nodeIdOfCertificate } from './certificate.ts';

it('is a sound X.509 certificate, signed with the node key, without an end', () => {
  for (let number = 0; number < 50; number++) {
    const key = keyOf(number);
    const certificate = new X509Certificate(certificateOf(key));
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.subject).toBe(`CN=${key.nodeId}`);
    expect(certificate.issuer).toBe(certificate.subject);
    expect(certificate.validToDate.getUTCFullYear()).toBe(9999);
    expect(nodeIdOfCertificate(certificate)).toBe(key.nodeId);
  }
});

it('of another kind of key, or none, names nobody', () => {
  expect(nodeIdOfCertificate(undefined)).toBe(undefined);
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  expect(nodeIdOfCertificate({ publicKey } as X509Certificate)).toBe(undefined);
});
