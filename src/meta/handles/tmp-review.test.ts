import { expect, it } from 'vitest';
import { errorCode, LIMITS } from '../../base/index.ts';
import { handlesBed, sessionOf } from '../../../test/suites/handles-bed.ts';
import { ROOT_INODE } from '../namespace/namespace.ts';
const A = sessionOf(1);
const WANTED = { directory: ROOT_INODE, inodeCount: 100, bytesReserved: 5, rowsReserved: 6 };
it('T1 a recall of before does not take the lease of one who has five seconds again', async () => {
  const moved: { slots?: { from: number; to: number } } = {};
  await using bed = await handlesBed({ moved });
  await bed.handles.openSession({ session: A, node: 'n' });
  const lease = (await bed.handles.leaseDirectory({ session: A, ...WANTED }))!;
  const old = bed.handles.recallDirectory(ROOT_INODE).then(() => 'taken', errorCode);
  await bed.env.clock.sleep(10);
  moved.slots = { from: 0, to: 2048 };
  const askedAt = bed.env.clock.monotonic() + 4000;
  await bed.env.clock.sleep(4000);
  expect(await bed.handles.awaitRecalls(A, [lease], 100)).toEqual([]);
  await bed.env.clock.sleep(askedAt + LIMITS.leaseRecallMs - 1 - bed.env.clock.monotonic());
  console.log(await old);
  expect(await bed.handles.awaitRecalls(A, [lease], 0)).toEqual([]);
});
it('T4 awaitRecalls of a session that is over', async () => {
  await using bed = await handlesBed();
  await bed.handles.openSession({ session: A, node: 'n' });
  const lease = (await bed.handles.leaseDirectory({ session: A, ...WANTED }))!;
  await bed.handles.closeSession(A);
  expect(await bed.handles.awaitRecalls(A, [lease], 0).catch(errorCode)).toBe('HF_SESSION_OVER');
});
