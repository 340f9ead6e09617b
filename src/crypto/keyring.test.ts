/**
 * Aim: a keyring comes back as it was written, and anything else is refused with the right code
 * and a line that helps. Method: round trips, then each kind of damage, then damage at random
 * places.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errorCode, errorMessage, fromHex, type VolumeId } from '../base/index.ts';
import type { ClusterId } from '../base/index.ts';
import {
  adminKeyring,
  ALL_ROLES,
  beaconKeyOf,
  BoxKey,
  clusterSecretOf,
  decodeKeyring,
  encodeKeyring,
  issueCertificate,
  type Keyring,
  NodeKey,
  ownCertificate,
  ROLES,
  SigningKey,
} from './index.ts';

const ADMIN_KEYS = {
  clusterId: '00112233445566778899aabbccddeeff' as ClusterId,
  clusterKey: fromHex('11'.repeat(32)),
  metadataKey: fromHex('22'.repeat(32)),
  nodeSeed: fromHex('33'.repeat(32)),
  volumes: new Map([
    ['0123456789abcdef0123456789abcdef' as VolumeId, fromHex('44'.repeat(32))],
    ['fedcba9876543210fedcba9876543210' as VolumeId, fromHex('55'.repeat(32))],
  ]),
};
const KEYRING: Keyring = adminKeyring(ADMIN_KEYS, 1234);
const TEXT = encodeKeyring(KEYRING);

/** As the release before wrote it. */
const VERSION_1 = `{"format":"holdfast keyring","version":1,"checksum":"331c5a6af7d5db01","body":{
"clusterId":"00112233445566778899aabbccddeeff","clusterKey":"${'11'.repeat(32)}",
"metadataKey":"${'22'.repeat(32)}","nodeSeed":"${'33'.repeat(32)}","volumes":[
{"id":"0123456789abcdef0123456789abcdef","secret":"${'44'.repeat(32)}"}]}}`;

/** A member that is neither admin nor metadata node. */
function plainMember(nodeSeed = fromHex('66'.repeat(32))): Keyring {
  const { clusterId, clusterPublicKey, clusterSecret, volumes } = KEYRING;
  const certificate = issueCertificate(new SigningKey(ADMIN_KEYS.clusterKey), {
    clusterId,
    publicKey: new NodeKey(nodeSeed).publicKey,
    boxKey: BoxKey.ofNode(nodeSeed).publicKey,
    roles: ROLES.store,
    serial: 3,
    issuedAtMs: 5,
    notAfterMs: 0,
  });
  return { clusterId, clusterPublicKey, clusterSecret, nodeSeed, certificate, volumes };
}

function refusal(text: string): string | undefined {
  try {
    decodeKeyring(text);
  } catch (error) {
    expect(errorMessage(error)).not.toContain('\n');
    return `${errorCode(error)}: ${errorMessage(error)}`;
  }
  return undefined;
}

describe('a keyring', () => {
  it('comes back as it was', () => {
    expect(decodeKeyring(TEXT)).toEqual(KEYRING);
    const empty = { ...KEYRING, volumes: new Map() };
    expect(decodeKeyring(encodeKeyring(empty))).toEqual(empty);
  });

  it('of a member without the keys of the cluster comes back as it was', () => {
    const member = plainMember();
    const text = encodeKeyring(member);
    expect(decodeKeyring(text)).toEqual(member);
    expect(text).not.toContain('clusterKey');
    expect(text).not.toContain('metadataKey');
  });

  it('of version 1 is that of an admin node, the same at each reading', () => {
    const keyring = decodeKeyring(VERSION_1);
    expect(decodeKeyring(VERSION_1)).toEqual(keyring);
    const [volume] = ADMIN_KEYS.volumes;
    expect(keyring).toMatchObject({ ...ADMIN_KEYS, volumes: new Map([volume!]) });
    expect(ownCertificate(keyring)).toMatchObject({
      nodeId: new NodeKey(ADMIN_KEYS.nodeSeed).nodeId,
      roles: ALL_ROLES,
      serial: 1,
    });
    const next = encodeKeyring(keyring);
    expect(next).toContain('"version": 2');
    expect(decodeKeyring(next)).toEqual(keyring);
  });

  it('gives a beacon key that follows from the cluster key, but not the other way', () => {
    const { clusterKey } = ADMIN_KEYS;
    expect(KEYRING.clusterSecret).toEqual(clusterSecretOf(clusterKey));
    const keys = [clusterKey, KEYRING.clusterSecret, beaconKeyOf(KEYRING.clusterSecret)];
    expect(new Set(keys.map(String)).size).toBe(3);
  });

  it('whose parts do not belong together is refused', () => {
    const other = adminKeyring({ ...ADMIN_KEYS, clusterKey: fromHex('99'.repeat(32)) }, 0);
    const { clusterPublicKey, certificate } = other;
    const mixed = [
      { ...KEYRING, clusterPublicKey },
      { ...KEYRING, certificate },
      { ...KEYRING, certificate: plainMember().certificate },
      { ...plainMember(), clusterKey: other.clusterKey },
    ];
    for (const each of mixed) expect(refusal(encodeKeyring(each))).toMatch(/^HF_CORRUPT: /);
  });

  it('comes back from a text that was laid out anew', () => {
    expect(decodeKeyring(JSON.stringify(JSON.parse(TEXT)))).toEqual(KEYRING);
    expect(decodeKeyring(TEXT.replaceAll('\n', '\r\n'))).toEqual(KEYRING);
  });

  it('is told from other texts', () => {
    expect(refusal('{"name":"package"}')).toBe('HF_WRONG_KEY: this is not a keyring');
    expect(refusal('"holdfast keyring"')).toMatch(/^HF_CORRUPT/);
    expect(refusal('{"format":"no holdfast keyring"}')).toMatch(/^HF_WRONG_KEY/);
  });

  it('of a newer Holdfast is refused as such', () => {
    expect(refusal(TEXT.replace('"version": 2', '"version": 3'))).toMatch(
      /^HF_UNSUPPORTED: .*version 3/,
    );
  });

  it('is HF_CORRUPT when damaged, and says how', () => {
    expect(refusal('')).toBe('HF_CORRUPT: the keyring is damaged: it is empty');
    expect(refusal(TEXT.slice(0, -20))).toMatch(/^HF_CORRUPT: .*not whole/);
    expect(refusal(TEXT.replace('1111', '1112'))).toMatch(/^HF_CORRUPT: .*checksum/);
    expect(refusal(TEXT.replace('"version": 2', '"version": "2"'))).toMatch(/^HF_CORRUPT/);
  });

  it('never opens to other keys, whatever one character becomes', () => {
    const position = fc.integer({ min: 0, max: TEXT.length - 1 });
    fc.assert(
      fc.property(position, fc.integer({ min: 32, max: 126 }), (index, unit) => {
        const text = TEXT.slice(0, index) + String.fromCharCode(unit) + TEXT.slice(index + 1);
        const code = refusal(text)?.split(':')[0];
        if (code === undefined) expect(decodeKeyring(text)).toEqual(KEYRING);
        else expect(['HF_CORRUPT', 'HF_WRONG_KEY', 'HF_UNSUPPORTED']).toContain(code);
      }),
      { numRuns: 500 },
    );
  });

  it('does not show keys in its errors', () => {
    for (const end of [100, 300, TEXT.length - 3]) {
      expect(refusal(TEXT.slice(0, end))).not.toMatch(/[0-9a-f]{8}/);
    }
  });

  it('cannot be made of short keys', () => {
    const short = { ...KEYRING, metadataKey: new Uint8Array(31) };
    expect(() => encodeKeyring(short)).toThrow(/32 bytes/);
  });
});
