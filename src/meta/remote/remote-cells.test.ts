/**
 * Aim: cells of another node answer as local ones do, value for value and error for error; a lost
 * answer to a change is an unknown outcome; who does not hold a volume learns nothing; no request
 * breaks a steward. Method: one story told to a local cell and to a remote one, whose answers must
 * be equal, over the network in memory; faults one by one; random bytes as requests.
 */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { extentOf, stripeOf } from '../../../test/suites/meta-makers.ts';
import { RemoteBed } from '../../../test/suites/remote-bed.ts';
import { errorCode, groupOf, LIMITS, type ObjectId, utf8 } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { realEnv } from '../../env/index.ts';
import { MemoryLog } from '../../log/index.ts';
import type { Network } from '../../net/index.ts';
import {
  type Namespace,
  type ObjectCommit,
  openNamespace,
  openReferences,
  type References,
  openVolumeCell,
  remoteReferences,
  remoteVolume,
  ROOT_INODE,
  serveReferences,
  serveVolumes,
  type Tree,
  type VolumeCell,
} from '../index.ts';
import { REFERENCE_METHODS } from '../references/references-wire.ts';
import { DOOR_NAMES, VOLUME_TABLES } from '../volume-cell/volume-tables.ts';
import { decodeValue, encodeValue } from './wire-value.ts';

const real = realEnv();
/** The same for every cell, so that their answers are equal. */
const env = {
  ...real,
  clock: { ...real.clock, now: () => 1_800_000_000_000 },
  random: {
    ...real.random,
    bytes: (count: number) => new Uint8Array(count).fill(9),
    below: () => 9,
  },
};

const newNamespace = (): Promise<Namespace> =>
  openNamespace({ env, cell: 'v', log: new MemoryLog(), db: new MemoryDb() });
const newVolume = (): Promise<VolumeCell> =>
  openVolumeCell({ env, cell: 'w', log: new MemoryLog(), db: new MemoryDb() });
const newReferences = (): Promise<References> =>
  openReferences({ env, cell: 'r', log: new MemoryLog(), db: new MemoryDb() });

function idOf(number: number): ObjectId {
  return number.toString(16).padStart(32, '0') as ObjectId;
}

function commitOf(inode: bigint, parts: Partial<ObjectCommit> = {}): ObjectCommit {
  return {
    inode,
    createdAtMs: 1,
    objectId: idOf(Number(inode)),
    sizeBytes: 10,
    schemeNumbers: [3],
    attributes: utf8('sealed'),
    addressKey: new Uint8Array(32).fill(1),
    extents: [extentOf(0, 10, 1)],
    mayReplace: false,
    ...parts,
  };
}

/** Every answer, errors as their codes. */
type Tell = (work: Promise<unknown>) => Promise<unknown>;

async function namespaceStory(namespace: Namespace, tell: Tell): Promise<void> {
  const first = await namespace.allocateInodes(5);
  await tell(Promise.resolve(first));
  const directory = await namespace.makeDirectory({
    parent: ROOT_INODE,
    name: utf8('d/'),
    salt: new Uint8Array(16),
    attributes: new Uint8Array(),
    isImplicit: true,
  });
  await tell(Promise.resolve(directory));
  const at = (name: string) => ({
    entry: { directory: directory.record.inode, name: utf8(name) },
  });
  await tell(namespace.stageExtents(first, [extentOf(0, 2 ** 40, 5)]));
  const large = { sizeBytes: 2 ** 40 + 10, extents: [extentOf(2 ** 40, 10, 6)], ...at('a') };
  await tell(namespace.commitObject(commitOf(first, large)));
  await tell(namespace.commitObject(commitOf(first, large)));
  await tell(namespace.commitObject(commitOf(first + 1n, at('a'))));
  await tell(namespace.commitObject(commitOf(first + 1n, { ...at('a'), mayReplace: true })));
  await tell(namespace.commitObject(commitOf(first + 2n)));
  await tell(namespace.commitObject(commitOf(first + 3n, { sizeBytes: 11 })));
  for (const inode of [0n, ROOT_INODE, first, first + 1n, first + 2n, 2n ** 64n - 1n]) {
    await tell(namespace.record(inode));
    await tell(namespace.entryOf(inode));
    await tell(namespace.extents(inode));
    await tell(namespace.extents(inode, { encoding: 0, offset: 2 ** 40 }));
  }
  const hybrid = { schemeNumbers: [3, 18], extents: [extentOf(0, 10, 7), extentOf(0, 10, 8, 1)] };
  const { sizeBytes, attributes, addressKey } = commitOf(0n);
  const again = { inode: first + 3n, sizeBytes, attributes, addressKey, ...hybrid };
  await tell(namespace.reencodeObject({ ...again, replaces: first + 2n }));
  await tell(namespace.reencodeObject({ ...again, replaces: first + 2n }));
  await tell(namespace.record(first + 3n));
  await tell(namespace.extents(first + 3n));
  await tell(namespace.lookup(ROOT_INODE, utf8('d/')));
  await tell(namespace.lookup(ROOT_INODE, utf8('x')));
  await tell(namespace.list({ directory: directory.record.inode, after: undefined }));
  await tell(namespace.list({ directory: directory.record.inode, after: utf8('a'), limit: 1 }));
  await tell(namespace.object(idOf(Number(first) + 1)));
  await tell(namespace.object(idOf(99)));
  await tell(namespace.objectsByAddress(new Uint8Array(32).fill(1)));
  await tell(namespace.listObjects({}));
  await tell(namespace.listObjects({ after: idOf(Number(first) + 1), limit: 3 }));
  await tell(namespace.refuse(first + 4n));
  await tell(namespace.refuse(first + 2n));
  await tell(namespace.removeObject(idOf(Number(first) + 2)));
  await tell(namespace.removeObject(idOf(77)));
  await tell(namespace.removeFile(first));
  await tell(namespace.removeFile(ROOT_INODE));
  await tell(namespace.releases());
  const places = [0, 2 ** 40].map((offset) => ({ encoding: 0, offset }));
  await tell(namespace.finishRelease({ inode: first }, places));
  await tell(namespace.releases());
  await tell(namespace.usage());
  await tell(namespace.protect({ retentionMs: 1000 }));
  await tell(namespace.protect({ retentionMs: undefined }));
  await tell(namespace.removeObject(idOf(Number(first) + 1)));
}

async function treeStory(tree: Tree, tell: Tell): Promise<void> {
  const own = { mode: 0o640, uid: 1, gid: 2 };
  const at = (name: string, directory = ROOT_INODE) => ({
    directory,
    name: utf8(name),
    directoryName: utf8(`${name}/`),
  });
  const { status } = await tree.makeDirectory({ ...own, place: at('d'), salt: utf8('salt') });
  await tell(Promise.resolve(status));
  const target = { sealed: utf8('t'), sizeBytes: 1 };
  await tell(tree.makeNode({ ...own, place: at('l'), type: 'symlink', target }));
  const { status: file } = await tree.makeNode({ ...own, place: at('f'), type: 'file' });
  const commit = { inode: file.inode, write: 77n, schemeNumbers: [3], sizeBytes: 10 };
  const extents = [extentOf(0, 10, 1)];
  await tell(tree.commitExtents({ ...commit, extents, baseChange: file.changeCount }));
  await tell(tree.commitExtents({ ...commit, extents, baseChange: 0n }));
  await tell(tree.committedWrites([76n, 77n]));
  await tell(tree.commitExtents({ ...commit, write: 78n, extents, baseChange: 0n }));
  const holes = [{ offset: 2, lengthBytes: 3 }];
  await tell(tree.commitExtents({ ...commit, write: 79n, extents: [], holes, baseChange: 0n }));
  const { status: small } = await tree.makeNode({ ...own, place: at('small'), type: 'file' });
  const inline = { sealed: utf8('sealed'), lengthBytes: 4 };
  const onBase = { inode: small.inode, baseChange: 0n, isOnlyOnBase: true };
  const whole = { ...onBase, extents: [], inline, schemeNumbers: [], sizeBytes: 5 };
  await tell(tree.commitExtents(whole));
  await tell(tree.commitExtents(whole));
  await tell(tree.getAttributes(small.inode));
  await tell(tree.getAttributes(small.inode, { withContent: true }));
  await tell(
    tree.commitExtents({ ...commit, inode: small.inode, extents: [], holes, baseChange: 0n }),
  );
  await tell(tree.looseInodes());
  const loose = await tree.looseStripes(file.inode);
  await tell(Promise.resolve(loose));
  for (const each of loose) await tell(tree.finishLooseStripes(each));
  await tell(tree.forgetWrites([77n]));
  await tell(tree.setAttributes(file.inode, { mode: 0o600, sizeBytes: 4, accessedNs: 5n }));
  await tell(tree.setXattr({ inode: file.inode, name: utf8('x'), value: utf8('y') }));
  await tell(tree.listXattrs(file.inode));
  await tell(tree.link(file.inode, at('g', status.inode)));
  await tell(tree.listAttributes({ directory: ROOT_INODE, limit: 2 }));
  await tell(tree.rename({ from: at('d'), to: at('e', status.inode) }));
  await tell(tree.rename({ from: at('f'), to: at('l'), flag: 'exchange' }));
  await tell(tree.readLink(file.inode));
  await tell(tree.removeDirectory(at('d')));
  await tell(tree.unlink(at('g', status.inode)));
  await tell(tree.unlink(at('l')));
  await tell(tree.lookup(at('l')));
  await tell(tree.lookup(at('f')));
  await tell(tree.setQuota(status.inode, { bytesMax: 5, inodesMax: undefined }));
  await tell(tree.getQuota(status.inode));
  await tell(tree.orphans({ limit: 3 }));
  await tell(tree.releaseOrphans([file.inode]));
  await tell(tree.usage());
}

async function referencesStory(references: References, tell: Tell): Promise<void> {
  const session = await references.openSession('a');
  const holders = [0n, 2n ** 64n - 1n].map((inode) => ({ volume: 'v', inode }));
  const stripes = [1, 2, 3].map((seed) => ({
    stripe: stripeOf(seed),
    schemeNumber: 3,
    chunkBytes: 1000 * seed,
  }));
  for (const holder of holders) await tell(references.add({ session, holder, stripes }));
  await tell(references.confirm(holders[0]!, [stripeOf(1), stripeOf(2)]));
  await tell(references.stripe(stripeOf(1)));
  await tell(references.stripe(stripeOf(9)));
  await tell(references.holders(stripeOf(1)));
  await tell(references.stripesOfGroup(groupOf(stripeOf(1))));
  await tell(references.stripesOfGroup(groupOf(stripeOf(1)), stripeOf(1)));
  for (const holder of holders) await tell(references.release(holder, [stripeOf(1)]));
  const condemned = await references.condemned();
  await tell(references.condemned());
  await tell(references.openSession('a'));
  await tell(references.add({ session, holder: holders[0]!, stripes }));
  await tell(references.strays());
  await tell(references.forget(condemned));
  await tell(references.condemned());
  await tell(references.setWholeEpoch(7, 2 ** 40));
  await tell(references.wholeEpoch(7));
  await tell(references.wholeEpoch(8));
}

async function told<Cell>(
  cell: Cell,
  story: (cell: Cell, tell: Tell) => Promise<void>,
): Promise<unknown[]> {
  const answers: unknown[] = [];
  await story(cell, async (work) =>
    answers.push(
      await work.then(
        (answer) => ({ answer }),
        (error: unknown) => ({ code: errorCode(error) ?? 'a bug' }),
      ),
    ),
  );
  return answers;
}

describe('cells of another node', () => {
  let namespace: Namespace;
  let references: References;
  let bed: RemoteBed;
  let mayServe: boolean;
  let remote: Namespace;
  let remoteRefs: References;
  let volume: VolumeCell;
  let remoteFiles: Tree;

  const serve = (server: Network): void => {
    serveVolumes(server, {
      volumeOf: (id) => (id === 'v' ? { ...volume, namespace } : undefined),
      mayServe: () => mayServe,
    });
    serveReferences(server, { references: () => references, mayAsk: () => mayServe });
  };

  beforeEach(async () => {
    mayServe = true;
    namespace = await newNamespace();
    references = await newReferences();
    volume = await newVolume();
    bed = await RemoteBed.open(serve);
    const where = { network: bed.asker, node: bed.server.self };
    const doors = remoteVolume({ ...where, volume: 'v' });
    remote = doors.namespace;
    remoteRefs = remoteReferences(where);
    remoteFiles = doors.tree;
  });

  afterEach(async () => {
    await bed[Symbol.asyncDispose]();
    await namespace[Symbol.asyncDispose]();
    await references[Symbol.asyncDispose]();
    await volume[Symbol.asyncDispose]();
  });

  it('answer as local ones do', async () => {
    const [near, nearRefs] = [await newNamespace(), await newReferences()];
    const expected = await told(near, namespaceStory);
    expect(await told(remote, namespaceStory)).toStrictEqual(expected);
    expect(expected).toContainEqual({ code: 'HF_EXISTS' });
    const expectedRefs = await told(nearRefs, referencesStory);
    expect(await told(remoteRefs, referencesStory)).toStrictEqual(expectedRefs);
    expect(expectedRefs).toContainEqual({ code: 'HF_FENCED' });
    await using nearVolume = await newVolume();
    const expectedFiles = await told(nearVolume.tree, treeStory);
    expect(await told(remoteFiles, treeStory)).toStrictEqual(expectedFiles);
    expect(expectedFiles).toContainEqual({ code: 'HF_NOT_EMPTY' });
    await near[Symbol.asyncDispose]();
    await nearRefs[Symbol.asyncDispose]();
  });

  it('send pages that are longer than a message', async () => {
    const attributes = new Uint8Array(2000).fill(5);
    const first = await namespace.allocateInodes(LIMITS.listPageMax);
    const commits = Array.from({ length: LIMITS.listPageMax }, (_, index) =>
      namespace.commitObject(commitOf(first + BigInt(index), { attributes })),
    );
    await Promise.all(commits);
    const page = await remote.listObjects({});
    expect(page.length).toBe(LIMITS.listPageMax);
    expect(page).toEqual(await namespace.listObjects({}));
  });

  it('are closed to who does not hold the volume, and where the steward is not', async () => {
    mayServe = false;
    expect(await remote.usage().catch(errorCode)).toBe('HF_DENIED');
    expect(await remoteRefs.condemned().catch(errorCode)).toBe('HF_DENIED');
    expect(await remoteFiles.usage().catch(errorCode)).toBe('HF_DENIED');
    mayServe = true;
    const where = { network: bed.asker, node: bed.server.self };
    const other = remoteVolume({ ...where, volume: 'w' });
    expect(await other.tree.usage().catch(errorCode)).toBe('HF_UNAVAILABLE');
  });

  it('leave a change in doubt whose answer was lost, and no other', async () => {
    const commit = namespace.commitObject.bind(namespace);
    const inode = await remote.allocateInodes(2);
    namespace.commitObject = async (given) => {
      const releases = await commit(given);
      bed.net.partition(() => true);
      return releases;
    };
    const lost = remote.commitObject(commitOf(inode));
    expect(await lost.catch(errorCode)).toBe('HF_UNKNOWN_OUTCOME');
    expect(await remote.usage().catch(errorCode)).toBe('HF_UNAVAILABLE');
    bed.net.heal();
    await bed.killServer();
    const unsent = remote.commitObject(commitOf(inode + 1n));
    expect(await unsent.catch(errorCode)).toBe('HF_UNAVAILABLE');
    await bed.startServer(serve);
    expect(await remote.refuse(inode)).toBe('committed');
    expect(await remote.refuse(inode + 1n)).toBe('refused');
  });

  it('do nothing once they are closed', async () => {
    await remote[Symbol.asyncDispose]();
    expect(await remote.usage().catch(errorCode)).toBe('HF_CLOSED');
    expect(await remote.refuse(5n).catch(errorCode)).toBe('HF_CLOSED');
    expect((await namespace.usage()).objectCount).toBe(0);
  });

  it('are not broken by requests of other shapes', async () => {
    const { asker, server } = bed;
    const ask = (method: string, arg: unknown): Promise<unknown> =>
      asker.call(server.self, method, arg, { deadlineMs: 5000 }).catch(errorCode);
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { depthSize: 'small' },
        fc.boolean(),
        fc.nat(),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.string(),
        fc.uint8Array({ maxLength: 40 }),
        fc.constant(undefined),
        fc.array(tie('any'), { maxLength: 4 }),
        fc.dictionary(fc.constantFrom('inode', 'stripe', 'directory', '__proto__'), tie('any')),
      ),
    })).any;
    const methods = [
      ...DOOR_NAMES.flatMap((door) =>
        Object.keys(VOLUME_TABLES[door]).map((name) => `${door}/${name}`),
      ),
      ...Object.keys(REFERENCE_METHODS).map((name) => `references/${name}`),
    ];
    const request = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.array(value, { maxLength: 3 }).map((args) => encodeValue(['v', ...args])),
      fc.array(value, { maxLength: 3 }).map((args) => encodeValue(args)),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...methods), request, async (method, arg) => {
        expect(await ask(method, arg)).not.toBe('HF_INTERNAL');
      }),
      { numRuns: 1000 },
    );
    expect(await remote.allocateInodes(1)).toBeGreaterThan(0n);
  });
});

describe('values on the wire', () => {
  it('come back as they were', () => {
    const value = {
      big: 2n ** 64n - 1n,
      zero: 0n,
      number: Number.MAX_SAFE_INTEGER,
      text: 'ä',
      bytes: new Uint8Array([0, 255]),
      list: [undefined, true, false, [], {}],
      absent: undefined,
    };
    expect(decodeValue(encodeValue(value))).toEqual(value);
  });

  it('are refused when they have no encoding, or are cut short, nested or followed', () => {
    for (const value of [-1, 0.5, null, 2n ** 64n, -1n, () => 1]) {
      expect(() => encodeValue(value)).toThrow(
        expect.objectContaining({ code: 'HF_BAD_ARGUMENT' }),
      );
    }
    const bytes = encodeValue([1, { a: 'b' }, new Uint8Array(4)]);
    for (let end = 0; end < bytes.length; end++) {
      expect(() => decodeValue(bytes.subarray(0, end))).toThrow(/cut short/);
    }
    expect(() => decodeValue(Uint8Array.of(...bytes, 0))).toThrow(/too many/);
    const millions = Uint8Array.of(7, 255, 255, 255, 255);
    expect(() => decodeValue(millions)).toThrow(/cut short/);
    const nested = new Uint8Array(500).map((_, at) => [7, 1, 0, 0, 0][at % 5]!);
    expect(() => decodeValue(nested)).toThrow(/nested/);
  });
});
