/**
 * Aim: what goes wrong between kernel and file system harms nobody else. Late, interrupted and
 * withdrawn requests, garbage, faults of ours, the end. Method: a fake kernel, and a file system in
 * memory some of whose answers are held back; time passes in steps.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeKernel } from '../../../test/mount/fake-kernel.ts';
import { MemoryFileSystem } from '../../../test/mount/memory-file-system.ts';
import { steppedEnv } from '../../../test/suites/stepped-env.ts';
import { assert, HoldfastError, LIMITS } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import { ERRNO } from '../errno.ts';
import type { Caller, OpenFile, OpenRequest } from '../file-system.ts';

import { OPCODES } from '../protocol/opcodes.ts';
import * as structs from '../protocol/structs.ts';

/** Holds back what reads, opens and makes directories, until the test lets go. */
class HeldFileSystem extends MemoryFileSystem {
  readonly forgotten: number[] = [];
  readonly released: number[] = [];
  readonly signals: AbortSignal[] = [];
  hold = Promise.withResolvers<void>();

  override async read(caller: Caller): Promise<Uint8Array[]> {
    this.signals.push(caller.signal);
    await this.hold.promise;
    return [Buffer.from('late')];
  }

  // @ts-expect-error a promise, where the class it extends has none
  override async open(caller: Caller, inode: number, request: OpenRequest): Promise<OpenFile> {
    await this.hold.promise;
    return super.open(caller, inode, request);
  }

  // @ts-expect-error as above
  override async makeDirectory(...request: Parameters<MemoryFileSystem['makeDirectory']>) {
    await this.hold.promise;
    return super.makeDirectory(...request);
  }

  override forget(inode: number): void {
    this.forgotten.push(inode);
    super.forget(inode);
  }

  override release(_: Caller, __: number, { file }: { file: number }): void {
    this.released.push(file);
  }
}

const READ = { struct: structs.READ_IN, fields: { lengthBytes: 100 } };
const MKDIR = { struct: structs.MKDIR_IN, fields: { mode: 0o700 }, names: ['d'] };
const interrupt = (unique: number) => ({ struct: structs.INTERRUPT_IN, fields: { unique } });

describe('an answer that is promised', () => {
  it('lets others pass, and holds the thread no more', async () => {
    const fileSystem = new HeldFileSystem();
    const kernel = await FakeKernel.serving(fileSystem);
    const held = kernel.ask('read', READ);
    expect((await kernel.ask('statfs')).errno).toBe(0);
    const { holding } = kernel.device.waits;
    expect((await kernel.ask('statfs')).errno).toBe(0);
    expect(kernel.device.waits.holding).toBe(holding);
    fileSystem.hold.resolve();
    expect((await held).body.toString()).toBe('late');
    await kernel.ask('statfs');
    await kernel.ask('statfs');
    expect(kernel.device.waits.holding).toBeGreaterThan(holding);
    await kernel.end();
  });

  it('keeps its request until then, also when there are more than slots', async () => {
    const fileSystem = new HeldFileSystem();
    const kernel = await FakeKernel.serving(fileSystem);
    const names = Array.from({ length: LIMITS.mountSlotsMax + 8 }, (_, index) => `d${index}`);
    const made = names.map((name) => kernel.ask('mkdir', { ...MKDIR, names: [name] }));
    fileSystem.hold.resolve();
    for (const reply of await Promise.all(made)) expect(reply.errno).toBe(0);
    for (const name of names) {
      const found = await kernel.ask('lookup', { names: [name] });
      expect(found.u64(structs.ENTRY_OUT.inode), name).toBeGreaterThan(1);
    }
    await kernel.end();
  });

  it('of a lock gives the memory back once, before it comes', async () => {
    const fileSystem = new HeldFileSystem();
    const kernel = await FakeKernel.serving(fileSystem);
    const lock = (owner: number, type: number) => ({
      struct: structs.LOCK_IN,
      fields: { owner, type, last: 9 },
    });
    await kernel.ask('setlk', lock(1, 1));
    const waiting = kernel.ask('setlkw', lock(2, 1));
    await kernel.ask('setlk', lock(1, 2));
    await waiting;
    const names = ['one', 'two', 'three'];
    const made = names.map((name) => kernel.ask('mkdir', { ...MKDIR, names: [name] }));
    await kernel.ask('statfs');
    fileSystem.hold.resolve();
    await Promise.all(made);
    for (const name of names) {
      const found = await kernel.ask('lookup', { names: [name] });
      expect(found.u64(structs.ENTRY_OUT.inode), name).toBeGreaterThan(1);
    }
    await kernel.end();
  });

  it('may be an error', async () => {
    const fileSystem = new HeldFileSystem();
    const kernel = await FakeKernel.serving(fileSystem);
    const held = kernel.ask('read', READ);
    await kernel.ask('statfs');
    fileSystem.hold.reject(new HoldfastError('HF_TIMEOUT'));
    expect((await held).errno).toBe(ERRNO.ETIMEDOUT);
    await kernel.end();
  });
});

describe('INTERRUPT', () => {
  it('is heeded at once when the caller is being killed', async () => {
    const fileSystem = new HeldFileSystem();
    const kernel = await FakeKernel.serving(fileSystem, {
      patience: { deadlineMs: 1e6, deadlineErrno: 5, isDying: (processId) => processId === 4242 },
    });
    const unique = kernel.nextUnique;
    const held = kernel.ask('read', READ);
    kernel.tell('interrupt', interrupt(unique));
    expect((await held).errno).toBe(ERRNO.EINTR);
    expect(fileSystem.signals[0]?.aborted).toBe(true);
    fileSystem.hold.resolve(); // what comes late is not sent
    await kernel.end();
    expect(kernel.device.unwanted).toEqual([]);
  });

  it('is not when the caller would notice, until it is being killed', async () => {
    const fileSystem = new HeldFileSystem();
    const { env, step } = steppedEnv();
    let isDying = false;
    const kernel = await FakeKernel.serving(fileSystem, {
      env,
      patience: { deadlineMs: 1e6, deadlineErrno: 5, isDying: () => isDying },
    });
    const unique = kernel.nextUnique;
    const held = kernel.ask('read', READ);
    kernel.tell('interrupt', interrupt(unique));
    await kernel.ask('statfs');
    await step();
    expect(fileSystem.signals[0]?.aborted).toBe(false);
    isDying = true;
    await step();
    expect((await held).errno).toBe(ERRNO.EINTR);
    fileSystem.hold.resolve();
    await kernel.end();
  });

  it('ends to wait for a lock', async () => {
    const kernel = await FakeKernel.serving(new MemoryFileSystem());
    const lock = { struct: structs.LOCK_IN, fields: { owner: 1, last: 9, type: 1 } };
    await kernel.ask('setlk', lock);
    const unique = kernel.nextUnique;
    const waiting = kernel.ask('setlkw', { ...lock, fields: { ...lock.fields, owner: 2 } });
    kernel.tell('interrupt', interrupt(unique));
    expect((await waiting).errno).toBe(ERRNO.EINTR);
    await kernel.end();
  });

  it('of what nobody knows is nothing', async () => {
    const kernel = await FakeKernel.serving(new MemoryFileSystem());
    kernel.tell('interrupt', interrupt(12_345));
    expect((await kernel.ask('statfs')).errno).toBe(0);
    await kernel.end();
    expect(kernel.device.unwanted).toEqual([]);
  });
});

describe('the deadline', () => {
  it('is told to who waits, and what it would have got is undone', async () => {
    const fileSystem = new HeldFileSystem();
    const { env, step } = steppedEnv();
    let now = 0;
    const late: Env = { ...env, clock: { ...env.clock, monotonic: () => now } };
    const kernel = await FakeKernel.serving(fileSystem, {
      env: late,
      patience: { deadlineMs: 1000, deadlineErrno: ERRNO.EIO, isDying: () => false },
    });
    const open = kernel.ask('open', { struct: structs.OPEN_IN });
    const mkdir = kernel.ask('mkdir', MKDIR);
    await kernel.ask('statfs');
    now = 900;
    await step();
    now = 1100;
    await step();
    expect([(await open).errno, (await mkdir).errno]).toEqual([ERRNO.EIO, ERRNO.EIO]);
    fileSystem.hold.resolve();
    await kernel.end();
    expect(fileSystem.released).toEqual([1]);
    expect(fileSystem.forgotten).toEqual([2]);
  });

  it('is none for locks', async () => {
    const { env, step } = steppedEnv();
    let now = 0;
    const late: Env = { ...env, clock: { ...env.clock, monotonic: () => now } };
    const kernel = await FakeKernel.serving(new MemoryFileSystem(), {
      env: late,
      patience: { deadlineMs: 1000, deadlineErrno: 5, isDying: () => false },
    });
    const lock = { struct: structs.LOCK_IN, fields: { owner: 1, last: 9, type: 1 } };
    await kernel.ask('setlk', lock);
    const waiting = kernel.ask('setlkw', { ...lock, fields: { ...lock.fields, owner: 2 } });
    await kernel.ask('statfs');
    now = 1e9;
    await step();
    await kernel.ask('setlk', { ...lock, fields: { ...lock.fields, type: 2 } });
    expect((await waiting).errno).toBe(0);
    await kernel.end();
  });
});

describe('what the kernel knows', () => {
  const forget = (inode: number, lookupCount: number) => ({
    inode,
    struct: structs.FORGET_IN,
    fields: { lookupCount },
  });

  it('is counted: an inode is forgotten with its last reference', async () => {
    const fileSystem = new HeldFileSystem();
    fileSystem.hold.resolve();
    const kernel = await FakeKernel.serving(fileSystem);
    await kernel.ask('mkdir', MKDIR);
    await kernel.ask('lookup', { names: ['d'] });
    await kernel.ask('lookup', { names: ['d'] });
    kernel.tell('forget', forget(2, 2));
    await kernel.ask('statfs');
    expect(fileSystem.forgotten).toEqual([]);
    const one = Buffer.alloc(16);
    one.writeBigUInt64LE(2n, 0);
    one.writeBigUInt64LE(1n, 8);
    kernel.tell('batchForget', {
      struct: structs.BATCH_FORGET_IN,
      fields: { count: 1 },
      data: one,
    });
    await kernel.ask('statfs');
    expect(fileSystem.forgotten).toEqual([2]);
    await kernel.end();
  });

  it('does not grow by a reply that nobody took', async () => {
    const fileSystem = new HeldFileSystem();
    const kernel = await FakeKernel.serving(fileSystem);
    const { nextUnique } = kernel;
    void kernel.ask('open', { struct: structs.OPEN_IN });
    void kernel.ask('mkdir', MKDIR);
    await kernel.ask('statfs');
    kernel.device.withdraw(nextUnique);
    kernel.device.withdraw(nextUnique + 2);
    fileSystem.hold.resolve();
    await kernel.end();
    expect(fileSystem.released).toEqual([1]);
    expect(fileSystem.forgotten).toEqual([2]);
  });
});

describe('garbage', () => {
  it('is refused, and the next request is served', async () => {
    const kernel = await FakeKernel.serving(new MemoryFileSystem());
    const opcodes = Object.values(OPCODES).filter(
      (opcode) => opcode !== OPCODES.forget && opcode !== OPCODES.batchForget,
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...opcodes, 7, 39, 63, 64, 4096, 2 ** 31),
        fc.uint8Array({ maxLength: 200 }),
        async (opcode, data) => {
          if (opcode === OPCODES.interrupt) kernel.tell(opcode, { data });
          // A lock may have to wait for another one.
          else if (opcode === OPCODES.setlkw) void kernel.ask(opcode, { data });
          else await kernel.ask(opcode, { data });
          expect((await kernel.ask('statfs')).errno).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
    await kernel.end();
  });

  it.each(
    Object.entries(OPCODES).filter(([name]) => !/orget|interrupt|destroy|statfs|read/.test(name)),
  )('%s without anything is an error', async (_, opcode) => {
    const kernel = await FakeKernel.serving(new MemoryFileSystem());
    expect((await kernel.ask(opcode)).errno).toBe(ERRNO.EPROTO);
    await kernel.end();
  });

  it('without a header is passed over', async () => {
    const kernel = await FakeKernel.serving(new MemoryFileSystem());
    kernel.device.tell(Buffer.from('short'));
    kernel.device.tell(Buffer.alloc(1000, 0xff));
    kernel.tell('forget', {});
    kernel.tell('batchForget', { struct: structs.BATCH_FORGET_IN, fields: { count: 0xffff_ffff } });
    expect((await kernel.ask('statfs')).errno).toBe(0);
    await kernel.end();
  });

  it('of an opcode that is not known is ENOSYS', async () => {
    const kernel = await FakeKernel.serving(new MemoryFileSystem());
    expect((await kernel.ask(52)).errno).toBe(ERRNO.ENOSYS);
    expect((await kernel.ask(4096)).errno).toBe(ERRNO.ENOSYS);
    await kernel.end();
  });
});

describe('a fault of the file system', () => {
  it('is EIO, and the session goes on', async () => {
    const fileSystem = new MemoryFileSystem();
    fileSystem.statistics = () => {
      throw new TypeError('no such thing');
    };
    const kernel = await FakeKernel.serving(fileSystem);
    expect((await kernel.ask('statfs')).errno).toBe(ERRNO.EIO);
    expect((await kernel.ask('lookup', { names: ['a'] })).errno).toBe(0);
    await kernel.end();
  });

  it('that is an assertion ends it', async () => {
    const fileSystem = new MemoryFileSystem();
    fileSystem.statistics = () => {
      assert(fileSystem.inodeCount > 1, 'there is more than the root');
      throw new Error('not reached');
    };
    const kernel = await FakeKernel.serving(fileSystem);
    expect((await kernel.ask('statfs')).errno).toBe(ERRNO.EIO);
    await expect(kernel.ended).rejects.toThrow('more than the root');
    expect(kernel.device.isClosed).toBe(true);
  });
});

it('a reply that cannot be sent ends the session', async () => {
  const kernel = await FakeKernel.serving(new MemoryFileSystem());
  kernel.device.send = () => {
    throw new HoldfastError('HF_IO', 'the device is broken');
  };
  void kernel.ask('statfs');
  await expect(kernel.ended).rejects.toMatchObject({ code: 'HF_IO' });
  expect(kernel.device.isClosed).toBe(true);
});

describe('notices', () => {
  it('go one at a time, and keep the thread awake', async () => {
    const fileSystem = new MemoryFileSystem();
    const kernel = await FakeKernel.serving(fileSystem);
    const held = Promise.withResolvers<boolean>();
    kernel.device.notifying = async () => await held.promise;
    const first = fileSystem.kernel!.invalidateInode(5, { offset: 0, lengthBytes: 0 });
    const second = fileSystem.kernel!.invalidateEntry(1, Buffer.from('name'));
    await kernel.ask('statfs');
    const { holding } = kernel.device.waits;
    await kernel.ask('statfs');
    expect(kernel.device.notices.length).toBe(1);
    expect(kernel.device.waits.holding).toBe(holding);
    held.resolve(true);
    await Promise.all([first, second]);
    expect(kernel.device.notices.map((notice) => notice.readInt32LE(4))).toEqual([2, 3]);
    expect(kernel.device.notices[1]!.readUInt32LE(28)).toBe(1); // expire only
    await kernel.end();
  });
});

it('a wake lets messages in before the next request', async () => {
  const wake = new Int32Array(new SharedArrayBuffer(4));
  const kernel = await FakeKernel.serving(new MemoryFileSystem(), { wake });
  let isHeard = false;
  const { port1, port2 } = new MessageChannel();
  port2.on('message', () => (isHeard = true));
  port1.postMessage('recall');
  Atomics.store(wake, 0, 1);
  const replies = Promise.all([kernel.ask('statfs'), kernel.ask('statfs')]);
  await replies;
  expect(isHeard).toBe(true);
  expect(Atomics.load(wake, 0)).toBe(0);
  port1.close();
  await kernel.end();
});

it('at the end nobody is left waiting, and the device is closed', async () => {
  const fileSystem = new HeldFileSystem();
  const kernel = await FakeKernel.serving(fileSystem);
  void kernel.ask('read', READ);
  await kernel.ask('statfs');
  kernel.device.end();
  fileSystem.signals[0]?.addEventListener('abort', () => fileSystem.hold.resolve());
  await kernel.ended;
  expect(kernel.device.isClosed).toBe(true);
});

it('a mount that goes away before it begins says so', async () => {
  const kernel = new FakeKernel(new MemoryFileSystem());
  kernel.device.end();
  await expect(kernel.session.ready).rejects.toMatchObject({ code: 'HF_CLOSED' });
  await kernel.ended;
});
