/**
 * Aim: what people do every day works as the documents say (items 8 and 9; rows E1–E6, E12, D1, I3,
 * I8). Method: commands in processes of their own, against one node.
 */
import { once } from 'node:events';
import fs from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DeviceDetails, ObjectView, PlaceView, PutAnswer } from '../../src/api/index.ts';
import { errorCode } from '../../src/base/index.ts';
import { digestOf, seededBytes, seededContent } from './content.ts';
import { Bed, type NodeProcess } from './harness.ts';
import { digestByClient } from './library.ts';

let bed: Bed;
let node: NodeProcess;

beforeAll(async () => {
  bed = await Bed.open();
  node = await bed.up();
});

afterAll(async () => {
  await bed[Symbol.asyncDispose]();
});

describe('objects', () => {
  it('stores the same content once', async () => {
    const content = await seededBytes('twice', 25_000_000);
    const usedAtFirst = await bed.usedBytes();
    const first = await bed.json<PutAnswer>(['put', '-', '--name', 'one'], { input: content });
    const usedOnce = await bed.usedBytes();
    const second = await bed.json<PutAnswer>(['put', '-', '--name', 'two'], { input: content });
    const usedTwice = await bed.usedBytes();
    expect([first.knownStripes, first.stripeCount]).toEqual([0, 3]);
    expect([second.knownStripes, second.stripeCount]).toEqual([3, 3]);
    expect(second.object.address).toBe(first.object.address);
    expect(second.object.id).not.toBe(first.object.id);
    expect(usedOnce - usedAtFirst).toBeGreaterThan(25_000_000 * 1.5);
    expect(usedTwice - usedOnce).toBeLessThan(1_000_000);

    await bed.ok(['rm', 'one']);
    const { stdout } = await bed.run(['get', 'two', '-o', '-']);
    expect(stdout.equals(content), 'the other one still has its content').toBe(true);
    await bed.ok(['rm', 'two']);
    expect((await bed.usedBytes()) - usedAtFirst, 'the last one frees it').toBeLessThan(1_000_000);
  });

  it('stores it twice where deduplication is off', async () => {
    await bed.ok(['volume', 'create', 'unlinked', '--no-dedup']);
    const put = ['put', '-', '--volume', 'unlinked'];
    const input = await seededBytes('unlinked', 200_000);
    const first = await bed.json<PutAnswer>(put, { input });
    const second = await bed.json<PutAnswer>(put, { input });
    expect([first.knownStripes, second.knownStripes]).toEqual([0, 0]);
  });

  it('takes from standard input and gives to standard output, by id, key and address', async () => {
    const content = await seededBytes('pipe', 1_234_567);
    const id = await bed.ok(['put', '-', '--name', 'logs/today.log'], { input: content });
    const { address } = await bed.json<ObjectView>(['query', id]);
    for (const reference of [id, 'logs/today.log', address]) {
      const { stdout } = await bed.run(['get', reference, '-o', '-']);
      expect(stdout.equals(content), reference).toBe(true);
    }
    await bed.ok(['get', id], { work: 'work' });
    expect((await fs.readFile(bed.path('work/today.log'))).equals(content)).toBe(true);
    await bed.ok(['rm', 'logs/today.log']);
  });

  it('gives ranges', async () => {
    const content = await seededBytes('ranges', 700_000);
    const id = await bed.ok(['put', '-'], { input: content });
    const ranges: [offset: number, length: number][] = [
      [0, 1],
      [65_535, 2],
      [65_536, 65_536],
      [123_456, 400_000],
      [699_999, 1],
      [699_999, 50],
      [700_000, 10],
    ];
    for (const [offset, length] of ranges) {
      const range = ['--offset', String(offset), '--length', String(length)];
      const { stdout, exitCode } = await bed.run(['get', id, '-o', '-', ...range]);
      expect(exitCode, `${offset}+${length}`).toBe(0);
      expect(stdout.equals(content.subarray(offset, offset + length))).toBe(true);
    }
    const beyond = await bed.run(['get', id, '-o', '-', '--offset', '700001']);
    expect([beyond.exitCode, beyond.stderr]).toEqual([
      2,
      expect.stringMatching(/^holdfast: .+\n$/),
    ]);
    const { stdout: tail } = await bed.run(['get', id, '-o', '-', '--offset', '600000']);
    expect(tail.equals(content.subarray(600_000))).toBe(true);
    await bed.ok(['rm', id]);
  });

  it('makes an empty object and fills it', async () => {
    const id = await bed.ok(['create']);
    expect(id).toMatch(/^[0-9a-f]{32}$/);
    expect((await bed.json<ObjectView>(['query', id])).sizeBytes).toBe(0);
    expect((await bed.run(['get', id, '-o', '-'])).stdout.length).toBe(0);
    expect(await bed.ok(['put', '-', '--id', id], { input: 'hello world' })).toBe(id);
    expect(await bed.ok(['query', id])).toMatch(/^size +: 11$/m);
    expect(await bed.ok(['get', id, '-o', '-'])).toBe('hello world');
    await bed.ok(['rm', id]);
    expect((await bed.run(['query', id])).exitCode).toBe(3);
  });

  it('replaces what a key names only on purpose, whole or not at all', async () => {
    const put = ['put', '-', '--name', 'config'];
    await bed.ok(put, { input: 'old' });
    await bed.ok(put, { input: 'old' }); // the same content takes nothing away
    const refused = await bed.run(put, { input: 'new' });
    expect(refused.exitCode).toBe(4);
    expect(String(refused.stderr)).toMatch(/"config" holds other content; .* --force\n$/);
    expect(await bed.ok(['get', 'config', '-o', '-'])).toBe('old');
    await bed.ok([...put, '--force'], { input: 'new' });
    expect(await bed.ok(['get', 'config', '-o', '-'])).toBe('new');
    expect((await bed.list()).filter(({ key }) => key === 'config')).toHaveLength(1);
    await bed.ok(['rm', 'config']);
  });

  it('lists by key, with a prefix or without', async () => {
    const keys = ['b/2', 'a/1', 'b/1', 'ä', 'b', 'b/10'];
    for (const key of keys) await bed.ok(['put', '-', '--name', key], { input: key });
    const listed = await bed.list();
    const sorted = keys.toSorted((one, two) => Buffer.compare(Buffer.from(one), Buffer.from(two)));
    expect(listed.map(({ key }) => key)).toEqual(sorted);
    const lines = (await bed.ok(['ls', 'b/'])).split('\n');
    expect(lines.map((line) => line.split(/\s+/)[0])).toEqual(['b/1', 'b/10', 'b/2']);
    expect(await bed.ok(['ls', 'nothing/'])).toBe('');
    await bed.ok(['rm', ...keys]);
    expect(await bed.list()).toEqual([]);
  });

  it('restores names of all sorts', async () => {
    const names = ['resume.pdf', 'README', 'archive.tar.gz', '.profile', 'zwei Wörter.txt', '-o'];
    await fs.mkdir(bed.path('names'));
    await fs.mkdir(bed.path('restored'));
    for (const name of names) {
      await fs.writeFile(bed.path('names', name), `this is ${name}`);
      const id = await bed.ok(['put', `./${name}`], { work: 'names' });
      await bed.ok(['get', id], { work: 'restored' });
      expect(await fs.readFile(bed.path('restored', name), 'utf8')).toBe(`this is ${name}`);
      await bed.ok(['rm', id]);
    }
    expect((await fs.readdir(bed.path('restored'))).toSorted()).toEqual(names.toSorted());
  });

  it('says where each shard lies', async () => {
    const id = await bed.ok(['put', '-'], { input: await seededBytes('where', 12_000_000) });
    const stripes = await bed.json<PlaceView[]>(['where', id]);
    const stores = (await bed.devices()).map((device) => device.id).toSorted();
    expect(stripes).toHaveLength(2);
    for (const { shards } of stripes) {
      expect(
        shards
          .map(({ foundAt }) => foundAt)
          .flat()
          .toSorted(),
      ).toEqual(stores);
    }
    expect(await bed.ok(['where', id])).toMatch(/^stripe +shard +wanted +found +at\n/);
    await bed.ok(['rm', id]);
  });
});

describe('volumes and stores', () => {
  it('keeps volumes apart, each with its scheme', async () => {
    await bed.ok(['volume', 'create', 'photos', '--scheme', 'copy-3']);
    await bed.ok(['put', '-', '--name', 'cat', '--volume', 'photos'], { input: 'miaow' });
    expect((await bed.run(['get', 'cat', '-o', '-'])).exitCode).toBe(3);
    expect(await bed.ok(['get', 'cat', '-o', '-', '--volume', 'photos'])).toBe('miaow');
    await bed.ok(['volume', 'policy', 'photos', '--scheme', 'ida-3of5']);
    const input = await seededBytes('policy', 300_000);
    const put = ['put', '-', '--volume', 'photos'];
    expect((await bed.json<PutAnswer>(put, { input })).object.scheme).toBe('ida-3of5');
    const wide = await bed.json<PutAnswer>([...put, '--scheme', 'rs-3+2'], {
      input: await seededBytes('other', 300_000),
    });
    expect(wide.object.scheme).toBe('rs-3+2');
    const list = await bed.ok(['volume', 'list']);
    expect(list).toMatch(/^default +rs-4\+2 .*$/m);
    expect(list).toMatch(/^photos +ida-3of5 +3 .*$/m);
  });

  it('takes a store out of use, and takes it again', async () => {
    const content = await seededBytes('drain', 5_000_000);
    const id = await bed.ok(['put', '-'], { input: content });
    const [first = '', second = ''] = bed.firstStores();
    const refused = await bed.run(['dev', 'remove', first]);
    expect(refused.exitCode, 'six are needed').toBe(6);
    await bed.ok(['dev', 'add', bed.path('seventh')]);
    await bed.ok(['dev', 'remove', first]);
    await fs.rename(first, bed.path('moved'));
    expect((await bed.health()).exitCode).toBe(0);
    await bed.ok(['dev', 'add', bed.path('moved')]);
    const details = await bed.json<DeviceDetails>(['dev', 'query', bed.path('moved')]);
    expect(details.state).toBe('active');
    const again = await bed.run(['dev', 'add', second]);
    expect([again.exitCode, again.stderr]).toEqual([4, expect.stringContaining('in use')]);
    const { stdout } = await bed.run(['get', id, '-o', '-']);
    expect(stdout.equals(content)).toBe(true);
    await bed.ok(['repair']);
    const health = await bed.health();
    expect([health.exitCode, health.devices.length]).toEqual([0, 7]);
    await bed.ok(['rm', id]);
  });

  it('keeps removed what was removed while a store was away', async () => {
    await using own = await Bed.open();
    await own.up();
    const id = await own.ok(['put', '-'], { input: await seededBytes('away', 5_000_000) });
    const [, , third = ''] = own.firstStores();
    const stateOf = async () =>
      (await own.devices()).find((device) => device.path === third)?.state;
    await fs.rename(third, own.path('unplugged'));
    await expect.poll(stateOf, { timeout: 20_000 }).toBe('missing');
    await own.ok(['rm', id]);
    await fs.rename(own.path('unplugged'), third);
    await expect.poll(stateOf, { timeout: 20_000 }).toBe('active');
    expect((await own.run(['get', id, '-o', '-'])).exitCode).toBe(3);
    // The node knows that it was to be deleted there: it goes without the grace of a day, which is
    // for what nothing ever named (ruling 14).
    await own.ok(['repair']);
    const health = await own.health();
    expect([health.unnamedChunks, health.exitCode]).toEqual([0, 0]);
    expect((await own.run(['query', id])).exitCode, 'and it stays removed').toBe(3);
  });
});

describe('the end of a node', () => {
  it('finishes a put that is under way when it is asked to stop', async () => {
    for (const ask of ['SIGTERM', 'down'] as const) {
      using client = node.connect();
      let isStopping = false;
      const slowly = async function* () {
        for await (const piece of seededContent(ask, 30 * 2 ** 20)) {
          yield piece;
          if (!isStopping) {
            isStopping = true;
            if (ask === 'SIGTERM') node.child.kill('SIGTERM');
            else void bed.run(['down']);
          }
          await sleep(10);
        }
      };
      const key = `under-way/${ask}`;
      const outcome = await client.put(slowly(), { key }).catch((error: unknown) => error);
      expect((await node.ended()).exitCode, node.stderr).toBe(0);
      node = await bed.up();
      const isThere = (await bed.list()).some((object) => object.key === key);
      expect(isThere, 'it was told the truth').toBe(errorCode(outcome) === undefined);
      if (!isThere) continue;
      using again = node.connect();
      const wanted = await digestOf(seededContent(ask, 30 * 2 ** 20));
      expect(await digestByClient(again, key)).toBe(wanted);
    }
    await bed.ok(['repair']);
    expect((await bed.health()).unnamedChunks).toBe(0);
  });

  it('takes two Ctrl-C in a row for one, and ends well', async () => {
    node.child.kill('SIGINT');
    node.child.kill('SIGINT');
    const { exitCode, signal } = await node.ended();
    expect([exitCode, signal], node.stderr).toEqual([0, null]);
    node = await bed.up();
  });

  it('stops when it is told to, once', async () => {
    expect(await bed.ok(['down'])).toBe('the node has stopped');
    expect((await node.ended()).exitCode, node.stderr).toBe(0);
    expect((await bed.run(['down'])).exitCode).toBe(10);
    node = await bed.up();
  });

  it('keeps nothing of a put whose command was killed', async () => {
    const before = await bed.list();
    const child = bed.spawn(['put', '-', '--name', 'cut', '--data', bed.path('data')]);
    const content = await seededBytes('cut', 40_000_000);
    // Taken in full, as far as buffers do not hold it; only the end is still to come.
    await new Promise((resolve) => child.stdin?.write(content, resolve));
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    child.stdin?.destroy();
    // The node stops only when nothing is under way any more.
    await node.stop();
    node = await bed.up();
    expect(await bed.list()).toEqual(before);
    await bed.ok(['repair']);
    expect((await bed.health()).unnamedChunks).toBe(0);
  });
});

describe('the first run', () => {
  it('needs no configuration and no arguments', async () => {
    await using fresh = await Bed.open();
    const child = fresh.spawn(['up']);
    const ended = once(child, 'close');
    let printed = '';
    child.stdout?.on('data', (piece: Buffer) => (printed += piece.toString()));
    await expect.poll(() => printed, { timeout: 30_000 }).toContain('It runs until Ctrl-C');
    expect(printed).toContain('Stores: 6 of 6 here. Volumes: default (rs-4+2).');
    expect(printed).toContain('key export');
    expect(child.stderr?.read() ?? '').toBe('');
    const home = fresh.path('home/.holdfast');
    expect((await fs.stat(`${home}/keyring.json`)).mode & 0o777).toBe(0o600);
    expect((await fs.stat(home)).mode & 0o777).toBe(0o700);

    // As a user of it would: no --data anywhere.
    const command = async (...args: string[]) => {
      const run = fresh.spawn(args);
      const output: Buffer[] = [];
      run.stdout?.on('data', (piece: Buffer) => output.push(piece));
      run.stdin?.end();
      const [exitCode] = (await once(run, 'close')) as [number];
      expect(exitCode, args.join(' ')).toBe(0);
      return Buffer.concat(output).toString().trimEnd();
    };
    await fs.writeFile(fresh.path('work/first.txt'), 'first');
    const id = await command('put', 'first.txt');
    expect(await command('get', id, '-o', '-')).toBe('first');
    expect(await command('status')).toMatch(/warning: without a recovery kit/);
    await command('key', 'export', 'kit.txt');
    expect(await command('status')).not.toMatch(/recovery kit/);
    expect((await fs.stat(fresh.path('work/kit.txt'))).mode & 0o777).toBe(0o600);
    await command('doctor');
    await command('down');
    expect(await ended).toEqual([0, null]);
  });
});
