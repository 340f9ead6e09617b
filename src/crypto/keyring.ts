/**
 * The keyring: what a node keeps secret, as the text of a file that only its user can read.
 *
 *     { "format": "holdfast keyring", "version": 1, "checksum": XXH64 of the body, "body": {…} }
 *
 * The checksum is over the body as JSON without spaces, so a file that an editor has laid out
 * anew is still good. It finds accidents; whoever can write the file needs no forgery.
 */
import {
  assert,
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

export interface Keyring {
  readonly clusterId: ClusterId;
  /** Seed of the key that certifies members. */
  readonly clusterKey: Uint8Array;
  /** Under it the keys of cells are wrapped. */
  readonly metadataKey: Uint8Array;
  /** Seed of the node's own identity. */
  readonly nodeSeed: Uint8Array;
  /** Secrets of the volumes that this node serves. */
  readonly volumes: ReadonlyMap<VolumeId, Uint8Array>;
}

const FORMAT = 'holdfast keyring';
const VERSION = 1;

/** 16 hexadecimal digits. */
export function checksumText(bytes: Uint8Array): string {
  return xxh64(bytes).toString(16).padStart(16, '0');
}

/** Text that ends with a line feed; secret. */
export function encodeKeyring(keyring: Keyring): string {
  const { clusterId, clusterKey, metadataKey, nodeSeed, volumes } = keyring;
  for (const key of [clusterKey, metadataKey, nodeSeed, ...volumes.values()]) {
    assert(key.length === KEY_BYTES, 'a key is 32 bytes');
  }
  const body = {
    clusterId,
    clusterKey: toHex(clusterKey),
    metadataKey: toHex(metadataKey),
    nodeSeed: toHex(nodeSeed),
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
  if (version !== VERSION) throw corrupt('its version is not a number we know');
  if (checksum !== bodyChecksum(body)) throw corrupt('its checksum does not match');
  return keyringOf(fieldsOf(body));
}

function keyringOf(fields: Readonly<Record<string, unknown>>): Keyring {
  const { volumes } = fields;
  if (!Array.isArray(volumes)) throw corrupt('it has no volumes');
  return {
    clusterId: idField<ClusterId>(fields, 'clusterId'),
    clusterKey: keyField(fields, 'clusterKey'),
    metadataKey: keyField(fields, 'metadataKey'),
    nodeSeed: keyField(fields, 'nodeSeed'),
    volumes: new Map(
      volumes.map((entry) => {
        const volume = fieldsOf(entry);
        return [idField<VolumeId>(volume, 'id'), keyField(volume, 'secret')];
      }),
    ),
  };
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

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw corrupt('a part of it is missing');
  return value as Readonly<Record<string, unknown>>;
}

function idField<Id extends ClusterId | VolumeId>(
  fields: Readonly<Record<string, unknown>>,
  name: string,
): Id {
  const value = fields[name];
  if (typeof value !== 'string' || !isHexId(value)) throw corrupt(`its ${name} is not an id`);
  return value as Id;
}

function keyField(fields: Readonly<Record<string, unknown>>, name: string): Uint8Array {
  const value = fields[name];
  if (typeof value !== 'string' || !/^[0-9a-f]{64}$/.test(value)) {
    throw corrupt(`its ${name} is not a key`);
  }
  return fromHex(value);
}

function corrupt(reason: string): HoldfastError {
  return new HoldfastError('HF_CORRUPT', `the keyring is damaged: ${reason}`);
}
