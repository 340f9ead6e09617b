/**
 * Aim: what a node has open is known to the cell, through sessions that end and stewards that
 * forget; what is removed meanwhile goes when the last one closes it, and not before. Method: a
 * cell's handles in memory, in virtual time.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { errorCode, LIMITS } from '../base/index.ts';
import type { Handles, InodeStatus, Removal } from '../meta/index.ts';
import { type HandlesBed, handlesBed } from '../../test/suites/handles-bed.ts';
import { OpenInodes } from './open-inodes.ts';

let bed: HandlesBed;
let opens: OpenInodes;
let released: bigint[];
/** What the cell was told. */
let told: string[];
let gone: Set<bigint>;

beforeEach(async () => {
  bed = await handlesBed();
  released = [];
  told = [];
  gone = new Set();
  const handles: Handles = {
    ...bed.handles,
    async open(session, inodes) {
      const known = await bed.handles.renewSession(session);
      expect(known.leaseMs).toBe(LIMITS.sessionLeaseMs);
      told.push(`open ${inodes.join()}`);
      return inodes.filter((inode) => gone.has(inode));
    },
    async close(_, inodes) {
      told.push(`close ${inodes.join()}`);
    },
  };
  const release = async (inode: bigint) => void released.push(inode);
  opens = await OpenInodes.open({ env: bed.env, handles, node: 'n', release });
});

afterEach(async () => {
  await opens[Symbol.asyncDispose]();
  await bed[Symbol.asyncDispose]();
});

const removal = (inode: bigint, linkCount = 0): Removal => ({
  status: { inode, linkCount, type: 'file' } as InodeStatus,
  release: undefined,
});

it('is declared while somebody has it open', async () => {
  await Promise.all([opens.hold(2n), opens.hold(2n)]);
  await opens.drop(2n);
  expect(told.filter((each) => each.startsWith('close'))).toEqual([]);
  await opens.drop(2n);
  expect(told.at(-1)).toBe('close 2');
});

it('goes with the last one who has it open', async () => {
  await opens.hold(2n);
  opens.removed(removal(2n, 1));
  opens.removed(removal(2n));
  opens.removed(removal(3n));
  expect(released, 'nobody has it open').toEqual([3n]);
  await opens.drop(2n);
  expect(released).toEqual([3n, 2n]);
});

it('stays when it got a name again', async () => {
  await opens.hold(2n);
  opens.removed(removal(2n));
  opens.linked(2n);
  await opens.drop(2n);
  expect(released).toEqual([]);
});

it('cannot be opened when it is gone', async () => {
  gone.add(2n);
  expect(await opens.hold(2n).catch(errorCode)).toBe('HF_NOT_FOUND');
  gone.clear();
  await opens.hold(2n);
  await opens.drop(2n);
  expect(told.at(-1)).toBe('close 2');
});

it('lives on by itself, and declares all anew in a new session', async () => {
  await opens.hold(2n);
  await bed.pass(3 * LIMITS.sessionLeaseMs);
  const [own, ...others] = await bed.handles.sessions();
  expect(others).toEqual([]);
  told = [];
  await bed.handles.closeSession(own!.session);
  await bed.pass(LIMITS.sessionLeaseMs);
  const [next] = await bed.handles.sessions();
  expect(next!.session).not.toBe(own!.session);
  expect(told).toEqual(['open 2']);
});
