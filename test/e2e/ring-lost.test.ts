/**
 * Aim: four nodes have their names in a ring, and lose all data directories: the stores of three
 * and the recovery kit bring everything back that was there before the last snapshots, bit by bit;
 * nodes join again, one with the stores that were missing, and names move to a ring again. With too
 * few of the stores the recovery refuses.
 * Method: the program itself on loopback with the etcd that is installed, two stores a node; a
 * minute is waited for, as long as a snapshot may be behind.
 */
import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LIMITS } from '../../src/base/index.ts';
import { findEtcd } from '../suites/etcd-bed.ts';
import { Bed, freePort, type NodeProcess, ringProcess, until } from './harness.ts';
import { LoopbackCluster } from './loopback-cluster.ts';

const ETCD = findEtcd();
if (!ETCD) console.warn('SKIPPED: no etcd on PATH; install etcd-server to test the ring');

const NAMES = ['a', 'b', 'c', 'd'] as const;
const STORES_PER_NODE = 2;
/** A snapshot comes after so long, and the copy of the registry within seconds. */
const SNAPSHOT_MS = LIMITS.snapshotAgeMs + 20_000;

let bed: Bed;
let cluster: LoopbackCluster;
let recovered: NodeProcess | undefined;
const joined: NodeProcess[] = [];

beforeAll(async () => {
  bed = await Bed.open();
});

afterAll(async () => {
  for (const node of [...joined, recovered]) await node?.kill();
  await cluster?.[Symbol.asyncDispose]();
  await bed[Symbol.asyncDispose]();
});

async function isInRing(name: string): Promise<boolean> {
  const text = await fs.readFile(bed.path(name, 'metadata.json'), 'utf8').catch(() => '{}');
  return (JSON.parse(text) as { engine?: string }).engine === 'etcd';
}

function storesOf(...names: readonly string[]): string[] {
  return names.flatMap((name) =>
    Array.from({ length: STORES_PER_NODE }, (_, index) => bed.path(`${name}-store-${index + 1}`)),
  );
}

/** Small and large, in folders. */
const CONTENTS = new Map(
  Array.from({ length: 24 }, (_, number) => [
    `folder-${number % 5}/object ${number}`,
    randomBytes(number % 4 === 0 ? 700_000 : 100 + number * 2000),
  ]),
);

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function expectAllThere(data: string): Promise<void> {
  for (const [name, content] of CONTENTS) {
    const { exitCode, stdout, stderr } = await bed.run(['get', name, '-o', '-'], { data });
    expect({ name, exitCode, stderr }).toMatchObject({ exitCode: 0 });
    expect(hashOf(stdout)).toBe(hashOf(content));
  }
}

async function join(name: string, stores: readonly string[]): Promise<void> {
  const token = await bed.ok(['invite'], { data: 'new' });
  const flags = ['--listen', `tls://127.0.0.1:${await freePort()}`, '--name', name];
  joined.push(await bed.up({ data: name, token, stores, flags }));
}

/** The end of all machines but their disks. */
async function loseAll(): Promise<void> {
  for (const name of NAMES) {
    const etcd = ringProcess(bed.path(name));
    await cluster.kill(name);
    if (etcd !== undefined) process.kill(etcd, 'SIGKILL');
  }
  for (const name of NAMES) await fs.rm(bed.path(name), { recursive: true, force: true });
}

describe.skipIf(!ETCD)('a cluster with a ring that lost all data directories', () => {
  it('comes back from its stores and the kit', { timeout: 400_000 }, async () => {
    const plans = NAMES.map((name) => ({ name, storeCount: STORES_PER_NODE }));
    cluster = await LoopbackCluster.start(bed, plans, { scheme: 'rs-4+2', hasRing: true });
    for (const name of NAMES) await until('a ring', async () => await isInRing(name));
    const kit = bed.path('kit.txt');
    await bed.ok(['key', 'export', kit], { data: 'a' });
    for (const [name, input] of CONTENTS) {
      await bed.ok(['put', '-', '--name', name], { data: 'b', input });
    }
    await bed.ok(['put', '-', '--name', 'removed'], { data: 'b', input: 'soon gone' });
    await bed.ok(['rm', 'removed'], { data: 'c' });
    await sleep(SNAPSHOT_MS);
    await bed.ok(['put', '-', '--name', 'too late'], { data: 'c', input: 'too late' });
    await loseAll();

    const options = { data: 'new', recover: kit };
    await expect(bed.up({ ...options, stores: storesOf('a') })).rejects.toThrow(
      // As it has a copy of the registry, or not.
      /newer names may be on them alone|name more of its stores/,
    );
    await fs.rm(bed.path('new'), { recursive: true, force: true });
    recovered = await bed.up({
      ...options,
      stores: storesOf('a', 'b', 'c'),
      flags: ['--listen', `tls://127.0.0.1:${await freePort()}`],
    });
    expect(recovered.stdout).toMatch(/may not be there/);
    await expectAllThere('new');
    const { exitCode } = await bed.run(['get', 'removed', '-o', '-'], { data: 'new' });
    expect(exitCode).not.toBe(0);

    await bed.ok(['put', '-', '--name', 'after'], { data: 'new', input: 'after' });
    await recovered.kill();
    recovered = await bed.up({ data: 'new' });
    await expectAllThere('new');
    expect(await bed.ok(['get', 'after', '-o', '-'], { data: 'new' })).toBe('after');
    expect((await bed.health({ data: 'new' })).stripes.lost).toBe(0);

    await join('e', storesOf('d'));
    await join('f', [bed.path('f-store')]);
    for (const name of ['new', 'e', 'f']) await until('a ring', async () => await isInRing(name));
    await bed.ok(['volume', 'grant', 'default', 'e'], { data: 'new' });
    await until('the keys are there', async () => {
      const { exitCode } = await bed.run(['get', 'after', '-o', '-'], { data: 'e' });
      return exitCode === 0;
    });
    await expectAllThere('e');
    await until('all shards are found', async () => {
      const { stripes } = await bed.health({ data: 'e' });
      return stripes.lost === 0 && stripes.degraded === 0;
    });
  });
});
