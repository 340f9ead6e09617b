/**
 * Aim: of files that are written in place, were open when they were removed, or were parts of an
 * upload, what is wanted stays and the rest goes, wherever a collection is cut short. Method: a
 * real volume cell beside real references, stripes and stores; the collection fails at each of its
 * calls in turn, and goes on in another life. Faults show that the checks would notice.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HoldfastError } from '../base/index.ts';
import { MemoryDb } from '../db/index.ts';
import { realEnv } from '../env/index.ts';
import { MemoryLog } from '../log/index.ts';
import {
  type Extent,
  type Inode,
  openVolumeCell,
  ROOT_INODE,
  type Session,
  type VolumeCell,
} from '../meta/index.ts';
import { type PutStripe, RepairBed, VOLUME } from '../../test/suites/repair-bed.ts';
import type { Repair } from './repair.ts';

const OWNER = { mode: 0o600, uid: 0, gid: 0 };
const GRACE = { graceMs: 3_600_000 };
const BYTES = 70_000;

let bed: RepairBed;
let cell: VolumeCell;

beforeEach(async () => {
  bed = await RepairBed.open(6);
  cell = await openVolumeCell({
    env: realEnv(),
    cell: 'v',
    log: new MemoryLog(),
    db: new MemoryDb(),
  });
});

afterEach(async () => {
  await cell[Symbol.asyncDispose]();
  await bed[Symbol.asyncDispose]();
});

interface Parts {
  readonly references: RepairBed['references'];
  readonly tree: VolumeCell['tree'];
  readonly namespace: VolumeCell['namespace'];
  readonly uploads: VolumeCell['uploads'];
}

function parts(): Parts {
  const { tree, namespace, uploads } = cell;
  return { references: bed.references, tree, namespace, uploads };
}

function repairOver({ references, tree, namespace, uploads }: Parts): Repair {
  return bed.openRepair({
    references,
    namespaceOf: () => namespace,
    treeOf: () => tree,
    uploadsOf: () => uploads,
  });
}

async function makeFile(name?: string): Promise<Inode> {
  const bytes = new TextEncoder().encode(name ?? '');
  const directoryName = new Uint8Array([...bytes, 47]);
  const place =
    name === undefined ? undefined : { directory: ROOT_INODE, name: bytes, directoryName };
  return (await cell.tree.makeNode({ ...OWNER, type: 'file', place })).status.inode;
}

interface Written extends PutStripe {
  readonly extent: Extent;
}

/** Stores a stripe of this content for a write; what is not committed was cut short. */
async function store(
  seed: number,
  { at, lengthBytes = BYTES, session }: { at: number; lengthBytes?: number; session?: Session },
): Promise<Written> {
  const inode = await cell.namespace.allocateInodes(1);
  const put = await bed.put(seed, { inode, commits: false, ...(session && { session }) });
  const { stripe, schemeNumber } = put;
  const place = { encoding: 0, offset: at, lengthBytes };
  return { ...put, extent: { ...place, stripe, schemeNumber, wrappedKey: new Uint8Array() } };
}

async function commit(inode: Inode, { inode: write, extent }: Written): Promise<void> {
  await cell.tree.commitExtents({
    inode,
    write,
    extents: [extent],
    schemeNumbers: [extent.schemeNumber],
    sizeBytes: 0,
    baseChange: 0n,
  });
}

async function write(
  inode: Inode,
  seed: number,
  where: Parameters<typeof store>[1],
): Promise<Written> {
  const written = await store(seed, where);
  await commit(inode, written);
  await bed.references.confirm({ volume: VOLUME, inode: written.inode }, [written.stripe]);
  await cell.tree.forgetWrites([written.inode]);
  return written;
}

interface Story {
  readonly wanted: readonly Written[];
  readonly unwanted: readonly Written[];
}

/** One of each: whatever writers leave. */
async function tell(): Promise<Story> {
  const file = await makeFile('file');
  const covered = await write(file, 1, { at: 0 });
  const cut = await write(file, 2, { at: BYTES });
  const over = await write(file, 3, { at: 0 });
  await write(file, 4, { at: BYTES, lengthBytes: 10 });
  const shared = await write(file, 5, { at: 2 * BYTES });
  await write(file, 6, { at: 2 * BYTES });
  const again = await write(file, 5, { at: 3 * BYTES }); // the same stripe by another write
  expect(again.stripe).toEqual(shared.stripe);

  const orphan = await makeFile();
  const ofOrphan = await write(orphan, 7, { at: 0 });
  const removed = await makeFile('removed');
  const ofRemoved = await write(removed, 8, { at: 0 });
  const ofRemovedToo = await write(removed, 9, { at: 0 }); // covers the first
  const place = { directory: ROOT_INODE, name: new TextEncoder().encode('removed') };
  await cell.tree.unlink({ ...place, directoryName: new TextEncoder().encode('removed/') });

  const session = await bed.references.openSession('dead');
  const refused = await store(10, { at: 0, session });
  const committed = await store(11, { at: 4 * BYTES, session });
  await commit(file, committed);
  await bed.references.openSession('dead');
  return {
    wanted: [cut, over, again, committed],
    unwanted: [covered, ofOrphan, ofRemoved, ofRemovedToo, refused],
  };
}

/** What is not as it should be after a whole collection. */
async function complaints({ wanted, unwanted }: Story): Promise<string[]> {
  const found: string[] = [];
  for (const [index, each] of wanted.entries()) {
    const { isWhole } = await bed.stripes.inspect(each.stripe, each.schemeNumber);
    const record = await bed.record(each);
    if (!record?.isStored || !isWhole) found.push(`wanted ${index}`);
  }
  for (const [index, each] of unwanted.entries()) {
    const held = (await bed.holders(each)).flat();
    if ((await bed.record(each)) || held.length > 0) found.push(`unwanted ${index}`);
  }
  const left = [await cell.tree.looseInodes(), await cell.tree.orphans()].flat();
  if (left.length > 0 || (await cell.namespace.releases()).length > 0) found.push('left');
  return found;
}

const CHANGES = {
  references: ['release', 'confirm', 'forget', 'add'],
  tree: ['finishLooseStripes', 'looseStripes', 'releaseOrphans'],
  namespace: ['refuse', 'finishRelease'],
  uploads: ['releaseParts'],
} as const;

type Asynchronous = (...args: unknown[]) => Promise<unknown>;
type Plant = (of: Parts) => Partial<Parts>;

/** A life that ends with its call of this number: before it is done, or before its answer. */
class Life {
  readonly parts: Parts;
  calls = 0;

  constructor(of: Parts, at: number, isDone: boolean) {
    const wrapped = Object.entries(of).map(([name, api]) => {
      const methods = CHANGES[name as keyof Parts].map((method) => {
        const call = (api as unknown as Record<string, Asynchronous>)[method] as Asynchronous;
        const dying = async (...args: unknown[]): Promise<unknown> => {
          this.calls += 1;
          if (this.calls > at || (this.calls === at && !isDone)) throw dead();
          const answer = await call.apply(api, args);
          if (this.calls === at) throw dead();
          return answer;
        };
        return [method, dying];
      });
      return [name, { ...(api as object), ...Object.fromEntries(methods) }];
    });
    this.parts = Object.fromEntries(wrapped) as Parts;
  }
}

function dead(): HoldfastError {
  return new HoldfastError('HF_CLOSED');
}

const NOTHING: Plant = () => ({});

/** Lives that end ever later, until one has nothing left to do. @returns how many there were. */
async function collectInManyLives(isDone: boolean, plant = NOTHING): Promise<number> {
  for (let at = 1; ; at++) {
    const life = new Life(parts(), at, isDone);
    const collecting = repairOver({ ...life.parts, ...plant(life.parts) }).collect(GRACE);
    const hasEnded = await collecting.then(
      () => true,
      () => false,
    );
    if (hasEnded) return at;
  }
}

const FAULTS: Record<string, Plant> = {
  /** What is loose is forgotten before its references are gone. */
  'finish-first': ({ tree }) => ({
    tree: {
      ...tree,
      async looseStripes(inode) {
        const found = await tree.looseStripes(inode);
        for (const loose of found) await tree.finishLooseStripes(loose);
        return found;
      },
    },
  }),
  'by-inode': ({ tree }) => ({
    tree: {
      ...tree,
      looseStripes: async (inode) =>
        (await tree.looseStripes(inode)).map((loose) => ({ ...loose, holder: inode })),
      async finishLooseStripes({ inode }) {
        for (const loose of await tree.looseStripes(inode)) await tree.finishLooseStripes(loose);
      },
    },
  }),
  'inodes-alone': ({ namespace }) => ({
    namespace: {
      ...namespace,
      refuse: async (inode) => ((await namespace.record(inode)) ? 'committed' : 'refused'),
    },
  }),
};

describe('a collection of what was written in place', () => {
  it('frees what nothing names and keeps the rest', async () => {
    const story = await tell();
    await repairOver(parts()).collect(GRACE);
    expect(await complaints(story)).toEqual([]);
  });

  it.each([true, false])(
    'does so wherever it is cut short (after the call: %s)',
    async (isDone) => {
      const story = await tell();
      expect(await collectInManyLives(isDone)).toBeGreaterThan(8);
      expect(await complaints(story)).toEqual([]);
    },
  );

  it.each(Object.entries(FAULTS))('would be seen to fail: %s', async (_name, plant) => {
    const story = await tell();
    await collectInManyLives(true, plant);
    await repairOver({ ...parts(), ...plant(parts()) }).collect(GRACE);
    expect(await complaints(story)).not.toEqual([]);
  });

  it('confirms what a living writer committed and did not confirm', async () => {
    const session = await bed.references.openSession('alive');
    const written = await store(1, { at: 0, session });
    const isStored = async (): Promise<unknown> => (await bed.record(written))?.isStored;
    await commit(await makeFile('file'), written);
    await bed.openRepair({ namespaceOf: () => cell.namespace }).collect(GRACE);
    expect(await isStored()).toBe(false); // without the tree nobody knows
    await repairOver(parts()).collect(GRACE);
    expect(await isStored()).toBe(true);
  });

  it('lets go of parts of an upload that is over', async () => {
    const { uploads, namespace } = cell;
    const place = { bucket: ROOT_INODE, upload: '1'.repeat(32) };
    await uploads.createUpload({ ...place, attributes: new Uint8Array() });
    const put = await store(1, { at: 0 });
    const first = await namespace.allocateInodes(300);
    for (let number = 1; number <= 300; number++) {
      const inode = number === 300 ? put.inode : first + BigInt(number);
      const content = number === 300 ? { extents: [put.extent], sizeBytes: BYTES } : EMPTY;
      const about = { schemeNumbers: [put.schemeNumber], attributes: new Uint8Array() };
      await uploads.putPart({ ...place, number, inode, ...about, ...content });
    }
    await uploads.abortUpload(place);
    expect(await uploads.endedUploads()).toEqual([place]);
    await repairOver(parts()).collect(GRACE);
    expect(await uploads.endedUploads()).toEqual([]);
    expect(await complaints({ wanted: [], unwanted: [put] })).toEqual([]);
  });

  it('frees at once what was an orphan for its cell when it was removed', async () => {
    const file = await makeFile();
    const written = await write(file, 1, { at: 0 });
    await repairOver(parts()).release(VOLUME, { inode: file });
    expect(await complaints({ wanted: [], unwanted: [written] })).toEqual([]);
  });

  it('frees at once what one file names no more, when it is asked to', async () => {
    const [file, other] = [await makeFile('file'), await makeFile('other')];
    const lost = [await write(file, 1, { at: 0 }), await write(file, 2, { at: BYTES })];
    const [covered, punched] = lost as [Written, Written];
    const over = await write(file, 3, { at: 0 });
    const elsewhere = await write(other, 4, { at: 0 });
    await write(other, 5, { at: 0 });
    const shared = await write(other, 2, { at: BYTES }); // the same stripe by another write
    await cell.tree.commitExtents({
      inode: file,
      write: await cell.namespace.allocateInodes(1),
      extents: [],
      holes: [{ offset: BYTES - 10, lengthBytes: BYTES + 10 }],
      schemeNumbers: [],
      sizeBytes: 0,
      baseChange: 0n,
    });
    const repair = repairOver(parts());
    await Promise.all([repair.releaseLoose(VOLUME, file), repair.releaseLoose(VOLUME, file)]);
    expect(await cell.tree.looseInodes()).toEqual([other]);
    expect(await bed.record(covered)).toBeUndefined();
    expect((await bed.holders(covered)).flat()).toEqual([]);
    for (const each of [over, elsewhere, shared, punched]) {
      expect((await bed.stripes.inspect(each.stripe, each.schemeNumber)).isWhole).toBe(true);
    }
    // Content beside the inode takes the place of the rest.
    await cell.tree.commitExtents({
      inode: file,
      extents: [],
      inline: { sealed: new Uint8Array(30), lengthBytes: 10 },
      schemeNumbers: [],
      sizeBytes: 10,
      baseChange: (await cell.tree.getAttributes(file))!.changeCount,
    });
    await repair.releaseLoose(VOLUME, file);
    await repair.releaseLoose(VOLUME, 999n);
    expect(await bed.record(over)).toBeUndefined();
    await repair.collect(GRACE);
    const story = { wanted: [shared], unwanted: [covered, over, elsewhere] };
    expect(await complaints(story)).toEqual([]);
    const locked = bed.openRepair({}).releaseLoose(VOLUME, file);
    await expect(locked).rejects.toMatchObject({ code: 'HF_NOT_FOUND' });
  });
});

const EMPTY = { extents: [], sizeBytes: 0 };
