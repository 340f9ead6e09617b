/**
 * Aim: of files that are written in place, were open when they were removed, or were parts of an
 * upload, what is wanted stays and the rest goes, wherever a collection is cut short. Method: a real
 * volume cell beside real references, stripes and stores; the collection fails at each of its calls
 * in turn, and goes on in another life. Faults show that the checks would notice.
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

/** The life ends with the call of this number, before or after it is done. */
function dyingAt(
  step: number,
  isDone: boolean,
  of = parts(),
): { parts: Parts; calls: () => number } {
  let calls = 0;
  const wrapped = Object.entries(of).map(([name, api]) => {
    const methods = CHANGES[name as keyof Parts].map((method) => {
      const call = (api as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>)[
        method
      ]!;
      const dying = async (...args: unknown[]): Promise<unknown> => {
        calls += 1;
        if (calls > step || (calls === step && !isDone)) throw new HoldfastError('HF_CLOSED');
        const answer = await call.apply(api, args);
        if (calls === step) throw new HoldfastError('HF_CLOSED');
        return answer;
      };
      return [method, dying];
    });
    return [name, { ...(api as object), ...Object.fromEntries(methods) }];
  });
  return { parts: Object.fromEntries(wrapped) as Parts, calls: () => calls };
}

/** Collections that each die at another call, then one that does not. */
async function collectAfterCrashes(
  isDone: boolean,
  plant = (of: Parts): Parts => of,
): Promise<string[]> {
  const story = await tell();
  for (let step = 1; ; step++) {
    const { parts: dying, calls } = dyingAt(step, isDone);
    const outcome = await repairOver(plant(dying))
      .collect(GRACE)
      .then(
        () => 'done',
        () => 'died',
      );
    if (outcome === 'done') {
      expect(calls()).toBeLessThan(step);
      expect(step).toBeGreaterThan(isDone ? 4 : 1);
      break;
    }
    if (step > 100) throw new Error('it never ends');
    if (!isDone) step = Math.max(step, 0);
    if (step >= 3 && calls() < step) break;
  }
  await repairOver(parts()).collect(GRACE);
  return await complaints(story);
}

describe('a collection of what was written in place', () => {
  it('frees what nothing names and keeps the rest', async () => {
    const story = await tell();
    await repairOver(parts()).collect(GRACE);
    expect(await complaints(story)).toEqual([]);
  });
});
void collectAfterCrashes;
