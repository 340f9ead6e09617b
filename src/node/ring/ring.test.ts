/**
 * Aim: nodes make a ring of etcds among themselves, over nothing but their own network; it bears
 * the loss of one node in all the ways in which one is lost, is made whole again, and is restored
 * when most of it is lost. Method: real etcds, several nodes in one process, a network that is cut.
 * Skipped, and said so, where no etcd is installed.
 */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir, readFile, readlink, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { appendUntil, expectAll, processesOn } from '../../../test/suites/etcd-work.ts';
import { etcdProgram, RingBed } from '../../../test/suites/ring-bed.ts';
import { errorCode, HoldfastError, MiB, utf8 } from '../../base/index.ts';
import { EtcdRegistry, type Registry } from '../../log/index.ts';
import { restoreRing } from './ring-restore.ts';

if (!etcdProgram) console.warn('SKIPPED: the ring of nodes; install etcd-server (3.4–3.6)');
const { signal } = new AbortController();

/** The node whose etcd leads. */
async function leaderOf(bed: RingBed): Promise<number> {
  let found = 0;
  await bed.until('somebody leads', async () => {
    for (const { number, part } of bed.nodes) {
      const { etcd } = await part.status();
      if (etcd && etcd.leader === etcd.id) found = number;
    }
    return found > 0;
  });
  return found;
}

/** Inodes of sockets that a process has, and those of TCP sockets of the machine. */
async function tcpSocketsOf(pid: number): Promise<string[]> {
  const folder = `/proc/${pid}/fd`;
  const targets = await Promise.all(
    (await readdir(folder)).map((name) => readlink(join(folder, name)).catch(() => '')),
  );
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((name) => readFile(`/proc/net/${name}`, 'utf8')),
  );
  const lines = tables.join('\n').split('\n');
  const inodes = new Set(lines.map((line) => `socket:[${line.trim().split(/\s+/)[9]}]`));
  return targets.filter((target) => inodes.has(target));
}

const AT_ONCE = { timeout: 90_000, concurrent: true };

describe.skipIf(!etcdProgram)('a ring of three nodes', AT_ONCE, () => {
  it('serves members and others, over no port, and bears each loss of one', async () => {
    await using bed = await RingBed.open(4);
    bed.mayUse = (node) => node !== bed.node(4).node || isAllowed;
    let isAllowed = true;
    const record = await bed.keeper(1).form(2, { signal });
    const seated = bed.nodes.filter(({ node }) => record.members.some((one) => one.node === node));
    const outsider = bed.nodes.find((one) => !seated.includes(one))!;
    expect(seated).toHaveLength(3);

    // Who has no seat is served by those who have one, through this file's only network.
    await bed.put(outsider.number, 'a', '1');
    for (const { number } of bed.nodes) expect(await bed.get(number, 'a')).toBe('1');
    for (const { part } of seated) expect(await tcpSocketsOf(part.pid!)).toEqual([]);
    expect((await stat(bed.folderOf(seated[0]!.number))).mode & 0o777).toBe(0o700);

    // What is acknowledged while members are killed and cut off is there afterwards.
    const hurt = async (): Promise<void> => {
      for (const { number, part } of seated) {
        const { pid } = part;
        process.kill(pid!, 'SIGKILL');
        await bed.put(number, `killed ${number}`, 'x');
        await bed.until('it runs again', async () => part.pid !== undefined && part.pid !== pid);
        await bed.until('it is well', async () => (await part.status()).etcd !== undefined);
      }
      const cutOff = await leaderOf(bed);
      const other = seated.find(({ number }) => number !== cutOff)!;
      bed.cut(cutOff);
      await bed.put(other.number, 'cut', 'x');
      const blind = await bed.get(cutOff, 'cut').catch(errorCode);
      expect(blind).toMatch(/HF_UN(AVAILABLE|KNOWN_OUTCOME)/);
      bed.net.heal();
      await bed.put(cutOff, 'healed', 'x');
    };
    const dials = seated.map(({ node }) => outsider.part.dialOf(node));
    const { log, kv } = processesOn('ring/', () => dials)();
    let failure: unknown;
    const report = await appendUntil(
      log,
      hurt().catch((error: unknown) => (failure = error)),
    );
    expect(failure).toBeUndefined();
    await expectAll(log, report);
    await kv[Symbol.asyncDispose]();

    isAllowed = false;
    const numbers = seated.map(({ number }) => number);
    for (const number of numbers) await bed.stop(number);
    await Promise.all(numbers.map((number) => bed.start(number)));
    await bed.put(numbers[0]!, 'restarted', 'x');
    expect(await bed.get(numbers[1]!, 'cut')).toBe('x');
  });

  it('replaces a member that stays away, and one that lost its data', async () => {
    await using bed = await RingBed.open(3);
    const keeper = bed.keeper(1);
    await keeper.form(2, { signal });
    await bed.put(1, 'a', '1');
    const gone = bed.node(3).node;
    await bed.stop(3);
    await bed.start(4);
    await bed.until('the seat has gone to the fourth', async () => {
      await keeper.pass().catch(errorCode);
      const { members } = keeper.known!;
      return members.some(({ node, state }) => node === bed.node(4).node && state === 'member');
    });
    await bed.settle(keeper);
    expect(keeper.known!.members.map(({ node }) => node)).not.toContain(gone);
    expect(await bed.get(4, 'a')).toBe('1');

    // Who comes back hears that its seat is taken.
    const back = await bed.start(3);
    await back.part.compareWith(bed.node(2).node);
    expect((await back.part.status()).state).toBe('none');
    expect(existsSync(join(bed.folderOf(3), 'etcd'))).toBe(false);

    await bed.stop(2);
    await rm(join(bed.folderOf(2), 'etcd'), { recursive: true });
    const { part } = await bed.start(2);
    expect((await part.status()).state).toBe('lost');
    await bed.until('its seat is taken', async () => {
      await keeper.pass().catch(errorCode);
      return (await part.status()).state === 'none';
    });
    await bed.settle(keeper);
    expect(keeper.known!.members).toHaveLength(3);
    await bed.put(1, 'b', '2');
  });

  it('is begun anew without who does not take a seat', async () => {
    await using bed = await RingBed.open(3);
    await bed.start(4, { program: '/bin/false' });
    const broken = bed.node(4).node;
    const views = () => bed.views().map((one) => ({ ...one, isLeaving: !wanted.has(one.node) }));
    const wanted = new Set([1, 2, 4].map((number) => bed.node(number).node));
    const keeper = bed.keeper(1, { graceMs: 60_000, formMs: 6000, metadataNodes: views });
    const forming = keeper.form(2, { signal });
    await bed.until('it is chosen', async () => keeper.known !== undefined);
    expect(keeper.known!.members.map(({ node }) => node)).toContain(broken);
    wanted.add(bed.node(3).node);
    const { members, token } = await forming;
    expect(members.map(({ node }) => node)).not.toContain(broken);
    expect(bed.node(2).part.record?.token).toBe(token);
    await bed.put(2, 'a', '1');
  });

  it('lets nobody in who has no business there', async () => {
    await using bed = await RingBed.open(4);
    await bed.keeper(1).form(2, { signal });
    const seats = bed.node(1).part.record!.members.map(({ node }) => node);
    const [inside] = bed.nodes.filter(({ node }) => seats.includes(node));
    const [outside] = bed.nodes.filter(({ node }) => !seats.includes(node));
    const open = async (purpose: string, stamp = { generation: 2, life: 1 }) => {
      const options = { deadlineMs: 2000 };
      const { reply } = await outside!.network.open(inside!.node, purpose, stamp, options);
      return await reply.catch(errorCode);
    };
    expect(await open('ring/peer')).toBe('HF_DENIED');
    expect(await open('ring/client', { generation: 2, life: 2 })).toBe('HF_FENCED');
    bed.mayUse = (node) => node !== outside!.node;
    expect(await open('ring/client')).toBe('HF_DENIED');
    for (const method of ['ring/status', 'ring/ability', 'ring/record']) {
      const call = outside!.network.call(inside!.node, method, null, { deadlineMs: 2000 });
      expect(await call.catch(errorCode)).toBe('HF_DENIED');
    }
  });

  it('is restored from one when two are lost', async () => {
    await using bed = await RingBed.open(3);
    await bed.keeper(1).form(2, { signal });
    await bed.put(1, 'a', '1');
    const { part, network } = bed.node(1);
    const registryOn = (number: number): EtcdRegistry => {
      const place = { prefix: 'names/', metadataKey: new Uint8Array(32), generation: 1 };
      return new EtcdRegistry({ ...place, kv: bed.node(number).part.kv, env: bed.env });
    };
    const before = registryOn(1);
    const version = (await before.compareAndSet('k', 0, utf8('v')))!;
    await bed.start(6);
    const { part: without, network: its } = bed.node(6);
    expect(await restoreRing(without, its).catch(errorCode)).toBe('HF_NOT_FOUND');
    await bed.stop(6);
    expect(await restoreRing(part, network).catch(errorCode)).toBe('HF_EXISTS');
    await Promise.all([bed.stop(2), bed.stop(3)]);
    await rm(bed.folderOf(3), { recursive: true });
    await bed.until('nobody leads', async () => (await part.status()).etcd?.leader === '0');

    const record = await restoreRing(part, network);
    expect(record).toMatchObject({ life: 2, members: [{ node: network.self }] });
    expect(await bed.get(1, 'a')).toBe('1');
    // Versions leap, as some that were given may be lost; who holds one of before changes nothing.
    expect((await registryOn(1).get('k'))!.version).toBeGreaterThan(2 * version);
    expect(await before.compareAndSet('k', version, utf8('late'))).toBeUndefined();
    await bed.start(4);
    await bed.start(5);
    const [keeper, stop] = [bed.keeper(1), new AbortController()];
    const running = keeper.run({ signal: stop.signal });
    await bed.until('three vote', async () => {
      const { members } = keeper.known!;
      return members.length === 3 && members.every(({ state }) => state === 'member');
    });
    stop.abort();
    await running;
    expect(await bed.get(5, 'a')).toBe('1');
    const asked = restoreRing(bed.node(5).part, bed.node(5).network);
    expect(await asked.catch(errorCode)).toBe('HF_EXISTS');

    const { part: late } = await bed.start(2);
    await late.compareWith(bed.node(5).node);
    expect((await late.status()).state).toBe('none');
    expect(existsSync(join(bed.folderOf(2), 'etcd.life-1'))).toBe(true);
  });

  it('goes on with a restoration that was broken off, and lets nobody in before', async () => {
    await using bed = await RingBed.open(3);
    await bed.keeper(1).form(2, { signal });
    await bed.put(1, 'a', '1');
    await Promise.all([1, 2, 3].map((number) => bed.stop(number)));
    const broken = await bed.start(1, { program: '/bin/false' });
    const failing = restoreRing(broken.part, broken.network).catch(errorCode);
    expect(await failing).toBe('HF_UNAVAILABLE');
    // Nobody has given up anything for a ring that is not there yet, and it talks to nobody.
    expect(broken.part.record).toMatchObject({ life: 1 });
    expect((await broken.part.status()).state).toBe('failed');
    await bed.start(2);
    await broken.part.compareWith(bed.node(2).node);
    expect(existsSync(join(bed.folderOf(2), 'etcd'))).toBe(true);
    const dial = bed.node(2).part.dialOf(broken.node);
    const stream = await dial();
    const [error] = (await once(stream, 'error')) as [unknown];
    expect(errorCode(error)).toBe('HF_UNAVAILABLE');
    await bed.stop(1);
    const { part } = await bed.start(1);
    expect(part.record).toMatchObject({ life: 2, members: [{ node: bed.node(1).node }] });
    expect(await bed.get(1, 'a')).toBe('1');
    await part.compareWith(bed.node(2).node);
    expect(existsSync(join(bed.folderOf(2), 'etcd.life-1'))).toBe(true);
  });

  it('keeps room while it is written to, and gets it back when nothing else works', async () => {
    await using bed = await RingBed.open(0);
    for (const number of [1, 2, 3]) await bed.start(number, { quotaBytes: 16 * MiB });
    await bed.keeper(1).form(2, { signal });
    const { kv } = bed.node(2).part;
    const put = async (): Promise<unknown> => {
      const one = { do: 'put', key: utf8('k'), value: new Uint8Array(MiB / 2) } as const;
      return await kv
        .transact({ conditions: [], ifMet: [one], ifNot: [] })
        .then(() => 'ok', errorCode);
    };
    const stop = new AbortController();
    const kept = bed.keeper(1, { compactAfterBytes: 2 * MiB }).run(stop);
    for (let count = 0; count < 60; count++) {
      expect(await put()).toBe('ok');
      await bed.env.clock.sleep(200);
    }
    stop.abort();
    await kept;
    await bed.until('it is full', async () => (await put()) === 'HF_NO_SPACE');
    const again = new AbortController();
    const { registry } = bed;
    const full: Pick<Registry, 'get' | 'compareAndSet'> = {
      get: (key) => registry.get(key),
      async compareAndSet() {
        throw new HoldfastError('HF_NO_SPACE');
      },
    };
    await bed.stop(3); // it is gone, and its seat cannot be given away
    await bed.start(4);
    const keeper = bed.keeper(1, { registry: full });
    const running = keeper.run(again);
    await bed.until('there is room again', async () => (await put()) === 'ok');
    again.abort();
    await running;
  });
});
