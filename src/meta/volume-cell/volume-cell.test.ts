// Aim: the interfaces of a volume's cell are of one piece: what a session has open outlives its
// name, a leased directory is recalled by whoever needs it, and housekeeping lets go of the rest.
// Method: one cell in memory under virtual time, and its successor on the same log.
import { afterEach, describe, expect, it } from 'vitest';
import { lockOf, sessionOf } from '../../../test/suites/handles-bed.ts';
import { extentOf } from '../../../test/suites/meta-makers.ts';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { errorCode, LIMITS, utf8 } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { MemoryLog } from '../../log/index.ts';
import { type Inode, ROOT_INODE } from '../namespace/namespace.ts';
import type { Place } from '../namespace/tree.ts';
import { openVolumeCell, type VolumeCell } from './volume-cell.ts';

const OWNER = { mode: 0o600, uid: 0, gid: 0 };
const [A, B] = [sessionOf(1), sessionOf(2)];
const NO_ROOM = { inodeCount: 1, bytesReserved: 0, rowsReserved: 0 };

const opened: VolumeCell[] = [];
afterEach(async () => {
  for (const cell of opened.splice(0).toReversed()) await cell[Symbol.asyncDispose]();
});

async function open(parts = { env: virtualEnv(1), log: new MemoryLog() }) {
  const cell = await openVolumeCell({ ...parts, cell: 'v', db: new MemoryDb() });
  opened.push(cell);
  return { ...parts, cell };
}

function at(name: string, directory = ROOT_INODE): Place {
  return { directory, name: utf8(name), directoryName: utf8(`${name}/`) };
}

async function makeFile({ tree, namespace }: VolumeCell, name: string): Promise<Inode> {
  const { status } = await tree.makeNode({ ...OWNER, place: at(name), type: 'file' });
  const { inode } = status;
  const write = await namespace.allocateInodes(1, { inode });
  const content = { extents: [extentOf(0, 10, 1)], schemeNumbers: [3], sizeBytes: 10 };
  await tree.commitExtents({ inode, write, ...content, baseChange: 0n });
  return inode;
}

describe('a volume cell', () => {
  it('keeps what is open and has lost its name, until it is closed', async () => {
    const { cell, env } = await open();
    await env.clock.sleep(LIMITS.sessionLeaseMs); // the reclaim window
    await cell.handles.openSession({ session: A, node: 'n' });
    const inode = await makeFile(cell, 'f');
    await cell.handles.open(A, [inode]);
    await cell.handles.lock({ ...lockOf({ owner: 1, inode }), waits: false });
    expect((await cell.tree.unlink(at('f'))).release).toBeUndefined();
    expect(await cell.tree.orphans()).toEqual([inode]);
    expect((await cell.tree.getAttributes(inode))?.linkCount).toBe(0);
    await cell.handles.close(A, [inode]);
    expect(await cell.tree.getAttributes(inode)).toBeUndefined();
    expect(await cell.namespace.releases()).toEqual([{ inode }]);
  });

  it('takes everything for open while sessions may still say so, and only then', async () => {
    const first = await open();
    const quick = await makeFile(first.cell, 'a');
    expect((await first.cell.tree.unlink(at('a'))).release).toEqual({ inode: quick });
    const inode = await makeFile(first.cell, 'f');
    await first.cell.handles.openSession({ session: A, node: 'n' });
    await opened.pop()![Symbol.asyncDispose]();
    const { cell, env } = await open(first);
    expect((await cell.tree.unlink(at('f'))).release).toBeUndefined();
    await env.clock.sleep(LIMITS.sessionLeaseMs + LIMITS.housekeepingMs);
    expect(await cell.tree.orphans()).toEqual([]);
    expect(await cell.namespace.releases()).toContainEqual({ inode });
  });

  it('recalls a directory for whoever needs it, whichever interface that is', async () => {
    const { cell, env } = await open();
    const { handles, tree, namespace } = cell;
    for (const session of [A, B]) await handles.openSession({ session, node: 'n' });
    const wanted = { session: A, directory: ROOT_INODE, ...NO_ROOM };
    const lease = (await handles.leaseDirectory(wanted))!;
    const told = handles.awaitRecalls(A, [lease], LIMITS.handleWaitMsMax);
    const listing = namespace.list({ directory: ROOT_INODE });
    expect(await told).toEqual([ROOT_INODE]);
    await handles.returnDirectories(lease.session, [lease]);
    expect(await listing).toEqual([]);
    await env.clock.sleep(LIMITS.leaseAgainMs + LIMITS.leaseRecallMs);
    await handles.openSession({ session: sessionOf(3), node: 'n' });
    await handles.leaseDirectory({ ...wanted, session: sessionOf(3) });
    const beforeMs = env.clock.monotonic();
    const make = (): Promise<unknown> =>
      tree.makeNode({ ...OWNER, place: at('f'), type: 'file' }).catch(errorCode);
    // The holder is silent: who wants it is told to ask again until it was taken.
    while ((await make()) === 'HF_LEASED') continue;
    expect(env.clock.monotonic() - beforeMs).toBe(LIMITS.leaseRecallMs);
    expect(await tree.lookup(at('f'))).toBeDefined();
  });

  it('lets go of parts of uploads that are over', async () => {
    const { cell, env } = await open();
    const { uploads, namespace } = cell;
    const place = { bucket: ROOT_INODE, upload: '1'.repeat(32) };
    await uploads.createUpload({ ...place, attributes: utf8('') });
    const first = await namespace.allocateInodes(300);
    for (let number = 1; number <= 300; number++) {
      const part = { ...place, number, inode: first + BigInt(number - 1), sizeBytes: 0 };
      await uploads.putPart({ ...part, schemeNumbers: [3], attributes: utf8(''), extents: [] });
    }
    await uploads.abortUpload(place);
    expect(await uploads.endedUploads()).toEqual([place]);
    await env.clock.sleep(LIMITS.housekeepingMs);
    await env.clock.sleep(1000);
    expect(await uploads.endedUploads()).toEqual([]);
    expect(await namespace.releases()).toHaveLength(300);
  });
});
