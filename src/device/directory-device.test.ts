/**
 * Aim: a directory store notices when its folder is not its own, before it makes one, when it opens
 * one and while it runs; and a full disk leaves it whole.
 * Method: real folders under the system's temporary one, a clock that ticks when told, and where
 * the test runs as root small filesystems in memory.
 */
import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, type TestContext } from 'vitest';
import { LIMITS, MiB, type DeviceId } from '../base/index.ts';
import { realEnv, type Env } from '../env/index.ts';
import { steppedEnv } from '../../test/suites/stepped-env.ts';
import { DirectoryDevice, filesystemOf, ImageDevice } from './index.ts';
import { LOOK_MS } from './file-device.ts';
import { preallocate, zeroFill } from './preallocate.ts';

const run = promisify(execFile);
const { blockBytes } = LIMITS;
const CAPACITY_BYTES = 40 * MiB;

describe('a directory store', () => {
  const { env, step } = steppedEnv();
  let parent: string;
  let path: string;
  let uuid: DeviceId;
  let options: { env: Env; path: string; uuid: DeviceId; capacityBytes: number };

  beforeEach(async () => {
    parent = await fs.mkdtemp(join(tmpdir(), 'holdfast-directory-'));
    path = join(parent, 'a', 'store');
    uuid = Buffer.from(env.random.bytes(16)).toString('hex') as DeviceId;
    options = { env, path, uuid, capacityBytes: CAPACITY_BYTES };
  });
  afterEach(() => fs.rm(parent, { recursive: true }));

  /** A store that was made and closed. */
  async function makeStore(sizeBytes = 16 * MiB): Promise<void> {
    await using device = await DirectoryDevice.create(options);
    if (sizeBytes > device.sizeBytes) await device.grow(sizeBytes - device.sizeBytes);
  }

  it('says in its folder whose it is', async () => {
    await makeStore();
    expect((await fs.readdir(path)).toSorted()).toEqual(['holdfast.json', 'seg.00000']);
    const label = JSON.parse(await fs.readFile(join(path, 'holdfast.json'), 'utf8'));
    expect(label).toMatchObject({ format: 1, uuid, capacityBytes: CAPACITY_BYTES });
    await using device = await DirectoryDevice.open(options);
    expect(device.uuid).toBe(uuid);
    expect(device.name).toBe(path);
  });

  it('takes all room in advance', async () => {
    await makeStore(CAPACITY_BYTES);
    const stats = await Promise.all(
      ['seg.00000', 'seg.00001', 'seg.00002'].map((name) => fs.stat(join(path, name))),
    );
    expect(stats.map((stat) => stat.size / MiB)).toEqual([16, 16, 8]);
    for (const stat of stats) expect(stat.blocks * 512).toBeGreaterThanOrEqual(stat.size);
  });

  it('can be opened with another limit, and completes its last segment first', async () => {
    await makeStore(CAPACITY_BYTES);
    const larger = { ...options, capacityBytes: 72 * MiB };
    {
      await using device = await DirectoryDevice.open(larger);
      expect(device.sizeBytes).toBe(40 * MiB);
      const page = device.allocate(blockBytes).fill(7);
      await device.write([page], 40 * MiB - blockBytes);
      await device.grow(32 * MiB);
      expect(device.sizeBytes).toBe(72 * MiB);
      await device.read(page.fill(0), 40 * MiB - blockBytes);
      expect(page[0]).toBe(7);
      await device.write([page], 72 * MiB - blockBytes);
      await device.flush();
    }
    await using device = await DirectoryDevice.open({ env, path });
    expect(device.sizeBytes).toBe(72 * MiB);
    expect(device.capacityBytes).toBe(72 * MiB);
  });

  it('is not made where something else is', async () => {
    await makeStore();
    await expect(DirectoryDevice.create(options)).rejects.toMatchObject({ code: 'HF_EXISTS' });
    const foreign = join(parent, 'photos');
    await fs.mkdir(foreign);
    await fs.writeFile(join(foreign, 'cat.jpg'), 'cat');
    const create = DirectoryDevice.create({ ...options, path: foreign });
    await expect(create).rejects.toMatchObject({ code: 'HF_NOT_OURS' });
    expect(await fs.readdir(foreign)).toEqual(['cat.jpg']);
    const file = DirectoryDevice.create({ ...options, path: join(foreign, 'cat.jpg') });
    await expect(file).rejects.toMatchObject({ code: 'HF_NOT_DIRECTORY' });
  });

  it('is made in the root of a new filesystem', async () => {
    await fs.mkdir(join(path, 'lost+found'), { recursive: true });
    await makeStore();
  });

  it('gives whole segments back, from the end, and keeps the first', async () => {
    await using device = await DirectoryDevice.create({ ...options, capacityBytes: 72 * MiB });
    await device.grow(72 * MiB - device.sizeBytes);
    const sizes: number[] = [];
    for (const wanted of [70, 64, 33, 32, 31, 16, 0]) {
      await device.shrink(wanted * MiB);
      sizes.push(device.sizeBytes / MiB);
      const names = (await fs.readdir(path)).filter((name) => name.startsWith('seg.'));
      const stats = await Promise.all(names.map((name) => fs.stat(join(path, name))));
      const bytes = stats.reduce((sum, stat) => sum + stat.size, 0);
      expect(bytes).toBe(device.sizeBytes);
    }
    expect(sizes).toEqual([72, 64, 64, 32, 32, 16, 16]);
    await device.flush();
  });

  it('opens with any number of its last segments gone, as a crash may leave it', async () => {
    await makeStore(CAPACITY_BYTES);
    for (const [number, sizeBytes] of [[2, 32 * MiB] as const, [1, 16 * MiB] as const]) {
      await fs.rm(join(path, `seg.0000${number}`));
      await using device = await DirectoryDevice.open(options);
      expect(device.sizeBytes).toBe(sizeBytes);
      expect(device.capacityBytes).toBe(CAPACITY_BYTES);
    }
    await using device = await DirectoryDevice.open(options);
    await device.grow(CAPACITY_BYTES - device.sizeBytes);
    expect(device.sizeBytes).toBe(CAPACITY_BYTES);
  });

  it('shrinks and grows beside reads, flushes and checks', async () => {
    await using device = await DirectoryDevice.create(options);
    const page = device.allocate(blockBytes).fill(9);
    await device.write([page], 0);
    for (let round = 0; round < 5; round++) {
      await device.grow(CAPACITY_BYTES - device.sizeBytes);
      await device.write([page], 32 * MiB);
      const late = device.allocate(MiB);
      const work = [
        device.read(late, 32 * MiB),
        device.flush(),
        step(),
        device.shrink(16 * MiB),
        device.flush(),
        device.grow(MiB),
        device.read(device.allocate(blockBytes), 0),
      ];
      await Promise.all(work);
      expect(late[0]).toBe(9);
      expect(device.sizeBytes).toBe(32 * MiB);
    }
    await device.flush();
  });

  it('shrinks while it is being checked', async () => {
    await using device = await DirectoryDevice.create({ ...options, capacityBytes: 72 * MiB });
    for (let round = 0; round < 5; round++) {
      await device.grow(72 * MiB - device.sizeBytes);
      let isDone = false;
      const shrinking = device.shrink(16 * MiB).finally(() => {
        isDone = true;
      });
      while (!isDone) await Promise.race([step(), shrinking]);
      await shrinking;
    }
    await device.flush();
  });

  it('keeps a segment that cannot be removed', async (context) => {
    await using device = await DirectoryDevice.create(options);
    await device.grow(16 * MiB);
    const segment = join(path, 'seg.00001');
    try {
      await run('chattr', ['+i', segment]);
    } catch (error) {
      console.warn(`SKIPPED "${context.task.name}": ${String(error)}`);
      return context.skip('this filesystem has no files that stay');
    }
    try {
      await expect(device.shrink(16 * MiB)).rejects.toMatchObject({ code: 'HF_IO' });
    } finally {
      await run('chattr', ['-i', segment]);
    }
    expect(device.sizeBytes).toBe(32 * MiB);
    const page = device.allocate(blockBytes);
    await device.write([page], 32 * MiB - blockBytes);
    await device.flush();
    await device.shrink(16 * MiB);
    expect(device.sizeBytes).toBe(16 * MiB);
  });

  it('is made once when several make it at the same time', async () => {
    const uuids = Array.from({ length: 8 }, (_, n) => `${n}${uuid.slice(1)}` as DeviceId);
    const results = await Promise.allSettled(
      uuids.map((each) => DirectoryDevice.create({ ...options, uuid: each })),
    );
    const made = results.filter((result) => result.status === 'fulfilled');
    expect(made.length).toBe(1);
    const { value } = made[0]!;
    await value[Symbol.asyncDispose]();
    await using device = await DirectoryDevice.open(options);
    expect(device.uuid).toBe(value.uuid);
  });

  it('is too small below the smallest device', async () => {
    const create = DirectoryDevice.create({ ...options, capacityBytes: 16 * MiB - 1 });
    await expect(create).rejects.toMatchObject({ code: 'HF_BAD_ARGUMENT' });
  });

  it('is not opened without its folder, its label or its segments', async () => {
    const open = (): Promise<DirectoryDevice> => DirectoryDevice.open(options);
    await expect(open()).rejects.toMatchObject({ code: 'HF_NOT_FOUND' });
    await makeStore(40 * MiB);
    const label = join(path, 'holdfast.json');
    const text = await fs.readFile(label, 'utf8');

    await fs.truncate(join(path, 'seg.00002'), 8 * MiB - blockBytes);
    await expect(open()).rejects.toMatchObject({ code: 'HF_CORRUPT' });
    await fs.rm(join(path, 'seg.00002'));
    await fs.truncate(join(path, 'seg.00001'), MiB);
    await expect(open()).rejects.toMatchObject({ code: 'HF_CORRUPT' });
    await fs.rename(join(path, 'seg.00001'), join(path, 'seg.00002'));
    await expect(open()).rejects.toMatchObject({ code: 'HF_CORRUPT' });

    await fs.writeFile(label, text.replace('"format": 1', '"format": 9'));
    await expect(open()).rejects.toMatchObject({ code: 'HF_UNSUPPORTED' });
    for (const bad of ['', 'null', '{}', '[1]', text.replace(uuid, 'xyz'), text.slice(0, 90)]) {
      await fs.writeFile(label, bad);
      await expect(open()).rejects.toMatchObject({ code: 'HF_NOT_OURS' });
    }
    await fs.rm(label);
    await expect(open()).rejects.toMatchObject({ code: 'HF_NOT_OURS' });
  });

  it('lets go of its lock when it could not be opened', async () => {
    await makeStore();
    const segment = join(path, 'seg.00000');
    await fs.rename(segment, `${segment}.away`);
    await expect(DirectoryDevice.open(options)).rejects.toMatchObject({ code: 'HF_CORRUPT' });
    await fs.rename(`${segment}.away`, segment);
    await using device = await DirectoryDevice.open(options);
    expect(device.sizeBytes).toBe(16 * MiB);
  });

  it('drops what a crash left unfinished', async () => {
    await makeStore();
    await fs.writeFile(join(path, 'seg.00001.new'), 'half');
    await fs.writeFile(join(path, 'notes.new'), 'of somebody else');
    await using device = await DirectoryDevice.open(options);
    await device.grow(blockBytes);
    expect(await fs.readdir(path)).toContain('notes.new');
    expect(await fs.readdir(path)).not.toContain('seg.00001.new');
  });

  it('does not run beside a copy of itself', async () => {
    await makeStore();
    const copy = join(parent, 'copy');
    await fs.cp(path, copy, { recursive: true });
    await using device = await DirectoryDevice.open(options);
    expect(device.kind).toBe('directory');
    const open = DirectoryDevice.open({ env, path: copy });
    await expect(open).rejects.toMatchObject({ code: 'HF_BUSY' });
  });

  const losses: [string, () => Promise<void>][] = [
    ['is removed', () => fs.rm(path, { recursive: true })],
    ['is moved', () => fs.rename(path, `${path}.moved`)],
    [
      'is replaced by a copy',
      async () => {
        await fs.cp(path, `${path}.copy`, { recursive: true });
        await fs.rm(path, { recursive: true });
        await fs.rename(`${path}.copy`, path);
      },
    ],
    ['loses its label', () => fs.rm(join(path, 'holdfast.json'))],
    ['loses a segment', () => fs.rm(join(path, 'seg.00000'))],
  ];

  for (const [loss, lose] of losses) {
    it(`is dead by the next flush when its folder ${loss}`, async () => {
      await using device = await DirectoryDevice.create(options);
      const page = device.allocate(blockBytes);
      await device.write([page], 0);
      await device.flush();
      await lose();
      await env.clock.sleep(LOOK_MS + 5);
      await device.write([page], 0);
      await expect(device.flush()).rejects.toThrow('is gone or was replaced');
      await expect(device.read(page, 0)).rejects.toMatchObject({ code: 'HF_DEVICE_FAILED' });
    });

    it(`is dead by the next check when its folder ${loss}`, async () => {
      await using device = await DirectoryDevice.create(options);
      const page = device.allocate(blockBytes);
      await step();
      await device.read(page, 0);
      await lose();
      await step();
      await expect(device.read(page, 0)).rejects.toMatchObject({ code: 'HF_DEVICE_FAILED' });
    });
  }

  it('is looked for by each flush that has nothing else to do', async () => {
    await using device = await DirectoryDevice.create(options);
    await device.flush();
    await device.flush();
    await fs.rename(path, `${path}.moved`);
    await expect(device.flush()).rejects.toThrow('is gone or was replaced');
  });

  it('is dead a moment after its folder was removed, however fast flushes follow', async () => {
    await using device = await DirectoryDevice.create(options);
    const page = device.allocate(blockBytes);
    const flush = async (): Promise<void> => {
      await device.write([page], 0);
      await device.flush();
    };
    await flush();
    await fs.rm(path, { recursive: true });
    const lostAtMs = env.clock.monotonic();
    const flushOn = async (): Promise<void> => {
      while (env.clock.monotonic() < lostAtMs + LOOK_MS) await flush();
      await flush();
    };
    await expect(flushOn()).rejects.toThrow('is gone or was replaced');
  });

  it('looks for every segment that was synced since the look before', async () => {
    await using device = await DirectoryDevice.create(options);
    await device.grow(16 * MiB);
    const page = device.allocate(blockBytes);
    await device.flush();
    await device.write([page], device.sizeBytes - blockBytes);
    await fs.rm(join(path, 'seg.00001'));
    const flushes = async (): Promise<void> => {
      await device.flush(); // most likely without a look
      await env.clock.sleep(LOOK_MS + 5);
      await device.write([page], 0);
      await device.flush();
    };
    await expect(flushes()).rejects.toThrow('seg.00001');
  });

  it('does not grow into a folder that took its place', async () => {
    await using device = await DirectoryDevice.create(options);
    await fs.rename(path, `${path}.moved`);
    await fs.mkdir(path);
    await expect(device.grow(1)).rejects.toMatchObject({ code: 'HF_DEVICE_FAILED' });
    expect(await fs.readdir(path)).toEqual([]);
  });
});

describe('an image', () => {
  const { env, step } = steppedEnv();
  let folder: string;
  beforeEach(async () => {
    folder = await fs.mkdtemp(join(tmpdir(), 'holdfast-image-'));
  });
  afterEach(() => fs.rm(folder, { recursive: true }));

  it('is not made over a file and not opened from what is none', async () => {
    const path = join(folder, 'image');
    await expect(ImageDevice.open({ env, path })).rejects.toMatchObject({ code: 'HF_NOT_FOUND' });
    await fs.writeFile(path, '');
    const create = ImageDevice.create({ env, path, sizeBytes: MiB });
    await expect(create).rejects.toMatchObject({ code: 'HF_EXISTS' });
    await expect(ImageDevice.open({ env, path })).rejects.toMatchObject({ code: 'HF_NOT_OURS' });
    const open = ImageDevice.open({ env, path: folder });
    await expect(open).rejects.toMatchObject({ code: 'HF_IS_DIRECTORY' });
  });

  it('is dead when its file is removed, and an error when it is cut', async () => {
    const path = join(folder, 'image');
    await using device = await ImageDevice.create({ env, path, sizeBytes: MiB });
    const page = device.allocate(blockBytes);
    await fs.truncate(path, MiB / 2);
    await expect(device.read(page, MiB - blockBytes)).rejects.toMatchObject({ code: 'HF_IO' });
    await fs.rm(path);
    await step();
    await expect(device.read(page, 0)).rejects.toMatchObject({ code: 'HF_DEVICE_FAILED' });
  });
});

describe('on other filesystems', () => {
  const env = realEnv();
  const uuid = Buffer.from(env.random.bytes(16)).toString('hex') as DeviceId;
  let folder: string;
  const mounted: string[] = [];

  beforeEach(async () => {
    folder = await fs.mkdtemp(join(tmpdir(), 'holdfast-small-'));
  });
  afterEach(async () => {
    for (const place of mounted.splice(0)) await run('umount', [place]);
    await fs.rm(folder, { recursive: true });
  });

  /** Mounts a filesystem in memory, or skips the test, loudly. */
  async function mount(context: TestContext, type: string): Promise<void> {
    try {
      await run('mount', ['-t', type, '-o', 'size=40m', type, folder]);
      mounted.push(folder);
    } catch (error) {
      console.warn(`SKIPPED "${context.task.name}": cannot mount a ${type}: ${String(error)}`);
      context.skip('only root can mount filesystems');
    }
  }

  it('that know neither direct transfers nor fallocate, a store works', async (context) => {
    await mount(context, 'ramfs');
    const options = { env, path: join(folder, 'store'), uuid, capacityBytes: CAPACITY_BYTES };
    await using device = await DirectoryDevice.create(options);
    expect(device.isDirect).toBe(false);
    await device.grow(8 * MiB);
    const page = device.allocate(blockBytes).fill(3);
    await device.write([page], 16 * MiB);
    await device.flush();
    await device.read(page.fill(0), 16 * MiB);
    expect(page[0]).toBe(3);
    const stat = await fs.stat(join(options.path, 'seg.00001'));
    expect(stat.blocks * 512).toBeGreaterThanOrEqual(16 * MiB);
  });

  it('that are mounted over a store, it is dead by the next flush', async (context) => {
    const path = join(folder, 'store');
    const options = { env, path, uuid, capacityBytes: CAPACITY_BYTES };
    await using device = await DirectoryDevice.create(options);
    await device.flush();
    await mount(context, 'tmpfs');
    await expect(device.flush()).rejects.toThrow('is gone or was replaced');
  });

  it('that are full, a store that cannot grow stays whole', async (context) => {
    await mount(context, 'tmpfs');
    const path = join(folder, 'store');
    await using device = await DirectoryDevice.create({ env, path, uuid, capacityBytes: 72 * MiB });
    const before = await filesystemOf(path);
    expect(before.sizeBytes).toBe(40 * MiB);
    expect(before.freeBytes).toBeLessThan(24 * MiB);
    expect(before.id).toBe((await filesystemOf(folder)).id);
    expect(before.id).not.toBe((await filesystemOf('/')).id);

    await expect(device.grow(40 * MiB)).rejects.toMatchObject({ code: 'HF_NO_SPACE' });
    expect(device.sizeBytes).toBe(32 * MiB);
    expect((await fs.readdir(path)).filter((name) => name.startsWith('seg.'))).toHaveLength(2);
    const page = device.allocate(blockBytes).fill(1);
    await device.write([page], 32 * MiB - blockBytes);
    await device.flush();
  });

  it('that are full, a store without room for its first segment is not made', async (context) => {
    await mount(context, 'tmpfs');
    await fs.writeFile(join(folder, 'ballast'), new Uint8Array(30 * MiB));
    const path = join(folder, 'store');
    const create = DirectoryDevice.create({ env, path, uuid, capacityBytes: CAPACITY_BYTES });
    await expect(create).rejects.toMatchObject({ code: 'HF_NO_SPACE' });
    expect(await fs.readdir(path)).toEqual([]);
  });

  it('that are full, a last segment stays as it was', async (context) => {
    await mount(context, 'tmpfs');
    const path = join(folder, 'store');
    const options = { env, path, uuid, capacityBytes: 20 * MiB };
    {
      await using device = await DirectoryDevice.create(options);
      await device.grow(4 * MiB);
    }
    await fs.writeFile(join(folder, 'ballast'), new Uint8Array(10 * MiB));
    await using device = await DirectoryDevice.open({ ...options, capacityBytes: 32 * MiB });
    await expect(device.grow(12 * MiB)).rejects.toMatchObject({ code: 'HF_NO_SPACE' });
    expect(device.sizeBytes).toBe(20 * MiB);
    expect((await fs.stat(join(path, 'seg.00001'))).size).toBe(4 * MiB);
  });

  it('that are full, an image is not made', async (context) => {
    await mount(context, 'tmpfs');
    const create = ImageDevice.create({ env, path: join(folder, 'image'), sizeBytes: 50 * MiB });
    await expect(create).rejects.toMatchObject({ code: 'HF_NO_SPACE' });
    expect(await fs.readdir(folder)).toEqual([]);
  });

  it('that lack fallocate, zeros take the room to the last byte', async (context) => {
    await mount(context, 'tmpfs');
    const path = join(folder, 'file');
    await preallocate(path, { fromBytes: 0, toBytes: MiB });
    await zeroFill(path, { fromBytes: MiB, toBytes: 3 * MiB });
    const stat = await fs.stat(path);
    expect(stat.size).toBe(3 * MiB);
    expect(stat.blocks * 512).toBeGreaterThanOrEqual(3 * MiB);
    const fill = zeroFill(path, { fromBytes: MiB, toBytes: 60 * MiB });
    await expect(fill).rejects.toMatchObject({ code: 'ENOSPC' });
  });
});
