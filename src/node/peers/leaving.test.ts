/**
 * Aim: a node that stopped in the midst of leaving has lost nothing, says so, and leaves when it is
 * asked again. Method: whole nodes in this process; what a crash leaves is made by hand: the state
 * of its stores, on them and in the topology.
 */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { errorCode } from '../../base/index.ts';
import { NodeKey } from '../../crypto/index.ts';
import { realEnv } from '../../env/index.ts';
import { bytesOf, streamOf } from '../../../test/suites/store-bed.ts';
import { PATIENCE, WholeNodes } from '../../../test/suites/whole-nodes.ts';
import { DataDirectory } from '../data-directory.ts';
import { StoreSet } from '../stores/store-set.ts';

let nodes: WholeNodes;

beforeEach(async () => {
  nodes = await WholeNodes.open();
});
afterEach(async () => {
  await nodes[Symbol.asyncDispose]();
});

async function get(name: string, reference: string): Promise<Buffer> {
  const { bytes } = await nodes.on(name).get({ reference });
  return Buffer.concat(await Array.fromAsync(bytes));
}

/** As leaving does first, before anything moves. */
async function drainStoresOf(name: string): Promise<void> {
  const data = DataDirectory.unlocked(nodes.at(name));
  const { clusterId, nodeSeed } = (await data.readKeyring())!;
  const { nodeId } = new NodeKey(nodeSeed);
  const about = { env: realEnv(), nodeId, clusterId, labels: [], indexBytesMax: 2 ** 28 };
  await using stores = new StoreSet(about);
  await stores.openKnown((await data.readStores())!);
  for (const { open } of stores.slots) await open!.store.setState('draining');
}

it('a node that stopped while it left goes on where it was', async () => {
  await nodes.start('a');
  await nodes.join('b', { inviter: 'a' });
  await nodes.on('b').put(streamOf(bytesOf(500_000)), { key: 'k' });
  await nodes.stop('b');
  await drainStoresOf('b');
  await nodes.start('b');
  expect(await get('b', 'k')).toEqual(Buffer.from(bytesOf(500_000)));
  const status = await nodes.on('b').call('status', {});
  expect(status.devices.map(({ state }) => state)).toEqual(Array(3).fill('draining'));
  expect(status.warnings.join()).toContain('this node is leaving');
  await nodes.on('b').call('cluster.leave', {});
  expect(await get('a', 'k')).toEqual(Buffer.from(bytesOf(500_000)));
  await vi.waitFor(async () => {
    const { nodes: seen, devices } = await nodes.on('a').call('status', {});
    expect(devices).toHaveLength(3);
    expect(seen.find(({ name }) => name === 'b')?.state ?? 'left').toBe('left');
  }, PATIENCE);
  await nodes.stop('b');
  expect(await nodes.start('b').catch(errorCode)).toBe('HF_DENIED');
}, 60_000);

it('stores of a node that left are in use again when a new node brings them', async () => {
  await nodes.start('a');
  await nodes.join('b', { inviter: 'a' });
  await nodes.on('b').call('cluster.leave', {});
  await nodes.stop('b');
  const storePaths = [1, 2, 3].map((number) => nodes.at('b', `disk-${number}`));
  await nodes.join('c', { inviter: 'a', storePaths });
  await vi.waitFor(async () => {
    const { devices, warnings } = await nodes.on('c').call('status', {});
    expect(devices.map(({ state }) => state)).toEqual(Array(3).fill('active'));
    expect(warnings.join()).not.toContain('this node is leaving');
  }, PATIENCE);
  // The cluster counts on them as well, also after a restart.
  await nodes.stop('c');
  await nodes.start('c');
  await vi.waitFor(async () => {
    const seen = await nodes.on('a').call('peers.list', {});
    expect(seen.find(({ name }) => name === 'c')).toMatchObject({ storeCount: 3 });
  }, PATIENCE);
  const { devices } = await nodes.on('c').call('status', {});
  expect(devices.map(({ state }) => state)).toEqual(Array(3).fill('active'));
}, 60_000);
