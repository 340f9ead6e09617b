/** The operations of {@link Tree} between nodes. */
import * as v from 'valibot';
import { type ErrorCode, errorCode, LIMITS } from '../../base/index.ts';
import { claim, heldLeases, lease, leaseWanted, session } from '../handles/handles-wire.ts';
import {
  bytes,
  type CellMethods,
  changes,
  inode,
  limit,
  namedChanges,
  noArgs,
  nothing,
  partsConcatenated,
  picked,
  reads,
  schemeNumber,
  stripe,
  whole,
  wholeUpTo,
} from '../remote/cell-methods.ts';
import type { Inode } from './namespace.ts';
import { slotOfInode } from './namespace-rows.ts';
import {
  extent,
  inline,
  pageLimit,
  pageOfInodes,
  record,
  recordOptions,
  release,
} from './namespace-wire.ts';
import { MODE_MAX } from './posix-part.ts';
import type { Place, ScanPage, Tree, TreeStep, TreeStepName } from './tree.ts';

const mode = wholeUpTo(MODE_MAX);
const id = wholeUpTo(2 ** 32 - 1);
const u64 = v.pipe(v.bigint(), v.minValue(0n), v.maxValue(2n ** 64n - 1n));
const newTime = v.union([u64, v.literal('now')]);

const status = v.object({
  ...record.entries,
  mode,
  uid: id,
  gid: id,
  linkCount: id,
  accessedNs: u64,
  modifiedNs: u64,
  changedNs: u64,
  changeCount: u64,
  deviceNumber: id,
  storedBytes: whole,
  quotaDirectory: v.undefinedable(inode),
});
const entry = v.object({ name: bytes, status });
const removal = v.object({ status, release: v.undefinedable(release) });
const place = v.object({ directory: inode, name: bytes, directoryName: bytes });
const ownership = { mode, uid: id, gid: id };

const directoryPage = v.object({
  directory: inode,
  after: v.optional(bytes),
  limit: v.exactOptional(limit),
  claim: v.optional(claim),
});
const scanPage = v.optional(v.object({ after: v.optional(inode), limit: v.exactOptional(limit) }));

const newNode = v.object({
  ...ownership,
  place: v.optional(place),
  inode: v.optional(inode),
  type: v.picklist(['file', 'symlink', 'fifo', 'socket', 'characterDevice', 'blockDevice']),
  deviceNumber: v.optional(id),
  target: v.optional(v.object({ sealed: bytes, sizeBytes: whole })),
  attributes: v.optional(bytes),
});
const newDirectory = v.object({
  ...ownership,
  place,
  inode: v.optional(inode),
  salt: bytes,
  attributes: v.optional(bytes),
});
const attributeChanges = v.object({
  mode: v.optional(mode),
  uid: v.optional(id),
  gid: v.optional(id),
  accessedNs: v.optional(newTime),
  modifiedNs: v.optional(newTime),
  sizeBytes: v.optional(whole),
  attributes: v.optional(bytes),
});
const renaming = v.object({
  from: place,
  to: place,
  flag: v.optional(v.picklist(['noReplace', 'exchange'])),
});
const newXattr = v.object({
  inode,
  name: bytes,
  value: bytes,
  mode: v.optional(v.picklist(['create', 'replace'])),
  permissions: v.optional(mode),
});
const contentCommit = v.object({
  inode,
  write: v.optional(inode),
  extents: v.array(extent),
  holes: v.optional(v.array(v.object({ offset: whole, lengthBytes: whole }))),
  inline: v.optional(inline),
  schemeNumbers: v.array(schemeNumber),
  sizeBytes: whole,
  modifiedNs: v.optional(newTime),
  attributes: v.optional(bytes),
  baseChange: u64,
  isOnlyOnBase: v.optional(v.boolean()),
});
const loose = v.object({ inode, holder: inode, stripes: v.array(stripe) });
const quota = v.object({
  bytesMax: v.undefinedable(whole),
  inodesMax: v.undefinedable(whole),
});
const quotaUsage = v.object({ bytes: whole, inodes: whole });

const ofPlace = ([{ directory }]: readonly [Place, ...unknown[]]): number => slotOfInode(directory);
const ofInode = ([of]: readonly [Inode, ...unknown[]]): number => slotOfInode(of);

type Scan = readonly [page?: ScanPage | undefined];

/** Pages over all slots. */
const scan = {
  from: ([page]: Scan) => (page?.after === undefined ? 0 : slotOfInode(page.after)),
  merge: (pages: readonly Inode[][], [page]: Scan) =>
    pages.flat().slice(0, pageLimit([page ?? {}])),
  isEnough: (pages: readonly Inode[][], [page]: Scan) =>
    pages.flat().length >= pageLimit([page ?? {}]),
};
const byInodes = {
  slots: ([inodes]: readonly [readonly Inode[]]) => inodes.map(slotOfInode),
  pick: ([inodes]: readonly [readonly Inode[]], indexes: readonly number[]): [Inode[]] => [
    picked(inodes, indexes),
  ],
};

const STEP_METHODS: Pick<CellMethods<Tree>, TreeStepName> = {
  makeNode: changes(v.tuple([newNode]), entry, ([{ place: at, inode: of }]) =>
    slotOfInode(at?.directory ?? of ?? 0n),
  ),
  makeDirectory: changes(v.tuple([newDirectory]), entry, ([{ place: at }]) => ofPlace([at])),
  link: changes(v.tuple([inode, place]), status, ([, at]) => ofPlace([at])),
  unlink: changes(v.tuple([place]), removal, ofPlace),
  removeDirectory: changes(v.tuple([place]), status, ofPlace),
  rename: changes(v.tuple([renaming]), v.undefinedable(removal), ([{ from }]) => ofPlace([from])),
  setAttributes: changes(v.tuple([inode, attributeChanges]), status, ofInode),
  setXattr: changes(v.tuple([newXattr]), status, ([of]) => slotOfInode(of.inode)),
  removeXattr: changes(v.tuple([inode, bytes]), status, ofInode),
  commitExtents: changes(
    v.tuple([contentCommit]),
    v.object({ status, wasBase: v.boolean() }),
    ([of]) => slotOfInode(of.inode),
  ),
};

const stepArgs = Object.entries({
  ...STEP_METHODS,
  leaseDirectory: { args: v.tuple([leaseWanted]) },
});
const step = v.variant(
  'do',
  stepArgs.map(([name, { args }]) =>
    v.object({ do: v.literal(name), args, atMs: v.optional(v.pipe(v.number(), v.integer())) }),
  ),
) as unknown as v.GenericSchema<unknown, TreeStep>;
const code = v.custom<ErrorCode>((value) => errorCode({ code: value }) !== undefined);
const result = v.object({
  code: v.optional(code),
  leased: v.optional(inode),
  changeCount: v.optional(u64),
  wasBase: v.optional(v.boolean()),
  release: v.optional(release),
  lease: v.optional(lease),
});
const batch = v.object({
  session,
  leases: v.pipe(heldLeases, v.minLength(1), v.maxLength(LIMITS.batchLeasesMax)),
  lane: wholeUpTo(LIMITS.retryLanesMax - 1),
  sequence: whole,
  steps: v.pipe(v.array(step), v.minLength(1), v.maxLength(LIMITS.batchStepsMax)),
});
const batchAnswer = v.variant('state', [
  v.object({ state: v.literal('done'), atMs: whole, results: v.array(result) }),
  v.object({ state: v.literal('fenced'), directory: inode }),
]);

export const TREE_METHODS: CellMethods<Tree> = {
  ...STEP_METHODS,
  runBatch: namedChanges(v.tuple([batch]), batchAnswer, ([{ leases }]) =>
    slotOfInode(leases[0]?.directory ?? 0n),
  ),
  lookup: reads(v.tuple([place, v.optional(claim)]), v.undefinedable(entry), ofPlace),
  getAttributes: reads(v.tuple([inode, recordOptions]), v.undefinedable(status), ofInode),
  parentOf: reads(v.tuple([inode]), inode, ofInode),
  listAttributes: reads(v.tuple([directoryPage]), v.array(entry), ([{ directory }]) =>
    slotOfInode(directory),
  ),
  readLink: reads(v.tuple([inode]), bytes, ofInode),
  getXattr: reads(v.tuple([inode, bytes]), v.undefinedable(bytes), ofInode),
  listXattrs: reads(v.tuple([inode]), v.array(bytes), ofInode),
  committedWrites: reads(v.tuple([pageOfInodes]), v.array(inode), {
    ...byInodes,
    join: partsConcatenated,
  }),
  forgetWrites: changes(v.tuple([pageOfInodes]), v.void(), { ...byInodes, join: nothing }),
  looseInodes: reads(v.tuple([scanPage]), v.array(inode), scan),
  looseStripes: changes(v.tuple([inode]), v.array(loose), ofInode),
  finishLooseStripes: changes(v.tuple([loose]), v.void(), ([of]) => slotOfInode(of.inode)),
  orphans: reads(v.tuple([scanPage]), v.array(inode), scan),
  releaseOrphans: changes(v.tuple([pageOfInodes]), v.array(release), {
    ...byInodes,
    join: partsConcatenated,
  }),
  setQuota: changes(v.tuple([inode, v.undefinedable(quota)]), v.void(), ofInode),
  getQuota: reads(
    v.tuple([inode]),
    v.undefinedable(v.object({ quota, usage: quotaUsage })),
    ofInode,
  ),
  charge: changes(v.tuple([inode]), status, ofInode),
  usage: reads(noArgs, v.object({ inodeCount: whole, contentBytes: whole }), {
    merge: (parts) => ({
      inodeCount: parts.reduce((sum, { inodeCount }) => sum + inodeCount, 0),
      contentBytes: parts.reduce((sum, { contentBytes }) => sum + contentBytes, 0),
    }),
  }),
};
