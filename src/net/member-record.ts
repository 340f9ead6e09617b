/**
 * A *member record*: what a node says of itself, signed with its node key, passed on unchanged by
 * everybody. Of two records of a node the one with the higher *incarnation* holds; only the node
 * itself can make one. An incarnation begins as the time of the node's start, in ms since 1970.
 *
 *     format u8 | protocol u16 | flags u8 | incarnation u64 | public key 32
 *     | count u8, addresses (text each) | count u8, labels (key, value) | credentials (bytes)
 *     | signature 64
 *
 * Invariant: a record is never trusted before `isGenuine` has said so; decoding proves nothing.
 */
import {
  ByteReader,
  ByteWriter,
  concatBytes,
  HoldfastError,
  LIMITS,
  type NodeId,
  utf8,
} from '../base/index.ts';
import {
  isSignedBy,
  type NodeKey,
  nodeIdOf,
  PUBLIC_KEY_BYTES,
  SIGNATURE_BYTES,
} from '../crypto/index.ts';
import { formatAddress, type NetAddress } from './address.ts';
import { readAddresses } from './hello.ts';
import type { Labels } from './types.ts';

/** What a node states; the rest of a record follows from its key. */
export interface MemberStatement {
  readonly incarnation: number;
  /** It goes for good. */
  readonly hasLeft: boolean;
  /** Where it listens. */
  readonly addresses: readonly NetAddress[];
  readonly labels: Labels;
  /** Its membership certificate, opaque here. */
  readonly credentials: Uint8Array;
}

export interface MemberRecord extends MemberStatement {
  readonly node: NodeId;
  readonly publicKey: Uint8Array;
  /** Of the messages that the node speaks. */
  readonly protocol: number;
  /** As it was signed, signature included. */
  readonly bytes: Uint8Array;
}

const FORMAT = 1;
const PROTOCOL = 1;
const HAS_LEFT = 1;
const PURPOSE = utf8('holdfast/1 member record');
const LABEL_KEY = /^[a-z][a-z0-9_.-]{0,31}$/;

/**
 * A record of the node that holds `key`.
 * @throws HF_TOO_LARGE, HF_BAD_ARGUMENT when the statement does not fit the limits.
 */
export function makeRecord(key: NodeKey, statement: MemberStatement): MemberRecord {
  const { addresses, credentials, labels } = statement;
  if (addresses.length > LIMITS.addressesPerRecordMax) {
    const text = `${addresses.length} addresses; at most ${LIMITS.addressesPerRecordMax} are told`;
    throw new HoldfastError('HF_TOO_LARGE', text);
  }
  const writer = new ByteWriter()
    .u8(FORMAT)
    .u16(PROTOCOL)
    .u8(statement.hasLeft ? HAS_LEFT : 0);
  writer.u64(statement.incarnation).raw(key.publicKey).u8(addresses.length);
  for (const address of addresses) writer.text(formatAddress(address));
  const pairs = Object.entries(labels);
  checkLabels(pairs, (text) => new HoldfastError('HF_BAD_ARGUMENT', text));
  writer.u8(pairs.length);
  for (const [label, value] of pairs) writer.text(label).text(value);
  const body = writer.bytes(credentials).finish();
  const bytes = concatBytes(body, key.sign(concatBytes(PURPOSE, body)));
  const isTooLarge = credentials.length > LIMITS.recordCredentialsBytesMax;
  if (isTooLarge || bytes.length > LIMITS.memberRecordBytesMax) {
    throw new HoldfastError('HF_TOO_LARGE', `a member record of ${bytes.length} bytes`);
  }
  const { nodeId: node, publicKey } = key;
  return { ...statement, node, publicKey, protocol: PROTOCOL, bytes };
}

/** What the bytes say, unproven; owned by the caller. @throws HF_CORRUPT, HF_TOO_LARGE */
export function decodeRecord(input: Uint8Array): MemberRecord {
  if (input.length > LIMITS.memberRecordBytesMax) {
    throw new HoldfastError('HF_TOO_LARGE', `a member record of ${input.length} bytes`);
  }
  const bytes = new Uint8Array(input); // a view of a message would keep all of it
  const reader = new ByteReader(bytes, 'member record');
  if (reader.u8() !== FORMAT) throw reader.corrupt('its format is not known');
  const protocol = reader.u16();
  const hasLeft = (reader.u8() & HAS_LEFT) !== 0;
  const incarnation = reader.u64();
  const publicKey = new Uint8Array(reader.raw(PUBLIC_KEY_BYTES));
  const addressCount = reader.u8();
  if (addressCount > LIMITS.addressesPerRecordMax) throw reader.corrupt('too many addresses');
  const addresses = readAddresses(Array.from({ length: addressCount }, () => reader.text()));
  const labelCount = reader.u8();
  if (labelCount > LIMITS.labelsPerNodeMax) throw reader.corrupt('too many labels');
  const pairs = Array.from({ length: labelCount }, () => [reader.text(), reader.text()] as const);
  checkLabels(pairs, (text) => reader.corrupt(text));
  const labels = Object.fromEntries(pairs);
  const credentials = new Uint8Array(reader.bytes());
  if (credentials.length > LIMITS.recordCredentialsBytesMax) {
    throw reader.corrupt('its credentials are too long');
  }
  reader.raw(SIGNATURE_BYTES);
  reader.end();
  const node = nodeIdOf(publicKey);
  const statement = { incarnation, hasLeft, addresses, labels, credentials };
  return { ...statement, node, publicKey, protocol, bytes };
}

/** Whether the node that it names has made it. Costs a signature check: about 0.1 ms. */
export function isGenuine({ publicKey, bytes }: MemberRecord): boolean {
  const signatureAt = bytes.length - SIGNATURE_BYTES;
  const message = concatBytes(PURPOSE, bytes.subarray(0, signatureAt));
  return isSignedBy(publicKey, { message, signature: bytes.subarray(signatureAt) });
}

function checkLabels(
  pairs: readonly (readonly [string, string])[],
  fault: (text: string) => HoldfastError,
): void {
  if (pairs.length > LIMITS.labelsPerNodeMax) throw fault('too many labels');
  for (const [label, value] of pairs) {
    if (!LABEL_KEY.test(label)) throw fault('a label has no proper key');
    if (value.length > LIMITS.labelCharsMax) throw fault('the value of a label is too long');
  }
}
