/**
 * Aim: kernel and session agree on what both can do, and a kernel that is too old or answers out of
 * turn hears so. Method: INIT with different versions and flags, through a session.
 */
import { describe, expect, it } from 'vitest';
import { FakeKernel } from '../../../test/mount/fake-kernel.ts';
import { MemoryFileSystem } from '../../../test/mount/memory-file-system.ts';
import { ERRNO } from '../errno.ts';
import { INIT_FLAGS, type InitFlag } from '../protocol/flags.ts';
import { INIT_OUT } from '../protocol/structs.ts';

/** Bits of one of the two words. */
function bits(...names: InitFlag[]): number {
  return names.reduce((sum, name) => (sum | (1 << (INIT_FLAGS[name] % 32))) >>> 0, 0);
}

describe('with Linux 6.18', () => {
  it('takes what we want of what it offers', async () => {
    const kernel = new FakeKernel(new MemoryFileSystem());
    const reply = await kernel.init();
    const { minor, flags, dataBytesMax } = await kernel.session.ready;
    expect(reply.errno).toBe(0);
    expect([reply.u32(INIT_OUT.major), reply.u32(INIT_OUT.minor), minor]).toEqual([7, 45, 45]);
    expect([reply.u32(INIT_OUT.writeBytesMax), dataBytesMax]).toEqual([2 ** 20, 2 ** 20]);
    expect(reply.body.readUInt16LE(INIT_OUT.pagesMax)).toBe(256);
    expect(flags).toEqual(
      new Set(Object.keys(INIT_FLAGS)).difference(
        new Set(['writebackCache', 'posixAcl', 'dontMask']),
      ),
    );
    expect(reply.u32(INIT_OUT.flags2)).toBe(bits('expireOnly'));
    await kernel.end();
  });

  it('leaves locks to it when there are none here, and may gather writes', async () => {
    const kernel = new FakeKernel(new MemoryFileSystem(), {
      wishes: { writebackCache: true, locks: false },
    });
    const flags = (await kernel.init()).u32(INIT_OUT.flags);
    expect((flags & bits('writebackCache')) >>> 0).toBe(bits('writebackCache'));
    expect(flags & bits('posixLocks', 'flockLocks')).toBe(0);
    await kernel.end();
  });
});

it('leaves lists and umask to us where they are kept', async () => {
  const wishes = { writebackCache: false, locks: true, acls: true };
  const kernel = new FakeKernel(new MemoryFileSystem(), { wishes });
  const flags = (await kernel.init()).u32(INIT_OUT.flags);
  expect((flags & bits('posixAcl', 'dontMask')) >>> 0).toBe(bits('posixAcl', 'dontMask'));
  await kernel.end();
});

it('an older kernel gets no more than it offers', async () => {
  const kernel = new FakeKernel(new MemoryFileSystem());
  const offered = bits('asyncRead', 'bigWrites');
  const reply = await kernel.init({ minor: 31, flags: offered, flags2: 0xffff_ffff });
  expect(reply.u32(INIT_OUT.minor)).toBe(31);
  expect(reply.u32(INIT_OUT.flags)).toBe(offered);
  expect(reply.u32(INIT_OUT.flags2)).toBe(0);
  expect(reply.u32(INIT_OUT.writeBytesMax)).toBe(128 * 1024);
  await kernel.end();
});

it('a kernel that is too old is refused, and the session ends', async () => {
  const kernel = new FakeKernel(new MemoryFileSystem());
  expect((await kernel.init({ minor: 30 })).errno).not.toBe(0);
  await expect(kernel.session.ready).rejects.toMatchObject({ code: 'HF_UNSUPPORTED' });
  await expect(kernel.ended).rejects.toMatchObject({ code: 'HF_UNSUPPORTED' });
});

it('a kernel of the next major version hears ours, and asks again', async () => {
  const kernel = new FakeKernel(new MemoryFileSystem());
  const first = await kernel.init({ major: 8, minor: 0 });
  expect([first.errno, first.u32(INIT_OUT.major)]).toEqual([0, 7]);
  expect((await kernel.ask('lookup', { names: ['a'] })).errno).toBe(ERRNO.EPROTO);
  expect((await kernel.init()).errno).toBe(0);
  expect((await kernel.ask('lookup', { names: ['a'] })).errno).toBe(0);
  await kernel.end();
});

it('neither a request before INIT nor a second INIT is served', async () => {
  const kernel = new FakeKernel(new MemoryFileSystem());
  expect((await kernel.ask('statfs')).errno).toBe(ERRNO.EPROTO);
  await kernel.init();
  expect((await kernel.init()).errno).toBe(ERRNO.EPROTO);
  expect((await kernel.ask('statfs')).errno).toBe(0);
  await kernel.end();
});
