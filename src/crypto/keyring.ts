/**
 * The keyring: what a node keeps secret, as the text of a file that only its user can read.
 *
 *     { "format": "holdfast keyring", "version": 2, "checksum": XXH64 of the body, "body": {…} }
 *
 * The checksum is over the body as JSON without spaces, so a file that an editor has laid out
 * anew is still good. It finds accidents; whoever can write the file needs no forgery.
 *
 * Version 1 knew one node, with all keys. It is read as the keyring of an admin node, whose
 * certificate follows from its keys: it is the same at each reading, and the next write keeps it.
 */
import {
  assert,
  bytesEqual,
  type ClusterId,
  fromHex,
  HoldfastError,
  isHexId,
  toHex,
  utf8,
  type VolumeId,
  xxh64,
} from '../base/index.ts';
import { KEY_BYTES } from './aes-gcm.ts';
import { BoxKey } from './box.ts';
import {
  ALL_ROLES,
  CERTIFICATE_BYTES,
  type Certificate,
  issueCertificate,
  readCertificate,
} from './certificate.ts';
import { deriveKey } from './keys.ts';
import { NodeKey, SigningKey } from './node-key.ts';

export interface Keyring {
  readonly clusterId: ClusterId;
  /** Verifies the certificates of members. */
  readonly clusterPublicKey: Uint8Array;
  /** What all members know and strangers do not; see {@link beaconKeyOf}. */
  readonly clusterSecret: Uint8Array;
  /** Seed of the key that certifies members; admin nodes have it. */
  readonly clusterKey?: Uint8Array | undefined;
  /** Under it the keys of cells are wrapped; metadata nodes have it. */
  readonly metadataKey?: Uint8Array | undefined;
  /** Seed of the node's own identity. */
  readonly nodeSeed: Uint8Array;
  /** The membership certificate of this node, encoded. */
  readonly certificate: Uint8Array;
  /** Secrets of the volumes that this node serves. */
  readonly volumes: ReadonlyMap<VolumeId, Uint8Array>;
}

/** All keys of a cluster, in the hands of one node. */
export type AdminKeys = Pick<Keyring, 'clusterId' | 'nodeSeed' | 'volumes'> & {
  readonly clusterKey: Uint8Array;
  readonly metadataKey: Uint8Array;
};

const FORMAT = 'holdfast keyring';
const VERSION = 2;
/** Serial of a certificate that a node made for itself. */
const FIRST_SERIAL = 1;

/**
 * What all members share, from the cluster key: whoever has the recovery kit has it too, and
 * members that get it from an admin learn nothing of the cluster key.
 */
export function clusterSecretOf(clusterKey: Uint8Array): Uint8Array {
  return deriveKey(clusterKey, 'holdfast/1 cluster secret');
}

/** Seals what is said on a local network for members alone. */
export function beaconKeyOf(clusterSecret: Uint8Array): Uint8Array {
  return deriveKey(clusterSecret, 'holdfast/1 beacon');
}

/** The keyring of a node that holds the cluster key: it certifies itself. */
export function adminKeyring(keys: AdminKeys, issuedAtMs: number): Keyring {
  const { clusterId, clusterKey, nodeSeed } = keys;
  const signingKey = new SigningKey(clusterKey);
  const certificate = issueCertificate(signingKey, {
    clusterId,
    publicKey: new NodeKey(nodeSeed).publicKey,
    boxKey: BoxKey.ofNode(nodeSeed).publicKey,
    roles: ALL_ROLES,
    serial: FIRST_SERIAL,
    issuedAtMs,
    notAfterMs: 0,
  });
  const clusterSecret = clusterSecretOf(clusterKey);
  return { ...keys, clusterPublicKey: signingKey.publicKey, clusterSecret, certificate };
}

/** 16 hexadecimal digits. */
export function checksumText(bytes: Uint8Array): string {
  return xxh64(bytes).toString(16).padStart(16, '0');
}

/** Text that ends with a line feed; secret. */
export function encodeKeyring(keyring: Keyring): string {
  const { clusterId, clusterPublicKey, clusterSecret, clusterKey, metadataKey } = keyring;
  const { nodeSeed, certificate, volumes } = keyring;
  const keys = [clusterPublicKey, clusterSecret, clusterKey, metadataKey, nodeSeed];
  for (const key of [...keys, ...volumes.values()]) {
    assert(key === undefined || key.length === KEY_BYTES, 'a key is 32 bytes');
  }
  assert(certificate.length === CERTIFICATE_BYTES, 'a certificate has one length');
  const body = {
    clusterId,
    clusterPublicKey: toHex(clusterPublicKey),
    clusterSecret: toHex(clusterSecret),
    clusterKey: clusterKey && toHex(clusterKey),
    metadataKey: metadataKey && toHex(metadataKey),
    nodeSeed: toHex(nodeSeed),
    certificate: toHex(certificate),
    volumes: Array.from(volumes, ([id, secret]) => ({ id, secret: toHex(secret) })),
  };
  const checksum = bodyChecksum(body);
  return JSON.stringify({ format: FORMAT, version: VERSION, checksum, body }, undefined, 2) + '\n';
}

/**
 * @throws HF_WRONG_KEY when the text is something else, HF_UNSUPPORTED when a newer Holdfast wrote
 *   it, HF_CORRUPT when it is damaged.
 */
export function decodeKeyring(text: string): Keyring {
  if (text.trim() === '') throw corrupt('it is empty');
  if (!text.includes(FORMAT)) throw new HoldfastError('HF_WRONG_KEY', 'this is not a keyring');
  const { format, version, checksum, body } = fieldsOf(parseJson(text));
  if (format !== FORMAT) throw new HoldfastError('HF_WRONG_KEY', 'this is not a keyring');
  if (typeof version === 'number' && version > VERSION) {
    throw new HoldfastError(
      'HF_UNSUPPORTED',
      `the keyring has version ${version}; use a newer Holdfast`,
    );
  }
  if (version !== VERSION && version !== 1) throw corrupt('its version is not a number we know');
  if (checksum !== bodyChecksum(body)) throw corrupt('its checksum does not match');
  return version === 1 ? readVersion1(fieldsOf(body)) : readVersion2(fieldsOf(body));
}

function readVersion1(fields: Fields): Keyring {
  const keys = {
    clusterId: idField<ClusterId>(fields, 'clusterId'),
    clusterKey: keyField(fields, 'clusterKey'),
    metadataKey: keyField(fields, 'metadataKey'),
    nodeSeed: keyField(fields, 'nodeSeed'),
    volumes: volumesField(fields),
  };
  return adminKeyring(keys, 0);
}

function readVersion2(fields: Fields): Keyring {
  const keyring = {
    clusterId: idField<ClusterId>(fields, 'clusterId'),
    clusterPublicKey: keyField(fields, 'clusterPublicKey'),
    clusterSecret: keyField(fields, 'clusterSecret'),
    clusterKey: optionalKeyField(fields, 'clusterKey'),
    metadataKey: optionalKeyField(fields, 'metadataKey'),
    nodeSeed: keyField(fields, 'nodeSeed'),
    certificate: hexField(fields, 'certificate', CERTIFICATE_BYTES),
    volumes: volumesField(fields),
  };
  const { clusterKey, clusterPublicKey } = keyring;
  if (clusterKey && !bytesEqual(new SigningKey(clusterKey).publicKey, clusterPublicKey)) {
    throw corrupt('its cluster keys are of two clusters');
  }
  if (ownCertificate(keyring).nodeId !== new NodeKey(keyring.nodeSeed).nodeId) {
    throw corrupt('its certificate is of another node');
  }
  return keyring;
}

/** What the certificate of a keyring says. @throws HF_CORRUPT when another cluster signed it. */
export function ownCertificate(keyring: Keyring): Certificate {
  try {
    return readCertificate(keyring.certificate, keyring);
  } catch {
    throw corrupt('its certificate is not of its cluster');
  }
}

function volumesField({ volumes }: Fields): Map<VolumeId, Uint8Array> {
  if (!Array.isArray(volumes)) throw corrupt('it has no volumes');
  return new Map(
    volumes.map((entry) => {
      const volume = fieldsOf(entry);
      return [idField<VolumeId>(volume, 'id'), keyField(volume, 'secret')];
    }),
  );
}

function bodyChecksum(body: unknown): string {
  return checksumText(utf8(JSON.stringify(body) ?? ''));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw corrupt('it is not whole'); // without the cause, which quotes the text
  }
}

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): Fields {
  if (typeof value !== 'object' || value === null) throw corrupt('a part of it is missing');
  return value as Fields;
}

function idField<Id extends ClusterId | VolumeId>(fields: Fields, name: string): Id {
  const value = fields[name];
  if (typeof value !== 'string' || !isHexId(value)) throw corrupt(`its ${name} is not an id`);
  return value as Id;
}

function keyField(fields: Fields, name: string): Uint8Array {
  return hexField(fields, name, KEY_BYTES);
}

function optionalKeyField(fields: Fields, name: string): Uint8Array | undefined {
  return fields[name] === undefined ? undefined : keyField(fields, name);
}

function hexField(fields: Fields, name: string, byteCount: number): Uint8Array {
  const value = fields[name];
  const isHex = typeof value === 'string' && /^[0-9a-f]+$/.test(value);
  if (!isHex || value.length !== 2 * byteCount) throw corrupt(`its ${name} is not a key`);
  return fromHex(value);
}

function corrupt(reason: string): HoldfastError {
  return new HoldfastError('HF_CORRUPT', `the keyring is damaged: ${reason}`);
}
