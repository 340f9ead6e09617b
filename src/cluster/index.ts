/**
 * The door of `cluster`: the topology and its layout, by epoch, and who is a member; both kept in
 * the registry.
 */
export {
  type AdmissionOptions,
  CertificateAdmission,
  type FollowOptions,
  type Identity,
  RevocationFollower,
} from './admission.ts';
export type { Cluster } from './cluster.ts';
export { type InvitationRecord, Invitations, type NewInvitation } from './invitations.ts';
export type { KnownMember } from './join-messages.ts';
export {
  joinCluster,
  type Joined,
  type JoinOptions,
  registerSelf,
  serveJoin,
  type ServeJoinOptions,
} from './join.ts';
export {
  isAdmin,
  type MemberRecord,
  Members,
  type MembersOptions,
  type Wishes,
} from './members.ts';
export {
  giveMetadataRole,
  type MetadataRole,
  type MetadataRoleOptions,
  serveMetadataRole,
  takeMetadataRole,
} from './metadata-role.ts';
export { openCluster, type ClusterOptions } from './open-cluster.ts';
export { DEFAULT_LABEL, labelsOn, LEVELS } from './levels.ts';
export { drainNode, leaveCluster, type RemovalOptions, removeNode } from './removal.ts';
export { mayChangeTopology, type TopologyRules } from './topology-rules.ts';
export { decodeRevocations, encodeRevocations, type Revocations } from './revocations.ts';
export { VolumeGrants } from './volume-secrets.ts';
