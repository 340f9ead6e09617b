/**
 * Aim: when two of the three nodes of a ring are lost for good, with all that they had, the third
 * makes a ring again; names are there, puts go on without a restart and after one, and the lost are
 * removed. What its rows knew and the ring lost keeps nothing from going on. Method: whole nodes in
 * this process with the etcd that is installed; the folders of two are removed.
 */
import fs from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findEtcd } from '../../../test/suites/etcd-bed.ts';
import { PATIENCE, WholeNodes } from '../../../test/suites/whole-nodes.ts';
import { errorCode } from '../../base/index.ts';

const ETCD = findEtcd();
if (!ETCD) console.warn('SKIPPED: no etcd on PATH; install etcd-server to test meta restore');

const SOON = { timeout: 20_000, interval: 100 };
const volume = 'default';

let nodes: WholeNodes;

beforeEach(async () => {
  nodes = await WholeNodes.open();
});

afterEach(async () => {
  await nodes[Symbol.asyncDispose]();
});

async function namesOn(name: string): Promise<string[]> {
  const names: string[] = [];
  const onItem = (file: { readonly path: string }): void => void names.push(file.path);
  await nodes.on(name).call('tree.list', { volume, path: '' }, { onItem });
  return names;
}

async function untilInRing(seatCount: number): Promise<void> {
  await vi.waitFor(async () => {
    const { ring, cells, home } = await nodes.on('c').call('meta.report', {});
    expect(ring.filter(({ seat, state }) => seat === 'member' && state === 'running')).toHaveLength(
      seatCount,
    );
    expect(cells.length).toBeGreaterThan(0);
    expect(cells.every(({ steward }) => steward !== null)).toBe(true);
    expect(home).not.toBeNull();
  }, PATIENCE);
}

describe.skipIf(!ETCD)('a ring that lost two of three nodes', { timeout: 300_000 }, () => {
  it('is made again from the third', async () => {
    await nodes.start('a');
    await nodes.join('b', { inviter: 'a' });
    await nodes.join('c', { inviter: 'a', isAdmin: true });
    await untilInRing(3);
    const keys = Array.from({ length: 20 }, (_, number) => `key-${number}`);
    for (const key of keys) await nodes.put('a', key);
    const restored = nodes.on('c').call('meta.restore', {});
    expect(await restored.catch(errorCode)).toBe('HF_EXISTS');

    const peers = await nodes.on('c').call('peers.list', {});
    const lost = peers.filter(({ name }) => name !== 'c').map(({ id }) => id);
    expect(lost).toHaveLength(2);

    // They go while changes are made, so that rows may know what the ring here has not heard.
    let isOver = false;
    const putting = (async () => {
      for (let number = 0; !isOver; number++)
        await nodes.put('c', `late-${number}`).catch(errorCode);
    })();
    await vi.waitFor(async () => expect(await namesOn('c')).toContain('late-3'), SOON);
    await Promise.all([nodes.stop('a'), nodes.stop('b')]);
    isOver = true;
    await putting;
    for (const name of ['a', 'b']) await fs.rm(nodes.at(name), { recursive: true });

    // Where the lost are called, it is seen a moment later that nobody leads.
    const { lines } = await vi.waitFor(() => nodes.on('c').call('meta.restore', {}), SOON);
    expect(lines[0]).toContain('a new ring begins');
    await vi.waitFor(async () => await nodes.put('c', 'after'), PATIENCE);
    const names = await namesOn('c');
    expect(names).toEqual(expect.arrayContaining([...keys, 'after']));
    await nodes.assertThere('c', [...keys, 'after']);
    for (const id of lost) {
      const request = { node: id, isForced: false };
      const removed = await vi.waitFor(
        () => nodes.on('c').call('node.remove', request), // once it is known to be dead
        PATIENCE,
      );
      expect(removed).toMatchObject({ id, state: 'left' });
    }
    await nodes.put('c', 'alone');

    await nodes.stop('c');
    await nodes.start('c');
    await vi.waitFor(async () => await nodes.assertThere('c', ['alone']), PATIENCE);
    await vi.waitFor(async () => await nodes.put('c', 'restarted'), PATIENCE);
  });
});
