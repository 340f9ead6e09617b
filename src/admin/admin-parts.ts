/** What the control interface drives; `node` hands it in. */
import type {
  ControlRequest,
  DeviceChange,
  DeviceDetails,
  DeviceView,
  DiskView,
  GrantView,
  InvitationView,
  LeaveView,
  MetadataView,
  MountView,
  LocationView,
  NodeView,
  PathCellView,
  StatusView,
  StorePlaceView,
} from '../api/index.ts';
import type { Policy } from '../base/index.ts';
import type { Retention, VolumeRecord } from '../meta/index.ts';
import type { LayoutReport } from '../placement/index.ts';
import type { Repair, RepairStatus, RunOptions } from '../repair/index.ts';
import type { FileTree, ObjectStore, ReencodeReport, StripePlaces } from '../volume/index.ts';

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
  /**
   * Without a policy it gets what fits the stores; with a retention it is a WORM volume.
   * @throws HF_EXISTS, HF_BAD_ARGUMENT, HF_BAD_SCHEME.
   */
  create(request: {
    readonly name: string;
    readonly policy?: Policy | undefined;
    readonly isDeduplicating: boolean;
    readonly retention?: Retention | undefined;
  }): Promise<VolumeStatus>;
  /**
   * What is left out stays as it is.
   * @throws HF_NOT_FOUND, HF_BAD_SCHEME, HF_BAD_ARGUMENT; HF_WORM when a retention would get
   *   shorter.
   */
  setPolicy(
    name: string,
    change: { readonly policy?: Policy | undefined; readonly retention?: Retention | undefined },
  ): Promise<VolumeStatus>;
  /**
   * Stores all older objects by the volume's policy, too. The work goes on, also in the next life
   * of this node, when whoever asked for it does not wait any more; asked again it shows how far
   * it is.
   * @throws HF_NOT_FOUND, HF_BAD_SCHEME; HF_INTERRUPTED when the caller does not wait.
   */
  applyPolicy(name: string, options: RunOptions): Promise<ReencodeReport>;
  /** @throws HF_NOT_FOUND. */
  objects(name: string): ObjectStore;
  /** The names of the same volume. @throws HF_NOT_FOUND. */
  files(name: string): FileTree;
}

/** The volumes that are directories of this node's machine, and are again in its next life. */
export interface MountManager {
  list(): Promise<readonly MountView[]>;
  /**
   * @throws HF_NOT_FOUND for the volume or the directory; HF_NOT_DIRECTORY; HF_NOT_EMPTY; HF_EXISTS
   *   when it is mounted there already; HF_DENIED, HF_UNSUPPORTED when nothing can be mounted.
   */
  add(request: ControlRequest<'mount.add'>): Promise<MountView>;
  /**
   * Ends one, and forgets it; also one that could not be mounted again.
   * @throws HF_NOT_FOUND; HF_BUSY when somebody uses it, unless forced or lazy.
   */
  remove(request: ControlRequest<'mount.remove'>): Promise<MountView>;
}

/** Where the metadata of the cluster is. */
export interface MetadataManager {
  /** @throws HF_UNAVAILABLE while it cannot be asked. */
  report(): Promise<MetadataView>;
  /** @throws HF_NOT_FOUND. */
  where(volume: string, path: string): Promise<readonly PathCellView[]>;
  /** @returns what is lost, for people. @throws as `meta.restore`. */
  restore(): Promise<readonly string[]>;
  /** @returns where it is then, for people. @throws as `meta.useEtcd`. */
  useEtcd(wish: ControlRequest<'meta.useEtcd'>): Promise<readonly string[]>;
}

/** The nodes of the cluster as this one sees them. A node is named by name, id or prefix of one. */
export interface PeerManager {
  /** This node first; empty when it has never listened. */
  list(): Promise<readonly NodeView[]>;
  /** @throws HF_UNAVAILABLE, HF_DENIED when who listens there is no member. */
  connect(address: string): Promise<NodeView>;
  /** @throws HF_DENIED unless this is an admin node; HF_BAD_ARGUMENT. */
  invite(request: ControlRequest<'cluster.invite'>): Promise<InvitationView>;
  /**
   * Moves all that this node holds to the others, and takes it out of the cluster.
   * @throws HF_DENIED on the node that carries the names; HF_TOO_FEW_STORES.
   */
  leave(options: RunOptions): Promise<LeaveView>;
  /** @throws HF_NOT_FOUND; HF_BUSY when it is alive, unless forced; HF_DENIED. */
  remove(request: ControlRequest<'node.remove'>): Promise<NodeView>;
  /** @throws HF_NOT_FOUND; HF_DENIED when this node does not hold the volume. */
  grant(volume: string, node: string): Promise<GrantView>;
  /** @throws HF_NOT_FOUND; HF_DENIED when no other node serves the volume. */
  revoke(volume: string, node: string): Promise<GrantView>;
}

/** Which disks and stores are on which machine of the cluster. */
export interface DiskFinder {
  /** This machine first. */
  list(): Promise<readonly DiskView[]>;
  /**
   * Asks the members when nothing is known.
   * @param name a label, or the beginning of the id of a store or of a uuid.
   * @throws HF_NOT_FOUND.
   */
  where(name: string, options: { readonly signal: AbortSignal }): Promise<readonly DiskView[]>;
  /** Of this machine. */
  here(): Promise<readonly DiskView[]>;
}

export interface AdminParts {
  readonly identity: Pick<
    StatusView,
    | 'version'
    | 'nodeId'
    | 'name'
    | 'clusterId'
    | 'dataPath'
    | 'startedAtMs'
    | 'processId'
    | 'startNotes'
  >;
  readonly peers: PeerManager;
  readonly disks: DiskFinder;
  /** Where stores stand, by id: this node's and those of others. */
  storePlaces(): Readonly<Record<string, StorePlaceView>>;
  readonly volumes: VolumeManager;
  readonly devices: DeviceManager;
  readonly mounts: MountManager;
  readonly metadata: MetadataManager;
  readonly repair: Repair;
  /** `undefined` while the home does not answer; said soon. */
  repairStatus(): Promise<RepairStatus | undefined>;
  /** Content of a client is under way until the result is disposed. */
  beginContent(): Disposable;
  /** Reads since the start that were answered by names as they were a while ago. */
  staleReadCount(): number;
  /** Counters and gauges since the start, by name and labels. */
  metrics(): Readonly<Record<string, number>>;
  /** What the layout promises now. */
  layoutReport(): LayoutReport;
  /** One line each: what the user should know or do. */
  warnings(): Promise<readonly string[]>;
  /** The recovery kit as text. */
  exportKit(): Promise<string>;
  /** Asks the node to drain and stop; returns at once. */
  stop(): void;
}
