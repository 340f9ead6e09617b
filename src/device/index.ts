/** The door of `device`: blocks on a disk, in an image, a directory, memory or a simulation. */
export type { BlockDevice, DeviceKind } from './block-device.ts';
export { crashImage, crashImages, type CrashImage } from './crash-images.ts';
export { Media } from './media.ts';
export { MemoryDevice } from './memory-device.ts';
export {
  SimulatedDevice,
  type CrashPoint,
  type FaultHook,
  type SimulatedEvent,
  type SimulatedOperation,
  type SimulatedWrite,
} from './simulated-device.ts';
export { DirectoryDevice } from './directory-device.ts';
export { diskLabel } from './disk-label.ts';
export { filesystemOf, type Filesystem } from './filesystem.ts';
export { ImageDevice } from './image-device.ts';
export { holdLock } from './lock.ts';
export { type DiskFilesystem, type DiskSources, MachineDisks } from './machine-disks.ts';
export {
  deviceKindAt,
  makeDevice,
  openDevice,
  type MakeDeviceOptions,
  type OpenDeviceOptions,
  type PlaceKind,
} from './places.ts';
export { RawDevice } from './raw-device.ts';
