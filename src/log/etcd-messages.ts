/**
 * The few messages of etcd's API (v3, etcd 3.4 to 3.6) that we use, in protocol-buffer encoding.
 * Everything, a plain read too, is one *transaction*: conditions, operations if all of them hold,
 * operations if not. It is linearizable.
 *
 * Source: etcd's api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto (field numbers).
 */
import { assert, HoldfastError } from '../base/index.ts';
import { field, fieldsOf, type Fields, ProtoWriter } from './etcd-proto.ts';

/** A revision is etcd's count of changes; a key that does not exist has revision 0. */
export interface EtcdCondition {
  readonly key: Uint8Array;
  /** The change that made the key, or the last one that set it. */
  readonly revision: 'created' | 'changed';
  readonly is: 'equal' | 'greater';
  readonly than: number;
}

/** Keys from `key` up to `end`, exclusive; without `end` only `key`. */
export interface EtcdRange {
  readonly key: Uint8Array;
  readonly end?: Uint8Array;
}

export type EtcdOperation =
  | { readonly do: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | ({ readonly do: 'delete' } & EtcdRange)
  | ({ readonly do: 'count' } & EtcdRange)
  /** In key order; `atRevision`: as it was then. */
  | ({ readonly do: 'get'; readonly limit?: number; readonly atRevision?: number } & EtcdRange);

export interface EtcdTransaction {
  readonly conditions: readonly EtcdCondition[];
  readonly ifMet: readonly EtcdOperation[];
  readonly ifNot: readonly EtcdOperation[];
}

export interface EtcdRow {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly createdRevision: number;
  readonly changedRevision: number;
}

/** To one operation; without rows unless it got some, with a count of 0 unless it counted. */
export interface EtcdAnswer {
  readonly rows: readonly EtcdRow[];
  readonly count: number;
}

export interface EtcdResult {
  /** All conditions held: `ifMet` was done, otherwise `ifNot`. */
  readonly areMet: boolean;
  /** Of the whole store, after it. */
  readonly revision: number;
  readonly answers: readonly EtcdAnswer[];
}

const COMPARE_TARGETS = { created: 1, changed: 2 } as const;
const COMPARE_FIELDS = { created: 5, changed: 6 } as const;
const COMPARE_RESULTS = { equal: 0, greater: 1 } as const;

function encodeCondition({ key, revision, is, than }: EtcdCondition): ProtoWriter {
  return new ProtoWriter()
    .number(1, COMPARE_RESULTS[is])
    .number(2, COMPARE_TARGETS[revision])
    .bytes(3, key)
    .presentNumber(COMPARE_FIELDS[revision], than);
}

function encodeOperation(operation: EtcdOperation): ProtoWriter {
  const request = new ProtoWriter().bytes(1, operation.key);
  if (operation.do === 'put') {
    return new ProtoWriter().message(2, request.bytes(2, operation.value));
  }
  if (operation.end) request.bytes(2, operation.end);
  if (operation.do === 'delete') return new ProtoWriter().message(3, request);
  if (operation.do === 'count') return new ProtoWriter().message(1, request.number(9, 1));
  request.number(3, operation.limit ?? 0).number(4, operation.atRevision ?? 0);
  return new ProtoWriter().message(1, request);
}

export function encodeTransaction(transaction: EtcdTransaction): Uint8Array {
  const writer = new ProtoWriter();
  for (const condition of transaction.conditions) writer.message(1, encodeCondition(condition));
  for (const operation of transaction.ifMet) writer.message(2, encodeOperation(operation));
  for (const operation of transaction.ifNot) writer.message(3, encodeOperation(operation));
  return writer.finish();
}

/** @throws HF_CORRUPT when it is no answer of that transaction. */
export function decodeResult(bytes: Uint8Array, transaction: EtcdTransaction): EtcdResult {
  const fields = fieldsOf(bytes);
  const areMet = field.number(fields, 2) === 1;
  const answers = field.messages(fields, 3).map(decodeAnswer);
  if (answers.length !== (areMet ? transaction.ifMet : transaction.ifNot).length) {
    throw new HoldfastError('HF_CORRUPT', 'etcd answered another number of operations');
  }
  return { areMet, revision: revisionOf(fields), answers };
}

function revisionOf(fields: Fields): number {
  const [header] = field.messages(fields, 1);
  return header ? field.number(fieldsOf(header), 3) : 0;
}

function decodeAnswer(bytes: Uint8Array): EtcdAnswer {
  const [range] = field.messages(fieldsOf(bytes), 1);
  if (!range) return { rows: [], count: 0 };
  const fields = fieldsOf(range);
  return { rows: field.messages(fields, 2).map(decodeRow), count: field.number(fields, 4) };
}

function decodeRow(bytes: Uint8Array): EtcdRow {
  const fields = fieldsOf(bytes);
  const empty = new Uint8Array(0);
  return {
    key: field.messages(fields, 1)[0] ?? empty,
    value: field.messages(fields, 5)[0] ?? empty,
    createdRevision: field.number(fields, 2),
    changedRevision: field.number(fields, 3),
  };
}

/** Asks to hear of changes of the range, from revision `from` on. */
export function encodeWatch({ key, end }: EtcdRange, from: number): Uint8Array {
  assert(from > 0, 'revisions start at 1');
  const create = new ProtoWriter().bytes(1, key);
  if (end) create.bytes(2, end);
  return new ProtoWriter().message(1, create.number(3, from)).finish();
}

/** Whether the watch says that something changed, or that it has ended. @throws HF_CORRUPT. */
export function isWatchNews(bytes: Uint8Array): boolean {
  const fields = fieldsOf(bytes);
  return field.number(fields, 4) === 1 || field.messages(fields, 11).length > 0;
}

/** The end of the range of all keys that begin with `prefix`. */
export function endOfPrefix(prefix: Uint8Array): Uint8Array {
  const end = new Uint8Array(prefix);
  const last = end.length - 1;
  assert(last >= 0 && end[last]! < 0xff, 'a prefix ends in a byte that can be raised');
  end[last]! += 1;
  return end;
}
