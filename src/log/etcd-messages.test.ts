/**
 * Aim: our protocol buffers are the ones of etcd; malformed ones are refused. Method: vectors of
 * the encoding's own guide (protobuf.dev/programming-guides/encoding), a transaction laid out by
 * hand after rpc.proto; every cut of an answer. (etcd-real.test.ts talks to a real etcd.)
 */
import { describe, expect, it } from 'vitest';
import { errorCode, fromHex, toHex, utf8 } from '../base/index.ts';
import { decodeResult, encodeTransaction, endOfPrefix } from './etcd-messages.ts';
import { field, fieldsOf, ProtoWriter } from './etcd-proto.ts';

describe('protocol buffers', () => {
  it('encode and decode the vectors of the guide', () => {
    expect(toHex(new ProtoWriter().number(1, 150).finish())).toBe('089601');
    const text = new ProtoWriter().bytes(2, utf8('testing')).finish();
    expect(toHex(text)).toBe('120774657374696e67');
    const nested = new ProtoWriter().message(3, new ProtoWriter().number(1, 150)).finish();
    expect(toHex(nested)).toBe('1a03089601');
    expect(field.number(fieldsOf(fromHex('089601')), 1)).toBe(150);
    expect(field.messages(fieldsOf(text), 2).map(toHex)).toEqual(['74657374696e67']);
  });

  it('leave out zeros, and carry the largest number', () => {
    expect(new ProtoWriter().number(1, 0).finish()).toHaveLength(0);
    const large = new ProtoWriter().number(1, Number.MAX_SAFE_INTEGER).finish();
    expect(toHex(large)).toBe('08ffffffffffffff0f');
    expect(field.number(fieldsOf(large), 1)).toBe(Number.MAX_SAFE_INTEGER);
  });

  it('skip what is not known: fixed numbers, ids of 64 bits', () => {
    const id = '08ffffffffffffffffff01';
    const fixed = `19${'00'.repeat(8)}25${'00'.repeat(4)}`;
    expect(field.number(fieldsOf(fromHex(`${id}${fixed}1007`)), 2)).toBe(7);
  });

  it('refuse what is malformed', () => {
    for (const hex of ['08', '0a05aa', '0b', '08ffffffffffffffffffff01']) {
      expect(() => fieldsOf(fromHex(hex))).toThrow('malformed');
    }
  });
});

describe('transactions', () => {
  const key = utf8('k');
  const get = { do: 'get', key, limit: 2 } as const;

  it('are laid out as etcd reads them', () => {
    const bytes = encodeTransaction({
      conditions: [
        { key, revision: 'changed', is: 'equal', than: 0 },
        { key, revision: 'created', is: 'greater', than: 0 },
      ],
      ifMet: [{ do: 'put', key, value: utf8('v') }, get],
      ifNot: [{ do: 'delete', key, end: utf8('l') }],
    });
    const conditions = '0a0710021a016b3000' + '0a09080110011a016b2800';
    const ifMet = '1208' + '1206' + '0a016b120176' + '1207' + '0a05' + '0a016b1802';
    const ifNot = '1a08' + '1a06' + '0a016b12016c';
    expect(toHex(bytes)).toBe(conditions + ifMet + ifNot);
  });

  it('are answered: each cut of an answer is refused or says less', () => {
    const row = new ProtoWriter().bytes(1, key).number(2, 3).number(3, 9).bytes(5, utf8('v'));
    const range = new ProtoWriter().message(2, row).number(4, 1);
    const answer = new ProtoWriter()
      .message(1, new ProtoWriter().number(3, 12))
      .number(2, 1)
      .message(3, new ProtoWriter().message(1, range))
      .finish();
    const transaction = { conditions: [], ifMet: [get], ifNot: [] };
    expect(decodeResult(answer, transaction)).toEqual({
      areMet: true,
      revision: 12,
      answers: [
        { rows: [{ key, value: utf8('v'), createdRevision: 3, changedRevision: 9 }], count: 1 },
      ],
    });
    for (let length = 0; length < answer.length; length++) {
      const code = (() => {
        try {
          decodeResult(answer.subarray(0, length), { ...transaction, ifNot: [get] });
          return 'none';
        } catch (error) {
          return errorCode(error);
        }
      })();
      expect(code).toBe('HF_CORRUPT');
    }
  });

  it('cover all keys of a prefix', () => {
    expect(endOfPrefix(utf8('a/'))).toEqual(utf8('a0'));
  });
});
