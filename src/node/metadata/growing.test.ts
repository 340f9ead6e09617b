/**
 * Aim: a cluster grows from one node to three and five, and its metadata moves to a ring on the
 * way, without a restart and while objects are put; then no node is needed, the first one neither.
 * Method: whole nodes in this process over a transport in memory, with the etcd that is installed.
 */
import { readFile } from 'node:fs/promises';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findEtcd } from '../../../test/suites/etcd-bed.ts';
import { PATIENCE, WholeNodes } from '../../../test/suites/whole-nodes.ts';
import type { Log } from '../../env/index.ts';

const ETCD = findEtcd();
if (!ETCD) console.warn('SKIPPED: no etcd on PATH; install etcd-server to test the ring');

let nodes: WholeNodes;

beforeEach(async () => {
  nodes = await WholeNodes.open();
});

afterEach(async () => {
  await nodes[Symbol.asyncDispose]();
});

/** What a node says goes to the terminal when TRACE is set. */
function trace(name: string): { readonly log?: Log } {
  if (process.env['TRACE'] === undefined) return {};
  const say = (level: string) => (message: string, fields?: object) =>
    console.log(new Date().toISOString().slice(17), name, level, message, inspect(fields));
  return { log: { debug() {}, info: say('info'), warn: say('warn'), error: say('error') } };
}

async function untilInRing(...names: readonly string[]): Promise<void> {
  await vi.waitFor(async () => {
    for (const name of names) {
      expect(await nodes.metadataPlace(name)).toMatchObject({ engine: 'etcd', generation: 2 });
    }
  }, PATIENCE);
}

/** Names of nodes that it takes for home. */
async function homesSeenBy(name: string): Promise<string[]> {
  const listed = await nodes.on(name).call('peers.list', {});
  return listed.filter(({ isHome }) => isHome).map((node) => node.name);
}

/** It has the key, and others know it. */
async function untilMetadataNode(name: string): Promise<void> {
  await vi.waitFor(async () => {
    const keyring = await readFile(nodes.at(name, 'keyring.json'), 'utf8');
    expect(keyring).toContain('metadataKey');
  }, PATIENCE);
}

describe.skipIf(!ETCD)('a cluster that grows', () => {
  it('moves to a ring while objects are put, and needs no node', { timeout: 300_000 }, async () => {
    await nodes.start('a', trace('a'));
    await nodes.put('a', 'first');
    const putting = nodes.putting('a', 'on-a');
    await nodes.join('b', { inviter: 'a', ...trace('b') });
    await vi.waitFor(async () => await nodes.put('b', 'first on b'), PATIENCE);
    const onB = nodes.putting('b', 'on-b');
    await nodes.join('c', { inviter: 'a', ...trace('c') });
    const { engine, note } = await nodes.on('a').call('meta.report', {});
    expect(engine === 'etcd' || note !== null).toBe(true);
    await untilInRing('a', 'b', 'c');
    await vi.waitFor(() => expect(onB.keys.size).toBeGreaterThan(5), PATIENCE);
    await putting.end();
    await onB.end();
    expect(putting.errors).toEqual([]);
    expect(onB.errors).toEqual([]);
    const keys = new Set(['first', ...putting.keys, ...onB.keys]);
    expect(putting.keys.size).toBeGreaterThan(20);
    for (const name of ['a', 'b', 'c']) await nodes.assertThere(name, [...keys].slice(-5));

    for (const name of ['d', 'e']) await nodes.join(name, { inviter: 'a', ...trace(name) });
    await untilInRing('d', 'e');
    for (const name of ['d', 'e']) await untilMetadataNode(name);
    await nodes.put('b', 'with five');

    const whileAGoes = nodes.putting('b', 'while-a-goes');
    await nodes.stop('a');
    await vi.waitFor(async () => await nodes.put('c', 'without a'), PATIENCE);
    const before = whileAGoes.keys.size;
    await vi.waitFor(() => expect(whileAGoes.keys.size).toBeGreaterThan(before + 5), PATIENCE);
    await whileAGoes.end();
    expect(whileAGoes.errors).toEqual([]);
    await nodes.assertThere('c', [...keys, ...whileAGoes.keys, 'with five', 'without a']);

    for (const name of ['b', 'c', 'd', 'e']) await nodes.stop(name);
    await Promise.all(['b', 'c', 'd', 'e'].map((name) => nodes.start(name, trace(name))));
    await vi.waitFor(async () => await nodes.assertThere('b', ['without a']), PATIENCE);
    await nodes.assertThere('c', keys);
    await vi.waitFor(async () => await nodes.put('c', 'after all'), PATIENCE);
    await nodes.start('a', trace('a'));
    await vi.waitFor(async () => await nodes.assertThere('a', ['after all', 'first']), PATIENCE);
  });

  it(
    'goes on without the home, which is cut off, and is one again later',
    {
      timeout: 300_000,
    },
    async () => {
      await nodes.start('a', trace('a'));
      for (const name of ['b', 'c']) await nodes.join(name, { inviter: 'a', ...trace(name) });
      await untilInRing('a', 'b', 'c');
      await nodes.put('a', 'before');
      const ids = new Map<string, string>();
      for (const name of ['a', 'b', 'c']) {
        const [self] = await nodes.on(name).call('peers.list', {});
        ids.set(name, self!.id);
      }
      expect(await homesSeenBy('b')).toEqual(['a']);

      nodes.net.partition((from, to) => [from, to].includes(ids.get('a') as never));
      await vi.waitFor(async () => await nodes.put('b', 'meanwhile'), PATIENCE);
      await nodes.assertThere('c', ['before', 'meanwhile']);
      await vi.waitFor(async () => expect(await homesSeenBy('b')).not.toContain('a'), PATIENCE);
      await expect(nodes.put('a', 'alone')).rejects.toMatchObject({ code: expect.any(String) });

      nodes.net.heal();
      await vi.waitFor(async () => await nodes.put('a', 'together'), PATIENCE);
      const all = ['before', 'meanwhile', 'together'];
      await vi.waitFor(async () => await nodes.assertThere('a', all), PATIENCE);
      await vi.waitFor(async () => {
        const seen = new Set<string>();
        for (const name of ['a', 'b', 'c'])
          for (const home of await homesSeenBy(name)) seen.add(home);
        expect([...seen]).toHaveLength(1);
      }, PATIENCE);
    },
  );
});
