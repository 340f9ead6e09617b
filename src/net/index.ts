/** The door of `net`: identified peers, calls and streams between them, and who is there. */
export { certificateOf } from './certificate.ts';
export { formatAddress, type NetAddress, parseAddress } from './address.ts';
export type { BeaconOptions } from './beacon-finder.ts';
export { gossipMembers, type GossipOptions } from './gossip.ts';
export { GOSSIP_RULES, type GossipRules } from './gossip-rules.ts';
export { linkedMembers } from './linked-members.ts';
export { type MemoryFaults, MemoryNet } from './memory-net.ts';
export { Network, type NetworkOptions } from './network.ts';
export { tlsTransport } from './tls-transport.ts';
export type {
  Admission,
  CallContext,
  CallOptions,
  ConnectOptions,
  DialOptions,
  Ground,
  Handler,
  HandleOptions,
  Health,
  Hello,
  Labels,
  LinkChange,
  LinkView,
  Listener,
  MemberChange,
  Membership,
  MemberView,
  OpenedStream,
  OpenOptions,
  OpenMembership,
  Peers,
  Purpose,
  Schema,
  SchemaResult,
  SecureDuplex,
  Transport,
  Verdict,
} from './types.ts';
export { wssTransport } from './wss-transport.ts';
