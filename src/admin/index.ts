/** The door of `admin`: the control interface of a running node. */
export type {
  AdminParts,
  DeviceManager,
  DiskFinder,
  MetadataManager,
  MountManager,
  PeerManager,
  ShardLocation,
  VolumeManager,
  VolumeStatus,
} from './admin-parts.ts';
export { type AdminOptions, type AdminService, serveAdmin } from './serve-admin.ts';
export { checkAddress, type TcpAddress } from './tcp-address.ts';
