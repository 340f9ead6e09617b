/**
 * The *invitation*: a text that admits one node, once, until it expires (ruling 2).
 *
 *     "hfj1_" and in base64url: cluster id 16 | id of the cluster key 16 | inviter 16 | secret 32
 *     | expires at u64 | count u8, addresses (length u8, UTF-8) | 4 bytes of the XXH64 of those
 *
 * The secret is the seed of a signing key. Who wants to join signs its request with it, and the
 * registry knows only the public half: the secret itself never travels and stands in no record.
 * The checksum finds mistyped characters; a forged token fails where it is used.
 */
import {
  asBuffer,
  assert,
  ByteReader,
  ByteWriter,
  type ClusterId,
  fromHex,
  fromUtf8,
  hexId,
  HoldfastError,
  type NodeId,
  toHex,
  utf8,
  xxh64,
} from '../base/index.ts';
import { deriveKey } from './keys.ts';
import { KEY_ID_BYTES, SigningKey } from './node-key.ts';

export interface Invitation {
  readonly clusterId: ClusterId;
  /** `keyId` of the cluster's public key: what the inviter passes on is checked with it. */
  readonly clusterKeyId: string;
  /** Who is to answer; whoever cannot prove this id is told nothing. */
  readonly inviter: NodeId;
  /** 32 bytes, used for one invitation. */
  readonly secret: Uint8Array;
  /** By the clock of who answers. */
  readonly expiresAtMs: number;
  /** Where the inviter is reached, one to four. */
  readonly addresses: readonly string[];
}

export const INVITATION_SECRET_BYTES = 32;
export const INVITATION_ADDRESSES_MAX = 4;
/** Fits a message, a QR code, and two IPv6 addresses or four of IPv4. */
const TEXT_CHARS_MAX = 300;
const PREFIX = 'hfj1_';
const CHECKSUM_BYTES = 4;
const ADDRESS_BYTES_MAX = 255;

/** @throws HF_TOO_LARGE when the addresses are too long together. */
export function encodeInvitation(invitation: Invitation): string {
  const { clusterId, clusterKeyId, inviter, secret, expiresAtMs, addresses } = invitation;
  assert(secret.length === INVITATION_SECRET_BYTES, 'the secret is 32 bytes');
  assert(addresses.length >= 1, 'the inviter can be reached');
  assert(addresses.length <= INVITATION_ADDRESSES_MAX, 'the addresses are few');
  const writer = new ByteWriter().raw(fromHex(clusterId)).raw(fromHex(clusterKeyId));
  writer.raw(fromHex(inviter)).raw(secret).u64(expiresAtMs).u8(addresses.length);
  for (const address of addresses.map(utf8)) {
    if (address.length > ADDRESS_BYTES_MAX) throw tooLong();
    writer.u8(address.length).raw(address);
  }
  const bytes = writer.raw(checksum(writer.finish())).finish();
  const text = PREFIX + asBuffer(bytes).toString('base64url');
  if (text.length > TEXT_CHARS_MAX) throw tooLong();
  return text;
}

/**
 * @param text spaces and line breaks around and inside are ignored.
 * @throws HF_WRONG_KEY when it is something else, HF_UNSUPPORTED when a newer Holdfast made it,
 *   HF_CORRUPT when it is mistyped or cut.
 */
export function decodeInvitation(text: string): Invitation {
  // Room for whatever white space a mail program puts in.
  const token = text.length <= 4 * TEXT_CHARS_MAX ? text.replace(/\s+/g, '') : '';
  if (/^hfj\d+_/.test(token) && !token.startsWith(PREFIX)) {
    throw new HoldfastError('HF_UNSUPPORTED', 'a newer Holdfast made this invitation');
  }
  if (!token.startsWith(PREFIX)) {
    throw new HoldfastError('HF_WRONG_KEY', `this is no invitation; one begins with ${PREFIX}`);
  }
  const encoded = token.slice(PREFIX.length);
  const bytes = Buffer.from(encoded, 'base64url');
  const reader = new ByteReader(bytes.subarray(0, -CHECKSUM_BYTES), 'the invitation');
  const isWhole =
    bytes.toString('base64url') === encoded &&
    bytes.length > CHECKSUM_BYTES &&
    bytes.subarray(-CHECKSUM_BYTES).equals(checksum(bytes.subarray(0, -CHECKSUM_BYTES)));
  if (!isWhole) throw reader.corrupt('it is mistyped or cut short');
  return fieldsOf(reader);
}

function fieldsOf(reader: ByteReader): Invitation {
  const clusterId = hexId<ClusterId>(reader.raw(16));
  const clusterKeyId = toHex(reader.raw(KEY_ID_BYTES));
  const inviter = hexId<NodeId>(reader.raw(16));
  const secret = new Uint8Array(reader.raw(INVITATION_SECRET_BYTES));
  const expiresAtMs = reader.u64();
  const count = reader.u8();
  if (count < 1 || count > INVITATION_ADDRESSES_MAX) throw reader.corrupt('it has no addresses');
  const addresses = Array.from({ length: count }, () => fromUtf8(reader.raw(reader.u8())));
  reader.end();
  return { clusterId, clusterKeyId, inviter, secret, expiresAtMs, addresses };
}

/** Signs requests to join. */
export function invitationKey({ secret }: Pick<Invitation, 'secret'>): SigningKey {
  return new SigningKey(deriveKey(secret, 'holdfast/1 invitation'));
}

function checksum(bytes: Uint8Array): Uint8Array {
  return new ByteWriter(8).bigU64(xxh64(bytes)).finish().subarray(0, CHECKSUM_BYTES);
}

function tooLong(): HoldfastError {
  const text = 'the addresses do not fit an invitation; name fewer or shorter ones';
  return new HoldfastError('HF_TOO_LARGE', text);
}
