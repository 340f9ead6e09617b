// Aim: locks that are tried and not waited for are what POSIX says of bytes, for many owners, also
// after another steward took over. Method: random calls against a table of bytes; the rest by hand.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errorCode, LIMITS } from '../../base/index.ts';
import {
  handlesBed,
  type HandlesBed,
  lockOf,
  sessionOf,
} from '../../../test/suites/handles-bed.ts';
import { LOCK_END, type LockKind, type LockRequest } from './handles.ts';

const SIZE = 12;
const FAR = Number.MAX_SAFE_INTEGER;

/** Who has locked each byte of each file. */
class Model {
  readonly #held: { request: LockRequest; at: number }[] = [];

  inTheWay(request: LockRequest): LockRequest[] {
    return this.#held
      .filter(({ request: held, at }) => {
        const isSpace = (held.kind === 'flock') === (request.kind === 'flock');
        const isThere = held.inode === request.inode && isSpace && covers(request, at);
        return isThere && !isSame(held, request) && (held.isExclusive || request.isExclusive);
      })
      .map(({ request: held }) => held);
  }

  set(request: LockRequest): void {
    this.clear(request);
    for (let at = 0; at < SIZE; at++) if (covers(request, at)) this.#held.push({ request, at });
  }

  clear(request: LockRequest, isAll = false): void {
    const kept = this.#held.filter(
      ({ request: held, at }) =>
        held.inode !== request.inode || !isSame(held, request) || !(isAll || covers(request, at)),
    );
    this.#held.splice(0, this.#held.length, ...kept);
  }

  endSession(session: string): void {
    const kept = this.#held.filter(({ request }) => request.session !== session);
    this.#held.splice(0, this.#held.length, ...kept);
  }
}

function covers({ kind, start, end }: LockRequest, at: number): boolean {
  return kind === 'flock' || (start <= at && at < end);
}

function isSame(a: LockRequest, b: LockRequest): boolean {
  return a.session === b.session && a.owner === b.owner && a.kind === b.kind;
}

const request = fc
  .record({
    session: fc.integer({ min: 1, max: 2 }),
    owner: fc.integer({ min: 1, max: 2 }),
    inode: fc.constantFrom(5n, 6n),
    kind: fc.constantFrom<LockKind>('posix', 'ofd', 'flock'),
    range: fc
      .uniqueArray(fc.integer({ min: 0, max: SIZE }), { minLength: 2, maxLength: 2 })
      .map((ends) => ends.sort((a, b) => a - b) as [number, number]),
    isExclusive: fc.boolean(),
  })
  .map(lockOf);
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ act: fc.constant('lock' as const), request }) },
  { weight: 3, arbitrary: fc.record({ act: fc.constant('test' as const), request }) },
  { weight: 4, arbitrary: fc.record({ act: fc.constant('unlock' as const), request }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('unlockAll' as const), request }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('restart' as const), request }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('endSession' as const), request }) },
);

async function openSessions({ handles }: HandlesBed): Promise<void> {
  for (const index of [1, 2]) await handles.openSession({ session: sessionOf(index), node: 'n' });
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(() => undefined, errorCode);
}

describe('locks that do not wait', () => {
  it('agree with a table of bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        let bed = await handlesBed();
        await openSessions(bed);
        const model = new Model();
        for (const { act, request: of } of steps) {
          if (act === 'lock') {
            const inTheWay = model.inTheWay(of);
            const answer = await bed.handles.lock({ ...of, waits: false });
            expect(answer.state).toBe(inTheWay.length === 0 ? 'granted' : 'denied');
            if (answer.state === 'granted') model.set(of);
          } else if (act === 'test') {
            const inTheWay = model.inTheWay(of);
            const holder = await bed.handles.testLock(of);
            expect(holder === undefined).toBe(inTheWay.length === 0);
            const isNamed = inTheWay.some((held) => held.processId === holder?.processId);
            if (holder) expect(isNamed).toBe(true);
          } else if (act === 'unlock') {
            await bed.handles.unlock(of);
            model.clear(of);
          } else if (act === 'unlockAll') {
            await bed.handles.unlockAll(of);
            model.clear(of, true);
          } else if (act === 'restart') {
            await bed[Symbol.asyncDispose]();
            bed = await handlesBed(bed);
          } else {
            await bed.handles.closeSession(of.session);
            expect(await codeOf(bed.handles.lock({ ...of, waits: false }))).toBe('HF_SESSION_OVER');
            model.endSession(of.session);
            await bed.table.tick(); // sweeps, so that the id may come again
            await openSessions(bed);
          }
        }
        await bed[Symbol.asyncDispose]();
      }),
      { numRuns: 120 },
    );
  });

  it('refuses ranges that are none, and sessions that were never opened', async () => {
    await using bed = await handlesBed();
    await openSessions(bed);
    const { handles } = bed;
    for (const [start, end] of [
      [3n, 3n],
      [4n, 3n],
      [0n, LOCK_END + 1n],
    ] as const) {
      const bad = { ...lockOf({ owner: 1 }), start, end, waits: false };
      expect(await codeOf(handles.lock(bad))).toBe('HF_BAD_ARGUMENT');
      expect(await codeOf(handles.unlock(bad))).toBe('HF_BAD_ARGUMENT');
    }
    const toTheEnd = { ...lockOf({ owner: 1, range: [0, FAR] }), end: LOCK_END, waits: false };
    expect((await handles.lock(toTheEnd)).state).toBe('granted');
    const other = lockOf({ owner: 2, session: 2, range: [7, 8] });
    expect(await handles.testLock(other)).toMatchObject({ start: 0n, end: LOCK_END });
    const stranger = lockOf({ owner: 1, session: 9, range: [1, 2] });
    expect(await codeOf(handles.lock({ ...stranger, waits: false }))).toBe('HF_SESSION_OVER');
  });

  it('bounds the locks of a file', async () => {
    await using bed = await handlesBed();
    await openSessions(bed);
    const all = Array.from({ length: LIMITS.locksPerInodeMax }, (_, index) =>
      codeOf(
        bed.handles.lock({
          ...lockOf({ owner: 1, range: [2 * index, 2 * index + 1] }),
          waits: false,
        }),
      ),
    );
    const codes = await Promise.all(all);
    expect(codes.indexOf('HF_TOO_LARGE')).toBe(LIMITS.locksPerInodeMax - 1);
  });
});
