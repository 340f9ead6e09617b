/**
 * Aim: of a cluster with a ring any node can go, the first one too: by `leave`, which gives its
 * part of the metadata to others before, or dead, by `node remove`; `status` says what is so.
 * Method: whole nodes in this process with the etcd that is installed.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findEtcd } from '../../../test/suites/etcd-bed.ts';
import { PATIENCE, WholeNodes } from '../../../test/suites/whole-nodes.ts';
import { errorCode } from '../../base/index.ts';

const ETCD = findEtcd();
if (!ETCD) console.warn('SKIPPED: no etcd on PATH; install etcd-server to test nodes that go');

let nodes: WholeNodes;

beforeEach(async () => {
  nodes = await WholeNodes.open();
});

afterEach(async () => {
  await nodes[Symbol.asyncDispose]();
});

async function untilSeats(asked: string, ...names: readonly string[]): Promise<void> {
  await vi.waitFor(async () => {
    const { ring, home } = await nodes.on(asked).call('meta.report', {});
    const seated = ring.filter(({ seat, state }) => seat === 'member' && state === 'running');
    expect(seated.map(({ name }) => name).toSorted()).toEqual(names);
    expect(ring).toHaveLength(names.length);
    expect(names).toContain(home?.name);
  }, PATIENCE);
}

/** What `status` says of where names are. */
async function told(name: string): Promise<string[]> {
  const { warnings } = await nodes.on(name).call('status', {});
  return warnings.filter((line) => /ring|names/.test(line) && !line.includes('is slow'));
}

describe.skipIf(!ETCD)('a node of a ring that goes', { timeout: 300_000 }, () => {
  it('gives its seat to another, the first node too', async () => {
    await nodes.start('a');
    await nodes.join('b', { inviter: 'a' });
    await vi.waitFor(async () => {
      expect(await told('b')).toEqual([
        expect.stringMatching(/^names are kept by .* a third node/),
      ]);
    }, PATIENCE);
    await nodes.join('c', { inviter: 'a', isAdmin: true });
    await untilSeats('a', 'a', 'b', 'c');
    await vi.waitFor(async () => expect(await told('a')).toEqual([]), PATIENCE);
    await nodes.join('d', { inviter: 'a' });
    await vi.waitFor(async () => await nodes.put('c', 'before'), PATIENCE);
    const peers = await nodes.on('c').call('peers.list', {});
    const idOf = (name: string): string => peers.find((node) => node.name === name)!.id;
    const alive = { node: idOf('b'), isForced: false };
    expect(await nodes.on('c').call('node.remove', alive).catch(errorCode)).toBe('HF_BUSY');

    await nodes.on('a').call('cluster.leave', {});
    await nodes.stop('a');
    await untilSeats('c', 'b', 'c', 'd');
    await nodes.put('b', 'without the first');
    await nodes.assertThere('c', ['before']);
    expect(await told('c')).toEqual([]);

    await nodes.stop('b');
    await vi.waitFor(async () => {
      const lines = await told('c');
      expect(lines).toEqual([expect.stringMatching(/^of the ring .* b .*is away: no further one/)]);
    }, PATIENCE);
    await vi.waitFor(
      () => nodes.on('c').call('node.remove', { node: idOf('b'), isForced: false }),
      PATIENCE,
    );
    await vi.waitFor(async () => await nodes.put('c', 'with two'), PATIENCE);
    await nodes.assertThere('c', ['without the first']);
    const only = nodes.on('c').call('cluster.leave', {});
    await expect(only).rejects.toMatchObject({ message: expect.stringMatching(/only admin node/) });
  });
});
