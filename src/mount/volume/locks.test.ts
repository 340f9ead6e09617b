/**
 * Aim: locks carry content with them across nodes, what a mount holds goes with descriptors and
 * open files, costs nothing where there is nothing, and what is lost is told. Method: mounts of two
 * nodes over one cell in memory, asked as the kernel would.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FilesBed } from '../../../test/suites/files-bed.ts';
import { errorCode, utf8 } from '../../base/index.ts';
import type { Caller, Kernel, LockAnswer, LockRequest } from '../index.ts';
import { VolumeFileSystem } from './volume-file-system.ts';

const ROOT = 1;
const caller: Caller = { uid: 0, gid: 0, processId: 3, signal: new AbortController().signal };

/** One open file of a mount. */
class Opened {
  readonly fileSystem: VolumeFileSystem;
  readonly inode: number;
  readonly file: number;

  private constructor(fileSystem: VolumeFileSystem, inode: number, file: number) {
    this.fileSystem = fileSystem;
    this.inode = inode;
    this.file = file;
  }

  static async open(fileSystem: VolumeFileSystem): Promise<Opened> {
    const made = { name: utf8('file'), mode: 0o644, flags: 0 };
    const { inode, file } = await fileSystem.create(caller, ROOT, made);
    return new Opened(fileSystem, inode, file);
  }

  async lock(owner: number, more: Partial<LockRequest> = {}): Promise<LockAnswer> {
    return await this.fileSystem.locks!.lock(caller, this.inode, {
      file: this.file,
      owner: BigInt(owner),
      kind: 'posix',
      start: 0n,
      end: 10n,
      mode: 'exclusive',
      processId: 100 + owner,
      waits: false,
      ...more,
    });
  }

  async unlock(owner: number, more: Partial<LockRequest> = {}): Promise<LockAnswer> {
    return await this.lock(owner, { mode: 'unlocked', ...more });
  }

  async write(text: string): Promise<void> {
    const about = { isFromCache: false, killsPrivileges: false };
    const request = { ...about, file: this.file, offset: 0, data: utf8(text) };
    await this.fileSystem.write(caller, this.inode, request);
  }

  async read(): Promise<string> {
    const request = { file: this.file, offset: 0, lengthBytes: 100 };
    return Buffer.from(await this.fileSystem.read(caller, this.inode, request)).toString();
  }

  async flush(owner: number): Promise<void> {
    await this.fileSystem.flush(caller, this.inode, { file: this.file, owner: BigInt(owner) });
  }

  async release(): Promise<void> {
    const released = { file: this.file, flockOwner: undefined };
    await this.fileSystem.release(caller, this.inode, released);
  }
}

let bed: FilesBed;
let here: VolumeFileSystem;
let there: VolumeFileSystem;
/** How often each node's kernel was told to drop what it has cached of a file. */
let dropped: Record<string, number>;
const stack: AsyncDisposable[] = [];

async function mountOn(node: string): Promise<VolumeFileSystem> {
  const mounted = await VolumeFileSystem.open(await bed.mountable({ node }));
  mounted.begin({
    invalidateInode: async (_, range) => {
      expect(range).toEqual({ offset: 0, lengthBytes: 0 });
      dropped[node] = (dropped[node] ?? 0) + 1;
    },
  } as Kernel);
  stack.push(mounted);
  return mounted;
}

beforeEach(async () => {
  bed = await FilesBed.open();
  dropped = {};
  here = await mountOn('here');
  there = await mountOn('there');
});

afterEach(async () => {
  for (const mounted of stack.splice(0).toReversed()) await mounted[Symbol.asyncDispose]();
  await bed[Symbol.asyncDispose]();
});

const code = async (work: Promise<unknown>) => await work.catch(errorCode);

async function loseSession(node: string): Promise<void> {
  const { handles } = bed.cell;
  const sessions = await handles.sessions();
  await handles.closeSession(sessions.find((session) => session.node === node)!.session);
}

it('carry content with them', async () => {
  const [one, other] = [await Opened.open(here), await Opened.open(there)];
  expect(await other.lock(1)).toBe('granted');
  expect(await other.read()).toBe('');
  expect(await one.lock(1)).toBe('denied');
  await other.unlock(1);
  for (const [index, [writer, reader]] of [
    [one, other] as const,
    [other, one] as const,
  ].entries()) {
    await writer.lock(1);
    await writer.write(`${index}`);
    await writer.unlock(1);
    expect(await reader.lock(1)).toBe('granted');
    expect(await reader.read()).toBe(`${index}`);
    await reader.unlock(1);
  }
});

it('leave what the kernel has cached when nobody else has changed it', async () => {
  const [one, other] = [await Opened.open(here), await Opened.open(there)];
  const shared = { mode: 'shared' } as const;
  await one.lock(1, shared);
  expect(dropped, 'before the first lock nobody looked').toEqual({ here: 1 });
  await one.write('own');
  await one.unlock(1);
  await one.lock(1, shared);
  await one.unlock(1);
  expect(dropped).toEqual({ here: 1 });
  await other.lock(1, shared);
  await other.write('new');
  await other.unlock(1);
  await one.lock(1, shared);
  expect(dropped).toEqual({ here: 2, there: 1 });
});

it('go with a descriptor of the process, from all its open files', async () => {
  const [first, second, other] = [
    await Opened.open(here),
    await Opened.open(here),
    await Opened.open(there),
  ];
  await first.lock(1);
  await second.lock(1, { start: 10n, end: 20n });
  await first.lock(2, { start: 20n, end: 30n });
  await second.flush(1);
  expect(await other.lock(1, { end: 20n })).toBe('granted');
  expect(await other.lock(1, { start: 20n, end: 30n })).toBe('denied');
});

it('go with the open file, whoever got them', async () => {
  const [one, other] = [await Opened.open(here), await Opened.open(there)];
  await one.lock(7);
  await one.lock(8, { kind: 'flock' });
  await one.flush(1);
  expect(await other.lock(1)).toBe('denied');
  await one.release();
  expect(await other.lock(1)).toBe('granted');
  expect(await other.lock(2, { kind: 'flock' })).toBe('granted');
});

it('go with the mount', async () => {
  const [one, other] = [await Opened.open(here), await Opened.open(there)];
  await one.lock(1);
  await here[Symbol.asyncDispose]();
  stack.splice(stack.indexOf(here), 1);
  expect(await other.lock(1)).toBe('granted');
});

it('say who holds them, of this machine alone', async () => {
  const [one, other] = [await Opened.open(here), await Opened.open(there)];
  await one.lock(1);
  const test = {
    file: 0,
    owner: 9n,
    kind: 'posix',
    start: 5n,
    end: 6n,
    isExclusive: true,
  } as const;
  expect(await here.locks!.test(caller, one.inode, test)).toMatchObject({ processId: 101 });
  expect(await there.locks!.test(caller, other.inode, test)).toMatchObject({
    processId: 0,
    end: 10n,
  });
});

describe('that are lost', () => {
  it('end the use of the open file that had them, and of no other', async () => {
    const [one, unlocked, other] = [
      await Opened.open(here),
      await Opened.open(here),
      await Opened.open(there),
    ];
    await one.lock(1);
    await loseSession('here');
    expect(await other.lock(1)).toBe('granted');
    expect(await code(one.lock(1, { start: 50n, end: 60n }))).toBe('HF_IO');
    for (const use of [one.write('x'), one.read(), one.lock(2)])
      expect(await code(use)).toBe('HF_IO');
    await unlocked.write('fine');
    await one.unlock(1);
    expect(await code(one.read()), 'until it is closed').toBe('HF_IO');
    await one.flush(1);
    await one.release();
    const again = await Opened.open(here);
    expect(await again.lock(1)).toBe('denied');
    expect(await again.read()).toBe('fine');
  });

  it('are told to who learns of it by asking for more', async () => {
    const one = await Opened.open(here);
    await one.lock(1);
    await loseSession('here');
    expect(await code(one.lock(1, { start: 50n, end: 60n }))).toBe('HF_IO');
    expect(await code(one.read())).toBe('HF_IO');
  });

  it('are none when all had been given up', async () => {
    const one = await Opened.open(here);
    await one.lock(1);
    await one.unlock(1);
    await loseSession('here');
    expect(await one.lock(1)).toBe('granted');
    await one.write('fine');
  });
});

it('may stay with the kernel', async () => {
  const local = await VolumeFileSystem.open(await bed.mountable({ node: 'local' }), {
    localLocks: true,
  });
  expect(local.locks).toBeUndefined();
  await local[Symbol.asyncDispose]();
});
