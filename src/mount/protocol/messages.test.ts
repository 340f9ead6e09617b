/**
 * Aim: requests are read, and replies and notices written, byte by byte as the kernel has them.
 * Method: requests that Linux 6.18 (protocol 7.45) sent, as strace(1) showed them; replies against
 * bytes put together by hand after include/uapi/linux/fuse.h. What is cut short is refused.
 */
import { describe, expect, it } from 'vitest';
import type { Attributes } from '../inode.ts';
import { DirectoryWriter } from './directory-writer.ts';
import { invalidateEntry, invalidateInode, removeEntry, storeContent } from './notices.ts';
import { OPCODES } from './opcodes.ts';
import { Reply } from './reply.ts';
import { Request, Slot } from './request.ts';
import * as structs from './structs.ts';

const slot = new Slot(4096);

function sent(hex: string): Request {
  const length = slot.buffer.write(hex, 'hex');
  const request = Request.parse(slot, length);
  if (!request) throw new Error('the header is not sound');
  return request;
}

/** Header with opcode, unique and inode as given, uid and gid 0, process 0x1266. */
const MKDIR =
  '34000000090000001800000000000000010000000000000000000000000000006412000000000000' +
  'ed0100001200000064697200';

describe('requests of Linux', () => {
  it('INIT', () => {
    const request = sent(
      '680000001a0000000200000000000000000000000000000000000000000000000000000000000000' +
        '070000002d00000000000200fbffff73fd050000' +
        '00'.repeat(44),
    );
    request.expect(structs.INIT_IN_EXTENDED);
    expect(request).toMatchObject({ opcode: OPCODES.init, unique: 2, inode: 0, processId: 0 });
    expect(request.u32(structs.INIT_IN.minor)).toBe(45);
    expect(request.u32(structs.INIT_IN.readaheadBytesMax)).toBe(131_072);
    expect(request.u32(structs.INIT_IN_EXTENDED.flags2)).toBe(0x5fd);
  });

  it('LOOKUP', () => {
    const request = sent(
      '2d000000010000000600000000000000010000000000000000000000000000001612000000000000' +
        '66696c6500',
    );
    request.expect(structs.NOTHING);
    expect(request).toMatchObject({ opcode: OPCODES.lookup, inode: 1, processId: 0x1216 });
    expect(request.name().toString()).toBe('file');
  });

  it('CREATE', () => {
    const request = sent(
      '3d000000230000000800000000000000010000000000000000000000000000001612000000000000' +
        '41820000a481000012000000' +
        '0000000066696c6500',
    );
    request.expect(structs.CREATE_IN);
    expect(request.opcode).toBe(OPCODES.create);
    expect(request.u32(structs.CREATE_IN.mode)).toBe(0o100644);
    expect(request.u32(structs.CREATE_IN.umask)).toBe(0o022);
    expect(request.name().toString()).toBe('file');
  });

  it('WRITE', () => {
    const request = sent(
      '56000000100000000e00000000000000020000000000000000000000000000001612000000000000' +
        '0100000000000000000000000000000006000000000000000000000000000000' +
        '018000000000000068656c6c6f0a',
    );
    request.expect(structs.WRITE_IN);
    expect(request).toMatchObject({ opcode: OPCODES.write, inode: 2 });
    expect(request.u64(structs.WRITE_IN.file)).toBe(1);
    expect(request.data(request.u32(structs.WRITE_IN.lengthBytes)).toString()).toBe('hello\n');
  });

  it('SETATTR with times before 1970', () => {
    const request = sent(
      '80000000040000002000000000000000020000000000000000000000000000006512000000000000' +
        '3000000000000000000000000000000000000000000000000000000000000000' +
        'fafffffffffffffffaffffffffffffff00000000000000008017b42c8017b42c00000000' +
        '0000000000000000000000000000000000000000',
    );
    request.expect(structs.SETATTR_IN);
    expect(request.i64(structs.SETATTR_IN.modifiedSeconds)).toBe(-6);
    expect(request.u32(structs.SETATTR_IN.modifiedNanoseconds)).toBe(750_000_000);
  });

  it('MKDIR', () => {
    const request = sent(MKDIR);
    request.expect(structs.MKDIR_IN);
    expect(request.u32(structs.MKDIR_IN.mode)).toBe(0o755);
    expect(request.name().toString()).toBe('dir');
  });

  it('RENAME2', () => {
    const request = sent(
      '450000002d0000002800000000000000010000000000000000000000000000006612000000000000' +
        '0300000000000000010000000000000066696c650072656e616d656400',
    );
    request.expect(structs.RENAME2_IN);
    expect(request.u64(structs.RENAME2_IN.newParent)).toBe(3);
    expect(request.u32(structs.RENAME2_IN.flags)).toBe(1);
    expect([request.name().toString(), request.name().toString()]).toEqual(['file', 'renamed']);
  });

  it('SETXATTR', () => {
    const request = sent(
      '47000000150000003800000000000000030000000000000000000000000000006712000000000000' +
        '05000000000000000000000000000000757365722e6e616d650076616c7565',
    );
    request.expect(structs.SETXATTR_IN);
    expect(request.text().toString()).toBe('user.name');
    expect(request.data(request.u32(structs.SETXATTR_IN.lengthBytes)).toString()).toBe('value');
  });

  it('SETLK of bytes 5 to 14', () => {
    const request = sent(
      '58000000200000004000000000000000020000000000000000000000000000006712000000000000' +
        '040000000000000099c436a14fcf765b05000000000000000e000000000000000100000067120000' +
        '0000000000000000',
    );
    request.expect(structs.LOCK_IN);
    expect(request.big64(structs.LOCK_IN.owner)).toBe(0x5b76cf4fa136c499n);
    expect(request.big64(structs.LOCK_IN.start)).toBe(5n);
    expect(request.big64(structs.LOCK_IN.last)).toBe(14n);
    expect(request.u32(structs.LOCK_IN.type)).toBe(1);
  });
});

describe('what is no request', () => {
  it.each([
    ['nothing', ''],
    ['half a header', MKDIR.slice(0, 40)],
    ['a length that is not its own', `ff${MKDIR.slice(2)}`],
    ['unique 0', `${MKDIR.slice(0, 16)}${'00'.repeat(8)}${MKDIR.slice(32)}`],
    ['a unique number beyond 2^53', `${MKDIR.slice(0, 16)}${'ff'.repeat(8)}${MKDIR.slice(32)}`],
  ])('%s', (_, hex) => {
    expect(Request.parse(slot, slot.buffer.write(hex, 'hex'))).toBeUndefined();
  });

  it('more than there is memory for', () => {
    slot.buffer.write(MKDIR, 'hex');
    slot.words[0] = slot.buffer.length + 8;
    expect(Request.parse(slot, slot.buffer.length + 8)).toBeUndefined();
  });

  it('a struct, a name or data that is cut short', () => {
    slot.buffer.fill(1);
    const request = sent(MKDIR);
    expect(() => request.expect(structs.SETATTR_IN)).toThrow('cut short');
    request.expect(structs.MKDIR_IN);
    expect(() => request.data(5)).toThrow('cut short');
    request.name();
    expect(() => request.name()).toThrow('has no end');
  });

  it.each([
    ['empty', '', /is none/],
    ['with a slash', 'a/b', /is none/],
    ['too long', 'x'.repeat(256), /is long/],
  ])('a name that is %s', (_, name, message) => {
    const body = `${Buffer.from(name).toString('hex')}00`;
    const length = (40 + name.length + 1).toString(16).padStart(4, '0');
    const header = `${length.slice(2)}${length.slice(0, 2)}0000${MKDIR.slice(8, 80)}`;
    const request = sent(header + body);
    request.expect(structs.NOTHING);
    expect(() => request.name()).toThrow(message);
  });

  it('an offset above 2^53', () => {
    const forget = (lookupCount: string) =>
      sent(`30000000${MKDIR.slice(8, 80)}${lookupCount}`).u64(structs.FORGET_IN.lookupCount);
    expect(forget('ffffffffffff1f00')).toBe(Number.MAX_SAFE_INTEGER);
    expect(() => forget('0000000000002000')).toThrow('above 2^53');
  });
});

const ATTRIBUTES: Attributes = {
  inode: 0x123_4567_89ab_cdefn,
  mode: 0o100644,
  uid: 1000,
  gid: 100,
  linkCount: 3,
  sizeBytes: 2 ** 40 + 1,
  storedBytes: 513,
  accessed: { seconds: 1, nanoseconds: 2 },
  modified: { seconds: -1, nanoseconds: 999_999_999 },
  changed: { seconds: 2 ** 33, nanoseconds: 0 },
  deviceNumber: 0x801,
};
const ATTRIBUTE_BYTES =
  'efcdab8967452301' + // ino
  '0100000000010000' + // size
  '0200000000000000' + // blocks
  '0100000000000000ffffffffffffffff0000000002000000' + // seconds
  '02000000ffc99a3b00000000' + // nanoseconds
  'a481000003000000e803000064000000' + // mode, nlink, uid, gid
  '010800000010000000000000'; // rdev, blksize, flags

function finished(fill: (reply: Reply) => void): string {
  const reply = new Reply(4096);
  reply.buffer.fill(0xaa); // as an older reply may have left it
  fill(reply);
  reply.finish(0x1_0000_0002);
  return Buffer.concat([reply.buffer.subarray(0, reply.length), ...reply.tail]).toString('hex');
}

describe('replies', () => {
  it('an entry', () => {
    const entry = { inode: 7, attributes: ATTRIBUTES, entryMs: 1500, attributesMs: 3_600_000 };
    expect(finished((reply) => reply.entry(entry))).toBe(
      '90000000' + // 16 + 128
        '00000000' +
        '0200000001000000' +
        '07000000000000000000000000000000' + // nodeid, generation
        '0100000000000000100e000000000000' + // seconds
        '0065cd1d00000000' + // nanoseconds
        ATTRIBUTE_BYTES,
    );
  });

  it('nothing under a name, to be kept in mind', () => {
    expect(finished((reply) => reply.entry({ inode: undefined, entryMs: 2000 }))).toBe(
      `9000000000000000${'0200000001000000'}${'00'.repeat(16)}02${'00'.repeat(111)}`,
    );
  });

  it('attributes', () => {
    const known = { attributes: ATTRIBUTES, attributesMs: 250 };
    expect(finished((reply) => reply.attributes(known))).toBe(
      `78000000000000000200000001000000${'00'.repeat(8)}80b2e60e00000000${ATTRIBUTE_BYTES}`,
    );
  });

  it('an error is its header alone, whatever was put in before', () => {
    const reply = new Reply(4096);
    reply.attributes({ attributes: ATTRIBUTES, attributesMs: 0 });
    reply.fail(5, 2);
    expect(reply.buffer.subarray(0, reply.length).toString('hex')).toBe(
      '10000000feffffff0500000000000000',
    );
  });

  it('large content stays where it is, little is copied', () => {
    const large = new Uint8Array(65 * 1024);
    const reply = new Reply(128 * 1024);
    reply.content([large], large.length);
    expect(reply.tail[0]).toBe(large);
    reply.finish(1);
    expect(reply.buffer.readUInt32LE(0)).toBe(16 + large.length);
    reply.clear();
    reply.content([large.subarray(0, 10)], 10);
    expect(reply.tail).toEqual([]);
    expect(reply.length).toBe(26);
  });
});

describe('listings', () => {
  const names = ['a', 'longer than eight'];
  const entries = names.map((name, index) => ({
    name: Buffer.from(name),
    inode: BigInt(index + 10),
    mode: 0o040755,
    cookie: index + 1,
    entry: { inode: index + 2, attributes: ATTRIBUTES, attributesMs: 0, entryMs: 0 },
  }));

  it('pads records to eight bytes', () => {
    const bytes = finished((reply) => {
      const writer = new DirectoryWriter(reply, { bytes: 4000, withEntries: false });
      for (const entry of entries) expect(writer.add(entry)).toBe(true);
    });
    expect(bytes.slice(32)).toBe(
      '0a00000000000000010000000000000001000000040000006100000000000000' +
        '0b00000000000000020000000000000011000000040000006c6f6e676572207468616e206569676874' +
        '00'.repeat(7),
    );
  });

  it('takes as many as there is room for', () => {
    const reply = new Reply(4096);
    const writer = new DirectoryWriter(reply, { bytes: 32 + 47, withEntries: false });
    expect(entries.map((entry) => writer.add(entry))).toEqual([true, false]);
    expect(reply.length).toBe(16 + 32);
  });

  it('carries entries, and counts those', () => {
    const reply = new Reply(4096);
    const writer = new DirectoryWriter(reply, { bytes: 4000, withEntries: true });
    writer.add({ ...entries[0]!, name: Buffer.from('.'), entry: undefined });
    writer.add(entries[1]!);
    expect(reply.known).toEqual([3]);
    expect(reply.length).toBe(16 + 128 + 32 + 128 + 48);
    expect(reply.buffer.subarray(16, 16 + 128).every((byte) => byte === 0)).toBe(true);
  });
});

describe('notices', () => {
  const hex = (parts: readonly Uint8Array[]) => Buffer.concat(parts).toString('hex');
  const name = Buffer.from('ab');

  it('to forget content', () => {
    expect(hex(invalidateInode(5, { offset: -1, lengthBytes: 0 }))).toBe(
      '28000000020000000000000000000000' + '0500000000000000ffffffffffffffff0000000000000000',
    );
  });

  it('to forget a name', () => {
    expect(hex(invalidateEntry(1, { name, onlyExpires: true }))).toBe(
      '23000000030000000000000000000000' + '01000000000000000200000001000000' + '616200',
    );
  });

  it('that a name is gone', () => {
    expect(hex(removeEntry(1, { inode: 9, name }))).toBe(
      '2b000000060000000000000000000000' +
        '010000000000000009000000000000000200000000000000' +
        '616200',
    );
  });

  it('of content', () => {
    expect(hex(storeContent(9, { offset: 4096, data: name }))).toBe(
      '2a000000040000000000000000000000' +
        '090000000000000000100000000000000200000000000000' +
        '6162',
    );
  });
});
