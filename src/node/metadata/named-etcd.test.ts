/**
 * Aim: the metadata of a cluster moves to an etcd that the user runs already, from one node and
 * from three, and stays there over restarts of nodes and of that etcd; what will not do is refused.
 * Method: whole nodes in this process over a transport in memory, with a real etcd on loopback.
 */
import { once } from 'node:events';
import { cp, rename, rm } from 'node:fs/promises';
import net, { type AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EtcdBed, findEtcd } from '../../../test/suites/etcd-bed.ts';
import { PATIENCE, WholeNodes } from '../../../test/suites/whole-nodes.ts';
import { realEnv } from '../../env/index.ts';
import { EtcdConnection } from '../../log/index.ts';

const ETCD = findEtcd();
if (!ETCD) console.warn('SKIPPED: no etcd on PATH; install etcd-server to test an etcd of yours');

const PREFIX = 'holdfast/home/';

let nodes: WholeNodes;
let bed: EtcdBed;

beforeEach(async () => {
  nodes = await WholeNodes.open();
  if (ETCD) bed = await EtcdBed.open(ETCD, 1);
});

afterEach(async () => {
  await nodes[Symbol.asyncDispose]();
  if (ETCD) await bed[Symbol.asyncDispose]();
});

function endpoints(): string[] {
  return bed.members.map(({ options }) => options.listenClientUrl);
}

async function useEtcd(name: string, more: { prefix?: string; endpoints?: string[] } = {}) {
  const wish = { endpoints: endpoints(), prefix: PREFIX, ...more };
  return await nodes.on(name).call('meta.useEtcd', wish);
}

async function untilOfGeneration(generation: number, ...names: readonly string[]): Promise<void> {
  await vi.waitFor(async () => {
    for (const name of names) {
      expect(await nodes.metadataPlace(name)).toMatchObject({ engine: 'etcd', generation });
    }
  }, PATIENCE);
}

/** Leads to an etcd, until something passes that it was told; then nowhere, until it is mended. */
class Relay {
  readonly #port: number;
  #last: string | undefined;
  readonly #cut = Promise.withResolvers<void>();
  readonly #server = net.createServer((client) => this.#lead(client));
  readonly #sockets = new Set<net.Socket>();
  #isCut = false;

  constructor(url: string, last?: string) {
    this.#port = Number(new URL(url).port);
    this.#last = last;
  }

  get hasCut(): Promise<void> {
    return this.#cut.promise;
  }

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #lead(client: net.Socket): void {
    const server = net.connect(this.#port, '127.0.0.1');
    for (const socket of [client, server]) {
      this.#sockets.add(socket.on('error', () => {}));
      socket.on('close', () => this.#end(client, server));
    }
    if (this.#isCut) return this.#end(client, server);
    server.pipe(client);
    client.on('data', (bytes: Buffer) => {
      if (this.#last !== undefined && bytes.includes(this.#last)) this.#isCut = true;
      if (!this.#isCut) return void server.write(bytes);
      this.#end(...this.#sockets);
      this.#cut.resolve();
    });
  }

  #end(...sockets: readonly net.Socket[]): void {
    for (const socket of sockets) {
      socket.destroy();
      this.#sockets.delete(socket);
    }
  }

  mend(): void {
    this.#isCut = false;
    this.#last = undefined;
  }

  async close(): Promise<void> {
    this.#end(...this.#sockets);
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** All keys that there are in etcd. */
async function keysInEtcd(): Promise<string[]> {
  await using connection = new EtcdConnection({ members: bed.dials, clock: realEnv().clock });
  const all = { do: 'get', key: Uint8Array.of(0), end: Uint8Array.of(0) } as const;
  const { answers } = await connection.transact({ conditions: [], ifMet: [all], ifNot: [] });
  return answers[0]!.rows.map(({ key }) => Buffer.from(key).toString());
}

describe.skipIf(!ETCD)('an etcd that the user runs', { timeout: 300_000 }, () => {
  it('keeps the names of one node, which comes back, and so may that etcd', async () => {
    await nodes.start('a');
    await nodes.put('a', 'before');
    const { lines } = await useEtcd('a');
    expect(lines.join()).toContain('names are kept in your etcd');
    await nodes.put('a', 'after');
    await nodes.assertThere('a', ['before', 'after']);
    const report = await nodes.on('a').call('meta.report', {});
    expect(report).toMatchObject({ engine: 'etcd', ring: [], etcd: { prefix: PREFIX } });
    expect(report.etcd?.members).toMatchObject([{ isLeader: true, reason: null }]);
    const keys = await keysInEtcd();
    expect(keys.length).toBeGreaterThan(5);
    expect(keys.filter((key) => !key.startsWith(PREFIX))).toEqual([]);

    await nodes.stop('a');
    await nodes.start('a');
    await vi.waitFor(async () => await nodes.assertThere('a', ['before', 'after']), PATIENCE);
    const [member] = bed.members;
    await member!.runner.stop();
    await member!.runner.run(member!.options);
    await vi.waitFor(async () => await nodes.put('a', 'with a new etcd'), PATIENCE);
    await nodes.assertThere('a', ['before', 'after', 'with a new etcd']);
  });

  it('takes over from a ring of three nodes, while objects are put', async () => {
    await nodes.start('a');
    for (const name of ['b', 'c']) await nodes.join(name, { inviter: 'a' });
    await untilOfGeneration(2, 'a', 'b', 'c');
    await vi.waitFor(async () => await nodes.put('b', 'in the ring'), PATIENCE);
    const putting = nodes.putting('c');
    const { lines } = await useEtcd('b');
    expect(lines.join()).toContain('names are kept in your etcd');
    await untilOfGeneration(3, 'a', 'b', 'c');
    await vi.waitFor(async () => await nodes.put('a', 'in the etcd'), PATIENCE);
    // However slow the machine is.
    await vi.waitFor(() => expect(putting.keys.size).toBeGreaterThan(5), PATIENCE);
    await putting.end();
    // A machine with too much to do takes longer than a put waits; that must be said, and be all.
    const others = putting.errors.filter((error) => !error.includes('no way to generation'));
    expect(others).toEqual([]);
    expect(putting.keys.size).toBeGreaterThan(5);
    await nodes.assertThere('a', ['in the ring', 'in the etcd', ...putting.keys]);
    for (const name of ['a', 'b', 'c']) {
      const report = await nodes.on(name).call('meta.report', {});
      expect(report).toMatchObject({ ring: [], generation: 3, etcd: { prefix: PREFIX } });
    }
    const keys = await keysInEtcd();
    expect(keys.filter((key) => !key.startsWith(PREFIX))).toEqual([]);

    for (const name of ['a', 'b', 'c']) await nodes.stop(name);
    await Promise.all(['b', 'c'].map(async (name) => await nodes.start(name)));
    await vi.waitFor(async () => await nodes.put('b', 'without a'), PATIENCE);
    const all = ['in the ring', 'in the etcd', 'without a'];
    await vi.waitFor(async () => await nodes.assertThere('c', all), PATIENCE);
  });

  it('is reached by nodes that join; it names new ways to itself', async () => {
    await nodes.start('a');
    await nodes.put('a', 'alone');
    await useEtcd('a');
    for (const name of ['b', 'c']) await nodes.join(name, { inviter: 'a' });
    await untilOfGeneration(2, 'b', 'c');
    await vi.waitFor(async () => await nodes.put('c', 'on c'), PATIENCE);
    await vi.waitFor(async () => {
      const { etcd } = await nodes.on('c').call('meta.report', {});
      expect(etcd?.members).toMatchObject([{ reason: null }]);
    }, PATIENCE);
    await nodes.stop('a');
    await vi.waitFor(async () => await nodes.put('b', 'without a'), PATIENCE);
    const all = ['alone', 'on c', 'without a'];
    await vi.waitFor(async () => await nodes.assertThere('c', all), PATIENCE);

    const elsewhere = new Relay(bed.members[0]!.options.listenClientUrl);
    const other = { prefix: 'other/', endpoints: [await elsewhere.listen()] };
    await expect(useEtcd('b', other)).rejects.toThrow(/stay under it/);
    await useEtcd('b', { endpoints: other.endpoints });
    await vi.waitFor(async () => {
      const { etcd } = await nodes.on('c').call('meta.report', {});
      expect(etcd?.members.map(({ endpoint }) => endpoint)).toEqual(other.endpoints);
    }, PATIENCE);
    await vi.waitFor(async () => await nodes.put('c', 'by another way'), PATIENCE);
    await elsewhere.close();
  });

  it('has all of it when the move was cut short after the ring was sealed', async () => {
    await nodes.start('a');
    for (const name of ['b', 'c']) await nodes.join(name, { inviter: 'a' });
    await untilOfGeneration(2, 'a', 'b', 'c');
    await vi.waitFor(async () => await nodes.put('b', 'in the ring'), PATIENCE);
    // The registry is copied last, when nothing can be changed any more where it was.
    const relay = new Relay(bed.members[0]!.options.listenClientUrl, '/registry/');
    const way = { endpoints: [await relay.listen()] };
    await Promise.race([useEtcd('a', way).catch(() => {}), relay.hasCut]);
    await relay.hasCut;
    for (const name of ['a', 'b', 'c'])
      expect(await nodes.metadataPlace(name)).toMatchObject({ generation: 2 });
    for (const name of ['a', 'b', 'c']) await nodes.stop(name);
    relay.mend();
    await Promise.all(['a', 'b', 'c'].map(async (name) => await nodes.start(name)));
    await untilOfGeneration(3, 'a', 'b', 'c');
    await vi.waitFor(async () => await nodes.put('c', 'after all'), PATIENCE);
    await vi.waitFor(
      async () => await nodes.assertThere('b', ['in the ring', 'after all']),
      PATIENCE,
    );
    await relay.close();
  });

  it('may be restored from a backup, and begins a life then', async () => {
    await nodes.start('a');
    await useEtcd('a');
    await nodes.put('a', 'in the backup');
    const [{ runner, options }] = bed.members as [(typeof bed.members)[0]];
    await nodes.stop('a');
    const backup = `${options.dataDirectory}.backup`;
    await runner.stop();
    await cp(options.dataDirectory, backup, { recursive: true });
    await runner.run(options);
    await nodes.start('a');
    await vi.waitFor(async () => await nodes.put('a', 'after it'), PATIENCE);
    await nodes.stop('a');
    await runner.stop();
    await rm(options.dataDirectory, { recursive: true });
    await rename(backup, options.dataDirectory);
    await runner.run(options);
    await nodes.start('a');
    const { lines } = await nodes.on('a').call('meta.restore', {});
    expect(lines.join()).toContain('life 2');
    await vi.waitFor(async () => await nodes.put('a', 'after all'), PATIENCE);
    await nodes.assertThere('a', ['in the backup', 'after all']);
  });

  it('is refused when it does not answer, or another node does not reach it', async () => {
    await nodes.start('a');
    await nodes.put('a', 'before');
    const away = { endpoints: ['http://127.0.0.1:1'] };
    await expect(useEtcd('a', away)).rejects.toThrow(/127\.0\.0\.1:1/);
    await expect(useEtcd('a', { endpoints: ['http://10.0.0.1'] })).rejects.toThrow(/--allow/);
    expect(await nodes.on('a').call('meta.report', {})).toMatchObject({ engine: 'local' });
    await nodes.put('a', 'after');
    await nodes.join('b', { inviter: 'a' });
    await expect(useEtcd('b')).rejects.toThrow(/home/);
  });
});
