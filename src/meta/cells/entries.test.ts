// Aim: entries and snapshot parts read back as written, byte for byte as documented, and nothing
// that was damaged is taken for sound. Method: one fixed vector, round trips, random damage.

import { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, errorCode, fromHex, toHex, utf8, LIMITS } from '../../base/index.ts';
import {
  appliedAfter,
  decodeApplied,
  decodeEntry,
  decodeSnapshotPart,
  encodeApplied,
  encodeEntry,
  encodeSnapshotEntries,
  encodeSnapshotHead,
  encodeSnapshotRows,
  encodeSnapshotTail,
  NOTHING_APPLIED,
} from './entries.ts';

const previous = {
  lsn: 6,
  chainHash: 0x0102030405060708n,
  logBytes: 1000,
  digest: 0x1112131415161718n,
};
const put = { key: utf8('k1'), value: utf8('value') };
const deleted = { key: utf8('k2'), value: undefined };

describe('log entries', () => {
  it('have the documented bytes', () => {
    expect(toHex(encodeEntry(previous, [put, deleted]))).toBe(
      '02' +
        '0700000000000000' +
        '0807060504030201' +
        'e803000000000000' +
        '1817161514131211' +
        '01020000006b310500000076616c7565' +
        '02020000006b32' +
        '00',
    );
  });

  it('say what they follow, what they change and what is applied then', () => {
    const bytes = encodeEntry(previous, [put, deleted]);
    expect(decodeEntry({ lsn: 7, bytes })).toEqual({ previous, changes: [put, deleted] });
    const applied = appliedAfter(previous, bytes, -5n);
    expect(applied.lsn).toBe(7);
    expect(applied.digest).toBe(previous.digest - 5n);
    expect(applied.logBytes).toBe(1000 + LIMITS.blockBytes);
    expect(decodeApplied(encodeApplied(applied))).toEqual(applied);
  });

  it('of the first version are read, without a digest', () => {
    const first = fromHex(
      '01' +
        '0700000000000000' +
        '0807060504030201' +
        'e803000000000000' +
        '01020000006b310500000076616c7565' +
        '02020000006b32' +
        '00',
    );
    expect(decodeEntry({ lsn: 7, bytes: first })).toEqual({
      previous: { ...previous, digest: undefined },
      changes: [put, deleted],
    });
    const row = fromHex('01' + '0600000000000000' + '0807060504030201' + 'e803000000000000');
    expect(decodeApplied(row)).toEqual({ ...previous, digest: undefined });
  });

  it('are deflated when they are long', () => {
    const changes = Array.from({ length: 200 }, (_, at) => ({
      key: utf8(`a key with much in common ${at}`),
      value: at % 3 === 0 ? undefined : new Uint8Array(20).fill(at),
    }));
    const bytes = encodeEntry(previous, changes);
    expect(bytes[0]).toBe(3);
    expect(bytes.length).toBeLessThan(2048);
    expect(decodeEntry({ lsn: 7, bytes })).toEqual({ previous, changes });
    const damaged = fc.property(
      fc.nat(bytes.length - 34),
      fc.integer({ min: 1, max: 255 }),
      (at, by) => {
        const other = new Uint8Array(bytes);
        other[33 + at] = other[33 + at]! ^ by;
        expect([undefined, 'HF_CORRUPT']).toContain(
          codeOf(() => decodeEntry({ lsn: 7, bytes: other })),
        );
        const cut = bytes.subarray(0, 33 + at);
        expect(codeOf(() => decodeEntry({ lsn: 7, bytes: cut }))).toBe('HF_CORRUPT');
      },
    );
    fc.assert(damaged, { numRuns: 200 });
  });

  it('that say more than an entry holds are HF_CORRUPT', () => {
    const value = new Uint8Array(2 * LIMITS.logEntryBytesMax);
    const head = encodeEntry(previous, []).subarray(1, 33);
    const bytes = concatBytes(Uint8Array.of(3), head, deflateRawSync(value));
    expect(codeOf(() => decodeEntry({ lsn: 7, bytes }))).toBe('HF_CORRUPT');
  });

  it('are refused at another place in the log, in another version, and cut anywhere', () => {
    const bytes = encodeEntry(NOTHING_APPLIED, [put, deleted]);
    expect(() => decodeEntry({ lsn: 2, bytes })).toThrow('says that it is entry 1');
    const newer = new Uint8Array(bytes);
    newer[0] = 4;
    expect(() => decodeEntry({ lsn: 1, bytes: newer })).toThrow('version 4');
    for (let length = 0; length < bytes.length; length++) {
      const cut = bytes.subarray(0, length);
      expect(codeOf(() => decodeEntry({ lsn: 1, bytes: cut }))).toBe('HF_CORRUPT');
    }
  });
});

describe('snapshot parts', () => {
  it('read back as written', () => {
    const tail = { consistentFrom: 9, rowCount: 1, digest: 77n };
    const applied = previous;
    expect(decodeSnapshotPart(encodeSnapshotHead(applied))).toEqual({ kind: 'head', applied });
    expect(decodeSnapshotPart(encodeSnapshotRows([put]))).toEqual({ kind: 'rows', rows: [put] });
    expect(decodeSnapshotPart(encodeSnapshotTail(tail))).toEqual({ kind: 'tail', tail });
    const entries = [utf8('one'), utf8('two')];
    const extension = encodeSnapshotEntries(entries);
    expect(decodeSnapshotPart(extension)).toEqual({ kind: 'entries', entries });
  });

  it('that are random bytes are HF_CORRUPT, never another error', () => {
    const bytes = fc.uint8Array({ maxLength: 60 });
    const property = fc.property(bytes, fc.constantFrom(0, 1, 2, 3, 4, 5), (rest, kind) => {
      const code = codeOf(() => decodeSnapshotPart(new Uint8Array([1, kind, ...rest])));
      expect([undefined, 'HF_CORRUPT']).toContain(code);
    });
    fc.assert(property, { numRuns: 300 });
    expect(codeOf(() => decodeSnapshotPart(fromHex('0105')))).toBe('HF_CORRUPT');
  });
});

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return errorCode(error) ?? 'another error';
  }
}
