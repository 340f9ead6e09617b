/**
 * Aim: the registry of another node keeps the contract; a lost answer to a change is an unknown
 * outcome, to a read it is not; who watches a key notices a change within a second, and costs
 * little. Method: two nodes on the network in memory, with faults.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RemoteBed } from '../../test/suites/remote-bed.ts';
import { errorCode, fromUtf8, MiB, utf8 } from '../base/index.ts';
import type { Network } from '../net/index.ts';
import {
  MemoryRegistry,
  type Registry,
  RemoteRegistry,
  serveRegistry,
  type Versioned,
  watchKey,
} from './index.ts';

describe('registry of another node', () => {
  let held: MemoryRegistry;
  let bed: RemoteBed;
  let remote: Registry;
  let isWriter: boolean;

  const serve = (server: Network): void =>
    serveRegistry(server, held, {
      mayRead: (_, key) => !key.startsWith('secret/'),
      mayChange: () => isWriter,
    });

  beforeEach(async () => {
    isWriter = true;
    held = new MemoryRegistry();
    bed = await RemoteBed.open(serve);
    remote = new RemoteRegistry({ network: bed.asker, node: bed.server.self });
  });

  afterEach(async () => {
    await bed[Symbol.asyncDispose]();
  });

  it('sets a key only at the version that is expected', async () => {
    expect(await remote.get('a')).toBeUndefined();
    const first = await remote.compareAndSet('a', 0, utf8('1'));
    expect(first).toBeGreaterThan(0);
    expect(await remote.compareAndSet('a', 0, utf8('2'))).toBeUndefined();
    expect(await remote.get('a')).toEqual({ key: 'a', version: first, value: utf8('1') });
    const second = await remote.compareAndSet('a', first!, utf8('2'));
    // Not what it remembers.
    expect(await remote.get('a')).toEqual({ key: 'a', version: second, value: utf8('2') });
    expect(await remote.get('a')).toEqual(await held.get('a'));
    await held.compareAndSet('a', second!, undefined);
    expect(await remote.get('a')).toBeUndefined();
  });

  it('lists by prefix, also more than a message holds', async () => {
    for (const key of ['n/a', 'n/b', 'o/c']) {
      await remote.compareAndSet(key, 0, new Uint8Array(MiB - 1000).fill(7));
    }
    expect(await remote.list('n/')).toEqual(await held.list('n/'));
    expect(await remote.list('x/')).toEqual([]);
  });

  it('asks who may read and change', async () => {
    expect(await remote.get('secret/a').catch(errorCode)).toBe('HF_DENIED');
    isWriter = false;
    expect(await remote.compareAndSet('a', 0, utf8('1')).catch(errorCode)).toBe('HF_DENIED');
    expect(await held.get('a')).toBeUndefined();
  });

  it('is in doubt only when a change was sent and not answered', async () => {
    const set = held.compareAndSet.bind(held);
    held.compareAndSet = async (...change) => {
      const version = await set(...change);
      bed.net.partition(() => true);
      return version;
    };
    const change = remote.compareAndSet('a', 0, utf8('1'));
    expect(await change.catch(errorCode)).toBe('HF_UNKNOWN_OUTCOME');
    expect(fromUtf8((await held.get('a'))!.value)).toBe('1');
    expect(await remote.get('a').catch(errorCode)).toBe('HF_UNAVAILABLE');
    bed.net.heal();
    await bed.killServer();
    // Now it is plain that nothing can have been changed.
    const other = remote.compareAndSet('b', 0, utf8('1'));
    expect(await other.catch(errorCode)).toBe('HF_UNAVAILABLE');
    await bed.startServer(serve);
    expect(fromUtf8((await remote.get('a'))!.value)).toBe('1');
  });

  it('reads once more when a link breaks under it', async () => {
    await held.compareAndSet('a', 0, utf8('1'));
    await remote.list('');
    const list = held.list.bind(held);
    let asked = 0;
    held.list = async (prefix) => {
      asked += 1;
      if (asked === 1) bed.net.cut(bed.asker.self);
      return await list(prefix);
    };
    expect(await remote.list('')).toHaveLength(1);
    expect(asked).toBe(2);
  });

  it('is watched: each change within a second, over gaps too', async () => {
    const { clock } = bed.env;
    const stop = new AbortController();
    const seen: [atMs: number, text: string | undefined][] = [];
    const watching = (async () => {
      const changes = watchKey(remote, 'epoch', { clock, signal: stop.signal });
      for await (const row of changes) seen.push([clock.monotonic(), textOf(row)]);
    })();
    await clock.sleep(3000);
    expect(seen.map(([, text]) => text)).toEqual([undefined]);
    const first = await held.compareAndSet('epoch', 0, utf8('1'));
    const changedAtMs = clock.monotonic();
    await clock.sleep(3000);
    expect(seen.at(-1)![1]).toBe('1');
    expect(seen.at(-1)![0] - changedAtMs).toBeLessThan(1000);
    bed.net.cut(bed.server.self);
    await held.compareAndSet('epoch', first!, utf8('2'));
    await clock.sleep(60_000);
    expect(seen.map(([, text]) => text)).toEqual([undefined, '1', '2']);
    stop.abort();
    await watching;
  });

  it('refuses requests that are none', async () => {
    const { asker, server } = bed;
    for (const arg of [null, 5, new Uint8Array(3), new Uint8Array(100).fill(255)]) {
      for (const method of ['get', 'list', 'compare-and-set']) {
        const work = asker.call(server.self, `registry/${method}`, arg, { deadlineMs: 1000 });
        expect(['HF_BAD_ARGUMENT', 'HF_CORRUPT']).toContain(await work.catch(errorCode));
      }
    }
    expect(await held.list('')).toEqual([]);
  });
});

function textOf(row: Versioned | undefined): string | undefined {
  return row && fromUtf8(row.value);
}
