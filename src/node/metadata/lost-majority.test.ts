/**
 * Aim: a node that has lost the majority of the ring goes on reading what was there, says so, and
 * changes nothing; with the others back all is as before. Method: three whole nodes in this process
 * over a transport in memory, with the etcd that is installed; one is cut off, then the others
 * stop.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findEtcd } from '../../../test/suites/etcd-bed.ts';
import { PATIENCE, textOf, WholeNodes } from '../../../test/suites/whole-nodes.ts';
import { errorCode, errorMessage } from '../../base/index.ts';

const ETCD = findEtcd();
if (!ETCD) console.warn('SKIPPED: no etcd on PATH; install etcd-server to test the ring');

const volume = 'default';
const TELLING = 'names are read as they were';

let nodes: WholeNodes;

beforeEach(async () => {
  nodes = await WholeNodes.open();
});

afterEach(async () => {
  await nodes[Symbol.asyncDispose]();
});

async function keysOn(name: string): Promise<string[]> {
  const keys: string[] = [];
  const onItem = ({ key }: { readonly key: string | null }): void => void keys.push(key!);
  await nodes.on(name).call('object.list', { volume }, { onItem });
  return keys;
}

async function untilInRing(...names: readonly string[]): Promise<void> {
  await vi.waitFor(async () => {
    for (const name of names) {
      expect(await nodes.metadataPlace(name)).toMatchObject({ engine: 'etcd' });
    }
  }, PATIENCE);
}

/** Until each member of each cell has all rows of it, as a node hears. */
async function untilFollowed(name: string): Promise<void> {
  await vi.waitFor(async () => {
    const { cells, note } = await nodes.on(name).call('meta.report', {});
    expect(note).toBeNull();
    expect(cells.length).toBe(2);
    for (const { members } of cells) expect(members.map(({ behind }) => behind)).toEqual([0, 0, 0]);
  }, PATIENCE);
}

async function warnings(name: string): Promise<string> {
  return (await nodes.on(name).call('status', {})).warnings.join('\n');
}

/** What a node without the majority knows it shows; what it cannot do it says, and why. */
async function saysWhy(name: string): Promise<void> {
  const on = nodes.on(name);
  const failures = await Promise.all([
    on.call('volume.list', {}).catch(errorMessage),
    on.call('meta.where', { volume, path: 'folder/kept' }).catch(errorMessage),
    on.call('health', {}).catch(errorMessage),
    on.call('tree.makeDirectory', { volume, path: 'folder/new' }).catch(errorMessage),
    on.call('tree.unlink', { volume, path: 'folder/kept' }).catch(errorMessage),
  ]);
  for (const failure of failures) expect(failure).toContain('no majority of the nodes that keep');
  for (const failure of failures.slice(-2)) expect(failure).toContain('nothing can be changed now');
  const { ring, cells, note } = await on.call('meta.report', {});
  expect([ring.length, cells.length, note]).toEqual([3, 0, expect.stringContaining('majority')]);
  const others = (await on.call('peers.list', {})).filter(({ state }) => state !== 'self');
  expect(others.map(({ state }) => state)).not.toContain('replaced');
  expect(others).toHaveLength(2);
  expect(await warnings(name)).toMatch(/node a \(\w{8}\) is (suspect|dead|left|away)/);
}

describe.skipIf(!ETCD)('when the ring has lost its majority', () => {
  it('reads go on, and writes fail', { timeout: 300_000 }, async () => {
    await nodes.start('a');
    for (const name of ['b', 'c']) await nodes.join(name, { inviter: 'a' });
    await untilInRing('a', 'b', 'c');
    await vi.waitFor(async () => await nodes.put('c', 'folder/kept'), PATIENCE);
    await nodes.on('c').call('tree.makeDirectory', { volume, path: 'folder/deeper' });
    await untilFollowed('c');
    expect(await warnings('c')).not.toContain(TELLING);

    const [{ id: self } = { id: '' }] = await nodes.on('c').call('peers.list', {});
    nodes.net.partition((from, to) => [from, to].includes(self as never));
    // At first it may not know yet that it is cut off.
    await vi.waitFor(async () => {
      expect(await nodes.read('c', 'folder/kept').catch(errorMessage)).toBe(textOf('folder/kept'));
    }, PATIENCE);
    await vi.waitFor(async () => await nodes.put('a', 'out of sight'), PATIENCE);
    expect(await nodes.read('c', 'out of sight').catch(errorCode)).toBe('HF_NOT_FOUND');
    nodes.net.heal();
    await vi.waitFor(async () => {
      expect(await nodes.read('c', 'out of sight').catch(errorMessage)).toBe(
        textOf('out of sight'),
      );
    }, PATIENCE);

    await nodes.stop('a');
    await nodes.stop('b');
    expect(await nodes.read('c', 'folder/kept')).toBe(textOf('folder/kept'));
    expect(await keysOn('c')).toContain('folder/kept');
    const { type } = await nodes.on('c').call('tree.status', { volume, path: 'folder/deeper' });
    expect(type).toBe('directory');
    expect(await nodes.read('c', 'nothing').catch(errorCode)).toBe('HF_NOT_FOUND');
    const error: unknown = await nodes.put('c', 'new').catch((thrown: unknown) => thrown);
    expect(errorCode(error)).toMatch(/HF_UNAVAILABLE|HF_UNKNOWN_OUTCOME/);
    expect(errorMessage(error)).toContain('nothing can be changed now: no majority of the nodes');
    expect(errorMessage(error)).not.toContain('\n');
    expect(await warnings('c')).toContain(TELLING);
    expect(await nodes.read('c', 'folder/kept')).toBe(textOf('folder/kept'));
    await saysWhy('c');

    await nodes.start('a');
    await nodes.start('b');
    await vi.waitFor(async () => await nodes.put('a', 'later'), PATIENCE);
    await vi.waitFor(
      async () => expect(await nodes.read('c', 'later')).toBe(textOf('later')),
      PATIENCE,
    );
    expect(await warnings('c')).not.toContain(TELLING);
  });
});
