/** The door of `admin`: the control interface of a running node. */
export type { AdminParts, DeviceManager, VolumeManager, VolumeStatus } from './admin-parts.ts';
export { type AdminOptions, serveAdmin } from './serve-admin.ts';
