/**
 * Aim: a disk is ours alone while it is open, is never taken from anybody who uses it, is refused
 * in words that help, and is dead once it is gone.
 * Method: loop devices of the kernel, with real filesystems and partitions on them; a clock that
 * ticks when told.
 */
import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { LIMITS, MiB } from '../base/index.ts';
import { attachLoop, describeWithLoop, type LoopDevice } from '../../test/suites/loop-device.ts';
import { steppedEnv } from '../../test/suites/stepped-env.ts';
import { ImageDevice, RawDevice } from './index.ts';
import { deviceNumberOf } from './sysfs.ts';

const run = promisify(execFile);
const { blockBytes } = LIMITS;
const SIZE_BYTES = 32 * MiB;

describeWithLoop('a disk', () => {
  const { env, step } = steppedEnv();
  let resources: AsyncDisposableStack;
  let folder: string;
  let loop: LoopDevice;
  let path: string;

  beforeEach(async () => {
    resources = new AsyncDisposableStack();
    folder = await fs.mkdtemp(join(tmpdir(), 'holdfast-raw-'));
    resources.defer(() => fs.rm(folder, { recursive: true }));
    loop = resources.use(await attachLoop({ sizeBytes: SIZE_BYTES }));
    ({ path } = loop);
  });
  afterEach(() => resources.disposeAsync());

  async function mount(disk: string, place: string): Promise<void> {
    await fs.mkdir(place);
    await run('mount', [disk, place]);
    resources.defer(async () => {
      await run('umount', [place]);
    });
  }

  /** Another name of a disk, as udev would make it. */
  async function makeNode(name: string, disk: string): Promise<string> {
    const { major, minor } = deviceNumberOf((await fs.stat(disk, { bigint: true })).rdev);
    await run('mknod', [join(folder, name), 'b', `${major}`, `${minor}`]);
    return join(folder, name);
  }

  /** A partition of 24 MiB, told to the kernel by hand: not every kernel reads tables. */
  async function addPartition(disk: string): Promise<string> {
    await using file = await fs.open(disk, 'r+');
    await file.write(partitionTable());
    await run('partx', ['--add', disk]);
    resources.defer(async () => {
      await run('partx', ['--delete', disk]);
    });
    return `${disk}p1`;
  }

  it('is as large as the kernel says, in whole blocks', async () => {
    await using odd = await attachLoop({ sizeBytes: 20 * MiB + 3 * 512 });
    expect((await fs.stat(odd.path)).size).toBe(0);
    await using device = await RawDevice.open({ env, path: odd.path });
    expect(device.sizeBytes).toBe(20 * MiB);
    expect(device.capacityBytes).toBe(20 * MiB);
    expect(device.kind).toBe('raw');
    const { rdev } = await fs.stat(odd.path, { bigint: true });
    expect(device.deviceNumber).toEqual(deviceNumberOf(rdev));
    expect(device.deviceNumber.major).toBe(7);
  });

  it('bypasses the page cache, unless it is told not to', async () => {
    for (const [direct, isDirect] of [['try', true] as const, ['never', false] as const]) {
      await using device = await RawDevice.open({ env, path, direct });
      expect(device.isDirect).toBe(isDirect);
    }
  });

  it('has a flush that reaches it, buffered as well', async () => {
    for (const direct of ['try', 'never'] as const) {
      await using device = await RawDevice.open({ env, path, direct });
      const page = device.allocate(blockBytes).fill(direct === 'try' ? 1 : 2);
      await device.write([page], 5 * blockBytes);
      await device.flush();
      await using file = await fs.open(loop.file);
      const { buffer } = await file.read(Buffer.alloc(blockBytes), 0, blockBytes, 5 * blockBytes);
      expect(buffer.equals(page)).toBe(true);
    }
  });

  it('is held against everybody, by each of its names', async () => {
    await using device = await RawDevice.open({ env, path });
    const other = await makeNode('other-name', path);
    for (const name of [path, other]) {
      const open = RawDevice.open({ env, path: name });
      await expect(open).rejects.toMatchObject({
        code: 'HF_BUSY',
        message: `${name} is in use: mounted, or held by another program`,
      });
    }
    await expect(run('mkfs.ext4', ['-q', path])).rejects.toThrow('in use');
    await expect(run('mkswap', [path])).rejects.toThrow('busy');
    await device.flush();
  });

  it('is refused while it is mounted, with the place', async () => {
    await run('mkfs.ext4', ['-q', path]);
    await mount(path, join(folder, 'a place'));
    await expect(RawDevice.open({ env, path })).rejects.toMatchObject({
      code: 'HF_BUSY',
      message: `${path} is in use: mounted at ${join(folder, 'a place')}`,
    });
  });

  it('is refused while a partition is in use, and held against its partitions', async () => {
    const partition = await addPartition(path);
    {
      await using device = await RawDevice.open({ env, path: partition });
      expect(device.sizeBytes).toBe(24 * MiB);
      await expect(RawDevice.open({ env, path })).rejects.toMatchObject({ code: 'HF_BUSY' });
    }
    {
      await using device = await RawDevice.open({ env, path });
      expect(device.sizeBytes).toBe(SIZE_BYTES);
      const open = RawDevice.open({ env, path: partition });
      await expect(open).rejects.toMatchObject({ code: 'HF_BUSY' });
    }
    await run('mkfs.ext4', ['-q', partition]);
    const place = join(folder, 'mounted');
    await mount(partition, place);
    const name = partition.slice('/dev/'.length);
    await expect(RawDevice.open({ env, path })).rejects.toMatchObject({
      code: 'HF_BUSY',
      message: `${path} is in use: ${name} is mounted at ${place}`,
    });
    await expect(RawDevice.open({ env, path: partition })).rejects.toMatchObject({
      code: 'HF_BUSY',
      message: `${partition} is in use: mounted at ${place}`,
    });
  });

  it('is refused where it cannot be written', async () => {
    await using locked = await attachLoop({ sizeBytes: SIZE_BYTES, isReadOnly: true });
    const open = RawDevice.open({ env, path: locked.path });
    await expect(open).rejects.toMatchObject({
      code: 'HF_DENIED',
      message: `${locked.path} is read-only: a store needs to write to it`,
    });
  });

  it('is refused to users who may not, with advice', async () => {
    process.seteuid!(65_534);
    try {
      const open = RawDevice.open({ env, path });
      await expect(open).rejects.toMatchObject({ code: 'HF_DENIED' });
      await expect(open).rejects.toThrow('run as root');
    } finally {
      process.seteuid!(0);
    }
  });

  it('is refused when it is no disk, or has no medium', async () => {
    const open = (name: string): Promise<RawDevice> => RawDevice.open({ env, path: name });
    await expect(open(loop.file)).rejects.toMatchObject({ code: 'HF_NOT_OURS' });
    await expect(open('/dev/null')).rejects.toMatchObject({ code: 'HF_NOT_OURS' });
    await expect(open(folder)).rejects.toMatchObject({ code: 'HF_IS_DIRECTORY' });
    await expect(open(join(folder, 'none'))).rejects.toMatchObject({ code: 'HF_NOT_FOUND' });
    await fs.truncate(loop.file, 0);
    await run('losetup', ['--set-capacity', path]);
    await expect(open(path)).rejects.toThrow('there is no medium in it');
  });

  it('can be named by a symlink', async () => {
    const link = join(folder, 'by-id');
    await fs.symlink(path, link);
    await using device = await RawDevice.open({ env, path: link });
    expect(device.name).toBe(link);
    await device.flush();
    await step();
    await device.flush();
  });

  it('stays alive when its name is made anew', async () => {
    const name = await makeNode('disk', path);
    await using device = await RawDevice.open({ env, path: name });
    await fs.rename(await makeNode('disk-again', path), name);
    await step();
    await device.flush();
  });

  const losses: [string, (name: string, other: string) => Promise<void>][] = [
    ['is gone', (name) => fs.rm(name)],
    ['is the name of another disk', (name, other) => fs.rename(other, name)],
    [
      'leads to another disk',
      async (name, other) => {
        await fs.rm(name);
        await fs.symlink(other, name);
      },
    ],
  ];
  for (const [loss, lose] of losses) {
    it(`is dead by the next check, and by the next flush, when its name ${loss}`, async () => {
      await using second = await attachLoop({ sizeBytes: SIZE_BYTES });
      for (const notice of [step, null]) {
        const name = await makeNode('disk', path);
        await using device = await RawDevice.open({ env, path: name });
        const page = device.allocate(blockBytes);
        await step();
        await device.write([page], 0);
        await device.flush();
        await lose(name, await makeNode('second', second.path));
        if (notice) await notice();
        else await expect(device.flush()).rejects.toThrow(`the disk ${name} is gone`);
        await expect(device.read(page, 0)).rejects.toMatchObject({ code: 'HF_DEVICE_FAILED' });
        for (const left of ['disk', 'second']) await fs.rm(join(folder, left), { force: true });
      }
    });
  }

  it('is in the same state when it is detached under us: the kernel waits for us', async () => {
    await using device = await RawDevice.open({ env, path });
    await loop.detach();
    await step();
    const page = device.allocate(blockBytes).fill(1);
    await device.write([page], 0);
    await device.flush();
    await device[Symbol.asyncDispose]();
    await expect(RawDevice.open({ env, path })).rejects.toMatchObject({ code: 'HF_NOT_FOUND' });
  });

  it('is refused while the file under it is in use as an image, and back', async () => {
    await loop.detach();
    const image = await ImageDevice.open({ env, path: loop.file });
    await using over = await attachLoop({ file: loop.file });
    const open = RawDevice.open({ env, path: over.path });
    await expect(open).rejects.toMatchObject({ code: 'HF_BUSY' });
    await expect(open).rejects.toThrow(`the file ${loop.file}, which ${over.path} lies over,`);
    await image[Symbol.asyncDispose]();
    await using device = await RawDevice.open({ env, path: over.path });
    // Another loop device over the same file is no other disk.
    await using second = await attachLoop({ file: loop.file });
    expect(second.path).not.toBe(device.name);
    const again = RawDevice.open({ env, path: second.path });
    await expect(again).rejects.toMatchObject({ code: 'HF_BUSY' });
  });
});

/** An MBR with one partition of 24 MiB that starts at 1 MiB. */
function partitionTable(): Buffer {
  const sector = Buffer.alloc(512);
  sector[446 + 4] = 0x83;
  sector.writeUInt32LE(MiB / 512, 446 + 8);
  sector.writeUInt32LE((24 * MiB) / 512, 446 + 12);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}
