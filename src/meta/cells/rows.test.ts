// Aim: keys order as their parts do, scans over slots miss and repeat nothing, values that are not
// ours are HF_CORRUPT. Method: random rows against sorting and filtering; random and cut bytes; two
// fixed rows as documented.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareBytes, errorCode, toHex, utf8, type ObjectId } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import * as names from '../namespace/namespace-rows.ts';
import { newPosix } from '../namespace/posix-part.ts';
import { inlineKey } from '../namespace/tree-rows.ts';
import * as references from '../references/reference-rows.ts';
import { hasRowWithin, keyAfter, prefixRange, rowKey, rowsOfTag } from './rows.ts';
import { extentOf, stripeOf } from '../../../test/suites/meta-makers.ts';

const slots = [0, 1, 2, 255, 256, 257, 4094, 4095];
const someKey = fc
  .tuple(fc.constantFrom(...slots), fc.constantFrom('A', 'J', 'Z'), fc.uint8Array({ maxLength: 1 }))
  .map(([slot, tag, rest]) => rowKey(slot, tag, rest));

describe('keys', () => {
  it('have the documented bytes', () => {
    expect(toHex(names.direntKey(names.makeInode(2, 5), utf8('n')))).toBe(
      '0002' + '44' + '0020000000000005' + '6e',
    );
    expect(toHex(names.objectKey('abc'.padEnd(32, '0') as ObjectId))).toBe(
      '0abc' + '4a' + 'abc'.padEnd(32, '0'),
    );
    expect(toHex(inlineKey(names.makeInode(2, 5)))).toBe('0002' + '42' + '0020000000000005');
    expect(names.slotOfInode(names.makeInode(4095, 2 ** 52 - 1))).toBe(4095);
  });

  it('of a prefix are all within its range, and no others', () => {
    const bytes = fc.uint8Array({ maxLength: 3, min: 254 });
    const property = fc.property(bytes, bytes, (prefixEnd, other) => {
      const prefix = rowKey(0xfffe, 'T', prefixEnd);
      const key = rowKey(0xfffe, 'T', other);
      const { from, to } = prefixRange(prefix);
      const isWithin = compareBytes(key, from) >= 0 && compareBytes(key, to) < 0;
      expect(isWithin).toBe(toHex(key).startsWith(toHex(prefix)));
      expect(compareBytes(keyAfter(key), key)).toBe(1);
    });
    fc.assert(property, { numRuns: 300 });
  });
});

describe('rowsOfTag', () => {
  it('finds all rows of a tag, in order, within the slots and the limit', async () => {
    const limits = fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined });
    const ranges = fc.constantFrom<[number, number]>([0, 4096], [0, 256], [256, 257], [1, 4095]);
    const property = fc.asyncProperty(
      fc.array(someKey, { maxLength: 20 }),
      ranges,
      limits,
      async (keys, [first, end], limit) => {
        const db = new MemoryDb();
        await db.transact({ puts: keys.map((key) => ({ key, value: key })), deletes: [] });
        const expected = [...new Set(keys.map(toHex))]
          .sort()
          .filter((hex) => {
            const slot = Number.parseInt(hex.slice(0, 4), 16);
            return hex.slice(4, 6) === '4a' && slot >= first && slot < end;
          })
          .slice(0, limit);
        const options = { slots: [first, end] as [number, number] };
        const found = [
          ...rowsOfTag(db, 'J', limit === undefined ? options : { ...options, limit }),
        ];
        expect(found.map(({ key }) => toHex(key))).toEqual(expected);
        expect(hasRowWithin(db, rowKey(256, 'J'))).toBe(keys.some(isJ256));
      },
    );
    await fc.assert(property, { numRuns: 500 });
  });

  it('goes on behind a page of a thousand rows', async () => {
    const db = new MemoryDb();
    const puts = Array.from({ length: 2500 }, (_, index) => ({
      key: rowKey(7, 'J', BigInt(index)),
      value: new Uint8Array(),
    }));
    await db.transact({ puts, deletes: [] });
    expect([...rowsOfTag(db, 'J')].length).toBe(2500);
    expect([...rowsOfTag(db, 'J', { limit: 1500 })].length).toBe(1500);
  });
});

function isJ256(key: Uint8Array): boolean {
  return toHex(key).startsWith('01004a');
}

describe('values', () => {
  const inode: names.InodeRow = {
    inode: 9n,
    type: 'file',
    sizeBytes: 2 ** 40,
    createdAtMs: 1,
    modifiedAtMs: 2,
    salt: utf8('salt'),
    attributes: utf8('attributes'),
    objectId: 'ab'.repeat(16) as ObjectId,
    schemeNumbers: [77],
    isImplicit: false,
    addressKey: new Uint8Array(32).fill(3),
  };
  const hybrid = { ...inode, schemeNumbers: [77, 18, 3, 4] };
  const forEver = { retentionMs: undefined };
  const extentKey = (offset: number, encoding = 0) => names.extentKey(1n, { encoding, offset });
  const stripe = stripeOf(5);
  const stripeRow = { stripe, schemeNumber: 3, chunkBytes: 4096, generation: 2 };
  const named = { ...stripeRow, isStored: true, referenceCount: 3 };
  const condemned = { stripe, schemeNumber: 3, generation: 9 };
  const link = { directory: 4n, name: utf8('name') };
  const stripeRowKey = references.stripeKey(stripe);
  const kinds: [string, Uint8Array, (value: Uint8Array) => unknown, unknown][] = [
    ['inode', names.encodeInode(inode), (value) => names.decodeInode(9n, value), inode],
    ['hybrid', names.encodeInode(hybrid), (value) => names.decodeInode(9n, value), hybrid],
    ['inode number', names.encodeInodeNumber(7n), (v) => names.decodeInodeNumber(v, 'row'), 7n],
    [
      'extent',
      names.encodeExtent(extentOf(30, 10, 1)),
      (value) => names.decodeExtent({ key: extentKey(30), value }),
      extentOf(30, 10, 1),
    ],
    [
      'extent of the last encoding',
      names.encodeExtent(extentOf(2 ** 52, 10, 1, 3)),
      (value) => names.decodeExtent({ key: extentKey(2 ** 52, 3), value }),
      extentOf(2 ** 52, 10, 1, 3),
    ],
    [
      'retention',
      names.encodeRetention({ retentionMs: 5 }),
      names.decodeRetention,
      { retentionMs: 5 },
    ],
    ['retention for ever', names.encodeRetention(forEver), names.decodeRetention, forEver],
    ['back-link', names.encodeBackLink(link), names.decodeBackLink, link],
    [
      'stripe',
      references.encodeStripe(named),
      (value) => references.decodeStripe({ key: stripeRowKey, value }),
      named,
    ],
    [
      'condemned',
      references.encodeCondemned(condemned),
      (value) => references.decodeCondemned({ key: references.condemnedKey(stripe), value }),
      condemned,
    ],
    [
      'session',
      references.encodeSession({ id: 'node', fence: 4 }),
      references.decodeSession,
      { id: 'node', fence: 4 },
    ],
  ];

  it.each(kinds)('%s rows read back, and are corrupt when cut, longer or newer', (...kind) => {
    const [, bytes, decode, expected] = kind;
    expect(decode(bytes)).toEqual(expected);
    for (let length = 0; length < bytes.length; length++) {
      expect(codeOf(() => decode(bytes.subarray(0, length)))).toBe('HF_CORRUPT');
    }
    expect(codeOf(() => decode(new Uint8Array([...bytes, 0])))).toBe('HF_CORRUPT');
    expect(codeOf(() => decode(new Uint8Array([2, ...bytes.subarray(1)])))).toBe('HF_CORRUPT');
  });

  it('of inodes of the tree say in their flags what lies beside them', () => {
    const own = { mode: 0o644, uid: 1, gid: 2, linkCount: 1, storedBytes: 3 };
    const posix = newPosix(own, 5);
    const inline = { ...inode, addressKey: undefined, posix, hasXattrs: true, isInline: true };
    const bytes = names.encodeInode(inline);
    // Version, type; an object, of unknown address, with extended attributes, inline.
    expect([...bytes.subarray(0, 3)]).toEqual([2, 0, 2 + 8 + 32 + 64]);
    expect(names.decodeInode(9n, bytes)).toEqual(inline);
    const directory = new Uint8Array(bytes);
    directory[1] = 1;
    expect(codeOf(() => names.decodeInode(9n, directory))).toBe('HF_CORRUPT');
  });

  it.each(kinds)('%s rows of random bytes fail with HF_CORRUPT or not at all', (...kind) => {
    const property = fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const code = codeOf(() => kind[2](new Uint8Array([1, ...bytes])));
      expect([undefined, 'HF_CORRUPT']).toContain(code);
    });
    fc.assert(property, { numRuns: 100 });
  });
});

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return errorCode(error) ?? String(error);
  }
}
