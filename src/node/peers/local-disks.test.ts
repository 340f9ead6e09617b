/**
 * Aim: a disk or store is found by label, uuid or id from any node of a cluster, and is gone for
 * all within seconds of being detached. Method: whole nodes in this process, each with a machine of
 * files.
 */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { FakeDisks } from '../../../test/suites/fake-disks.ts';
import { PATIENCE, WholeNodes } from '../../../test/suites/whole-nodes.ts';
import { errorCode } from '../../base/index.ts';

const BOOKS = { name: 'sdb1', label: 'My Books', uuid: '12AB-34CD', mountPoints: ['/media/books'] };

let nodes: WholeNodes;
let machines: Map<string, FakeDisks>;

beforeEach(async () => {
  nodes = await WholeNodes.open();
  machines = new Map();
});
afterEach(async () => await nodes[Symbol.asyncDispose]());

async function machine(name: string) {
  const disks = new FakeDisks(nodes.at(`${name}-dev`));
  await disks.set([]);
  machines.set(name, disks);
  return { disks: disks.sources };
}

const where = (on: string, name: string) => nodes.on(on).call('disks.where', { name });

it('a disk is found from another node while it is there', async () => {
  await nodes.start('a', await machine('a'));
  expect(await where('a', 'My Books').catch(errorCode)).toBe('HF_NOT_FOUND');
  await nodes.join('b', { inviter: 'a', ...(await machine('b')) });
  await machines.get('b')!.set([BOOKS]);
  const expected = { node: 'b', label: 'My Books', uuid: '12AB-34CD', path: '/media/books' };
  // Nobody has been told yet: members are asked.
  await vi.waitFor(async () => {
    expect(await where('a', 'My Books')).toMatchObject([expected]);
  }, PATIENCE);
  expect(await where('b', '12ab-34')).toMatchObject([expected]);

  const [store] = (await nodes.on('b').call('disks.localhost', {})).filter((disk) => disk.storeId);
  expect(store!.path).toBe(nodes.at('b', 'disk-1'));
  expect(await where('a', store!.storeId!.slice(0, 12))).toEqual([store]);
  const listed = await nodes.on('a').call('disks.list', {});
  expect(listed.map(({ node }) => node)).toEqual(['a', 'a', 'a', 'b', 'b', 'b', 'b']);

  await machines.get('b')!.set([]);
  await nodes.on('b').call('device.detach', { device: store!.storeId! });
  await vi.waitFor(async () => {
    expect(await where('a', 'My Books').catch(errorCode)).toBe('HF_NOT_FOUND');
    expect(await where('a', store!.storeId!).catch(errorCode)).toBe('HF_NOT_FOUND');
  }, PATIENCE);
}, 60_000);

it('a node that is not to tell is silent, also after a restart, and knows its own', async () => {
  const disks = await machine('b');
  await nodes.start('a', await machine('a'));
  const config = { listen: ['memory://b:1'], name: 'b', beacon: false };
  await nodes.join('b', { inviter: 'a', ...disks, config: { ...config, disks: false } });
  await machines.get('b')!.set([BOOKS]);
  await nodes.stop('b');
  await nodes.start('b', { ...disks, config });
  await vi.waitFor(async () => {
    const [, b] = await nodes.on('a').call('peers.list', {});
    expect(b).toMatchObject({ name: 'b', state: 'alive' });
  }, PATIENCE);
  expect(await where('a', 'My Books').catch(errorCode)).toBe('HF_NOT_FOUND');
  expect(await where('b', 'My Books')).toMatchObject([{ node: 'b', path: '/media/books' }]);
}, 60_000);
