/**
 * The X.509 certificate of a node: self-signed with its Ed25519 key, so that the TLS handshake
 * proves the key. Nobody looks at its names or dates; who may talk is decided by `Admission`.
 * Written as DER by hand: it has one shape.
 * Source: RFC 5280 (fields), RFC 8410 (Ed25519), RFC 5280 §4.1.2.5 (the date without an end).
 */
import type { X509Certificate } from 'node:crypto';
import { asBuffer, fromHex, type NodeId, utf8 } from '../base/index.ts';
import { type NodeKey, nodeIdOf, PUBLIC_KEY_BYTES } from '../crypto/index.ts';

const TAG = { integer: 0x02, bits: 0x03, text: 0x0c, utcTime: 0x17, time: 0x18 } as const;
const SEQUENCE = 0x30;
const SET = 0x31;

const VERSION_3 = fromHex('a003020102');
const COMMON_NAME = fromHex('0603550403');
const ED25519 = fromHex('06032b6570');
const SERIAL_BYTES = 16;

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}

/** As PEM. The same key always gives the same certificate. */
export function certificateOf(key: NodeKey): string {
  const algorithm = der(SEQUENCE, ED25519);
  const commonName = der(SEQUENCE, COMMON_NAME, der(TAG.text, utf8(key.nodeId)));
  const name = der(SEQUENCE, der(SET, commonName));
  const validity = der(
    SEQUENCE,
    der(TAG.utcTime, utf8('200101000000Z')),
    der(TAG.time, utf8('99991231235959Z')),
  );
  const noUnusedBits = Buffer.of(0);
  const keyInfo = der(SEQUENCE, algorithm, der(TAG.bits, noUnusedBits, key.publicKey));
  // A positive number: its first bit is off, and it does not begin with zeros.
  const serial = Buffer.concat([Buffer.of(1), key.publicKey.subarray(0, SERIAL_BYTES - 1)]);
  const number = der(TAG.integer, serial);
  const body = der(SEQUENCE, VERSION_3, number, algorithm, name, validity, name, keyInfo);
  const signature = der(TAG.bits, noUnusedBits, key.sign(body));
  const certificate = der(SEQUENCE, body, algorithm, signature);
  const lines = certificate.toString('base64').match(/.{1,64}/g)!;
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

/** The node whose key a certificate carries; undefined when it carries no Ed25519 key. */
export function nodeIdOfCertificate(certificate: X509Certificate | undefined): NodeId | undefined {
  if (certificate?.publicKey.asymmetricKeyType !== 'ed25519') return undefined;
  const info = certificate.publicKey.export({ format: 'der', type: 'spki' });
  return nodeIdOf(new Uint8Array(asBuffer(info).subarray(-PUBLIC_KEY_BYTES)));
}
