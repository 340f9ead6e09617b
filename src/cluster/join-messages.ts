/**
 * The two messages of joining.
 *
 * The *request*: u8 1 | cluster id 16 | inviter 16 | public key of the invitation 32 | public key
 * of the node 32 | box key 32 | name, labels | signature of the node 64 | signature of the
 * invitation 64. Both sign all before the signatures. It can be passed on: nobody can put another
 * node, box key or inviter into it.
 *
 * The *answer*: u8 1 | public key of the cluster 32 | certificate (bytes) | box (bytes) | count u8,
 * members (node 16, count u8, addresses as text) | signature of the cluster key 64 over all before.
 * The box, for the new member, holds the cluster secret and what else its roles give it. Who knows
 * the id of the cluster key from its invitation trusts nobody on the way.
 */
import {
  ByteReader,
  ByteWriter,
  type ClusterId,
  concatBytes,
  fromHex,
  hexId,
  HoldfastError,
  type NodeId,
  utf8,
} from '../base/index.ts';
import {
  BOX_KEY_BYTES,
  BoxKey,
  type Certificate,
  type Invitation,
  invitationKey,
  isSignedBy,
  KEY_BYTES,
  keyId,
  NodeKey,
  nodeIdOf,
  PUBLIC_KEY_BYTES,
  readCertificate,
  sealBox,
  SIGNATURE_BYTES,
  type SigningKey,
} from '../crypto/index.ts';
import { checkWishes, readWishes, type Wishes, writeWishes } from './members.ts';

export interface JoinRequest extends Wishes {
  readonly clusterId: ClusterId;
  readonly inviter: NodeId;
  readonly invitationPublicKey: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly nodeId: NodeId;
  readonly boxKey: Uint8Array;
}

/** What a new member is given besides its certificate. */
export interface MemberKeys {
  readonly clusterSecret: Uint8Array;
  /** For metadata nodes. */
  readonly metadataKey?: Uint8Array | undefined;
  /** For admin nodes: the seed. */
  readonly clusterKey?: Uint8Array | undefined;
}

export interface KnownMember {
  readonly node: NodeId;
  readonly addresses: readonly string[];
}

export interface JoinAnswer {
  readonly clusterPublicKey: Uint8Array;
  readonly certificate: Certificate;
  readonly certificateBytes: Uint8Array;
  readonly keys: MemberKeys;
  readonly members: readonly KnownMember[];
}

const VERSION = 1;
const REQUEST_PURPOSE = utf8('holdfast/1 join request');
const ANSWER_PURPOSE = utf8('holdfast/1 join answer');
/** Name and labels at their limits, and room. */
const REQUEST_BYTES_MAX = 8192;
const ANSWER_BYTES_MAX = 64 * 1024;
/** Members whose addresses a new one is told: enough to find the others. */
export const MEMBERS_TOLD_MAX = 16;

/** @throws HF_BAD_ARGUMENT when the wishes are none. */
export function encodeJoinRequest(
  { clusterId, inviter, secret }: Pick<Invitation, 'clusterId' | 'inviter' | 'secret'>,
  nodeSeed: Uint8Array,
  wishes: Wishes,
): Uint8Array {
  const ticket = invitationKey({ secret });
  const node = new NodeKey(nodeSeed);
  const writer = new ByteWriter().u8(VERSION).raw(fromHex(clusterId)).raw(fromHex(inviter));
  writer.raw(ticket.publicKey).raw(node.publicKey).raw(BoxKey.ofNode(nodeSeed).publicKey);
  const body = writeWishes(writer, checkWishes(wishes)).finish();
  const message = concatBytes(REQUEST_PURPOSE, body);
  return concatBytes(body, node.sign(message), ticket.sign(message));
}

/**
 * What a request says, once both signatures are verified.
 * @param bytes from anybody.
 * @throws HF_DENIED when a signature is false; HF_TOO_LARGE, HF_CORRUPT, HF_BAD_ARGUMENT.
 */
export function readJoinRequest(bytes: unknown): JoinRequest {
  const body = signedBody(bytes, { signatures: 2, bytesMax: REQUEST_BYTES_MAX });
  const signatures = (bytes as Uint8Array).subarray(body.length);
  const reader = new ByteReader(body, 'request to join');
  checkVersion(reader);
  const clusterId = hexId<ClusterId>(reader.raw(16));
  const inviter = hexId<NodeId>(reader.raw(16));
  const invitationPublicKey = new Uint8Array(reader.raw(PUBLIC_KEY_BYTES));
  const publicKey = new Uint8Array(reader.raw(PUBLIC_KEY_BYTES));
  const boxKey = new Uint8Array(reader.raw(BOX_KEY_BYTES));
  const message = concatBytes(REQUEST_PURPOSE, body);
  const signature = signatures.subarray(0, SIGNATURE_BYTES);
  const ofInvitation = signatures.subarray(SIGNATURE_BYTES);
  if (!isSignedBy(publicKey, { message, signature })) throw denied();
  if (!isSignedBy(invitationPublicKey, { message, signature: ofInvitation })) throw denied();
  const wishes = readWishes(reader);
  reader.end();
  const nodeId = nodeIdOf(publicKey);
  return { clusterId, inviter, invitationPublicKey, publicKey, nodeId, boxKey, ...wishes };
}

export function encodeJoinAnswer(
  clusterKey: SigningKey,
  answer: JoinAnswer,
  randomBytes: Uint8Array,
): Uint8Array {
  const { clusterPublicKey, certificate, certificateBytes, keys, members } = answer;
  const about = concatBytes(ANSWER_PURPOSE, certificateBytes);
  const secret = encodeKeys(keys);
  const box = sealBox({ to: certificate.boxKey, randomBytes, about, secret });
  const writer = new ByteWriter().u8(VERSION).raw(clusterPublicKey).bytes(certificateBytes);
  writer.bytes(box);
  const told = members.slice(0, MEMBERS_TOLD_MAX);
  writer.u8(told.length);
  for (const { node, addresses } of told) {
    writer.raw(fromHex(node)).u8(addresses.length);
    for (const address of addresses) writer.text(address);
  }
  const body = writer.finish();
  return concatBytes(body, clusterKey.sign(concatBytes(ANSWER_PURPOSE, body)));
}

/**
 * @param expected the cluster of the invitation, and whom the answer is for.
 * @throws HF_FORGED when the cluster of the invitation did not make it for this node; HF_CORRUPT.
 */
export function readJoinAnswer(
  bytes: unknown,
  expected: Pick<Invitation, 'clusterId' | 'clusterKeyId'> & { readonly nodeSeed: Uint8Array },
): JoinAnswer {
  const body = signedBody(bytes, { signatures: 1, bytesMax: ANSWER_BYTES_MAX });
  const signature = (bytes as Uint8Array).subarray(body.length);
  const reader = new ByteReader(body, 'answer to a request to join');
  checkVersion(reader);
  const clusterPublicKey = new Uint8Array(reader.raw(PUBLIC_KEY_BYTES));
  const forged = () =>
    new HoldfastError('HF_FORGED', 'the answer is not of the cluster invited to');
  if (keyId(clusterPublicKey) !== expected.clusterKeyId) throw forged();
  const message = concatBytes(ANSWER_PURPOSE, body);
  if (!isSignedBy(clusterPublicKey, { message, signature })) throw forged();

  const { clusterId, nodeSeed } = expected;
  const certificateBytes = new Uint8Array(reader.bytes());
  const certificate = readCertificate(certificateBytes, { clusterId, clusterPublicKey });
  if (certificate.nodeId !== new NodeKey(nodeSeed).nodeId) throw forged();
  const about = concatBytes(ANSWER_PURPOSE, certificateBytes);
  const keys = decodeKeys(BoxKey.ofNode(nodeSeed).open({ box: reader.bytes(), about }));
  const members = Array.from({ length: reader.u8() }, () => ({
    node: hexId<NodeId>(reader.raw(16)),
    addresses: Array.from({ length: reader.u8() }, () => reader.text()),
  }));
  reader.end();
  return { clusterPublicKey, certificate, certificateBytes, keys, members };
}

/** Each key behind a byte that says whether it is there. */
function encodeKeys({ clusterSecret, metadataKey, clusterKey }: MemberKeys): Uint8Array {
  const writer = new ByteWriter().raw(clusterSecret);
  for (const key of [metadataKey, clusterKey]) {
    writer.u8(key ? 1 : 0);
    if (key) writer.raw(key);
  }
  return writer.finish();
}

function decodeKeys(bytes: Uint8Array): MemberKeys {
  const reader = new ByteReader(bytes, 'keys of a member');
  const key = () => new Uint8Array(reader.raw(KEY_BYTES));
  const optionalKey = () => (reader.u8() === 1 ? key() : undefined);
  const keys = { clusterSecret: key(), metadataKey: optionalKey(), clusterKey: optionalKey() };
  reader.end();
  return keys;
}

/** The bytes before the signatures. @throws HF_TOO_LARGE, HF_BAD_ARGUMENT. */
function signedBody(
  bytes: unknown,
  { signatures, bytesMax }: { readonly signatures: number; readonly bytesMax: number },
): Uint8Array {
  if (!(bytes instanceof Uint8Array)) throw new HoldfastError('HF_BAD_ARGUMENT', 'bytes expected');
  if (bytes.length > bytesMax) throw new HoldfastError('HF_TOO_LARGE', `beyond ${bytesMax} bytes`);
  return bytes.subarray(0, Math.max(0, bytes.length - signatures * SIGNATURE_BYTES));
}

function checkVersion(reader: ByteReader): void {
  const version = reader.u8();
  if (version === VERSION) return;
  throw new HoldfastError('HF_UNSUPPORTED', `joining in version ${version} is not known here`);
}

/** Says the same whatever was wrong. */
export function denied(): HoldfastError {
  return new HoldfastError('HF_DENIED', 'the invitation is not valid here');
}
