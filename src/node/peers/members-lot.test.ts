/**
 * Aim: a node that lost its grants, or its membership, says so and does the rest of its work; the
 * home that a recovery makes takes the place of the old one by itself; a port that is taken is
 * found before anything is kept. Method: whole nodes in this process over a transport in memory.
 */
import fs from 'node:fs/promises';
import net from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { errorCode, errorMessage } from '../../base/index.ts';
import { bytesOf, streamOf } from '../../../test/suites/store-bed.ts';
import { PATIENCE, WholeNodes } from '../../../test/suites/whole-nodes.ts';
import { DataDirectory } from '../data-directory.ts';
import { joinNode } from '../index.ts';

let nodes: WholeNodes;

beforeEach(async () => {
  nodes = await WholeNodes.open();
});
afterEach(async () => {
  await nodes[Symbol.asyncDispose]();
});

async function warnings(name: string): Promise<string> {
  return (await nodes.on(name).call('status', {})).warnings.join('\n');
}

async function put(name: string, key: string): Promise<unknown> {
  const putting = nodes.on(name).put(streamOf(bytesOf(200_000)), { key });
  return await putting.then(({ degradedTo }) => degradedTo, errorCode);
}

async function idOf(name: string): Promise<string> {
  return (await nodes.on(name).call('status', {})).nodeId;
}

async function volumesOf(name: string): Promise<readonly string[]> {
  return (await nodes.on(name).call('volume.list', {})).map((volume) => volume.name);
}

describe('a node whose grants were taken back', () => {
  it('says that its volumes are locked, holds shards, and starts anew', async () => {
    await nodes.start('a');
    await nodes.join('b', { inviter: 'a' });
    expect(await volumesOf('b')).toEqual(['default']);
    await nodes.on('a').call('volume.revoke', { name: 'default', node: 'b' });
    await vi.waitFor(async () => expect(await volumesOf('b')).toEqual([]), PATIENCE);
    const grant = 'holdfast volume grant default b';
    const locked = `volume "default" is locked: this node holds shards, and has no grant`;
    expect(await warnings('b')).toContain(locked);
    expect(await warnings('b')).toContain(grant);
    expect(await put('b', 'x')).toBe('HF_WRONG_KEY');

    await nodes.stop('b');
    const { welcome } = await nodes.start('b');
    expect(welcome.join('\n')).toContain(locked);
    expect(await warnings('b')).toContain(locked);
    const started = `volume grant default ${(await idOf('b')).slice(0, 8)}`;
    await expect(nodes.on('b').get({ reference: 'x' })).rejects.toMatchObject({
      message: expect.stringContaining(started),
    });
    // Six stores are there: none is missed.
    await vi.waitFor(async () => expect(await put('a', 'y')).toBe(null), PATIENCE);

    await nodes.on('a').call('volume.grant', { name: 'default', node: 'b' });
    await vi.waitFor(async () => expect(await put('b', 'z')).toBe(null), PATIENCE);
    expect(await warnings('b')).not.toContain('locked');
  }, 60_000);

  it('is told of several volumes in one line, by its id when its name is not its own', async () => {
    await nodes.start('a');
    for (const name of ['v1', 'v2', 'v3', 'v4']) {
      await nodes.on('a').call('volume.create', { name, scheme: 'copy-2' });
    }
    await nodes.join('b', { inviter: 'a' });
    for (const name of await volumesOf('a')) {
      await nodes.on('a').call('volume.revoke', { name, node: 'b' });
    }
    await nodes.stop('b');
    await nodes.start('b', { config: { listen: ['memory://b:1'], name: 'a', beacon: false } });
    await vi.waitFor(async () => {
      const lines = (await warnings('b')).split('\n').filter((line) => line.includes('locked'));
      expect(lines).toHaveLength(1);
      expect(lines[0]).toMatch(/^volumes "default", "v1", "v2", "v3" and 1 more are locked/);
      expect(lines[0]).toContain(`grant --all ${(await idOf('b')).slice(0, 8)}`);
    }, PATIENCE);
  }, 60_000);
});

describe('a node that was removed though it runs', () => {
  it('says so', async () => {
    await nodes.start('a');
    await nodes.join('b', { inviter: 'a' });
    await nodes.on('a').call('node.remove', { node: 'b', isForced: true });
    await vi.waitFor(async () => {
      expect(await warnings('b')).toContain('refuses this node: it was removed; it can join anew');
    }, PATIENCE);
  }, 60_000);
});

describe('without its home', () => {
  it('a node names it', async () => {
    await nodes.start('a');
    await nodes.join('b', { inviter: 'a' });
    const id = (await idOf('a')).slice(0, 8);
    await nodes.stop('a');
    const errors = [nodes.on('b').call('volume.list', {}), nodes.on('b').call('health', {})].map(
      async (asking) => await asking.then(() => 'answered', errorMessage),
    );
    for (const message of await Promise.all(errors)) expect(message).toContain(`node a (${id})`);
  }, 60_000);
});

describe('a home that was recovered', () => {
  it('takes the name and the place of the old one, and listens', async () => {
    const place = { listen: ['memory://a:1'], name: 'berlin-1', labels: { rack: 'r3' } };
    await nodes.start('a', { config: { ...place, beacon: false } });
    await nodes.join('b', { inviter: 'a' });
    const { kit } = await nodes.on('a').call('key.export', {});
    const old = await idOf('a');
    await nodes.stop('a');
    await fs.mkdir(nodes.at('c'));
    await fs.rename(nodes.at('a', 'disk-1'), nodes.at('c', 'disk-1'));
    const { welcome } = await nodes.start('c', {
      recoverKitText: kit,
      storePaths: [nodes.at('c', 'disk-1')],
      config: { labels: { zone: 'z1' }, beacon: false },
    });
    const [self, ...others] = await nodes.on('c').call('peers.list', {});
    expect(self).toMatchObject({ name: 'berlin-1', labels: { rack: 'r3', zone: 'z1' } });
    expect(self!.addresses.join()).toMatch(/^tls:\/\//);
    expect(others.map(({ id }) => id)).not.toContain(old);
    const said = welcome.join('\n');
    expect(said).toContain('the place of the node berlin-1, as: berlin-1, rack r3, zone z1.');
    expect(said).toContain(`It listens for the other nodes on ${self!.addresses[0]}`);
    const config = await fs.readFile(nodes.at('c', 'node.json'), 'utf8');
    expect(JSON.parse(config)).toMatchObject({ name: 'berlin-1', labels: { rack: 'r3' } });
    // The name is the new one's; the old one can still be removed.
    const berlin = { name: 'default', node: 'berlin-1' };
    const { holders } = await nodes.on('c').call('volume.grant', berlin);
    expect(holders).toContain(self!.id);
    const removed = await nodes.on('c').call('node.remove', { node: old });
    expect(removed).toMatchObject({ id: old, name: 'berlin-1' });
    await nodes.stop('c');
    await nodes.start('c', { config: { beacon: false } });
    expect((await nodes.on('c').call('peers.list', {}))[0]).toMatchObject({ name: 'berlin-1' });
  }, 60_000);

  it('does not listen when it was alone', async () => {
    await nodes.start('a', { config: { beacon: false } });
    const { kit } = await nodes.on('a').call('key.export', {});
    await nodes.stop('a');
    await fs.mkdir(nodes.at('c'));
    const storePaths = [1, 2, 3].map((number) => nodes.at('a', `disk-${number}`));
    await nodes.start('c', { recoverKitText: kit, storePaths, config: { beacon: false } });
    expect(await nodes.on('c').call('peers.list', {})).toEqual([]);
  }, 60_000);
});

describe('a port that is taken', () => {
  it('is found before the token is used, or the address kept', async () => {
    await nodes.start('a');
    const { token } = await nodes.on('a').call('cluster.invite', {});
    const taker = net.createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => void taker.once('listening', resolve));
    const { port } = taker.address() as net.AddressInfo;
    const config = { listen: [`tls://127.0.0.1:${port}`], beacon: false };
    const about = { dataPath: nodes.at('b'), token, config };
    await expect(joinNode(about)).rejects.toMatchObject({
      code: 'HF_BUSY',
      message: expect.stringContaining(`127.0.0.1:${port}: the port is taken`),
    });
    expect(await DataDirectory.unlocked(nodes.at('b')).readKeyring()).toBeUndefined();
    expect(await fs.readdir(nodes.at('b'))).not.toContain('node.json');
    await nodes.stop('a');
    expect(await nodes.start('a', { config }).then(() => 'up', errorCode)).toBe('HF_BUSY');
    const kept = JSON.parse(await fs.readFile(nodes.at('a', 'node.json'), 'utf8')) as object;
    expect(kept).toMatchObject({ listen: ['memory://a:1'] });
    await new Promise((resolve) => void taker.close(resolve));
    // An address of another machine is no better.
    const elsewhere = { ...config, listen: ['tls://192.0.2.1:7450'] };
    const starting = nodes.start('a', { config: elsewhere });
    expect(await starting.then(() => 'up', errorCode)).toBe('HF_UNAVAILABLE');
    await nodes.start('a', { config });
  }, 60_000);
});
