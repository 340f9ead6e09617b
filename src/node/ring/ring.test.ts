/**
 * Aim: nodes make a ring of etcds among themselves, over nothing but their own network; it bears
 * the loss of one node in all the ways in which one is lost, is made whole again, and is restored
 * when most of it is lost. Method: real etcds, several nodes in one process, a network that is cut.
 * Skipped, and said so, where no etcd is installed.
 */
import { existsSync } from 'node:fs';
import { readdir, readFile, readlink, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { appendUntil, expectAll, processesOn } from '../../../test/suites/etcd-work.ts';
import { etcdProgram, RingBed } from '../../../test/suites/ring-bed.ts';
import { errorCode } from '../../base/index.ts';
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
});
