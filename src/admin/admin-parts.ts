/** What the control interface drives; `node` hands it in. */
import type {
  ControlRequest,
  DeviceChange,
  DeviceDetails,
  DeviceView,
  LocationView,
  StatusView,
} from '../api/index.ts';
import type { Scheme } from '../base/index.ts';
import type { VolumeRecord } from '../meta/index.ts';
import type { LayoutReport } from '../placement/index.ts';
import type { Repair } from '../repair/index.ts';
import type { ObjectStore, StripePlaces } from '../volume/index.ts';

/** The stores of this node, in the views of the control interface. */
export interface DeviceManager {
  list(): Promise<readonly DeviceView[]>;
  /**
   * Takes a store into use: one that exists (of this cluster), or a new one where `isNew` allows.
   * @throws HF_NOT_OURS, HF_CORRUPT, HF_EXISTS, HF_NO_SPACE, HF_BUSY, HF_BAD_ARGUMENT.
   */
  add(request: ControlRequest<'device.add'>): Promise<DeviceChange>;
  /** @param device an id, a prefix of one that is unique, or a path. @throws HF_NOT_FOUND. */
  query(device: string): Promise<DeviceDetails>;
  /** Sets those limits that are given. @throws HF_BAD_ARGUMENT unless min < max < hard max. */
  setLimits(request: ControlRequest<'device.limits'>): Promise<DeviceDetails>;
  /** Closes a store and leaves the device to others; it stays known. */
  detach(device: string): Promise<DeviceChange>;
  /**
   * Takes a store out of use: what it holds is made again elsewhere first, unless forced.
   * @throws HF_TOO_FEW_STORES when the others cannot take its shards.
   */
  remove(request: ControlRequest<'device.remove'>): Promise<DeviceChange>;
  /** The first block of the first shard of a stripe that is on a store which is here. */
  locate(places: StripePlaces): Promise<ShardLocation | undefined>;
}

export type ShardLocation = {
  readonly [Name in 'device' | 'storeId' | 'block']: NonNullable<LocationView[Name]>;
};

export interface VolumeStatus {
  readonly record: VolumeRecord;
  readonly objectCount: number;
  readonly contentBytes: number;
}

export interface VolumeManager {
  list(): Promise<readonly VolumeStatus[]>;
  /** @throws HF_EXISTS, HF_BAD_ARGUMENT, HF_BAD_SCHEME. */
  create(request: {
    name: string;
    scheme: Scheme | undefined;
    isDeduplicating: boolean;
  }): Promise<VolumeStatus>;
  /** @throws HF_NOT_FOUND, HF_BAD_SCHEME. */
  setScheme(name: string, scheme: Scheme): Promise<VolumeStatus>;
  /** @throws HF_NOT_FOUND. */
  objects(name: string): ObjectStore;
}

export interface AdminParts {
  readonly identity: Pick<
    StatusView,
    'version' | 'nodeId' | 'clusterId' | 'dataPath' | 'startedAtMs' | 'processId'
  >;
  readonly volumes: VolumeManager;
  readonly devices: DeviceManager;
  readonly repair: Repair;
  /** What the layout promises now. */
  layoutReport(): LayoutReport;
  /** One line each: what the user should know or do. */
  warnings(): Promise<readonly string[]>;
  /** The recovery kit as text. */
  exportKit(): Promise<string>;
  /** Asks the node to drain and stop; returns at once. */
  stop(): void;
}
