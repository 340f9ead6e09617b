/** The door of `crypto`: digests, sealing, keys, identities. Synchronous; randomness is given. */
export { KEY_BYTES, NONCE_BYTES, TAG_BYTES } from './aes-gcm.ts';
export { digest, DIGEST_BYTES, DIGEST_ENGINE, DIGEST_ENGINES, type DigestOnce } from './digest.ts';
export { BOX_KEY_BYTES, BOX_OVERHEAD_BYTES, BoxKey, sealBox } from './box.ts';
export {
  ALL_ROLES,
  areRoles,
  type Certificate,
  CERTIFICATE_BYTES,
  issueCertificate,
  readCertificate,
  hasRole,
  ROLES,
} from './certificate.ts';
export {
  decodeInvitation,
  encodeInvitation,
  type Invitation,
  INVITATION_ADDRESSES_MAX,
  INVITATION_SECRET_BYTES,
  invitationKey,
} from './invitation.ts';
export {
  adminKeyring,
  type AdminKeys,
  beaconKeyOf,
  clusterSecretOf,
  decodeKeyring,
  encodeKeyring,
  type Keyring,
  ownCertificate,
} from './keyring.ts';
export { contentAddress, deriveKey, keyedAddress, type VolumeKeys, volumeKeys } from './keys.ts';
export { openRecord, RECORD_OVERHEAD_BYTES, sealRecord, unwrapKey, wrapKey } from './key-wrap.ts';
export { NAME_KEY_BYTES, NameSeals } from './names.ts';
export {
  isSignedBy,
  keyId,
  NodeKey,
  nodeIdOf,
  PUBLIC_KEY_BYTES,
  SEED_BYTES,
  SIGNATURE_BYTES,
  SigningKey,
} from './node-key.ts';
export { decodeRecoveryKit, encodeRecoveryKit, type RecoveryKit } from './recovery-kit.ts';
export {
  openSegments,
  padContent,
  paddedBytes,
  type Run,
  sealContent,
  sealedBytes,
  segmentRange,
  type SegmentRange,
  stripeKey,
} from './sealing.ts';
