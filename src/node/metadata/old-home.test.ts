/**
 * Aim: after the cluster was recovered on another node there is one home, though the old one comes
 * back with stores enough to go on. Method: whole nodes in this process over a transport in memory;
 * one of three stores of the home is taken away, and the home recovered from that alone.
 */
import fs from 'node:fs/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { errorCode } from '../../base/index.ts';
import { bytesOf, streamOf } from '../../../test/suites/store-bed.ts';
import { PATIENCE, WholeNodes } from '../../../test/suites/whole-nodes.ts';

let nodes: WholeNodes;

beforeEach(async () => {
  nodes = await WholeNodes.open();
});
afterEach(async () => {
  await nodes[Symbol.asyncDispose]();
});

async function homeSeenBy(name: string): Promise<string | undefined> {
  return (await nodes.on(name).call('peers.list', {})).find(({ isHome }) => isHome)?.name;
}

async function put(name: string, key: string): Promise<unknown> {
  const putting = nodes.on(name).put(streamOf(bytesOf(9000)), { key });
  return await putting.then(() => 'put', errorCode);
}

/** Nodes a, the home, and b; then a is lost, and recovered as c from one of its stores. */
async function recoverElsewhere(): Promise<void> {
  await nodes.start('a');
  await nodes.join('b', { inviter: 'a' });
  expect(await put('b', 'before')).toBe('put');
  const { kit } = await nodes.on('a').call('key.export', {});
  await nodes.stop('a');
  await fs.mkdir(nodes.at('c'));
  await fs.rename(nodes.at('a', 'disk-1'), nodes.at('c', 'disk-1'));
  await nodes.start('c', { recoverKitText: kit, storePaths: [nodes.at('c', 'disk-1')] });
  await nodes.on('c').call('peers.connect', { address: 'memory://b:1' });
  await vi.waitFor(async () => expect(await homeSeenBy('b')).toBe('c'), PATIENCE);
  await vi.waitFor(async () => expect(await put('b', 'after')).toBe('put'), PATIENCE);
}

it('the old home is refused while the new one is there, and ever after', async () => {
  await recoverElsewhere();
  expect(await nodes.start('a').catch(errorCode)).toBe('HF_FENCED');
  await nodes.stop('c');
  await nodes.stop('b');
  expect(await nodes.start('a').catch(errorCode)).toBe('HF_FENCED');
}, 60_000);

it('the old home has no followers while the new one is away, and stops when it hears', async () => {
  await recoverElsewhere();
  await nodes.stop('c');
  await nodes.start('a');
  await vi.waitFor(async () => {
    const seen = await nodes.on('b').call('peers.list', {});
    expect(seen.find(({ name }) => name === 'a')?.state).toBe('replaced');
  }, PATIENCE);
  expect(await put('b', 'meanwhile')).toBe('HF_UNAVAILABLE');
  expect(await homeSeenBy('b')).not.toBe('a');
  // Also who starts anew follows no older one.
  await nodes.stop('b');
  await nodes.start('b');
  expect(await put('b', 'meanwhile')).toBe('HF_UNAVAILABLE');
  await nodes.start('c');
  await vi.waitFor(async () => expect(await put('a', 'late')).toBe('HF_FENCED'), PATIENCE);
  const { warnings } = await nodes.on('a').call('status', {});
  expect(warnings.join()).toContain('carries the names since the cluster was recovered there');
  await vi.waitFor(async () => expect(await put('b', 'again')).toBe('put'), PATIENCE);
  expect(await homeSeenBy('b')).toBe('c');
}, 60_000);
