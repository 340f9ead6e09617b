/**
 * Aim: another node reaches through the cells of this one no more than it has a right to, and what
 * it asks for makes nothing come into being here. Method: requests as a member of ill will would
 * put them together, to hosts in one process.
 */
import { afterEach, expect, it } from 'vitest';
import { HostingBed, nodeOf, told, VOLUME } from '../../../test/suites/hosting-bed.ts';
import type { VolumeId } from '../../base/index.ts';
import { ROOT_INODE, spaceOfVolume } from '../index.ts';
import { encodeValue } from '../remote/wire-value.ts';

const SPACE = spaceOfVolume(VOLUME);
const OTHER_VOLUME = 'ff'.repeat(16) as VolumeId;
const OTHER = spaceOfVolume(OTHER_VOLUME);

let bed: HostingBed;

afterEach(async () => {
  await bed[Symbol.asyncDispose]();
});

async function ask(method: string, arg: unknown): Promise<unknown> {
  const options = { deadlineMs: 5000 };
  const asked = bed.network(2).call(nodeOf(1), `cells/${method}`, encodeValue(arg), options);
  return await told(asked);
}

it('the rights on one volume are none on the cells of another', async () => {
  bed = await HostingBed.open(2);
  await bed.host(1).hosting.tree(OTHER_VOLUME).getAttributes(ROOT_INODE);
  const call = { space: SPACE, cell: OTHER, slot: undefined, within: undefined, retry: undefined };
  const args = [ROOT_INODE];
  expect(await ask('tree.getAttributes', { ...call, args })).toBe('HF_BAD_ARGUMENT');
  expect(await ask('message.status', { space: SPACE, cell: OTHER, request: {} })).toBe(
    'HF_BAD_ARGUMENT',
  );
});

it('a session is one, and a lane', async () => {
  bed = await HostingBed.open(2);
  const session = nodeOf(2).slice(0, 16).padEnd(32, 'z');
  const call = { space: SPACE, cell: SPACE, slot: 0, within: undefined, args: [1] };
  for (const retry of [
    { session, lane: 0, sequence: 1 },
    { session: session.replaceAll('z', 'f'), lane: 64, sequence: 1 },
  ]) {
    expect(await ask('namespace.allocateInodes', { ...call, retry })).toBe('HF_BAD_ARGUMENT');
  }
});

it('no cell is made because somebody looks for it', async () => {
  bed = await HostingBed.open(2);
  for (const name of ['../../etc', 'x', OTHER, `${OTHER}-9`]) {
    for (const method of ['view', 'sync', 'take']) {
      await ask(method, { space: name, cell: name });
      await ask(method, { space: SPACE, cell: name });
    }
  }
  await bed.env.clock.sleep(1000);
  expect(bed.databases(1)).toEqual([]);
});

it('who does not carry cells learns nothing of them, and moves none', async () => {
  bed = await HostingBed.open(2, { mayCarry: (node) => node !== nodeOf(2) });
  for (const method of ['ping', 'take', 'sync']) {
    expect(await ask(method, { space: SPACE, cell: SPACE })).toBe('HF_DENIED');
  }
});
