// Aim: what travels between nodes fits the tables, and nonsense of a peer does not reach a cell.
// Method: requests and answers of a real cell through the wire format and the schemas, and altered
// ones; routes by hand.
import { describe, expect, it } from 'vitest';
import { errorCode } from '../../base/index.ts';
import { handlesBed, lockOf, sessionOf } from '../../../test/suites/handles-bed.ts';
import { type AnyMethod, checked } from '../remote/cell-methods.ts';
import { decodeValue, encodeValue } from '../remote/wire-value.ts';
import { ROOT_INODE } from '../namespace/namespace.ts';
import { makeInode } from '../namespace/namespace-rows.ts';
import { HANDLE_METHODS } from './handles-wire.ts';
import type { Handles } from './handles.ts';

const methods = HANDLE_METHODS as unknown as Record<string, AnyMethod>;

/** The handles as another node has them. */
function travelling(handles: Handles): Handles {
  const calls = Object.entries(methods).map(([name, { args, result }]) => [
    name,
    async (...given: unknown[]) => {
      const request = checked(args, decodeValue(encodeValue(given)));
      const method = handles[name as keyof Handles] as (...all: unknown[]) => Promise<unknown>;
      return checked(result, decodeValue(encodeValue(await method(...request))));
    },
  ]);
  return Object.fromEntries(calls) as Handles;
}

describe('handles between nodes', () => {
  it('mean the same on both sides', async () => {
    await using bed = await handlesBed();
    const handles = travelling(bed.handles);
    const session = sessionOf(1);
    const opened = await handles.openSession({ session, node: 'n' });
    expect(await handles.renewSession(session)).toEqual(opened);
    expect(await handles.sessions()).toMatchObject([{ session, node: 'n' }]);
    expect(await handles.open(session, [ROOT_INODE, 9n])).toEqual([9n]);
    await handles.close(session, [ROOT_INODE]);
    const [one, two] = [1, 2].map((owner) => lockOf({ owner })) as [
      ReturnType<typeof lockOf>,
      ReturnType<typeof lockOf>,
    ];
    expect(await handles.lock({ ...one, waits: false })).toEqual({ state: 'granted' });
    const { inode: _i, owner: _o, ...holder } = one;
    expect(await handles.testLock(two)).toEqual(holder);
    expect(await handles.lock({ ...two, waits: false })).toEqual({ state: 'denied', by: holder });
    expect(await handles.lock({ ...two, waits: true })).toEqual({ state: 'waiting' });
    expect(await handles.awaitLock(two, 10)).toBe('waiting');
    await handles.cancelLock(two);
    expect(await handles.awaitLock(two, 10)).toBe('gone');
    await handles.unlock(one);
    await handles.unlockAll(one);
    expect(await handles.testLock(two)).toBeUndefined();
    const reserved = { inodeCount: 4, bytesReserved: 1, rowsReserved: 2 };
    const lease = await handles.leaseDirectory({ session, directory: ROOT_INODE, ...reserved });
    expect(lease).toMatchObject({ ...reserved, session, directory: ROOT_INODE });
    if (!lease) return;
    const gone = { directory: 9n, fence: 1 };
    expect(await handles.awaitRecalls(session, [lease], 10)).toEqual([]);
    expect(await handles.awaitRecalls(session, [lease, gone], 10)).toEqual([9n]);
    await handles.returnDirectories(lease.session, [lease]);
    await handles.recallDirectory(ROOT_INODE);
    await handles.closeSession(session);
  });

  it('refuse nonsense before a cell sees it', () => {
    const lock = { ...lockOf({ owner: 1 }), waits: true };
    const bad: [string, unknown[]][] = [
      ['openSession', [{ session: 'x', node: 'n' }]],
      ['open', [sessionOf(1), Array.from({ length: 1001 }, () => 1n)]],
      ['lock', [{ ...lock, kind: 'leasing' }]],
      ['lock', [{ ...lock, end: 2n ** 63n + 1n }]],
      ['lock', [{ ...lock, session: undefined }]],
      ['leaseDirectory', [{ session: sessionOf(1), directory: 1n, inodeCount: 0 }]],
    ];
    for (const [name, args] of bad) {
      const check = (): unknown => checked((methods[name] as AnyMethod).args, args);
      let code: string | undefined;
      try {
        check();
      } catch (error) {
        code = errorCode(error);
      }
      expect([name, code]).toEqual([name, 'HF_BAD_ARGUMENT']);
    }
  });

  it('go to the cells that they are about', () => {
    const { lock, open, renewSession } = HANDLE_METHODS;
    const far = makeInode(77, 5);
    expect((lock.route as (args: unknown[]) => number)([lockOf({ owner: 1, inode: far })])).toBe(
      77,
    );
    const byItems = open.route as unknown as { slots(args: unknown[]): number[] };
    expect(byItems.slots([sessionOf(1), [1n, far]])).toEqual([0, 77]);
    const all = renewSession.route as unknown as { merge(states: object[]): object };
    const states = [
      { leaseMs: 5, generation: '1.1' },
      { leaseMs: 4, generation: '7.2' },
    ];
    expect(all.merge(states)).toEqual({ leaseMs: 4, generation: '1.1 7.2' });
  });
});
