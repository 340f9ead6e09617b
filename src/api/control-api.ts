/**
 * The control interface of a node, as its server (`admin`) and its clients (`client`) share it:
 * HTTP on a unix socket in the data directory, and, where the user asks for it, on a TCP address.
 * There each request carries `authorization: Bearer <token>` with the token of the data directory.
 *
 * - `POST /v1/call/<method>` with a JSON body; the answer is lines of JSON: any number of
 *   `{"progress": …}` and `{"item": …}`, then one `{"result": …}` or `{"error": {code, message}}`.
 * - `content.store` and `content.fetch` are calls for files that the caller holds open on the same
 *   machine: the node opens them through their descriptor, and content crosses no socket. Over TCP
 *   they are refused (HF_UNSUPPORTED): the same name may mean another file there.
 * - `PUT /v1/content?<ContentPut>` with the content as body; the answer is one {@link PutAnswer}.
 * - `GET /v1/content?<ContentGet>`: the content; {@link OBJECT_HEADER} holds the
 *   {@link ObjectView}.
 *   It is sent in chunks, because only then HTTP allows a trailer: a failure in mid-stream cuts the
 *   body, and {@link ERROR_TRAILER} says why. Readers compare what came with the object's size.
 * - With {@link STRICT_HEADER} a node that is cut off from most others fails with HF_UNAVAILABLE
 *   where it would read names as they were a while ago.
 * - Errors before content have the HTTP status of their code and a body `{"error": …}`.
 */
import * as v from 'valibot';
import type { RepairStatusView, RepairView, ScrubView } from './care-views.ts';
import type { DeviceChange, DeviceDetails, DeviceView } from './device-views.ts';
import type { MountView } from './mount-views.ts';
import type { MetadataView, PathCellView } from './meta-views.ts';
import type { DiskView, GrantView, InvitationView, LeaveView, NodeView } from './node-views.ts';
import type { ListedView, LocationView, ObjectView, PlaceView, PutAnswer } from './object-views.ts';
import type { FileView } from './tree-views.ts';
import type { ReencodeView, VolumeView } from './volume-views.ts';

/** Name of the socket in the data directory. */
export const CONTROL_SOCKET = 'control.sock';
/** Name of the file in the data directory whose one line opens the control interface over TCP. */
export const CONTROL_TOKEN = 'control.token';
/** JSON of an {@link ObjectView}, percent-encoded. */
export const OBJECT_HEADER = 'x-holdfast-object';
/** Header of a request that is not to be answered by names which may be old. */
export const STRICT_HEADER = 'x-holdfast-strict';
/** JSON of an {@link ErrorView}, percent-encoded. */
export const ERROR_TRAILER = 'x-holdfast-error';

export interface ErrorView {
  readonly code: string;
  readonly message: string;
}

export interface ProgressView {
  readonly doneCount: number;
  readonly totalCount: number;
  readonly bytes: number;
}

export interface StatusView {
  readonly version: string;
  readonly nodeId: string;
  readonly name: string;
  readonly clusterId: string;
  readonly dataPath: string;
  readonly startedAtMs: number;
  readonly processId: number;
  /** What this start had to tell, one line each: what a recovery did not bring back. */
  readonly startNotes: readonly string[];
  readonly volumes: readonly VolumeView[];
  readonly devices: readonly DeviceView[];
  /** All nodes of the cluster that are known here, this one first; empty when it is alone. */
  readonly nodes: readonly NodeView[];
  /** Null while the home does not answer. */
  readonly repair: RepairStatusView | null;
  /** One line each: what the user should know or do. */
  readonly warnings: readonly string[];
}

export interface HealthView {
  readonly stripes: { readonly ok: number; readonly degraded: number; readonly lost: number };
  readonly bySpare: Readonly<Record<string, number>>;
  readonly misplaced: number;
  readonly unnamedChunks: number;
  readonly badChunks: number;
  readonly devices: readonly DeviceView[];
  /** As in {@link StatusView}. */
  readonly nodes: readonly NodeView[];
  readonly repair: RepairStatusView | null;
  /** For each level, how many domains may be lost at once. */
  readonly survives: readonly { readonly level: string; readonly count: number }[];
  /** What could not be kept, and stores that are away. */
  readonly warnings: readonly string[];
}

const volume = v.optional(v.pipe(v.string(), v.minLength(1)), 'default');
const text = v.pipe(v.string(), v.minLength(1));
const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const nothing = v.strictObject({});
/** Ms from the creation of an object; null: for ever. */
const worm = v.strictObject({ retentionMs: v.nullable(count) });
const oneObject = v.strictObject({ volume, reference: text });
const objectId = v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/));
/** Names joined by '/', from the root; '' is the root. */
const path = v.string();
const onePath = v.strictObject({ volume, path });
const ownership = {
  mode: v.optional(v.pipe(count, v.maxValue(0o7777))),
  uid: v.optional(v.pipe(count, v.maxValue(2 ** 32 - 1))),
  gid: v.optional(v.pipe(count, v.maxValue(2 ** 32 - 1))),
};

/** Bytes; 0 means no limit, and one that is left out stays as it is. */
const limits = {
  minBytes: v.optional(count),
  maxBytes: v.optional(count),
  hardMaxBytes: v.optional(count),
};

/** A descriptor of the caller's, as the kernel names it: `/proc/<process>/fd/<number>`. */
const descriptor = v.pipe(v.string(), v.regex(/^\/proc\/\d+\/fd\/\d+$/));

/** Query of `PUT /v1/content`. */
export const ContentPut = v.strictObject({
  volume,
  key: v.optional(v.string()),
  id: v.optional(text),
  fileName: v.optional(v.string()),
  mediaType: v.optional(v.string()),
  scheme: v.optional(text),
  /** `no`: other content under the key is kept, and the put refused. */
  replace: v.optional(v.picklist(['yes', 'no']), 'yes'),
});
export type ContentPutInput = v.InferInput<typeof ContentPut>;

/** Method → what it takes. What it gives is in {@link ControlAnswers}. */
export const CONTROL_METHODS = {
  status: nothing,
  stop: nothing,
  health: nothing,
  scrub: nothing,
  repair: v.strictObject({
    /** Bytes written a second, at most; left out: as fast as can be. */
    rateBytesPerSecond: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1))),
  }),
  metrics: nothing,
  /** @throws HF_UNSUPPORTED when the node cannot open the descriptor: send the content then. */
  'content.store': v.strictObject({ ...ContentPut.entries, descriptor }),
  'content.fetch': v.strictObject({
    ...oneObject.entries,
    descriptor,
    offset: v.optional(count),
    lengthBytes: v.optional(count),
  }),
  'object.create': v.strictObject({ volume }),
  'object.query': oneObject,
  /** All, or those after the last one of a page before: its key, or its id when it had no key. */
  'object.list': v.strictObject({
    volume,
    prefix: v.optional(v.string(), ''),
    after: v.optional(text),
    afterId: v.optional(objectId),
    limit: v.optional(v.pipe(count, v.minValue(1))),
  }),
  'object.remove': oneObject,
  'object.reencode': v.strictObject({ ...oneObject.entries, scheme: text }),
  'object.where': oneObject,
  'object.locate': oneObject,
  'tree.status': onePath,
  /** What is in a directory. */
  'tree.list': onePath,
  'tree.makeDirectory': v.strictObject({
    ...onePath.entries,
    ...ownership,
    makesParents: v.optional(v.boolean(), false),
  }),
  /** An empty one. */
  'tree.makeFile': v.strictObject({ ...onePath.entries, ...ownership }),
  'tree.makeSymlink': v.strictObject({ ...onePath.entries, target: text }),
  /** One more name, `path`, for the file at `existing`. */
  'tree.link': v.strictObject({ ...onePath.entries, existing: path }),
  'tree.rename': v.strictObject({
    volume,
    from: path,
    to: path,
    flag: v.optional(v.picklist(['noReplace', 'exchange'])),
  }),
  'tree.unlink': onePath,
  'tree.removeDirectory': onePath,
  'tree.setOwnership': v.strictObject({ ...onePath.entries, ...ownership }),
  'mount.list': nothing,
  /** `directory`: an absolute path on the node's machine, of an empty directory. */
  'mount.add': v.strictObject({
    volume,
    directory: text,
    isReadOnly: v.optional(v.boolean(), false),
    allowsOthers: v.optional(v.boolean(), false),
    forbidsPrograms: v.optional(v.boolean(), false),
    hasLocalLocks: v.optional(v.boolean(), false),
    endsWithUmount: v.optional(v.boolean(), false),
  }),
  /** @throws HF_BUSY when somebody uses it, unless forced or lazy. */
  'mount.remove': v.strictObject({
    directory: text,
    isForced: v.optional(v.boolean(), false),
    /** Out of sight at once; who uses it goes on, and it ends when nobody does. */
    isLazy: v.optional(v.boolean(), false),
  }),
  'device.list': nothing,
  'device.add': v.strictObject({
    path: text,
    capacityBytes: v.optional(count),
    /** Whether what is empty may be made a store. */
    isNew: v.optional(v.boolean(), true),
    /** Whether what is not ours may be formatted; never what is in use. */
    isForced: v.optional(v.boolean(), false),
    /** With `isForced`: whether even a store may be, whose chunks are lost then. */
    replacesStore: v.optional(v.boolean(), false),
    /** Of what is not there yet. */
    kind: v.optional(v.picklist(['directory', 'image'])),
    label: v.optional(v.pipe(v.string(), v.maxBytes(64))),
    ...limits,
  }),
  'device.query': v.strictObject({ device: text }),
  'device.limits': v.strictObject({ device: text, ...limits }),
  /** Closes a store and leaves it to others; it stays known, and `device.add` brings it back. */
  'device.detach': v.strictObject({ device: text }),
  'device.remove': v.strictObject({ device: text, isForced: v.optional(v.boolean(), false) }),
  'volume.list': nothing,
  'volume.create': v.strictObject({
    name: text,
    scheme: v.optional(text),
    isDeduplicating: v.optional(v.boolean(), true),
    worm: v.optional(worm),
  }),
  /** What is left out stays as it is. @throws HF_WORM when a retention would get shorter. */
  'volume.policy': v.strictObject({
    name: text,
    scheme: v.optional(text),
    worm: v.optional(worm),
  }),
  /** Stores older objects by the volume's scheme; goes on when the caller goes. */
  'volume.apply': v.strictObject({ name: text }),
  /** `node`: a name, an id or the unique beginning of one. */
  'volume.grant': v.strictObject({ name: text, node: text }),
  /** @throws HF_DENIED when no other node serves the volume. */
  'volume.revoke': v.strictObject({ name: text, node: text }),
  'peers.list': nothing,
  /** Makes acquaintance with the member that listens there. */
  'peers.connect': v.strictObject({ address: text }),
  /** @throws HF_DENIED unless this is an admin node. */
  'cluster.invite': v.strictObject({
    lifeMs: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1)), 3_600_000),
    /** Whether who joins may invite others, and holds the cluster key. */
    isAdmin: v.optional(v.boolean(), false),
    /** Where the inviter is reached; where it listens when left out. */
    addresses: v.optional(v.pipe(v.array(text), v.minLength(1), v.maxLength(4))),
  }),
  /** Moves what this node holds to the others, takes it out of the cluster and stops it. */
  'cluster.leave': nothing,
  /** @throws HF_BUSY when the node is alive, unless forced. */
  'node.remove': v.strictObject({ node: text, isForced: v.optional(v.boolean(), false) }),
  /** Of all machines of the cluster, as far as their nodes have told. */
  'disks.list': nothing,
  /** @throws HF_NOT_FOUND. @param name a label, or the beginning of the id of a store, of a uuid */
  'disks.where': v.strictObject({ name: text }),
  'disks.localhost': nothing,
  'key.export': nothing,
  /** Where the metadata is: its engine, the ring, the cells. */
  'meta.report': nothing,
  'meta.where': onePath,
  /**
   * Makes a new ring from what this node has of one that lost most of its members for good.
   * @throws HF_EXISTS when it is not lost; HF_BAD_ARGUMENT, naming a node that has more of it;
   *   HF_NOT_FOUND when nothing is left.
   */
  'meta.restore': nothing,
  /**
   * Has the metadata lie in an etcd that the user runs, or says where that is now. Texts are PEM.
   * @throws HF_BAD_ARGUMENT; HF_UNAVAILABLE, HF_NO_SPACE, HF_UNSUPPORTED when that etcd will not
   *   do, or another node is to be asked; HF_EXISTS when its keys are another cluster's.
   */
  'meta.useEtcd': v.strictObject({
    endpoints: v.array(text),
    prefix: v.optional(text),
    authority: v.optional(v.string()),
    certificate: v.optional(v.string()),
    key: v.optional(v.string()),
    isPlainAllowed: v.optional(v.boolean()),
  }),
} as const;

export type ControlMethod = keyof typeof CONTROL_METHODS;
export type ControlInput<Method extends ControlMethod> = v.InferInput<
  (typeof CONTROL_METHODS)[Method]
>;
export type ControlRequest<Method extends ControlMethod> = v.InferOutput<
  (typeof CONTROL_METHODS)[Method]
>;

/** What each method answers; `item` streams before the result where there are many. */
export interface ControlAnswers {
  status: { result: StatusView };
  stop: { result: { readonly isStopping: true; readonly processId: number } };
  health: { result: HealthView };
  scrub: { result: ScrubView };
  repair: { result: RepairView };
  /** Counters and gauges since the start: `name{label="value",…}` → value. */
  metrics: { result: Readonly<Record<string, number>> };
  'content.store': { result: PutAnswer };
  /** Written from the descriptor's beginning, not made durable. */
  'content.fetch': { result: ObjectView };
  'object.create': { result: ObjectView };
  'object.query': { result: ObjectView };
  'object.list': { result: { readonly count: number }; item: ListedView };
  'object.remove': { result: ObjectView };
  'object.reencode': { result: ObjectView };
  'object.where': { result: { readonly count: number }; item: PlaceView };
  'object.locate': { result: LocationView };
  'tree.status': { result: FileView };
  'tree.list': { result: { readonly count: number }; item: FileView };
  'tree.makeDirectory': { result: FileView };
  'tree.makeFile': { result: FileView };
  'tree.makeSymlink': { result: FileView };
  'tree.link': { result: FileView };
  'tree.rename': { result: { readonly from: string; readonly to: string } };
  'tree.unlink': { result: { readonly path: string } };
  'tree.removeDirectory': { result: { readonly path: string } };
  'tree.setOwnership': { result: FileView };
  'mount.list': { result: readonly MountView[] };
  'mount.add': { result: MountView };
  'mount.remove': { result: MountView };
  'device.list': { result: readonly DeviceView[] };
  'device.add': { result: DeviceChange };
  'device.query': { result: DeviceDetails };
  'device.limits': { result: DeviceDetails };
  'device.detach': { result: DeviceChange };
  'device.remove': { result: DeviceChange };
  'volume.list': { result: readonly VolumeView[] };
  'volume.create': { result: VolumeView };
  'volume.policy': { result: VolumeView };
  'volume.apply': { result: ReencodeView };
  'volume.grant': { result: GrantView };
  'volume.revoke': { result: GrantView };
  'peers.list': { result: readonly NodeView[] };
  'peers.connect': { result: NodeView };
  'cluster.invite': { result: InvitationView };
  'cluster.leave': { result: LeaveView };
  'node.remove': { result: NodeView };
  'disks.list': { result: readonly DiskView[] };
  'disks.where': { result: readonly DiskView[] };
  'disks.localhost': { result: readonly DiskView[] };
  /** The recovery kit as text. */
  'key.export': { result: { readonly kit: string } };
  'meta.report': { result: MetadataView };
  'meta.where': { result: readonly PathCellView[] };
  /** What is lost, one line each. */
  'meta.restore': { result: { readonly lines: readonly string[] } };
  'meta.useEtcd': { result: { readonly lines: readonly string[] } };
}

/** Query of `GET /v1/content`. */
export const ContentGet = v.strictObject({
  volume,
  reference: text,
  offset: v.optional(v.pipe(v.string(), v.digits(), v.transform(Number))),
  lengthBytes: v.optional(v.pipe(v.string(), v.digits(), v.transform(Number))),
});
export interface ContentGetInput {
  readonly volume?: string;
  readonly reference: string;
  readonly offset?: number;
  readonly lengthBytes?: number;
}
