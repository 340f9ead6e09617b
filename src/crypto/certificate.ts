/**
 * The *membership certificate*: the cluster key's word that a node belongs to the cluster and what
 * it may do there (ruling 2).
 *
 *     version u8 = 1 | cluster id 16 | public key of the node 32 | box key 32 | roles u16
 *     | serial u64 | issued at u64 | not after u64 | signature of all before 64
 *
 * Numbers are little-endian, times are ms since 1970. The node id is not in it: it follows from the
 * public key, so the two cannot disagree. A *serial* counts the certificates of one node; revoking
 * names a serial and voids it with all below.
 */
import {
  assert,
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
import { BOX_KEY_BYTES } from './box.ts';
import {
  isSignedBy,
  nodeIdOf,
  PUBLIC_KEY_BYTES,
  SIGNATURE_BYTES,
  type SigningKey,
} from './node-key.ts';

/** What a member may do; a certificate holds a sum of them. */
export const ROLES = {
  /** Holds shards. */
  store: 1,
  /** Holds the metadata key and serves cells. */
  metadata: 2,
  /** Holds the cluster key: issues certificates. */
  admin: 4,
} as const;

export const ALL_ROLES: number = ROLES.store | ROLES.metadata | ROLES.admin;

export interface Certificate {
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  /** Of the node, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** To seal secrets to the node, 32 bytes; see box.ts. */
  readonly boxKey: Uint8Array;
  /** A sum of {@link ROLES}. */
  readonly roles: number;
  /** At least 1. */
  readonly serial: number;
  /** By the clock of the issuer; 0 when it is not known. */
  readonly issuedAtMs: number;
  /** 0: it does not expire. */
  readonly notAfterMs: number;
}

/** Bytes of an encoded certificate. */
export const CERTIFICATE_BYTES: number =
  1 + 16 + PUBLIC_KEY_BYTES + BOX_KEY_BYTES + 2 + 3 * 8 + SIGNATURE_BYTES;

const VERSION = 1;
const PURPOSE = utf8('holdfast/1 membership certificate');

/** @param clusterKey the cluster's signing key. @returns the encoded certificate. */
export function issueCertificate(
  clusterKey: SigningKey,
  certificate: Omit<Certificate, 'nodeId'>,
): Uint8Array {
  const { clusterId, publicKey, boxKey, roles, serial, issuedAtMs, notAfterMs } = certificate;
  assert(publicKey.length === PUBLIC_KEY_BYTES, 'a public key is 32 bytes');
  assert(boxKey.length === BOX_KEY_BYTES, 'a box key is 32 bytes');
  assert(areRoles(roles), 'the roles are known');
  assert(serial >= 1, 'serials begin with 1');
  const body = new ByteWriter(CERTIFICATE_BYTES)
    .u8(VERSION)
    .raw(fromHex(clusterId))
    .raw(publicKey)
    .raw(boxKey)
    .u16(roles)
    .u64(serial)
    .u64(issuedAtMs)
    .u64(notAfterMs)
    .finish();
  const bytes = concatBytes(body, clusterKey.sign(concatBytes(PURPOSE, body)));
  assert(bytes.length === CERTIFICATE_BYTES, 'a certificate has one length');
  return bytes;
}

/**
 * What a certificate says, once it is known to be genuine. Whether it has expired or was revoked is
 * for the caller.
 * @param cluster whose certificate it must be.
 * @throws HF_FORGED when that cluster did not sign it, HF_UNSUPPORTED when it is of a newer form.
 */
export function readCertificate(
  bytes: Uint8Array,
  cluster: { readonly clusterId: ClusterId; readonly clusterPublicKey: Uint8Array },
): Certificate {
  if (bytes.length > 0 && bytes[0] !== VERSION) {
    throw new HoldfastError('HF_UNSUPPORTED', `a certificate of version ${bytes[0]}`);
  }
  if (bytes.length !== CERTIFICATE_BYTES) throw forged('it has not the length of one');
  const signatureAt = bytes.length - SIGNATURE_BYTES;
  const body = bytes.subarray(0, signatureAt);
  const signed = {
    message: concatBytes(PURPOSE, body),
    signature: bytes.subarray(signatureAt),
  };
  if (!isSignedBy(cluster.clusterPublicKey, signed)) throw forged('the cluster did not sign it');
  const certificate = fieldsOf(body);
  if (certificate.clusterId !== cluster.clusterId) throw forged('it is of another cluster');
  return certificate;
}

function fieldsOf(body: Uint8Array): Certificate {
  const reader = new ByteReader(body, 'membership certificate');
  reader.u8();
  const clusterId = hexId<ClusterId>(reader.raw(16));
  const publicKey = new Uint8Array(reader.raw(PUBLIC_KEY_BYTES));
  const certificate = {
    clusterId,
    nodeId: nodeIdOf(publicKey),
    publicKey,
    boxKey: new Uint8Array(reader.raw(BOX_KEY_BYTES)),
    roles: reader.u16(),
    serial: reader.u64(),
    issuedAtMs: reader.u64(),
    notAfterMs: reader.u64(),
  };
  reader.end();
  return certificate;
}

/** Whether a certificate gives this role. */
export function hasRole({ roles }: Pick<Certificate, 'roles'>, role: keyof typeof ROLES): boolean {
  return (roles & ROLES[role]) !== 0;
}

/** Whether it is a sum of known roles, at least one. */
export function areRoles(roles: number): boolean {
  return Number.isInteger(roles) && roles > 0 && (roles & ~ALL_ROLES) === 0;
}

function forged(reason: string): HoldfastError {
  return new HoldfastError('HF_FORGED', `this is no certificate: ${reason}`);
}
