/**
 * Aim: after a ring was lost and the cluster recovered on one node, all others go by that node: one
 * newcomer alone, for whom no ring can be formed, and a node of the ring that comes back. Method:
 * whole nodes in this process over a transport in memory, with the etcd that is installed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findEtcd } from '../../../test/suites/etcd-bed.ts';
import { PATIENCE, textOf, WholeNodes } from '../../../test/suites/whole-nodes.ts';

const ETCD = findEtcd();
if (!ETCD) console.warn('SKIPPED: no etcd on PATH; install etcd-server to test the ring');

/** The stores get a copy of what the ring says every ten seconds. */
const COPIED_MS = 12_000;
const LOST = ['a', 'b', 'c'];

let nodes: WholeNodes;

beforeEach(async () => {
  nodes = await WholeNodes.open();
});
afterEach(async () => {
  await nodes[Symbol.asyncDispose]();
});

async function untilAt(place: object, ...names: readonly string[]): Promise<void> {
  await vi.waitFor(async () => {
    for (const name of names) expect(await nodes.metadataPlace(name)).toMatchObject(place);
  }, PATIENCE);
}

/** Nodes a, b and c in a ring, that stop; then d, out of the stores of a and b. */
async function recoverRing(): Promise<void> {
  await nodes.start('a');
  for (const name of ['b', 'c']) await nodes.join(name, { inviter: 'a' });
  await untilAt({ engine: 'etcd', generation: 2 }, ...LOST);
  const { kit } = await nodes.on('a').call('key.export', {});
  await sleep(COPIED_MS);
  for (const name of LOST) await nodes.stop(name);
  const storePaths = ['a', 'b'].flatMap((name) =>
    [1, 2, 3].map((number) => nodes.at(name, `disk-${number}`)),
  );
  const config = { listen: ['memory://d:1'], beacon: false };
  await nodes.start('d', { recoverKitText: kit, storePaths, config });
}

describe.skipIf(!ETCD)('a node that carries the names since it recovered them', () => {
  it('is followed by one newcomer, and by who was in the ring', { timeout: 300_000 }, async () => {
    await recoverRing();
    await untilAt({ engine: 'local', generation: 3 }, 'd');
    const { name, startNotes } = await nodes.on('d').call('status', {});
    expect([name, startNotes.join()]).toEqual(['a', expect.stringContaining('may not be there')]);
    await nodes.join('e', { inviter: 'd' });
    await untilAt({ engine: 'local', generation: 3 }, 'e');
    const [self] = await nodes.on('e').call('peers.list', {});
    await nodes.on('d').call('volume.grant', { name: 'default', node: self!.id });
    await vi.waitFor(async () => await nodes.put('e', 'on e'), PATIENCE);
    expect(await nodes.read('d', 'on e')).toBe(textOf('on e'));

    await nodes.start('c');
    await nodes.on('d').call('peers.connect', { address: 'memory://c:1' });
    const isThere = async () => expect(await nodes.read('c', 'on e')).toBe(textOf('on e'));
    await vi.waitFor(isThere, PATIENCE);
    await vi.waitFor(async () => await nodes.put('c', 'on c'), PATIENCE);
    expect(await nodes.read('d', 'on c')).toBe(textOf('on c'));
    await untilAt({ engine: 'etcd', generation: 4 }, 'c', 'd', 'e');
  });
});
