/**
 * Aim: locks of this node's owners are those of the cell; giving up nothing costs nothing; waits
 * end when they are granted, given up, or their place is lost; the end of a session is known.
 * Method: two nodes over a cell's handles in memory, in virtual time.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { errorCode, HoldfastError } from '../base/index.ts';
import type { Handles } from '../meta/index.ts';
import { type HandlesBed, handlesBed } from '../../test/suites/handles-bed.ts';
import { type FileLockRequest, FileLocks } from './file-locks.ts';
import { OpenInodes } from './open-inodes.ts';

interface Node {
  readonly opens: OpenInodes;
  readonly locks: FileLocks;
}

let bed: HandlesBed;
let here: Node;
let there: Node;
/** What of locks was asked of the cell. */
let asked: string[];
let failing: HoldfastError | undefined;
const stack: AsyncDisposable[] = [];

async function nodeOf(name: string): Promise<Node> {
  const told = async <Result>(method: string, answer: Promise<Result>): Promise<Result> => {
    asked.push(method);
    await answer;
    if (failing) throw failing;
    return await answer;
  };
  const { handles } = bed;
  const counted: Handles = {
    ...handles,
    lock: async (wanted) => await told('lock', handles.lock(wanted)),
    unlock: async (range) => await told('unlock', handles.unlock(range)),
    unlockAll: async (owner) => await told('unlockAll', handles.unlockAll(owner)),
  };
  const release = async (): Promise<void> => {};
  const opens = await OpenInodes.open({ env: bed.env, handles: counted, node: name, release });
  stack.push(opens);
  return { opens, locks: new FileLocks({ handles: counted, opens }) };
}

beforeEach(async () => {
  bed = await handlesBed();
  asked = [];
  failing = undefined;
  here = await nodeOf('here');
  there = await nodeOf('there');
});

afterEach(async () => {
  failing = undefined;
  for (const opened of stack.splice(0)) await opened[Symbol.asyncDispose]();
  await bed[Symbol.asyncDispose]();
});

const request = (owner: number, more: Partial<FileLockRequest> = {}): FileLockRequest => ({
  inode: 5n,
  owner: BigInt(owner),
  kind: 'posix',
  start: 0n,
  end: 10n,
  isExclusive: true,
  processId: 100 + owner,
  ...more,
});
const never = new AbortController().signal;
const tries = { waits: false, signal: never };
const waits = { waits: true, signal: never };

it('are held by one owner, and told to others', async () => {
  expect(await here.locks.lock(request(1), tries)).toBe('granted');
  expect(await here.locks.lock(request(2), tries)).toBe('denied');
  expect(await there.locks.lock(request(1), tries)).toBe('denied');
  expect((await here.locks.test(request(2)))?.processId).toBe(101);
  expect(await there.locks.test(request(1))).toMatchObject({ processId: undefined, end: 10n });
  await here.locks.unlock(request(1));
  expect(await there.locks.lock(request(1), tries)).toBe('granted');
});

it('cost nothing to who holds none', async () => {
  await here.locks.unlockAll(request(1));
  await here.locks.unlock(request(1));
  await here.locks.lock(request(1), tries);
  await there.locks.lock(request(1), tries);
  await there.locks.unlockAll(request(1));
  expect(asked).toEqual(['lock', 'lock']);
  await here.locks.lock(request(1, { start: 10n, end: 20n }), tries);
  await here.locks.unlock(request(1, { start: 5n, end: 20n }));
  expect(here.locks.holds(request(1))).toBe(true);
  await here.locks.unlock(request(1, { start: 0n, end: 5n }));
  expect(here.locks.holds(request(1))).toBe(false);
  asked = [];
  await here.locks.unlockAll(request(1));
  expect(asked).toEqual([]);
});

it('of flock are of the whole file', async () => {
  await here.locks.lock(request(1, { kind: 'flock' }), tries);
  await here.locks.unlock(request(1, { kind: 'flock', start: 3n, end: 4n }));
  expect(here.locks.holds(request(1, { kind: 'flock' }))).toBe(false);
});

it('are waited for', async () => {
  await here.locks.lock(request(1), tries);
  const waiting = there.locks.lock(request(1), waits);
  await bed.pass(5000);
  expect(await there.locks.lock(request(2), tries)).toBe('denied');
  await here.locks.unlockAll(request(1));
  expect(await waiting).toBe('granted');
});

it('are waited for until somebody gives up', async () => {
  await here.locks.lock(request(1), tries);
  const givesUp = new AbortController();
  const waiting = there.locks.lock(request(1), { waits: true, signal: givesUp.signal });
  await bed.pass(2000);
  givesUp.abort();
  expect(await waiting).toBe('denied');
  expect(there.locks.holds(request(1))).toBe(false);
  const early = AbortSignal.abort();
  expect(await there.locks.lock(request(1), { waits: true, signal: early })).toBe('denied');
});

it('are given up with the wait for more', async () => {
  await here.locks.lock(request(1, { start: 50n, end: 60n }), tries);
  await there.locks.lock(request(1), tries);
  const waiting = there.locks.lock(request(1, { start: 50n, end: 60n }), waits);
  await bed.pass(1000);
  await there.locks.unlockAll(request(1));
  expect(await waiting).toBe('denied');
  expect(await here.locks.lock(request(2), tries)).toBe('granted');
});

it('that wait in a circle are told so', async () => {
  const other = { start: 20n, end: 30n };
  await here.locks.lock(request(1), tries);
  await there.locks.lock(request(1, other), tries);
  const waiting = [
    here.locks.lock(request(1, other), waits).then((answer) => [answer, here, {}] as const),
    there.locks.lock(request(1), waits).then((answer) => [answer, there, other] as const),
  ];
  const [answer, node, held] = await Promise.race(waiting);
  expect(answer).toBe('deadlock');
  await node.locks.unlock(request(1, held));
  expect((await Promise.all(waiting)).map(([each]) => each).toSorted()).toEqual([
    'deadlock',
    'granted',
  ]);
});

it('whose answer was lost are given up when the owner goes', async () => {
  failing = new HoldfastError('HF_TIMEOUT');
  expect(await here.locks.lock(request(1), tries).catch(errorCode)).toBe('HF_TIMEOUT');
  expect(await here.locks.unlockAll(request(1)).catch(errorCode)).toBe('HF_TIMEOUT');
  failing = undefined;
  expect(here.locks.holds(request(1))).toBe(true);
  await here.locks.unlockAll(request(1));
  expect(await there.locks.lock(request(1), tries)).toBe('granted');
});

it('end with the session, and that is known', async () => {
  await here.locks.lock(request(1), tries);
  const waiting = there.locks.lock(request(1), waits);
  await bed.pass(1000);
  const { age } = here.locks;
  const sessions = await bed.handles.sessions();
  await bed.handles.closeSession(sessions.find(({ node }) => node === 'here')!.session);
  expect(await waiting).toBe('granted');
  expect(await here.locks.lock(request(2), tries)).toBe('denied');
  expect(here.locks.age).toBe(age + 1);
  expect(here.locks.holds(request(1))).toBe(false);
});

it('know how many mounts use them', () => {
  const first = here.locks.join();
  expect(here.locks.isShared).toBe(false);
  const second = here.locks.join();
  expect(here.locks.isShared).toBe(true);
  second[Symbol.dispose]();
  first[Symbol.dispose]();
  expect(here.locks.isShared).toBe(false);
});
