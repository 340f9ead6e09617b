/**
 * Aim: a node that was told to carry no metadata does not get the key for it, also after a restart,
 * until it is told otherwise; one that has all of it says that it stays. Method: whole nodes in
 * this process, over a transport in memory.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { PATIENCE, WholeNodes } from '../../../test/suites/whole-nodes.ts';

/** Longer than a node waits until it asks again for the role. */
const ASKED_AGAIN_MS = 4000;

let nodes: WholeNodes;

beforeEach(async () => {
  nodes = await WholeNodes.open();
});

afterEach(async () => {
  await nodes[Symbol.asyncDispose]();
});

const told = (name: string, metadata?: boolean) => ({
  config: { listen: [`memory://${name}:1`], name, beacon: false, metadata },
});

async function hasKey(name: string): Promise<boolean> {
  return (await readFile(nodes.at(name, 'keyring.json'), 'utf8')).includes('metadataKey');
}

async function unwilling(name: string): Promise<readonly string[]> {
  const { warnings } = await nodes.on(name).call('status', {});
  return warnings.filter((line) => line.includes('was told to have none'));
}

it('a node has no metadata until it may', { timeout: 60_000 }, async () => {
  await nodes.start('a', told('a', false));
  await nodes.join('b', { inviter: 'a', ...told('b', false) });
  await sleep(ASKED_AGAIN_MS);
  expect(await hasKey('b')).toBe(false);
  expect(await unwilling('a')).toHaveLength(1);
  await nodes.stop('b');
  await nodes.start('b', told('b'));
  await sleep(ASKED_AGAIN_MS);
  expect(await hasKey('b')).toBe(false);
  expect(await unwilling('b')).toEqual([]);
  for (const name of ['b', 'a']) await nodes.stop(name);
  for (const name of ['a', 'b']) await nodes.start(name, told(name, true));
  await vi.waitFor(async () => expect(await hasKey('b')).toBe(true), PATIENCE);
  expect(await unwilling('a')).toEqual([]);
});
