// Aim: no operation touches the entries of a directory that somebody else holds, nor takes it away;
// the holder's do; and what an inode or object leaves behind elsewhere goes with it. Method: every
// such operation, each on a bed of its own: without a claim, with one that is old, with the right
// one.
import { describe, expect, it } from 'vitest';
import {
  handlesBed,
  type HandlesBed,
  lockOf,
  sessionOf,
} from '../../../test/suites/handles-bed.ts';
import { extentOf } from '../../../test/suites/meta-makers.ts';
import { errorCode, LIMITS, type ObjectId, utf8 } from '../../base/index.ts';
import { Overlay } from '../cells/overlay.ts';
import { rowsOfTag } from '../cells/rows.ts';
import type { DirectoryLease, LeaseClaim } from '../handles/handles.ts';
import { uploadsOf } from '../uploads/uploads-cell.ts';
import type { Uploads } from '../uploads/uploads.ts';
import { runBatch } from './batch-op.ts';
import type { Circumstances } from './inode-ops.ts';
import { namespaceOf } from './namespace-cell.ts';
import { type Inode, type Namespace, ROOT_INODE } from './namespace.ts';
import { treeOf } from './tree-cell.ts';
import type { Place, Tree, TreeStep } from './tree.ts';

const OWNER = { mode: 0o700, uid: 0, gid: 0 };
const SALT = utf8('salt');
const ID = 'ab'.repeat(16) as ObjectId;
const A = sessionOf(1);

interface Bed extends Pick<HandlesBed, 'handles' | 'steward'>, AsyncDisposable {
  readonly tree: Tree;
  readonly namespace: Omit<Namespace, typeof Symbol.asyncDispose>;
  readonly uploads: Uploads;
  /** Says whose operations they are. */
  claim(claims: ReadonlyMap<Inode, LeaseClaim>): void;
  /** In the root. */
  readonly leased: Inode;
  readonly free: Inode;
  lease(directory: Inode): Promise<DirectoryLease>;
}

function at(directory: Inode, name: string): Place {
  return { directory, name: utf8(name), directoryName: utf8(`${name}/`) };
}

/** Two directories, each with a file, a directory and an object; and another object by itself. */
async function openBed(): Promise<Bed> {
  const { steward, handles, env, ...handlesOfBed } = await handlesBed();
  await handles.openSession({ session: A, node: 'n' });
  let claims: Circumstances['claims'];
  const now = (): Circumstances => ({ nowMs: env.clock.now(), claims });
  const tree = treeOf(steward, now);
  const made = async (name: string): Promise<Inode> => {
    const place = at(ROOT_INODE, name);
    return (await tree.makeDirectory({ ...OWNER, place, salt: SALT })).status.inode;
  };
  const bed: Bed = {
    steward,
    handles,
    tree,
    namespace: namespaceOf(steward, now),
    uploads: uploadsOf(steward, now),
    claim(next) {
      claims = next;
    },
    leased: await made('leased'),
    free: await made('free'),
    async lease(directory) {
      const wanted = { inodeCount: 1, bytesReserved: 0, rowsReserved: 0 };
      const lease = await handles.leaseDirectory({ session: A, directory, ...wanted });
      return lease as DirectoryLease;
    },
    [Symbol.asyncDispose]: () => handlesOfBed[Symbol.asyncDispose](),
  };
  for (const directory of [bed.leased, bed.free]) {
    await tree.makeNode({ ...OWNER, place: at(directory, 'file'), type: 'file' });
    await tree.makeDirectory({ ...OWNER, place: at(directory, 'empty'), salt: SALT });
  }
  await put(bed, { entry: at(bed.leased, 'object'), id: ID });
  return bed;
}

async function put(
  { namespace }: Bed,
  { entry, id }: { entry?: Pick<Place, 'directory' | 'name'>; id: ObjectId },
): Promise<Inode> {
  const inode = await namespace.allocateInodes(1);
  await namespace.commitObject(commitOf(inode, { entry, id }));
  return inode;
}

function commitOf(
  inode: Inode,
  { entry, id }: { entry?: Pick<Place, 'directory' | 'name'> | undefined; id: ObjectId },
) {
  return {
    inode,
    createdAtMs: 1,
    objectId: id,
    sizeBytes: 10,
    schemeNumbers: [3],
    attributes: utf8('x'),
    addressKey: new Uint8Array(32).fill(1),
    mayReplace: true,
    extents: [extentOf(0, 10, Number(inode & 0xffffn))],
    entry: entry && { directory: entry.directory, name: entry.name },
  };
}

const OPERATIONS: Record<string, (bed: Bed) => Promise<unknown>> = {
  lookup: ({ tree, leased }) => tree.lookup(at(leased, 'file')),
  list: ({ tree, leased }) => tree.listAttributes({ directory: leased }),
  makeNode: ({ tree, leased }) =>
    tree.makeNode({ ...OWNER, place: at(leased, 'new'), type: 'fifo' }),
  makeDirectory: ({ tree, leased }) =>
    tree.makeDirectory({ ...OWNER, place: at(leased, 'new'), salt: SALT }),
  link: async ({ tree, leased, free }) => {
    const file = await tree.lookup(at(free, 'file'));
    await tree.link(file!.status.inode, at(leased, 'new'));
  },
  unlink: ({ tree, leased }) => tree.unlink(at(leased, 'file')),
  removeDirectory: ({ tree, leased }) => tree.removeDirectory(at(leased, 'empty')),
  renameFrom: ({ tree, leased, free }) =>
    tree.rename({ from: at(leased, 'file'), to: at(free, 'new') }),
  renameTo: ({ tree, leased, free }) =>
    tree.rename({ from: at(free, 'file'), to: at(leased, 'new') }),
  exchange: ({ tree, leased, free }) =>
    tree.rename({ from: at(free, 'file'), to: at(leased, 'file'), flag: 'exchange' }),
  objectLookup: ({ namespace, leased }) => namespace.lookup(leased, utf8('object')),
  objectList: ({ namespace, leased }) => namespace.list({ directory: leased }),
  objectDirectory: ({ namespace, leased: parent }) =>
    namespace.makeDirectory({
      parent,
      name: utf8('n/'),
      salt: SALT,
      attributes: SALT,
      isImplicit: true,
    }),
  putIn: (bed) => put(bed, { entry: at(bed.leased, 'new'), id: 'cd'.repeat(16) as ObjectId }),
  /** The object loses its old name. */
  putElsewhere: (bed) => put(bed, { entry: at(bed.free, 'new'), id: ID }),
  reencode: async ({ namespace }) => {
    const inode = await namespace.allocateInodes(1);
    const { inode: replaces } = (await namespace.object(ID))!;
    await namespace.reencodeObject({ ...commitOf(inode, { id: ID }), replaces });
  },
  removeObject: ({ namespace }) => namespace.removeObject(ID),
  removeFile: async ({ namespace }) => namespace.removeFile((await namespace.object(ID))!.inode),
};

describe('a directory that somebody holds', () => {
  it.each(Object.entries(OPERATIONS))('is out of reach: %s', async (_name, operation) => {
    await using bed = await openBed();
    const lease = await bed.lease(bed.leased);
    const code = (): Promise<unknown> => operation(bed).then(() => 'done', errorCode);
    expect(await code()).toBe('HF_LEASED');
    bed.claim(new Map([[bed.leased, { session: A, fence: lease.fence + 1 }]]));
    expect(await code()).toBe('HF_FENCED');
    bed.claim(new Map([[bed.leased, lease]]));
    expect(await code()).toBe('done');
  });

  it('is not taken away before its holder has brought what it made there', async () => {
    await using bed = await openBed();
    const { tree, free } = bed;
    const empty = (await tree.lookup(at(free, 'empty')))!.status.inode;
    const lease = await bed.lease(empty);
    await tree.makeDirectory({ ...OWNER, place: at(free, 'other'), salt: SALT });
    const over = { from: at(free, 'other'), to: at(free, 'empty') };
    expect(await tree.removeDirectory(at(free, 'empty')).catch(errorCode)).toBe('HF_LEASED');
    expect(await tree.rename(over).catch(errorCode)).toBe('HF_LEASED');
    await tree.rename({ from: at(free, 'empty'), to: at(free, 'moved') }); // its entries stay
    bed.claim(new Map([[empty, lease]]));
    await tree.removeDirectory(at(free, 'moved'));
    expect(await bed.steward.execute((rows) => [...rowsOfTag(rows, 'Y')])).toEqual([]);
  });

  it('does not vanish with its last object', async () => {
    await using bed = await openBed();
    const { namespace } = bed;
    const implicit = { name: utf8('i/'), salt: SALT, attributes: SALT, isImplicit: true };
    const { record } = await namespace.makeDirectory({ parent: ROOT_INODE, ...implicit });
    const id = 'ef'.repeat(16) as ObjectId;
    await put(bed, { entry: at(record.inode, 'x'), id });
    const lease = await bed.lease(record.inode);
    expect(await namespace.removeObject(id).catch(errorCode)).toBe('HF_LEASED');
    bed.claim(new Map([[record.inode, lease]]));
    await namespace.removeObject(id);
    expect(await namespace.record(record.inode)).toBeUndefined();
  });
});

describe('a batch', () => {
  it('is run no further than an entry holds', async () => {
    await using bed = await openBed();
    const { tree, free, steward } = bed;
    const { inode } = (await tree.lookup(at(free, 'file')))!.status;
    const lease = await bed.lease(bed.leased);
    const value = new Uint8Array(60_000);
    let asked = 0;
    const steps = Array.from({ length: 100 }, (_, index): TreeStep => {
      const request = { inode, name: utf8(`${index}`), value };
      return Object.defineProperty({ do: 'setXattr', args: [request] } as const, 'args', {
        get: () => [(asked++, request)],
      });
    });
    const batch = { session: A, leases: [lease], lane: 0, sequence: 1, steps };
    const run = steward.execute((rows) => runBatch(rows, batch, { nowMs: 0 }));
    expect(await run.catch(errorCode)).toBe('HF_TOO_LARGE');
    expect(asked).toBe(Math.ceil(LIMITS.logEntryBytesMax / value.length));
    expect(await tree.listXattrs(inode)).toEqual([]);
  });
});

describe('content in a batch', () => {
  it('of small files comes with their names, once, and is no other’s', async () => {
    await using bed = await openBed();
    const { tree, leased, steward } = bed;
    const inode = await bed.namespace.allocateInodes(1, { inode: leased });
    const lease = await bed.lease(leased);
    const whole = { inode, extents: [], schemeNumbers: [], sizeBytes: 6, isOnlyOnBase: true };
    const inline = { sealed: utf8('sealed'), lengthBytes: 6 };
    const holes = { ...whole, write: 900n, holes: [{ offset: 1, lengthBytes: 2 }] };
    const steps: TreeStep[] = [
      { do: 'makeNode', args: [{ ...OWNER, place: at(leased, 'small'), inode, type: 'file' }] },
      { do: 'commitExtents', args: [{ ...whole, inline, baseChange: 0n }] },
      { do: 'commitExtents', args: [{ ...whole, inline, baseChange: 0n }] },
      { do: 'commitExtents', args: [{ ...holes, baseChange: 1n }] },
      { do: 'setAttributes', args: [inode, { sizeBytes: 4 }] },
    ];
    const batch = { session: A, leases: [lease], lane: 0, sequence: 1, steps };
    const run = () => steward.execute((rows) => runBatch(rows, batch, { nowMs: 5 }));
    const answer = await run();
    expect(answer).toMatchObject({
      results: [
        { changeCount: 0n },
        { changeCount: 1n, wasBase: true },
        { code: 'HF_BUSY' },
        { code: 'HF_BUSY' },
        { changeCount: 2n },
      ],
    });
    expect(await run()).toEqual(answer);
    expect(await tree.getAttributes(inode, { withContent: true })).toMatchObject({
      inline: { ...inline, lengthBytes: 4 },
      sizeBytes: 4,
      storedBytes: 4,
    });
  });
});

describe('what goes with an inode or an object', () => {
  it('a bucket with raw keys or uploads is not empty, and does not vanish', async () => {
    await using bed = await openBed();
    const { tree, namespace, uploads, free } = bed;
    const bucket = (await tree.lookup(at(free, 'empty')))!.status.inode;
    const place = { bucket, upload: sessionOf(5) };
    const removal = (): Promise<unknown> =>
      tree.removeDirectory(at(free, 'empty')).then(() => 'done', errorCode);
    await uploads.createUpload({ ...place, attributes: SALT });
    expect(await removal()).toBe('HF_NOT_EMPTY');
    await uploads.abortUpload(place);
    const id = 'cd'.repeat(16) as ObjectId;
    const inode = await namespace.allocateInodes(1);
    await uploads.commitRawObject({ bucket, key: utf8('k'), commit: commitOf(inode, { id }) });
    expect(await removal()).toBe('HF_NOT_EMPTY');
    await namespace.removeObject(id);
    expect(await uploads.rawObject(bucket, utf8('k'))).toBeUndefined();
    expect(await removal()).toBe('done');

    const implicit = { name: utf8('i/'), salt: SALT, attributes: SALT, isImplicit: true };
    const { record } = await namespace.makeDirectory({ parent: ROOT_INODE, ...implicit });
    await put(bed, { entry: at(record.inode, 'x'), id });
    await uploads.createUpload({ bucket: record.inode, upload: sessionOf(6), attributes: SALT });
    await namespace.removeObject(id);
    expect(await namespace.record(record.inode)).toBeDefined();
  });

  it('an object that is put by its id loses its raw key; re-encoded it keeps it', async () => {
    await using bed = await openBed();
    const { namespace, uploads, free: bucket } = bed;
    const id = 'cd'.repeat(16) as ObjectId;
    const [first, second] = [await namespace.allocateInodes(1), await namespace.allocateInodes(1)];
    await uploads.commitRawObject({ bucket, key: utf8('k'), commit: commitOf(first, { id }) });
    await namespace.reencodeObject({ ...commitOf(second, { id }), replaces: first });
    expect((await uploads.rawObject(bucket, utf8('k')))?.inode).toBe(second);
    await put(bed, { id });
    expect(await uploads.listRawObjects({ bucket })).toEqual([]);
    const left = await bed.steward.execute((rows: Overlay) => [
      ...rowsOfTag(rows, 'Z'),
      ...rowsOfTag(rows, 'z'),
    ]);
    expect(left).toEqual([]);
  });

  it('locks go with the file', async () => {
    await using bed = await openBed();
    const { tree, handles, free } = bed;
    const { inode } = (await tree.lookup(at(free, 'file')))!.status;
    await handles.lock({ ...lockOf({ owner: 1, inode }), waits: false });
    await tree.unlink(at(free, 'file'));
    expect(await bed.steward.execute((rows) => [...rowsOfTag(rows, 'L')])).toEqual([]);
  });
});
