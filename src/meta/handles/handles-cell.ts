/**
 * {@link Handles} over a cell: each method is an operation on its rows, and what the steward's
 * memory (handle-table.ts) has to know of it. An operation may run several times: what it does to
 * the memory by itself only ever keeps something longer than needed.
 */
import { HoldfastError, LIMITS } from '../../base/index.ts';
import type { Clock } from '../../env/index.ts';
import type { Executor } from '../cells/executor.ts';
import type { Rows } from '../cells/overlay.ts';
import { SLOT_COUNT } from '../cells/rows.ts';
import type { Inode } from '../namespace/namespace.ts';
import { findInode } from '../namespace/inode-ops.ts';
import { slotOfInode } from '../namespace/namespace-rows.ts';
import type { HandleTable } from './handle-table.ts';
import type { Handles, LockAnswer } from './handles.ts';
import { endLease, grantLease } from './lease-ops.ts';
import { clearOwner, clearRange, normalRange, testLock, tryLock } from './lock-ops.ts';
import { checkSession, liveSessions, openSession } from './session-ops.ts';

/** @param executor may tag what it runs, so that a request can be asked again. */
export function handlesOf(
  executor: Executor,
  { table, clock }: { readonly table: HandleTable; readonly clock: Pick<Clock, 'now'> },
): Handles {
  return {
    ...sessionsOf(executor, { table, clock }),
    ...opensOf(executor, table),
    ...locksOf(executor, table),
    ...leasesOf(executor, table),
  };
}

function sessionsOf(
  executor: Executor,
  { table, clock }: { readonly table: HandleTable; readonly clock: Pick<Clock, 'now'> },
): Pick<Handles, 'openSession' | 'renewSession' | 'closeSession' | 'sessions'> {
  return {
    async openSession({ session, node }) {
      const openedAtMs = clock.now();
      await executor.execute((rows) => {
        openSession(rows, { session, node, openedAtMs });
        table.touch(session);
      });
      return table.state();
    },
    async renewSession(session) {
      await executor.execute((rows) => {
        checkSession(rows, session);
        table.touch(session);
      });
      return table.state();
    },
    closeSession: (session) => table.endSession(session),
    sessions: () => executor.execute((rows) => liveSessions(rows)),
  };
}

function opensOf(executor: Executor, table: HandleTable): Pick<Handles, 'open' | 'close'> {
  return {
    async open(session, inodes) {
      checkCount(inodes);
      return await executor.execute((rows) => {
        checkSession(rows, session);
        checkOwned(rows, inodes);
        const gone = inodes.filter((inode) => !findInode(rows, inode));
        table.open(session, new Set(inodes).difference(new Set(gone)));
        return gone;
      });
    },
    close: (session, inodes) => table.close(session, inodes),
  };
}

function locksOf(
  executor: Executor,
  table: HandleTable,
): Pick<Handles, 'lock' | 'awaitLock' | 'unlock' | 'unlockAll' | 'testLock' | 'cancelLock'> {
  async function change(
    inode: Inode,
    operation: Parameters<Executor['execute']>[0],
  ): Promise<void> {
    await executor.execute(operation, { slot: slotOfInode(inode) });
    table.lines.settleSoon(inode);
  }
  return {
    async lock(wanted): Promise<LockAnswer> {
      const { waits, ...request } = normalRange(wanted);
      const answer = await executor.execute(
        (rows) => tryLock(rows, request, { waits, mustQueue: table.lines.mustQueue(request) }),
        { slot: slotOfInode(request.inode) },
      );
      if (answer.state === 'waiting') table.lines.place(request);
      table.lines.settleSoon(request.inode); // the owner may hold less than before
      return answer;
    },
    awaitLock: (request, waitMs) =>
      table.lines.wait(normalRange(request), Math.min(waitMs, LIMITS.handleWaitMsMax)),
    unlock: (range) => change(range.inode, (rows) => clearRange(rows, range)),
    async unlockAll(owner) {
      await table.lines.cancelAll(owner);
      await change(owner.inode, (rows) => clearOwner(rows, owner));
    },
    testLock: (request) =>
      executor.execute((rows) => testLock(rows, request), { slot: slotOfInode(request.inode) }),
    cancelLock: (request) => table.lines.cancel(normalRange(request)),
  };
}

function leasesOf(
  executor: Executor,
  table: HandleTable,
): Pick<Handles, 'leaseDirectory' | 'returnDirectories' | 'awaitRecalls' | 'recallDirectory'> {
  return {
    async leaseDirectory(request) {
      const { directory } = request;
      if (table.recalls.isWanted(directory)) return undefined;
      const lease = await executor.execute((rows) => grantLease(rows, request), {
        slot: slotOfInode(directory),
      });
      if (!lease) table.recalls.begin(directory);
      return lease;
    },
    async returnDirectories(session, leases) {
      checkCount(leases);
      await executor.execute((rows) => {
        checkOwned(
          rows,
          leases.map(({ directory }) => directory),
        );
        for (const { directory, fence } of leases) endLease(rows, directory, { session, fence });
      });
      for (const lease of leases) table.recalls.returned(lease);
    },
    async awaitRecalls(session, leases, waitMs) {
      checkCount(leases);
      const until = Math.min(waitMs, LIMITS.handleWaitMsMax);
      return await table.recalls.awaitDue(session, leases, until);
    },
    recallDirectory: (directory) => table.recalls.recall(directory),
  };
}

/** It is the owner of the slot that has to know. @throws HF_MOVED. */
function checkOwned(rows: Rows, inodes: readonly Inode[]): void {
  const [from, to] = rows.slots ?? [0, SLOT_COUNT];
  const isOwned = inodes.map(slotOfInode).every((slot) => slot >= from && slot < to);
  if (!isOwned) throw new HoldfastError('HF_MOVED');
}

function checkCount({ length }: readonly unknown[]): void {
  if (length <= LIMITS.listPageMax) return;
  throw new HoldfastError('HF_BAD_ARGUMENT', `${length} inodes in one call`);
}
