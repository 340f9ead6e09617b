/**
 * Aim: folders and files are reached from every node that serves a volume, while one node has all
 * names as well; not where the volume is locked. Method: two whole nodes in this process, over a
 * transport in memory; what one does the other sees, also when the home was away.
 */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { PATIENCE, WholeNodes } from '../../../test/suites/whole-nodes.ts';
import { errorCode } from '../../base/index.ts';

const volume = 'default';

let nodes: WholeNodes;

beforeEach(async () => {
  nodes = await WholeNodes.open();
  await nodes.start('a');
  await nodes.join('b', { inviter: 'a' });
  await vi.waitFor(async () => expect(await namesIn('b', '')).toEqual([]), PATIENCE);
});

afterEach(async () => {
  await nodes[Symbol.asyncDispose]();
});

async function namesIn(node: string, path: string): Promise<string[]> {
  const names: string[] = [];
  const onItem = (file: { readonly path: string }): void => void names.push(file.path);
  await nodes.on(node).call('tree.list', { volume, path }, { onItem });
  return names.toSorted();
}

async function makeDirectory(node: string, path: string): Promise<void> {
  await nodes.on(node).call('tree.makeDirectory', { volume, path });
}

it('folders are the same from both nodes of two', { timeout: 60_000 }, async () => {
  await makeDirectory('b', 'photos');
  await makeDirectory('a', 'photos/2026');
  await nodes.on('b').call('tree.makeFile', { volume, path: 'photos/note' });
  await nodes.on('b').call('tree.makeSymlink', { volume, path: 'link', target: 'photos/note' });
  await nodes.on('b').call('tree.link', { volume, path: 'other', existing: 'photos/note' });
  for (const node of ['a', 'b']) {
    expect(await namesIn(node, 'photos')).toEqual(['photos/2026', 'photos/note']);
    expect(await namesIn(node, '')).toEqual(['link', 'other', 'photos']);
  }
  await nodes.on('b').call('tree.rename', { volume, from: 'photos', to: 'pictures' });
  await nodes.on('b').call('tree.unlink', { volume, path: 'other' });
  await nodes.on('b').call('tree.removeDirectory', { volume, path: 'pictures/2026' });
  expect(await namesIn('a', 'pictures')).toEqual(['pictures/note']);
  const places = await nodes.on('b').call('meta.where', { volume, path: 'pictures/note' });
  expect(places.map(({ cell }) => cell)).toEqual([null, null]);
  expect(await makeDirectory('b', 'pictures').catch(errorCode)).toBe('HF_EXISTS');
  const full = { volume, path: 'pictures' };
  const removing = nodes.on('b').call('tree.removeDirectory', full);
  expect(await removing.catch(errorCode)).toBe('HF_NOT_EMPTY');

  await nodes.stop('a');
  expect(await namesIn('b', '').catch(errorCode)).toBe('HF_UNAVAILABLE');
  await nodes.start('a');
  await vi.waitFor(async () => expect(await namesIn('b', '')).toHaveLength(2), PATIENCE);

  await nodes.on('a').call('volume.revoke', { name: volume, node: 'b' });
  await vi.waitFor(async () => {
    expect(await makeDirectory('b', 'more').catch(errorCode)).toMatch(/HF_DENIED|HF_WRONG_KEY/);
  }, PATIENCE);
});
