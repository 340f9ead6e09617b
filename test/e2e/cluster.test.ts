/**
 * Aim: several nodes are one cluster for who uses them: what is put on one is got from all, also
 * when one was killed or has left; who was not invited is refused with a clear line.
 * Method: the program itself on loopback, a process for each node; states are waited for, with
 * generous limits, never timed.
 */
import fs from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { InvitationView, NodeView, PlaceView } from '../../src/api/index.ts';
import { Bed, type NodeProcess } from './harness.ts';

const LISTEN = ['--listen', 'tls://127.0.0.1:0'];
const WAIT_MS = 60_000;
const CONTENT = Buffer.alloc(1_500_000, 'what is put on one is got from all; ');

let bed: Bed;
const nodes = new Map<string, NodeProcess>();

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + WAIT_MS;
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error(`it never came to pass: ${what}`);
    await sleep(100);
  }
}

async function start(name: string, flags: readonly string[] = []): Promise<void> {
  const node = await bed.up({ data: name, flags: [...LISTEN, '--name', name, ...flags] });
  nodes.set(name, node);
}

/** Three stores each: with them a cluster has more than any stripe needs. */
async function join(
  name: string,
  flags: readonly string[] = [],
  listen: readonly string[] = LISTEN,
): Promise<void> {
  const stores = [1, 2, 3].map((number) => bed.path(name, `disk-${number}`));
  const token = await bed.ok(['invite'], { data: 'a' });
  const all = [...listen, '--name', name, ...flags];
  nodes.set(name, await bed.up({ data: name, flags: all, stores, token }));
}

async function peers(data: string): Promise<NodeView[]> {
  return await bed.json<NodeView[]>(['peers'], { data });
}

async function allAlive(data: string, count: number): Promise<boolean> {
  const found = await peers(data);
  const alive = found.filter(({ state }) => state === 'self' || state === 'alive');
  return found.length === count && alive.length === count;
}

async function put(data: string, name: string): Promise<void> {
  await bed.ok(['put', '-', '--name', name], { data, input: CONTENT });
}

async function expectGot(data: string, name: string): Promise<void> {
  const { exitCode, stdout, stderr } = await bed.run(['get', name, '-o', '-'], { data });
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  expect(stdout.equals(CONTENT)).toBe(true);
}

beforeAll(async () => {
  bed = await Bed.open();
  await start('a', ['--rack', 'r1']);
  // One that can be reached through a WebSocket alone.
  await join('b', ['--rack', 'r2'], ['--listen', 'wss://127.0.0.1:0']);
  await join('c');
});

afterAll(async () => {
  await Promise.all([...nodes.values()].map((node) => node.kill()));
  await bed[Symbol.asyncDispose]();
});

describe('three nodes', () => {
  it('know each other', async () => {
    for (const data of ['a', 'b', 'c']) {
      await until(`${data} knows all`, async () => await allAlive(data, 3));
    }
    const seen = await peers('b');
    expect(seen.map(({ name }) => name)).toEqual(['b', 'a', 'c']);
    expect(seen.map(({ isHome }) => isHome)).toEqual([false, true, false]);
    expect(seen.map(({ labels }) => labels['rack'])).toEqual(['r2', 'r1', undefined]);
    expect(seen.find(({ name }) => name === 'a')!.addresses[0]).toMatch(
      /^tls:\/\/127\.0\.0\.1:\d+$/,
    );
  });

  it('give on each what was put on any, and say where it is', async () => {
    // Twelve stores, three of them on c: it may be lost.
    await until('the layout is known', async () => {
      return (await peers('c')).every(({ storeCount }) => storeCount >= 3);
    });
    await put('a', 'from-a');
    await put('c', 'from-c');
    for (const data of ['a', 'b', 'c']) {
      await expectGot(data, 'from-a');
      await expectGot(data, 'from-c');
    }
    const [stripe] = await bed.json<PlaceView[]>(['where', 'from-c'], { data: 'b' });
    const holders = new Set(Object.values(stripe!.stores).map(({ node }) => node));
    expect(holders.size).toBeGreaterThan(1);
    expect([...holders].every((name) => ['a', 'b', 'c'].includes(name!))).toBe(true);
    const text = await bed.ok(['where', 'from-c'], { data: 'b' });
    expect(text).toContain('rack=');
  });

  it('refuse a token that was used or has expired, and what is none', async () => {
    const token = await bed.ok(['invite'], { data: 'a' });
    const { token: short, expiresAtMs } = await bed.json<InvitationView>(
      ['invite', '--expires', '1s'],
      { data: 'a' },
    );
    await fs.writeFile(bed.path('work', 'token'), token);
    const d = await bed.up({ data: 'd', token, flags: [...LISTEN, '--no-stores', '--name', 'd'] });
    // Without stores it holds nothing, and serves all the same: once it has the keys.
    const locked = await bed.run(['get', 'from-a', '-o', '-'], { data: 'd' });
    expect(locked.exitCode).toBe(9);
    await bed.ok(['volume', 'grant', 'default', 'd'], { data: 'a' });
    await until('d serves the volume', async () => {
      return (await bed.run(['query', 'from-a'], { data: 'd' })).exitCode === 0;
    });
    await expectGot('d', 'from-a');
    await d.kill();
    const refusal = async (input: string, data: string) => {
      const { exitCode, stderr } = await bed.run(['join'], { data, input });
      return { exitCode, lines: stderr.trimEnd().split('\n') };
    };
    const used = await refusal(token, 'e');
    expect(used.exitCode).toBe(9);
    expect(used.lines).toEqual(['holdfast: the invitation has been used; ask for another']);
    await until('the token has expired', async () => Date.now() > expiresAtMs);
    const expired = await refusal(short, 'e');
    expect(expired.exitCode).toBe(9);
    expect(expired.lines).toEqual(['holdfast: the invitation has expired; ask for another']);
    const mistyped = await refusal(`${token.slice(0, -3)}abc`, 'e');
    expect(mistyped.exitCode).toBe(7);
    expect(mistyped.lines).toHaveLength(1);
    await bed.ok(['node', 'remove', (await peers('a')).find(isStranger)!.id, '--force'], {
      data: 'a',
    });
    await until('it is gone', async () => await allAlive('a', 3));
  });

  it("refuse another cluster's node", async () => {
    await start('f', ['--no-stores']);
    const address = (await peers('a'))[0]!.addresses[0]!;
    const { exitCode, stderr } = await bed.run(['neigh_add', address], { data: 'f' });
    expect(exitCode).not.toBe(0);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(await allAlive('a', 3)).toBe(true);
    const token = await bed.ok(['invite'], { data: 'a' });
    await nodes.get('f')!.kill();
    const joining = await bed.run(['join'], { data: 'f', input: token });
    expect(joining.exitCode).toBe(4);
    expect(joining.stderr).toContain('belongs to another cluster');
  });

  it('let one leave when it holds nothing any more', async () => {
    const home = await bed.run(['leave'], { data: 'a' });
    expect(home.exitCode).toBe(9);
    // As home of a small cluster, or as the only admin node once there is a ring.
    expect(home.stderr).toMatch(/this node carries the names|the only admin node/u);
    const alive = await bed.run(['node', 'remove', 'c'], { data: 'a' });
    expect(alive.exitCode).toBe(8);
    expect(alive.stderr).toContain('c is alive');
    await bed.ok(['leave'], { data: 'c' });
    expect((await nodes.get('c')!.ended()).exitCode).toBe(0);
    nodes.delete('c');
    await until('c is gone', async () => await allAlive('a', 2));
    await expectGot('b', 'from-a');
    await expectGot('a', 'from-c');
    expect((await bed.health({ data: 'a' })).stripes).toMatchObject({ degraded: 0, lost: 0 });
    const again = await bed.run(['up'], { data: 'c' });
    expect(again.exitCode).toBe(9);
    expect(again.stderr).toContain('has left its cluster');
  });

  it('go on when one is killed, and let it be removed', async () => {
    await join('g');
    await until('g is known', async () => await allAlive('b', 3));
    await until('the layout is known', async () => {
      return (await peers('b')).every(({ storeCount }) => storeCount >= 3);
    });
    await put('b', 'before');
    await nodes.get('g')!.kill();
    nodes.delete('g');
    for (const name of ['from-a', 'from-c', 'before']) await expectGot('b', name);
    await until('g is dead', async () => {
      return (await peers('a')).some(({ name, state }) => name === 'g' && state === 'dead');
    });
    const status = await bed.ok(['status'], { data: 'b' });
    expect(status).toContain('node g (');
    await bed.ok(['node', 'remove', 'g'], { data: 'a' });
    await until('g is forgotten', async () => await allAlive('a', 2));
    await bed.ok(['repair'], { data: 'a' });
    expect((await bed.health({ data: 'b' })).stripes).toMatchObject({ degraded: 0, lost: 0 });
  });
});

function isStranger({ name }: NodeView): boolean {
  return !['a', 'b', 'c'].includes(name);
}
