/** Aim: somebody stands in for root in what is shown, user and group each by itself. */
import { expect, it } from 'vitest';
import type { InodeStatus } from '../../volume/index.ts';
import { attributesOf } from './attributes-of.ts';

const status = (uid: number, gid: number) =>
  ({
    inode: 7n,
    type: 'file',
    uid,
    gid,
    accessedNs: 0n,
    modifiedNs: 0n,
    changedNs: 0n,
  }) as InodeStatus;

it.each([
  [status(0, 0), [1000, 100]],
  [status(0, 7), [1000, 7]],
  [status(7, 0), [7, 100]],
  [status(7, 7), [7, 7]],
])('shows whose it is', (about, shown) => {
  const { uid, gid } = attributesOf(about, { uid: 1000, gid: 100 });
  expect([uid, gid]).toEqual(shown);
  expect(attributesOf(about)).toMatchObject({ uid: about.uid, gid: about.gid });
});
