/**
 * Aim: the data directory is one node's at a time, its files are whole or absent and for nobody
 * else's eyes, and the keys of a node are never lost nor made twice. Method: real directories;
 * damaged files; a recovery kit written and read back.
 */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { errorCode, hexId, type NodeId, type VolumeId } from '../base/index.ts';
import { decodeRecoveryKit } from '../crypto/index.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { DataDirectory } from './data-directory.ts';
import { openKeys } from './first-run.ts';
import { changedConfig, defaultConfig } from './node-config.ts';

let folder: string;
let data: DataDirectory;

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-data-'));
  data = await DataDirectory.open(path.join(folder, 'data'));
});
afterEach(async () => {
  await data[Symbol.asyncDispose]();
  await fs.rm(folder, { recursive: true, force: true });
});

const env = virtualEnv(3);

function volumeId(seed: number): VolumeId {
  return hexId<VolumeId>(new Uint8Array(16).fill(seed));
}

describe('DataDirectory', () => {
  it('is held by one, also by another name, until it is closed', async () => {
    const alias = path.join(folder, 'alias');
    await fs.symlink(data.path, alias);
    for (const name of [data.path, alias]) {
      await expect(DataDirectory.open(name)).rejects.toMatchObject({ code: 'HF_BUSY' });
    }
    await data[Symbol.asyncDispose]();
    data = await DataDirectory.open(alias);
  });

  it('is not made where a file stands', async () => {
    const file = path.join(folder, 'file');
    await fs.writeFile(file, '');
    expect(await DataDirectory.open(file).catch(errorCode)).toMatch(
      /^HF_(NOT_DIRECTORY|EXISTS|IO)$/,
    );
    const below = DataDirectory.open(path.join(file, 'data'));
    await expect(below).rejects.toMatchObject({ code: 'HF_NOT_DIRECTORY' });
  });

  it('reads back what it wrote, for its owner alone, and leaves no other file', async () => {
    expect(await data.readStores()).toBeUndefined();
    expect(await data.readKitMark()).toEqual([]);
    const stores = [{ id: 'ab', path: '/x' }];
    await data.writeStores(stores);
    await data.writeKitMark(['v']);
    expect(await data.readStores()).toEqual(stores);
    expect(await data.readKitMark()).toEqual(['v']);
    const writes = Array.from({ length: 20 }, (_, i) =>
      data.writeStores([{ id: `${i}`, path: 'x'.repeat(1000 * i) }]),
    );
    await Promise.all(writes);
    expect((await data.readStores())?.[0]?.id).toBe('19');
    const names = (await fs.readdir(data.path)).toSorted();
    expect(names).toEqual(['cells', 'kit-exported.json', 'stores.json']);
    for (const name of names.slice(1)) {
      expect((await fs.stat(path.join(data.path, name))).mode & 0o777).toBe(0o600);
    }
    expect((await fs.stat(data.path)).mode & 0o777).toBe(0o700);
  });

  it('says which file is damaged', async () => {
    const damaged = {
      'stores.json': '{"version":2}',
      'kit-exported.json': '{',
      'keyring.json': '{}',
    };
    for (const [name, text] of Object.entries(damaged)) {
      await fs.writeFile(path.join(data.path, name), text);
    }
    const readings = [() => data.readStores(), () => data.readKitMark(), () => data.readKeyring()];
    for (const read of readings) {
      await expect(read()).rejects.toThrow(new RegExp(`^${data.path}/[a-z-]+\\.json: .+$`));
      expect(await read().catch(errorCode)).toMatch(/^HF_(CORRUPT|WRONG_KEY)$/);
    }
  });

  it('a write that fails leaves the old file', async () => {
    await data.writeKitMark(['old']);
    await fs.mkdir(path.join(data.path, 'kit-exported.json.new'));
    await expect(data.writeKitMark(['new'])).rejects.toMatchObject({ code: 'HF_IO' });
    expect(await data.readKitMark()).toEqual(['old']);
  });
});

describe('keys', () => {
  it('are made once, and found by the next start', async () => {
    const first = await openKeys(env, data, {});
    expect(first).toMatchObject({ isFirstRun: true, kit: undefined });
    const again = await openKeys(env, data, {});
    expect(again.isFirstRun).toBe(false);
    for (const key of ['clusterId', 'nodeId', 'metadataKey'] as const) {
      expect(again.keeper[key]).toEqual(first.keeper[key]);
    }
  });

  it('of volumes made at the same time are all kept', async () => {
    const { keeper } = await openKeys(env, data, {});
    const ids = [1, 2, 3, 4, 5].map(volumeId);
    await Promise.all(ids.map((id, i) => keeper.add(id, new Uint8Array(32).fill(i))));
    const again = await openKeys(env, data, {});
    for (const [i, id] of ids.entries()) {
      expect(keeper.get(id)).toEqual(new Uint8Array(32).fill(i));
      expect(again.keeper.get(id)).toEqual(new Uint8Array(32).fill(i));
    }
    expect(keeper.get(volumeId(9))).toBeUndefined();
  });

  it('go through the recovery kit to a node with another identity', async () => {
    const { keeper } = await openKeys(env, data, {});
    await keeper.add(volumeId(1), new Uint8Array(32).fill(1));
    expect(await keeper.kitState()).toBe('none');
    const names = new Map([[volumeId(1), 'photos']]);
    const kitText = await keeper.exportKit({ names, storePaths: ['/a', '/b'], nowMs: 12_000 });
    expect(await keeper.kitState()).toBe('current');
    await keeper.add(volumeId(2), new Uint8Array(32).fill(2));
    expect(await keeper.kitState()).toBe('stale');
    expect(decodeRecoveryKit(kitText)).toMatchObject({
      volumes: [{ id: volumeId(1), name: 'photos' }],
      storePaths: ['/a', '/b'],
    });

    await using other = await DataDirectory.open(path.join(folder, 'other'));
    const recovered = await openKeys(env, other, { recoverKitText: kitText });
    expect(recovered).toMatchObject({ isFirstRun: false, kit: { storePaths: ['/a', '/b'] } });
    expect(recovered.keeper.clusterId).toBe(keeper.clusterId);
    expect(recovered.keeper.metadataKey).toEqual(keeper.metadataKey);
    expect(recovered.keeper.get(volumeId(1))).toEqual(new Uint8Array(32).fill(1));
    expect(recovered.keeper.get(volumeId(2))).toBeUndefined();
    expect(recovered.keeper.nodeId).not.toBe(keeper.nodeId);
    // Not saved before its stores are found: the recovery can be tried again.
    expect(await other.readKeyring()).toBeUndefined();
    await recovered.keeper.save();
    expect((await openKeys(env, other, {})).keeper.nodeId).toBe(recovered.keeper.nodeId);
  });

  it('are not recovered over others, nor from what is no kit', async () => {
    const { keeper } = await openKeys(env, data, {});
    const kit = await keeper.exportKit({ names: new Map(), storePaths: [], nowMs: 0 });
    const over = openKeys(env, data, { recoverKitText: kit });
    await expect(over).rejects.toMatchObject({ code: 'HF_EXISTS' });
    await using other = await DataDirectory.open(path.join(folder, 'other'));
    const opening = openKeys(env, other, { recoverKitText: 'no kit' });
    expect(await opening.catch(errorCode)).toMatch(/^HF_/);
    expect(await other.readKeyring()).toBeUndefined();
  });

  it('are not made beside stores that have others', async () => {
    const store = path.join(data.storesPath, 'disk-1');
    await fs.mkdir(store, { recursive: true });
    await fs.writeFile(path.join(store, 'holdfast.json'), '{}');
    await expect(openKeys(env, data, {})).rejects.toMatchObject({ code: 'HF_WRONG_KEY' });
    await expect(openKeys(env, data, {})).rejects.toThrow(/recover with: holdfast up --recover/);
    expect(await data.readKeyring()).toBeUndefined();
  });
});

describe('what is known of others', () => {
  it('is read as it was written, and nothing before', async () => {
    expect(await data.readConfig()).toBeUndefined();
    expect(await data.readCluster()).toEqual({ members: [] });
    const config = changedConfig(defaultConfig('host'), {
      listen: ['tls://0.0.0.0:7450'],
      labels: { rack: 'r1' },
    });
    await data.writeConfig(config);
    expect(await data.readConfig()).toEqual(config);
    const node = '0a'.repeat(16) as NodeId;
    const cluster = {
      home: node,
      members: [{ node, addresses: ['tls://10.0.0.1:7450'] }],
      revocations: { version: 3, floors: new Map([[node, 7]]) },
      hasLeft: true,
    };
    await data.writeCluster(cluster);
    expect(await data.readCluster()).toEqual(cluster);
  });

  it('is said to be damaged when it is, with the name of the file', async () => {
    for (const [name, read] of [
      ['node.json', () => data.readConfig()],
      ['members.json', () => data.readCluster()],
      ['joining.json', () => data.joiningSeed(env)],
    ] as const) {
      await fs.writeFile(path.join(data.path, name), '{"version": 1, "nodeSeed": "x"}');
      await expect(read()).rejects.toMatchObject({ code: 'HF_CORRUPT' });
      await expect(read()).rejects.toThrow(name);
    }
  });

  it('a node that is to join keeps its seed until it has joined', async () => {
    const seed = await data.joiningSeed(env);
    expect(await data.joiningSeed(env)).toEqual(seed);
    expect((await fs.stat(path.join(data.path, 'joining.json'))).mode & 0o777).toBe(0o600);
    await data.hasJoined();
    expect(await data.joiningSeed(env)).not.toEqual(seed);
  });
});
