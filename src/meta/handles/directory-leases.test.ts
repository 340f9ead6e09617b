// Aim: while a mount holds a directory nobody else's operation on its entries runs, the holder is
// asked to give it back, and what it brings after it lost it is refused. Method: operations that
// check as those of the tree do, virtual time, and a second steward on the same log.
import { describe, expect, it } from 'vitest';
import { errorCode, LIMITS } from '../../base/index.ts';
import { handlesBed, type HandlesBed, sessionOf } from '../../../test/suites/handles-bed.ts';
import type { SlotRange } from '../cells/cell-peers.ts';
import type { Executor } from '../cells/executor.ts';
import { ROOT_INODE } from '../namespace/namespace.ts';
import { list, makeDirectory } from '../namespace/namespace-ops.ts';
import type { DirectoryLease, LeaseClaim } from './handles.ts';
import { recallingExecutor } from './lease-ops.ts';

const [A, B] = [sessionOf(1), sessionOf(2)];
const WANTED = { directory: ROOT_INODE, inodeCount: 100, bytesReserved: 5, rowsReserved: 6 };

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(() => undefined, errorCode);
}

async function opened(bed: HandlesBed): Promise<HandlesBed> {
  for (const session of [A, B]) await bed.handles.openSession({ session, node: 'n' });
  return bed;
}

async function leased({ handles }: HandlesBed, session = A): Promise<DirectoryLease> {
  const lease = await handles.leaseDirectory({ session, ...WANTED });
  expect(lease).toBeDefined();
  return lease as DirectoryLease;
}

/** Makes an entry, as the holder with its claim or as somebody else. */
async function make(executor: Executor, name: number, claim?: LeaseClaim): Promise<void> {
  const parts = { salt: new Uint8Array(16), attributes: new Uint8Array(), isImplicit: false };
  const request = { parent: ROOT_INODE, name: new Uint8Array([name]), ...parts };
  const claims = claim && new Map([[ROOT_INODE, claim]]);
  await executor.execute((rows) => makeDirectory(rows, request, { nowMs: 0, claims }));
}

function recalling({ steward, handles }: HandlesBed): Executor {
  return recallingExecutor(steward, (directory) => handles.recallDirectory(directory));
}

describe('directory leases', () => {
  it('keep others out until the holder has returned the directory', async () => {
    await using bed = await opened(await handlesBed());
    const lease = await leased(bed);
    expect(lease).toMatchObject({ ...WANTED, session: A });
    expect(await bed.handles.leaseDirectory({ session: A, ...WANTED })).toEqual(lease);
    expect(await codeOf(make(bed.steward, 1))).toBe('HF_LEASED');
    await make(bed.steward, 2, lease);
    expect(await bed.handles.awaitRecalls(A, [lease], 100)).toEqual([]);

    const order: string[] = [];
    const told = bed.handles.awaitRecalls(A, [lease], 800);
    const others = [3, 4].map((name) => make(recalling(bed), name).then(() => order.push('other')));
    expect(await told).toEqual([ROOT_INODE]);
    await bed.env.clock.sleep(LIMITS.leaseRecallMs - 1000);
    await make(bed.steward, 5, lease);
    order.push('batch');
    await bed.handles.returnDirectories(lease.session, [lease]);
    await Promise.all(others);
    expect(order).toEqual(['batch', 'other', 'other']);
    expect(await codeOf(make(bed.steward, 6, lease))).toBe('HF_FENCED');
    expect(await bed.handles.awaitRecalls(A, [lease], 100)).toEqual([ROOT_INODE]); // it is gone
    // Whoever asked for it is not to ask again at once.
    expect(await bed.handles.leaseDirectory({ session: B, ...WANTED })).toBeUndefined();
    await bed.pass(LIMITS.leaseAgainMs + LIMITS.leaseRecallMs - 10_000);
    for (const session of [A, B]) await bed.handles.renewSession(session);
    await bed.pass(10_000);
    const next = await leased(bed, B);
    expect(next.fence).toBeGreaterThan(lease.fence);
    expect(next.firstInode).toBeGreaterThanOrEqual(lease.firstInode + BigInt(lease.inodeCount));
  });

  it('are taken from a holder that does not answer, and its batches are refused', async () => {
    await using bed = await opened(await handlesBed());
    const lease = await leased(bed);
    const startMs = bed.env.clock.monotonic();
    await make(recalling(bed), 1);
    expect(bed.env.clock.monotonic() - startMs).toBe(LIMITS.leaseRecallMs);
    expect(await codeOf(make(bed.steward, 2, lease))).toBe('HF_FENCED');
    await bed.handles.returnDirectories(lease.session, [lease]); // too late, and no harm
  });

  it('are left to a holder that says that it is bringing, but not for ever', async () => {
    await using bed = await opened(await handlesBed());
    const lease = await leased(bed);
    const startMs = bed.env.clock.monotonic();
    const other = make(recalling(bed), 1);
    let isOver = false;
    const says = (async () => {
      while (!isOver) {
        await bed.env.clock.sleep(LIMITS.leaseRecallMs - 1000);
        await bed.handles.awaitRecalls(A, [lease], 0);
        await bed.handles.renewSession(A);
      }
    })();
    await other;
    isOver = true;
    expect(bed.env.clock.monotonic() - startMs).toBe(LIMITS.leaseReturnMsMax);
    await says;
    expect(await codeOf(make(bed.steward, 2, lease))).toBe('HF_FENCED');
  });

  it('hold up requests that may be asked again, which are then done once', async () => {
    await using bed = await opened(await handlesBed());
    await leased(bed);
    const retry = { session: B, lane: 1, sequence: 1 };
    const tagged: Executor = {
      execute: (operation) => bed.steward.execute(operation, { retry, slot: 0 }),
    };
    const executor = recallingExecutor(tagged, (of) => bed.handles.recallDirectory(of));
    await Promise.all([make(executor, 1), make(executor, 1)]);
    const names = await bed.steward.execute((rows) =>
      list(rows, { directory: ROOT_INODE, limit: 10 }, { nowMs: 0 }).map(({ name }) => name[0]),
    );
    expect(names).toEqual([1]);
  });

  it('are honoured by the next steward', async () => {
    const first = await opened(await handlesBed());
    const lease = await leased(first);
    await using second = await handlesBed(first);
    expect(await codeOf(make(second.steward, 1))).toBe('HF_LEASED');
    await make(second.steward, 2, lease);
    const other = make(recalling(second), 3);
    expect(await second.handles.awaitRecalls(A, [lease], 800)).toEqual([ROOT_INODE]);
    await second.handles.returnDirectories(lease.session, [lease]);
    await other;
    await first[Symbol.asyncDispose]();
  });

  it('are recalled by who wants them too, who does without', async () => {
    await using bed = await opened(await handlesBed());
    const { handles } = bed;
    const lease = await leased(bed);
    const told = handles.awaitRecalls(A, [lease], 800);
    expect(await handles.leaseDirectory({ session: B, ...WANTED })).toBeUndefined();
    expect(await told).toEqual([ROOT_INODE]);
    await bed.env.clock.sleep(LIMITS.leaseRecallMs);
    await make(bed.steward, 1); // it was taken
    expect(await codeOf(make(bed.steward, 2, lease))).toBe('HF_FENCED');
  });

  it('are not taken by a recall that their holder cannot hear of any more', async () => {
    const moved: { slots?: SlotRange } = {};
    await using bed = await opened(await handlesBed({ moved }));
    const { handles, env } = bed;
    const lease = await leased(bed);
    const recalled = handles.recallDirectory(ROOT_INODE).catch(errorCode);
    moved.slots = { from: 0, to: 2048 }; // the steward's memory begins anew
    await env.clock.sleep(LIMITS.leaseRecallMs - 100);
    // By this it believes that it has the directory for five seconds more.
    expect(await handles.awaitRecalls(A, [lease], 10)).toEqual([]);
    expect(await recalled).toBe('HF_LEASED');
    await make(bed.steward, 1, lease);
    const startMs = env.clock.monotonic();
    await handles.recallDirectory(ROOT_INODE);
    expect(env.clock.monotonic() - startMs).toBe(LIMITS.leaseRecallMs);
  });

  it('go at once when the session of the holder is over', async () => {
    await using bed = await opened(await handlesBed());
    const lease = await leased(bed);
    await bed.handles.closeSession(A);
    expect(await codeOf(bed.handles.awaitRecalls(A, [lease], 0))).toBe('HF_SESSION_OVER');
    const startMs = bed.env.clock.monotonic();
    await make(recalling(bed), 1);
    expect(bed.env.clock.monotonic()).toBe(startMs);
    expect(await codeOf(make(bed.steward, 2, lease))).toBe('HF_FENCED');
  });

  it('are of directories, and bounded', async () => {
    await using bed = await opened(await handlesBed());
    const { handles } = bed;
    const lease = (changed: object): Promise<unknown> =>
      handles.leaseDirectory({ session: A, ...WANTED, ...changed });
    expect(await codeOf(lease({ directory: 99n }))).toBe('HF_NOT_FOUND');
    expect(await codeOf(lease({ inodeCount: 0 }))).toBe('HF_BAD_ARGUMENT');
    expect(await codeOf(lease({ session: sessionOf(9) }))).toBe('HF_SESSION_OVER');
  });
});
