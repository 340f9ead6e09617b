/**
 * Aim: a node that has lost the majority of the ring goes on reading what was there, says so, and
 * changes nothing; with the others back all is as before. Method: three whole nodes in this process
 * over a transport in memory, with the etcd that is installed; two of them stop.
 */
import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findEtcd } from '../../../test/suites/etcd-bed.ts';
import { WholeNodes } from '../../../test/suites/whole-nodes.ts';
import { errorCode, errorMessage, utf8 } from '../../base/index.ts';

const ETCD = findEtcd();
if (!ETCD) console.warn('SKIPPED: no etcd on PATH; install etcd-server to test the ring');

const PATIENCE = { timeout: 60_000, interval: 200 };
const CONTENT = 'what is kept '.repeat(1000);
const volume = 'default';
const TELLING = 'names are read as they were';

let nodes: WholeNodes;

beforeEach(async () => {
  nodes = await WholeNodes.open();
});

afterEach(async () => {
  await nodes[Symbol.asyncDispose]();
});

async function put(name: string, key: string): Promise<void> {
  await nodes.on(name).put(contentOf(), { key });
}

async function* contentOf(): AsyncGenerator<Uint8Array> {
  yield utf8(CONTENT);
}

async function read(name: string, key: string): Promise<string> {
  const { bytes } = await nodes.on(name).get({ reference: key });
  return Buffer.concat(await Array.fromAsync(bytes)).toString();
}

async function keysOn(name: string): Promise<string[]> {
  const keys: string[] = [];
  await nodes.on(name).call('object.list', { volume }, { onItem: ({ key }) => keys.push(key!) });
  return keys;
}

async function untilInRing(...names: readonly string[]): Promise<void> {
  await vi.waitFor(async () => {
    for (const name of names) {
      const place = JSON.parse(await readFile(nodes.at(name, 'metadata.json'), 'utf8'));
      expect(place).toMatchObject({ engine: 'etcd' });
    }
  }, PATIENCE);
}

async function warnings(name: string): Promise<string> {
  return (await nodes.on(name).call('status', {})).warnings.join('\n');
}

describe.skipIf(!ETCD)('when the ring has lost its majority', () => {
  it('reads go on, and writes fail', { timeout: 240_000 }, async () => {
    await nodes.start('a');
    for (const name of ['b', 'c']) await nodes.join(name, { inviter: 'a' });
    await untilInRing('a', 'b', 'c');
    await vi.waitFor(async () => await put('c', 'folder/kept'), PATIENCE);
    await nodes.on('c').call('tree.makeDirectory', { volume, path: 'folder/deeper' });
    await new Promise((resolve) => setTimeout(resolve, 2000)); // replicas follow within a second
    expect(await warnings('c')).not.toContain(TELLING);

    await nodes.stop('a');
    await nodes.stop('b');
    let ms = performance.now();
    const lap = (what: string) => {
      console.log(what, Math.round(performance.now() - ms));
      ms = performance.now();
    };
    expect(await read('c', 'folder/kept')).toBe(CONTENT);
    lap('get');
    expect(await read('c', 'folder/kept')).toBe(CONTENT);
    lap('get again');
    expect(await keysOn('c')).toContain('folder/kept');
    lap('ls');
    const stat = await nodes.on('c').call('tree.status', { volume, path: 'folder/deeper' });
    lap('stat');
    console.log(stat);
    const error = await put('c', 'new').catch((thrown: unknown) => thrown);
    lap('put');
    console.log(errorCode(error), errorMessage(error));
    console.log(await warnings('c'));
    lap('status');
    console.log(await nodes.on('c').call('volume.list', {}).catch(errorMessage));
    lap('volume.list');
    expect(await read('c', 'nothing').catch(errorCode)).toBe('HF_NOT_FOUND');
    lap('nothing');

    await nodes.start('a');
    await nodes.start('b');
    await vi.waitFor(async () => await put('a', 'later'), PATIENCE);
    lap('put at a');
    await vi.waitFor(async () => expect(await read('c', 'later')).toBe(CONTENT), PATIENCE);
    lap('get at c');
  });
});
