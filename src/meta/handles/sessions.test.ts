// Aim: nobody loses a session, an open file or a directory before its time, also when the steward
// changes; and once it is over, nothing of it counts. Method: virtual time, and a second steward on
// the same log.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errorCode, LIMITS } from '../../base/index.ts';
import {
  handlesBed,
  type HandlesBed,
  lockOf,
  sessionOf,
} from '../../../test/suites/handles-bed.ts';
import type { SlotRange } from '../cells/cell-peers.ts';
import { rowsOfTag } from '../cells/rows.ts';
import { makeInode } from '../namespace/namespace-rows.ts';
import { type Inode, ROOT_INODE } from '../namespace/namespace.ts';

const LEASE_MS = LIMITS.sessionLeaseMs;
const [A, B] = [sessionOf(1), sessionOf(2)];

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(() => undefined, errorCode);
}

async function opened(bed: HandlesBed): Promise<HandlesBed> {
  for (const session of [A, B]) await bed.handles.openSession({ session, node: 'n' });
  return bed;
}

async function live({ handles }: HandlesBed): Promise<string[]> {
  return (await handles.sessions()).map(({ session }) => session);
}

describe('sessions', () => {
  it('end after a whole lease without a sign of life, and not before', async () => {
    const pauses = fc.array(fc.integer({ min: 1, max: LEASE_MS - 1 }), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(pauses, async (pausesMs) => {
        await using bed = await opened(await handlesBed());
        for (const pauseMs of pausesMs) {
          await bed.pass(pauseMs);
          await bed.handles.renewSession(A);
        }
        await bed.pass(LEASE_MS - 1);
        expect(await live(bed)).toContain(A);
        await bed.pass(1001);
        expect(await live(bed)).toEqual([]);
        expect(await codeOf(bed.handles.renewSession(A))).toBe('HF_SESSION_OVER');
      }),
      { numRuns: 30 },
    );
  });

  it('get a whole lease from a new steward, also from one that is back', async () => {
    const first = await opened(await handlesBed());
    await first.pass(LEASE_MS - 1000);
    await using second = await handlesBed(first);
    const generation = (await second.handles.renewSession(A)).generation;
    await second.pass(LEASE_MS - 1);
    await second.handles.renewSession(A);
    expect((await second.handles.renewSession(A)).generation).toBe(generation);
    expect(await live(second)).toEqual([A, B]); // B has not been heard of since
    // The first one takes the cell back: what it remembers of the leases is long out of date.
    await codeOf(first.table.tick());
    expect(await live(first)).toEqual([A, B]);
    await first.pass(LEASE_MS - 2000);
    expect((await first.handles.renewSession(A)).generation).not.toBe(generation);
    await first.pass(4000);
    expect(await live(first)).toEqual([A]);
    await first[Symbol.asyncDispose]();
  });

  it('leave nothing: locks and leases go, and only then may the id come again', async () => {
    await using bed = await opened(await handlesBed());
    const lock = lockOf({ owner: 1, session: 1 });
    await bed.handles.lock({ ...lock, waits: false });
    const ofRoot = { directory: ROOT_INODE, inodeCount: 10, bytesReserved: 0, rowsReserved: 0 };
    expect(await bed.handles.leaseDirectory({ session: A, ...ofRoot })).toBeDefined();
    const retry = { session: A, lane: 1, sequence: 1 };
    await bed.steward.execute(() => 'kept', { retry, slot: 5 });
    await bed.handles.closeSession(A);
    expect(await codeOf(bed.handles.openSession({ session: A, node: 'n' }))).toBe(
      'HF_SESSION_OVER',
    );
    const other = { ...lockOf({ owner: 1, session: 2 }), waits: false };
    expect((await bed.handles.lock(other)).state).toBe('granted');
    expect(await bed.handles.leaseDirectory({ session: B, ...ofRoot })).toBeDefined();
    await bed.handles.closeSession(B);
    await bed.table.tick();
    const left = await bed.steward.execute((rows) =>
      ['L', 'Y', 'R'].flatMap((tag) => [...rowsOfTag(rows, tag)]),
    );
    expect(left).toEqual([]);
    await bed.handles.openSession({ session: A, node: 'n' });
    expect(await bed.handles.testLock(lock)).toBeUndefined();
    await bed.handles.closeSession(A);
    await bed.handles.closeSession(A); // asked again
  });
});

async function isOpen({ steward, table }: HandlesBed, inode: Inode): Promise<boolean> {
  return await steward.execute((rows) => table.isOpen(inode, rows));
}

describe('what is open', () => {
  it('is declared again to a new steward, for which all may be open until then', async () => {
    const first = await opened(await handlesBed());
    await first.pass(LEASE_MS); // the reclaim window of the very first steward
    await opened(first); // both were over by now
    expect(await isOpen(first, ROOT_INODE)).toBe(false);
    expect(await first.handles.open(sessionOf(1), [])).toEqual([]);
    await first[Symbol.asyncDispose]();

    const closed: bigint[] = [];
    const onClosed = async (inodes: readonly bigint[]): Promise<void> => {
      closed.push(...inodes);
    };
    await using second = await handlesBed({ ...first, onClosed });
    expect(await isOpen(second, 77n)).toBe(true); // somebody may be about to say so
    expect(await second.handles.open(A, [ROOT_INODE, 77n])).toEqual([77n]); // that is gone
    await second.handles.open(B, [ROOT_INODE, ROOT_INODE]);
    await second.pass(LEASE_MS - 1000);
    for (const session of [A, B]) await second.handles.renewSession(session);
    await second.pass(1000);
    expect(await Promise.all([ROOT_INODE, 77n].map((inode) => isOpen(second, inode)))).toEqual([
      true,
      false,
    ]);
    await second.handles.close(A, [ROOT_INODE]);
    expect(await isOpen(second, ROOT_INODE)).toBe(true);
    expect(closed).toEqual([]);
    await second.pass(LEASE_MS + 1000); // B dies
    expect(await isOpen(second, ROOT_INODE)).toBe(false);
    expect(closed).toEqual([ROOT_INODE]);
    expect(await codeOf(second.handles.open(B, [ROOT_INODE]))).toBe('HF_SESSION_OVER');
  });

  it('is known to the cell that has the slot, and to no other', async () => {
    await using bed = await opened(await handlesBed({ slots: { from: 0, to: 10 } }));
    expect(await codeOf(bed.handles.open(A, [makeInode(10, 5)]))).toBe('HF_MOVED');
    expect(await bed.handles.open(A, [makeInode(9, 5)])).toEqual([makeInode(9, 5)]);
    await bed.handles.closeSession(A);
    await bed.table.tick(); // sweeps its own slots alone
  });

  it('begins anew when slots come from another cell', async () => {
    const moved: { slots?: SlotRange } = {};
    await using bed = await opened(await handlesBed({ moved }));
    await bed.pass(LEASE_MS - 1);
    for (const session of [A, B]) await bed.handles.renewSession(session);
    await bed.pass(1000);
    const { generation } = await bed.handles.renewSession(A);
    expect(await isOpen(bed, 5n)).toBe(false);
    moved.slots = { from: 7, to: 9 };
    expect(await isOpen(bed, 5n)).toBe(true);
    expect((await bed.handles.renewSession(A)).generation).not.toBe(generation);
  });
});
