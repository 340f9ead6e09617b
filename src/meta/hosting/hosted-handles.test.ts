/**
 * Aim: what mounts hold counts in every cell of a volume, whichever node serves it: a leased
 * directory is recalled by an operation of any cell, a file that is open outlives its name also
 * after a take-over, and housekeeping frees it then. Method: three hosts, a volume of two cells.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { changedLog } from '../../../test/suites/changed-log.ts';
import { sessionOf } from '../../../test/suites/handles-bed.ts';
import { HostingBed, nodeOf, VOLUME } from '../../../test/suites/hosting-bed.ts';
import { extentOf } from '../../../test/suites/meta-makers.ts';
import { errorCode, HoldfastError, LIMITS, utf8 } from '../../base/index.ts';
import type { FencedLog } from '../../log/index.ts';
import {
  type Handles,
  type Inode,
  type Place,
  ROOT_INODE,
  slotNear,
  spaceOfVolume,
  type Tree,
  type TreeStep,
} from '../index.ts';
import { withSplit } from './cell-map.ts';

const SPACE = spaceOfVolume(VOLUME);
const OWNER = { mode: 0o700, uid: 0, gid: 0 };
const A = sessionOf(1);
const NO_ROOM = { inodeCount: 1, bytesReserved: 0, rowsReserved: 0 };

/** Cells whose log does not answer. */
const silent = new Set<string>();

let bed: HostingBed;
let tree: Tree;
let handles: Handles;
/** A directory in the cell that does not have the root. */
let far: Inode;

beforeEach(async () => {
  bed = await HostingBed.open(3, { wrapLog });
  await bed.pin(SPACE, 1, 2, 3);
  const { hosting } = bed.host(3);
  const map = await hosting.maps.read(SPACE);
  await hosting.maps.replace(map, withSplit(map, SPACE, [2, 3, 1].map(nodeOf)));
  await bed.until(async () => (await hosting.maps.read(SPACE)).move === undefined);
  tree = hosting.tree(VOLUME);
  handles = hosting.volume(VOLUME).handles;
  for (let number = 0; far === undefined || slotNear({ inode: far }) < 2048; number++) {
    const made = { ...OWNER, place: at(`d${number}`), salt: utf8('salt') };
    far = (await tree.makeDirectory(made)).status.inode;
  }
  await handles.openSession({ session: A, node: 'n' });
}, 60_000);

afterEach(async () => {
  silent.clear();
  await bed[Symbol.asyncDispose]();
  far = undefined as unknown as Inode;
});

function wrapLog(log: FencedLog): FencedLog {
  const silence = async (cell: string): Promise<void> => {
    if (silent.has(cell)) throw new HoldfastError('HF_UNKNOWN_OUTCOME', 'it is silent');
  };
  return changedLog(log, {
    seize: (cell) => silence(cell).then(() => log.seize(cell)),
    append: (cell, ...entry) => silence(cell).then(() => log.append(cell, ...entry)),
    confirm: (cell, epoch) => silence(cell).then(() => log.confirm(cell, epoch)),
  });
}

function at(name: string, directory = ROOT_INODE): Place {
  return { directory, name: utf8(name), directoryName: utf8(`${name}/`) };
}

/** Goes on with the session for a while. */
async function live(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 10_000) {
    await bed.env.clock.sleep(Math.min(left, 10_000));
    await handles.renewSession(A);
  }
}

async function writeFile(place: Place): Promise<Inode> {
  const { status } = await tree.makeNode({ ...OWNER, place, type: 'file' });
  const { inode } = status;
  const write = await bed.host(3).namespace.allocateInodes(1, { inode });
  const content = { extents: [extentOf(0, 10, 1)], schemeNumbers: [3], sizeBytes: 10 };
  await tree.commitExtents({ inode, write, ...content, baseChange: 0n });
  return inode;
}

describe('a leased directory', () => {
  it.each(['lookup', 'rename'])('is given back for a %s from elsewhere', async (kind) => {
    await tree.makeNode({ ...OWNER, place: at('f', far), type: 'file' });
    const lease = (await handles.leaseDirectory({
      session: A,
      directory: ROOT_INODE,
      ...NO_ROOM,
    }))!;
    const other = bed.host(2).hosting.tree(VOLUME);
    const wanted: Promise<unknown> =
      kind === 'lookup'
        ? other.lookup(at('d0'))
        : other.rename({ from: at('f', far), to: at('g') });
    while ((await handles.awaitRecalls(A, [lease], 800)).length === 0) continue;
    await bed.env.clock.sleep(2000); // longer than one call waits
    await handles.returnDirectories(lease.session, [lease]);
    await wanted;
    if (kind === 'rename') expect(await tree.lookup(at('g'))).toBeDefined();
  });

  it('is held, and what was brought is known, when its steward is another one', async () => {
    const lease = (await handles.leaseDirectory({ session: A, directory: far, ...NO_ROOM }))!;
    const name = { ...OWNER, place: at('f', far), type: 'fifo', inode: lease.firstInode } as const;
    const batch = { session: A, leases: [lease], lane: 0, steps: [] };
    const step: TreeStep = { do: 'makeNode', args: [name] };
    const first = await tree.runBatch({ ...batch, sequence: 1, steps: [step] });
    const [steward] = bed.stewards(`${SPACE}-1`);
    await bed.kill(steward!);
    await bed.until(() => bed.stewards(`${SPACE}-1`).length > 0);
    expect(first).toMatchObject({ state: 'done', results: [{ changeCount: 0n }] });
    expect(await tree.runBatch({ ...batch, sequence: 1, steps: [step] })).toEqual(first);
    const unlink: TreeStep = { do: 'unlink', args: [name.place] };
    const second = await tree.runBatch({ ...batch, sequence: 2, steps: [unlink, unlink] });
    expect(second).toMatchObject({ state: 'done', results: [{}, { code: 'HF_NOT_FOUND' }] });
  });

  it('is taken from who does not answer, within the time of one operation', async () => {
    await handles.leaseDirectory({ session: A, directory: far, ...NO_ROOM });
    const startMs = bed.env.clock.monotonic();
    await tree.makeNode({ ...OWNER, place: at('f', far), type: 'fifo' });
    const tookMs = bed.env.clock.monotonic() - startMs;
    expect(tookMs).toBeGreaterThanOrEqual(LIMITS.leaseRecallMs);
    expect(tookMs).toBeLessThan(LIMITS.remoteCallMs);
  });
});

describe('a session', () => {
  it('lives on in cells that answer while another one has no log', async () => {
    const lease = (await handles.leaseDirectory({ session: A, directory: far, ...NO_ROOM }))!;
    const startMs = bed.env.clock.monotonic();
    silent.add(SPACE);
    while (bed.env.clock.monotonic() - startMs < 2 * LIMITS.sessionLeaseMs) {
      expect(await handles.renewSession(A).catch(errorCode)).toBe('HF_UNAVAILABLE');
    }
    expect(await handles.awaitRecalls(A, [lease], 0)).toEqual([]);
    silent.clear();
    expect(await handles.renewSession(A)).toMatchObject({ leaseMs: LIMITS.sessionLeaseMs });
  });
});

describe('a batch about the rows of another cell', () => {
  /** The number of bytes is of each name. */
  async function create(nameBytes: number, sequence: number): Promise<unknown> {
    const directory = ROOT_INODE;
    const lease = (await handles.leaseDirectory({ session: A, directory, ...NO_ROOM }))!;
    const count = LIMITS.batchStepsMax;
    const first = await bed.host(3).namespace.allocateInodes(count, { inode: far });
    const steps = Array.from({ length: count }, (_, index): TreeStep => {
      const place = at(`${index}`.padStart(nameBytes, 'x'), far);
      return {
        do: 'makeNode',
        args: [{ ...OWNER, place, inode: first + BigInt(index), type: 'fifo' }],
      };
    });
    const batch = { session: A, leases: [lease], lane: 0, sequence, steps };
    return await tree.runBatch(batch).then(({ state }) => state, errorCode);
  }

  it('asks for them together, and is done long before a recall is over', async () => {
    const startMs = bed.env.clock.monotonic();
    expect(await create(32, 1)).toBe('done');
    expect(bed.env.clock.monotonic() - startMs).toBeLessThan(LIMITS.leaseRecallMs / 5);
    expect(await tree.listAttributes({ directory: far })).toHaveLength(LIMITS.batchStepsMax);
  });

  it('is to be asked in parts when they are more than a message holds', async () => {
    expect(await create(1500, 1)).toBe('HF_TOO_LARGE');
    expect(await tree.listAttributes({ directory: far })).toEqual([]);
  });
});

describe('a file that is open', () => {
  it('outlives its name and the steward, and is freed once nobody has it open', async () => {
    const inode = await writeFile(at('f', far));
    await live(LIMITS.sessionLeaseMs + 1000);
    await handles.open(A, [inode]);
    expect((await tree.unlink(at('f', far))).release).toBeUndefined();
    const cell = `${SPACE}-1`;
    const [steward] = bed.stewards(cell);
    await bed.kill(steward!);
    await bed.until(() => bed.stewards(cell).length > 0);
    expect((await tree.getAttributes(inode))?.linkCount).toBe(0);
    await handles.open(A, [inode]); // declared again
    await live(LIMITS.sessionLeaseMs + LIMITS.housekeepingMs + 1000);
    expect((await tree.getAttributes(inode))?.linkCount).toBe(0);
    await handles.close(A, [inode]);
    expect(await tree.getAttributes(inode)).toBeUndefined();
    expect(await bed.host(3).namespace.releases()).toContainEqual({ inode });
  });

  it('is freed by housekeeping when its session dies with the steward', async () => {
    const inode = await writeFile(at('f', far));
    await handles.open(A, [inode]);
    await tree.unlink(at('f', far));
    await bed.env.clock.sleep(2 * LIMITS.sessionLeaseMs + LIMITS.housekeepingMs);
    expect(await tree.getAttributes(inode)).toBeUndefined();
    expect(await tree.orphans()).toEqual([]);
  });
});
