/**
 * Aim: a place becomes a device of the right kind, and nothing that is anybody else's is lost,
 * except when the user insists; what is in use is not even then.
 * Method: folders and files under the system's temporary one; loop devices with real filesystems
 * and volumes on them, made by the tools that make them.
 */
import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LIMITS, MiB, xxh64, type DeviceId } from '../base/index.ts';
import { realEnv } from '../env/index.ts';
import { attachLoop, describeWithLoop } from '../../test/suites/loop-device.ts';
import { deviceKindAt, makeDevice, openDevice, type MakeDeviceOptions } from './index.ts';
import { TOOL_ENVIRONMENT } from './tools.ts';

const run = promisify(execFile);
const { blockBytes } = LIMITS;
const SIZE_BYTES = 24 * MiB;
const env = realEnv();
const uuid = Buffer.from(env.random.bytes(16)).toString('hex') as DeviceId;

let resources: AsyncDisposableStack;
let folder: string;
let at: (name: string) => string;

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  folder = await fs.mkdtemp(join(tmpdir(), 'holdfast-places-'));
  resources.defer(() => fs.rm(folder, { recursive: true }));
  at = (name) => join(folder, name);
});
afterEach(() => resources.disposeAsync());

function options(path: string, more: Partial<MakeDeviceOptions> = {}): MakeDeviceOptions {
  return { env, path, uuid, capacityBytes: SIZE_BYTES, ...more };
}

/** Makes a device there, closes it, and says what it was. */
async function made(path: string, more: Partial<MakeDeviceOptions> = {}): Promise<string> {
  await using device = await makeDevice(options(path, more));
  return `${device.kind} ${device.sizeBytes / MiB}/${device.capacityBytes / MiB}`;
}

/** What a file or disk holds from `offset` on. */
async function bytesOf(path: string, offset = 0, bytes = blockBytes): Promise<Buffer> {
  await using file = await fs.open(path);
  return (await file.read(Buffer.alloc(bytes), 0, bytes, offset)).buffer;
}

async function put(path: string, bytes: string | Uint8Array, offset: number): Promise<void> {
  await using file = await fs.open(path, 'r+');
  await file.write(Buffer.from(bytes), 0, bytes.length, offset);
  await file.sync();
}

describe('a place', () => {
  it('is known by what is there', async () => {
    await fs.writeFile(at('file'), '');
    expect(await deviceKindAt(at('file'))).toBe('image');
    expect(await deviceKindAt(folder)).toBe('directory');
    expect(await deviceKindAt(at('none'))).toBe(undefined);
    await fs.symlink(folder, at('link'));
    expect(await deviceKindAt(at('link'))).toBe('directory');
    await expect(deviceKindAt('/dev/null')).rejects.toMatchObject({ code: 'HF_NOT_OURS' });
    const below = deviceKindAt(join(at('file'), 'x'));
    await expect(below).rejects.toMatchObject({ code: 'HF_NOT_DIRECTORY' });
  });

  it('that is empty becomes a folder, or the image that is asked for', async () => {
    expect(await made(at('a'))).toBe('directory 16/24');
    await fs.mkdir(at('b'));
    expect(await made(at('b'), { kind: 'directory' })).toBe('directory 16/24');
    const uneven = { kind: 'image', capacityBytes: SIZE_BYTES + 1 } as const;
    expect(await made(at('c'), uneven)).toBe('image 24/24');
    for (const [name, kind] of Object.entries({ a: 'directory', c: 'image' })) {
      await using device = await openDevice({ env, path: at(name) });
      expect(device.kind).toBe(kind);
    }
    const none = openDevice({ env, path: at('none') });
    await expect(none).rejects.toMatchObject({ code: 'HF_NOT_FOUND' });
  });

  it('needs a capacity for what is new, and enough of it', async () => {
    for (const kind of ['image', 'directory'] as const) {
      for (const capacityBytes of [undefined, 16 * MiB - 1]) {
        const make = made(at('new'), { kind, capacityBytes });
        await expect(make).rejects.toMatchObject({ code: 'HF_BAD_ARGUMENT' });
      }
    }
    expect(await fs.readdir(folder)).toEqual([]);
  });

  it('among the disks, where none is, does not become a file in memory', async () => {
    for (const kind of ['image', 'directory'] as const) {
      const make = made('/dev/holdfast-no-such-disk', { kind });
      await expect(make).rejects.toMatchObject({ code: 'HF_NOT_FOUND' });
    }
  });

  it('of one kind does not become another', async () => {
    await fs.writeFile(at('file'), new Uint8Array(SIZE_BYTES));
    await fs.mkdir(at('folder'));
    const image = made(at('folder'), { kind: 'image', isForced: true });
    await expect(image).rejects.toMatchObject({ code: 'HF_IS_DIRECTORY' });
    const directory = made(at('file'), { kind: 'directory', isForced: true });
    await expect(directory).rejects.toMatchObject({ code: 'HF_NOT_DIRECTORY' });
  });

  it('with a folder that is not empty is refused, also when forced', async () => {
    await fs.mkdir(at('photos'));
    await fs.writeFile(join(at('photos'), 'cat.jpg'), 'cat');
    const photos = made(at('photos'), { isForced: true });
    await expect(photos).rejects.toMatchObject({ code: 'HF_NOT_OURS' });
    await made(at('store'));
    const store = made(at('store'), { isForced: true });
    await expect(store).rejects.toMatchObject({ code: 'HF_EXISTS' });
  });
});

describe('an existing file', () => {
  it('that is blank keeps its size', async () => {
    await fs.writeFile(at('zeros'), '');
    await fs.truncate(at('zeros'), SIZE_BYTES);
    expect(await made(at('zeros'), { capacityBytes: 99 * MiB })).toBe('image 24/24');
    await fs.writeFile(at('ones'), new Uint8Array(SIZE_BYTES).fill(0xff));
    expect(await made(at('ones'), { capacityBytes: undefined })).toBe('image 24/24');
  });

  it('that is too small is refused, also when forced', async () => {
    await fs.writeFile(at('small'), 'a letter');
    await expect(made(at('small'), { isForced: true })).rejects.toMatchObject({
      code: 'HF_BAD_ARGUMENT',
      message: `${at('small')} has 8 bytes; a store needs at least ${16 * MiB}`,
    });
    expect(await fs.readFile(at('small'), 'utf8')).toBe('a letter');
  });

  it('with unknown content at either end is refused, and wiped when forced', async () => {
    for (const offset of [0, MiB - 1, SIZE_BYTES - MiB, SIZE_BYTES - 1]) {
      await fs.writeFile(at('file'), new Uint8Array(SIZE_BYTES));
      await put(at('file'), 'x', offset);
      await expect(made(at('file'))).rejects.toMatchObject({
        code: 'HF_NOT_OURS',
        message: `${at('file')} holds data of unknown origin; --force gives that up for good`,
      });
      expect((await bytesOf(at('file'), offset, 1)).toString()).toBe('x');
      expect(await made(at('file'), { isForced: true })).toBe('image 24/24');
      expect((await bytesOf(at('file'), offset, 1))[0]).toBe(0);
      expect(await made(at('file'))).toBe('image 24/24');
    }
  });

  it('with a superblock of ours is left to the store, whichever copy it is', async () => {
    for (const block of [0, 16, 2048, 2064]) {
      await fs.writeFile(at('file'), new Uint8Array(SIZE_BYTES).fill(7));
      await put(at('file'), 'HFSTORE1', block * blockBytes);
      const before = await fs.readFile(at('file'));
      expect(await made(at('file'), { isForced: true })).toBe('image 24/24');
      expect(before.equals(await fs.readFile(at('file')))).toBe(true);
    }
  });

  it('that has become something else is refused where there is no blkid, too', async () => {
    const { PATH } = TOOL_ENVIRONMENT;
    resources.defer(() => void (TOOL_ENVIRONMENT.PATH = PATH));
    TOOL_ENVIRONMENT.PATH = folder;
    await fs.writeFile(at('file'), new Uint8Array(SIZE_BYTES));
    await put(at('file'), 'HFSTORE1', 2048 * blockBytes);
    expect(await made(at('file'))).toBe('image 24/24'); // its first superblock is bad, that is all
    await (await openDevice({ env, path: at('file') }))[Symbol.asyncDispose]();
    await put(at('file'), 'something', 1024);
    await expect(made(at('file'))).rejects.toThrow('data of unknown origin; --force');
    const open = openDevice({ env, path: at('file') });
    await expect(open).rejects.toThrow('data of unknown origin, not a store');
    await put(at('file'), 'HFSTORE1', 0);
    await (await openDevice({ env, path: at('file') }))[Symbol.asyncDispose]();
  });

  it('is not wiped while it is open', async () => {
    await fs.writeFile(at('file'), new Uint8Array(SIZE_BYTES).fill(7));
    await using device = await openDevice({ env, path: at('file') });
    expect(device.kind).toBe('image');
    const make = made(at('file'), { isForced: true });
    await expect(make).rejects.toMatchObject({ code: 'HF_BUSY' });
    expect((await bytesOf(at('file')))[0]).toBe(7);
  });
});

describeWithLoop('a disk', () => {
  let path: string;
  let file: string;

  beforeEach(async () => {
    ({ path, file } = resources.use(await attachLoop({ sizeBytes: SIZE_BYTES })));
  });

  it('that is blank is made ready and opened', async () => {
    expect(await deviceKindAt(path)).toBe('raw');
    expect(await made(path)).toBe('raw 24/24');
    await using device = await openDevice({ env, path, direct: 'never' });
    expect([device.kind, device.isDirect]).toEqual(['raw', false]);
  });

  it('that is too small is refused, also when forced', async () => {
    await using small = await attachLoop({ sizeBytes: 8 * MiB });
    const make = made(small.path, { isForced: true });
    await expect(make).rejects.toMatchObject({ code: 'HF_BAD_ARGUMENT' });
  });

  const contents: [string, string, string[]][] = [
    ['an ext4 filesystem "my photos"', 'mkfs.ext4', ['-q', '-L', 'my photos']],
    ['swap space "\'a" \\b"', 'mkswap', ['-L', `'a" \\b`]],
  ];
  for (const [words, tool, flags] of contents) {
    it(`that holds ${words} is refused, and wiped when forced`, async () => {
      await run(tool, [...flags, path]);
      await expect(made(path)).rejects.toMatchObject({
        code: 'HF_NOT_OURS',
        message: `${path} holds ${words}; --force gives that up for good`,
      });
      const open = openDevice({ env, path });
      await expect(open).rejects.toThrow(`${path} holds ${words}, not a store`);
      await run('blkid', ['-p', path]); // it is still there
      expect(await made(path, { isForced: true })).toBe('raw 24/24');
      await expect(run('blkid', ['-p', path])).rejects.toMatchObject({ code: 2 });
      expect(await made(path)).toBe('raw 24/24');
    });
  }

  it('that holds a partition table is refused', async () => {
    await put(path, Uint8Array.of(0x55, 0xaa), 510);
    await expect(made(path)).rejects.toThrow('holds an MBR partition table; --force');
  });

  it('that holds a store is left to it, whatever else it looks like', async () => {
    const superblock = Buffer.alloc(blockBytes);
    superblock.write('HFSTORE1');
    superblock.writeUInt16BE(0x55aa, 510);
    superblock.writeBigUInt64LE(xxh64(superblock.subarray(0, -8)), blockBytes - 8);
    await put(path, superblock, 0);
    await run('blkid', ['-p', path]); // says that it has a partition table
    const before = await fs.readFile(path);
    expect(await made(path, { isForced: true })).toBe('raw 24/24');
    expect(before.equals(await fs.readFile(path))).toBe(true);
    await (await openDevice({ env, path }))[Symbol.asyncDispose]();
  });

  it('that has become something else since it was a store is refused', async () => {
    await put(path, 'HFSTORE1', 0);
    await put(path, 'HFSTORE1', 2048 * blockBytes);
    expect(await made(path)).toBe('raw 24/24');
    await put(path, new Uint8Array(blockBytes), 0);
    expect(await made(path)).toBe('raw 24/24'); // its first superblock is bad, that is all
    await run('mkfs.ext4', ['-q', path]);
    await put(path, 'HFSTORE1', 2048 * blockBytes);
    await expect(made(path)).rejects.toThrow('holds an ext4 filesystem; --force');
    await expect(openDevice({ env, path })).rejects.toThrow('not a store');
  });

  it('that got a partition table behind the start of a superblock is refused', async () => {
    await put(path, 'HFSTORE1', 0);
    await put(path, Uint8Array.of(0x55, 0xaa), 510);
    await expect(made(path)).rejects.toThrow('holds an MBR partition table; --force');
    await expect(openDevice({ env, path })).rejects.toThrow('not a store');
  });

  it('that holds what is left of a store under something else is not wiped for that', async () => {
    await put(path, 'HFSTORE1', 16 * blockBytes);
    await put(path, Uint8Array.of(0x55, 0xaa), 510);
    const before = await fs.readFile(path);
    const make = made(path, { isForced: true });
    await expect(make).rejects.toMatchObject({ code: 'HF_EXISTS' });
    expect(before.equals(await fs.readFile(path))).toBe(true);
    expect(await made(path, { isForced: true, replacesStore: true })).toBe('raw 24/24');
    expect(await made(path)).toBe('raw 24/24');
  });

  it('that is mounted is refused when forced too, and nothing happens to it', async () => {
    await run('mkfs.ext4', ['-q', path]);
    const place = at('mounted');
    await fs.mkdir(place);
    await run('mount', [path, place]);
    resources.defer(async () => {
      await run('umount', [place]);
    });
    await fs.writeFile(join(place, 'diary'), 'dear me');
    await run('sync', ['-f', place]);
    const before = await fs.readFile(file);
    // Not through the file under it either.
    for (const [name, user] of [
      [path, `mounted at ${place}`],
      [file, `${path} lies over it`],
    ] as const) {
      for (const isForced of [false, true]) {
        const make = made(name, { isForced });
        await expect(make).rejects.toMatchObject({ code: 'HF_BUSY' });
        await expect(make).rejects.toThrow(user);
      }
    }
    expect(before.equals(await fs.readFile(file))).toBe(true);
    expect(await fs.readFile(join(place, 'diary'), 'utf8')).toBe('dear me');
  });
});
