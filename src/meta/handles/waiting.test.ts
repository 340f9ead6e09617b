// Aim: who waits for a lock gets it in turn, nobody waits for ever, and a deadlock is said to be
// one exactly when there is one. Method: random owners that do one thing each, against a model of
// who holds and who waits; the cases that the manual pages and the contract name by hand.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errorCode, LIMITS } from '../../base/index.ts';
import {
  handlesBed,
  type HandlesBed,
  lockAndWait,
  type LockCall,
  lockOf,
  sessionOf,
} from '../../../test/suites/handles-bed.ts';
import type { Executor } from '../cells/executor.ts';
import type { LockRequest } from './handles.ts';
import { LockLines } from './lock-lines.ts';
import { isConflict } from './lock-ops.ts';

async function bedWithSessions(): Promise<HandlesBed> {
  const bed = await handlesBed();
  for (const index of [1, 2])
    await bed.handles.openSession({ session: sessionOf(index), node: 'n' });
  return bed;
}

/** Asks for a lock; what became of it is in `state` once it is known. */
function ask({ handles }: HandlesBed, request: LockRequest): { state: string } {
  const call = { state: 'waiting' };
  lockAndWait(handles, request).then(
    (state) => (call.state = state),
    (error: unknown) => (call.state = String(errorCode(error))),
  );
  return call;
}

/** Long enough for everything that is possible to have happened. */
async function calm({ env, table }: HandlesBed): Promise<void> {
  await env.clock.sleep(20);
  await table.lines.settled();
}

async function unlock({ handles }: HandlesBed, call: LockCall): Promise<void> {
  await handles.unlock(lockOf(call));
}

const S = false; // shared
const X = true; // exclusive

describe('waiting for locks', () => {
  it('serves in turn, and lets nobody pass who would keep another waiting', async () => {
    await using bed = await bedWithSessions();
    const reader = ask(bed, lockOf({ owner: 1, isExclusive: S }));
    await calm(bed);
    const writer = ask(bed, lockOf({ owner: 2, isExclusive: X }));
    await calm(bed);
    const late = ask(bed, lockOf({ owner: 3, isExclusive: S }));
    const elsewhere = ask(bed, lockOf({ owner: 4, isExclusive: X, range: [10, 20] }));
    await calm(bed);
    expect([reader, writer, late, elsewhere].map(({ state }) => state)).toEqual([
      'granted',
      'waiting',
      'waiting',
      'granted',
    ]);
    // Who does not wait, does not stand in line.
    const trial = lockOf({ owner: 5, isExclusive: S, range: [0, 5] });
    expect(await bed.handles.lock({ ...trial, waits: false })).toEqual({ state: 'granted' });
    await bed.handles.unlock(trial);
    await unlock(bed, { owner: 1 });
    await calm(bed);
    expect([writer.state, late.state]).toEqual(['granted', 'waiting']);
    await unlock(bed, { owner: 2 });
    await calm(bed);
    expect(late.state).toBe('granted');
  });

  it('finds a deadlock over several files, and between two that upgrade', async () => {
    await using bed = await bedWithSessions();
    for (const owner of [1, 2, 3]) {
      await lockAndWait(bed.handles, lockOf({ owner, inode: BigInt(owner) }));
    }
    const first = ask(bed, lockOf({ owner: 1, inode: 2n }));
    await calm(bed);
    const second = ask(bed, lockOf({ owner: 2, inode: 3n, session: 1 }));
    await calm(bed);
    expect(await lockAndWait(bed.handles, lockOf({ owner: 3, inode: 1n }))).toBe('deadlock');
    await unlock(bed, { owner: 3, inode: 3n }); // it kept what it had
    await calm(bed);
    expect([first.state, second.state]).toEqual(['waiting', 'granted']);
    for (const owner of [1, 2]) {
      await lockAndWait(bed.handles, lockOf({ owner, inode: 9n, isExclusive: S }));
    }
    const upgrade = ask(bed, lockOf({ owner: 1, inode: 9n, isExclusive: X, session: 1 }));
    await calm(bed);
    expect(upgrade.state).toBe('waiting');
    expect(await lockAndWait(bed.handles, lockOf({ owner: 2, inode: 9n }))).toBe('deadlock');
  });

  it('does not call it a deadlock when descriptions wait for each other', async () => {
    await using bed = await bedWithSessions();
    for (const kind of ['ofd', 'flock'] as const) {
      await lockAndWait(bed.handles, lockOf({ owner: 1, inode: 1n, kind }));
      await lockAndWait(bed.handles, lockOf({ owner: 2, inode: 2n, kind }));
      const first = ask(bed, lockOf({ owner: 1, inode: 2n, kind }));
      const second = ask(bed, lockOf({ owner: 2, inode: 1n, kind }));
      await calm(bed);
      expect([first.state, second.state]).toEqual(['waiting', 'waiting']);
      await bed.handles.unlockAll(lockOf({ owner: 2, inode: 2n, kind }));
      await calm(bed);
      expect(first.state).toBe('granted');
      await bed.handles.cancelLock(lockOf({ owner: 2, inode: 1n, kind }));
      await calm(bed);
      expect(second.state).toBe('cancelled');
      await bed.handles.unlockAll(lockOf({ owner: 1, inode: 1n, kind }));
      await bed.handles.unlockAll(lockOf({ owner: 1, inode: 2n, kind }));
    }
  });

  it('lets pass who would otherwise stand in a circle of our own making', async () => {
    await using bed = await bedWithSessions();
    // 1 holds file 2. On file 1: 2 holds it shared, 3 waits for it alone, 1 wants to share it.
    await lockAndWait(bed.handles, lockOf({ owner: 1, inode: 2n }));
    await lockAndWait(bed.handles, lockOf({ owner: 2, inode: 1n, isExclusive: S }));
    const writer = ask(bed, lockOf({ owner: 3, inode: 1n }));
    await calm(bed);
    const sharer = ask(bed, lockOf({ owner: 1, inode: 1n, isExclusive: S }));
    await calm(bed);
    expect(sharer.state).toBe('waiting');
    // 2 waits for 1, which stands behind 3, which waits for 2: but 1 could have its lock.
    const holder = ask(bed, lockOf({ owner: 2, inode: 2n }));
    await calm(bed);
    expect([writer.state, sharer.state, holder.state]).toEqual(['waiting', 'granted', 'waiting']);
  });

  it('gives up a shared flock before it waits for the whole', async () => {
    await using bed = await bedWithSessions();
    const both = [1, 2].map((owner) => lockOf({ owner, kind: 'flock', isExclusive: S }));
    for (const request of both) await lockAndWait(bed.handles, request);
    const first = ask(bed, { ...(both[0] as LockRequest), isExclusive: true });
    await calm(bed);
    expect(first.state).toBe('waiting');
    const second = ask(bed, { ...(both[1] as LockRequest), isExclusive: true });
    await calm(bed);
    expect([first.state, second.state]).toEqual(['granted', 'waiting']);
    await bed.handles.unlock(both[0] as LockRequest);
    await calm(bed);
    expect(second.state).toBe('granted');
  });

  it('keeps a place for who asks again, and gives up one for who does not', async () => {
    await using bed = await bedWithSessions();
    const { handles } = bed;
    await lockAndWait(handles, lockOf({ owner: 1 }));
    const gone = lockOf({ owner: 2 });
    expect((await handles.lock({ ...gone, waits: true })).state).toBe('waiting');
    expect(await handles.awaitLock(gone, 100)).toBe('waiting');
    const next = ask(bed, lockOf({ owner: 3 }));
    await calm(bed);
    await unlock(bed, { owner: 1 });
    await calm(bed);
    expect(next.state).toBe('waiting'); // nobody is granted what nobody asks for
    expect(await handles.testLock(lockOf({ owner: 4 }))).toBeUndefined();
    await bed.pass(LIMITS.lockPlaceMs + 2000);
    expect(next.state).toBe('granted');
    expect(await handles.awaitLock(gone, 100)).toBe('gone');
  });

  it('tells who waited until just now that it was granted after all', async () => {
    await using bed = await bedWithSessions();
    // What was decided is known 100 ms later.
    const executor: Executor = {
      async execute(operation, options) {
        const result = await bed.steward.execute(operation, options);
        await bed.env.clock.sleep(100);
        return result;
      },
    };
    const lines = new LockLines({ clock: bed.env.clock, executor });
    const request = lockOf({ owner: 1 });
    lines.place(request);
    expect(await lines.wait(request, 50)).toBe('granted');
    expect(lines.waiterCount).toBe(0);
  });

  it('serves who waits when a session ends, and forgets who waits in it', async () => {
    await using bed = await bedWithSessions();
    await lockAndWait(bed.handles, lockOf({ owner: 1, session: 1 }));
    const sameSession = ask(bed, lockOf({ owner: 2, session: 1 }));
    await calm(bed);
    const other = ask(bed, lockOf({ owner: 3, session: 2 }));
    await calm(bed);
    await bed.handles.closeSession(sessionOf(1));
    await calm(bed);
    expect(['cancelled', 'HF_SESSION_OVER']).toContain(sameSession.state);
    expect(other.state).toBe('granted');
  });
});

const LEFT = 2;
const call = fc.record({
  owner: fc.integer({ min: 1, max: 4 }),
  session: fc.integer({ min: 1, max: 2 }),
  inode: fc.constantFrom(1n, 2n),
  range: fc.constantFrom([0, 4], [2, 6], [0, 6], [5, 6]) as fc.Arbitrary<[number, number]>,
  isExclusive: fc.boolean(),
  act: fc.constantFrom('lock', 'lock', 'lock', 'unlock', 'cancel', 'try'),
});

/** What each owner (it has one thread) holds, by the requests that were granted; and waits for. */
class Waits {
  readonly held = new Map<string, LockRequest[]>();
  readonly waiting = new Map<string, { request: LockRequest; answer: { state: string } }>();

  blockersOf(request: LockRequest): string[] {
    const mine = nameOf(request);
    return [...this.held]
      .filter(([owner, locks]) => owner !== mine && locks.some((lock) => isConflict(lock, request)))
      .map(([owner]) => owner);
  }

  isDeadlock(request: LockRequest): boolean {
    const target = nameOf(request);
    const seen = new Set<string>();
    const next = this.blockersOf(request);
    for (let owner = next.pop(); owner !== undefined; owner = next.pop()) {
      if (owner === target) return true;
      const wait = this.waiting.get(owner);
      if (seen.has(owner) || !wait) continue;
      seen.add(owner);
      next.push(...this.blockersOf(wait.request));
    }
    return false;
  }

  /** Byte by byte, so that ranges can be given up in part. */
  set(request: LockRequest): void {
    this.clear(request);
    const locks = this.held.get(nameOf(request)) ?? [];
    for (let at = request.start; at < request.end; at++) {
      locks.push({ ...request, start: at, end: at + 1n });
    }
    this.held.set(nameOf(request), locks);
  }

  clear({ start, end, ...of }: LockRequest): void {
    const locks = this.held.get(nameOf({ ...of, start, end })) ?? [];
    this.held.set(
      nameOf({ ...of, start, end }),
      locks.filter((lock) => lock.inode !== of.inode || lock.start < start || lock.start >= end),
    );
  }

  /** Takes over what the cell has decided. */
  take(): void {
    for (const [owner, { request, answer }] of this.waiting) {
      if (answer.state === 'waiting') continue;
      this.waiting.delete(owner);
      if (answer.state === 'granted') this.set(request);
    }
    // Of several that were granted one may have given up something first.
    for (const lock of [...this.held.values()].flat()) expect(this.blockersOf(lock)).toEqual([]);
  }
}

function nameOf({ session, owner }: LockRequest): string {
  return `${session} ${owner}`;
}

describe('many that wait', () => {
  it('never have what conflicts, never wait for nothing, and hear of deadlocks', async () => {
    let deadlocks = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(call, { maxLength: 30, minLength: 5 }), async (calls) => {
        await using bed = await bedWithSessions();
        const waits = new Waits();
        for (const { act, ...of } of calls) {
          const request = lockOf(of);
          const present = waits.waiting.get(nameOf(request));
          if (act === 'cancel') {
            if (present) await bed.handles.cancelLock(present.request);
          } else if (present) {
            continue; // its thread is blocked
          } else if (act === 'unlock') {
            await bed.handles.unlock(request);
            waits.clear(request);
          } else if (act === 'try') {
            const { state } = await bed.handles.lock({ ...request, waits: false });
            expect(state).toBe(waits.blockersOf(request).length > 0 ? 'denied' : 'granted');
            if (state === 'granted') waits.set(request);
          } else {
            const isDeadlock = waits.isDeadlock(request);
            const answer = ask(bed, request);
            waits.waiting.set(nameOf(request), { request, answer });
            await calm(bed);
            expect(answer.state === 'deadlock').toBe(isDeadlock);
            if (isDeadlock) deadlocks += 1;
          }
          await calm(bed);
          waits.take();
        }
        // Whoever has its locks gives them up: then all that wait are served, round by round.
        for (let round = 0; waits.waiting.size > 0; round++) {
          expect(round).toBeLessThan(calls.length + LEFT);
          for (const [owner, locks] of waits.held) {
            if (waits.waiting.has(owner)) continue;
            for (const lock of locks) await bed.handles.unlockAll(lock);
            waits.held.set(owner, []);
          }
          await calm(bed);
          waits.take();
        }
        expect(bed.table.lines.waiterCount).toBe(0);
      }),
      { numRuns: 150 },
    );
    expect(deadlocks).toBeGreaterThan(0);
  });
});
