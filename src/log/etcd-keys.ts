/** Keys and small values of a cell in etcd, and the conditions that are put on them. */
import { ByteReader, ByteWriter, fromUtf8, utf8 } from '../base/index.ts';
import { endOfPrefix, type EtcdAnswer, type EtcdCondition } from './etcd-messages.ts';
import type { CellId, Lsn } from './fenced-log.ts';

/** Numbers in keys have so many digits: their order is the order of the numbers. */
const LSN_DIGITS = 16;

/** Of all keys of all cells. */
function logPrefix(prefix: string): string {
  return `${prefix}log/`;
}

/** Where keys of cells are: of those that come after one, or of all. */
export function cellRange(
  prefix: string,
  after?: CellId,
): { readonly key: Uint8Array; readonly end: Uint8Array } {
  const all = logPrefix(prefix);
  const key = after === undefined ? utf8(all) : endOfPrefix(utf8(`${all}${after}/`));
  return { key, end: endOfPrefix(utf8(all)) };
}

/** Whose key it is. */
export function cellOfKey(prefix: string, key: Uint8Array): CellId {
  return fromUtf8(key).slice(logPrefix(prefix).length).split('/', 1)[0]!;
}

export class CellKeys {
  readonly #entryPrefix: string;
  readonly epoch: Uint8Array;
  readonly trim: Uint8Array;
  readonly snapshot: Uint8Array;
  /** Of all entries. */
  readonly entries: { readonly key: Uint8Array; readonly end: Uint8Array };

  constructor(prefix: string, cell: CellId) {
    const of = `${logPrefix(prefix)}${cell}/`;
    this.#entryPrefix = `${of}entry/`;
    this.epoch = utf8(`${of}epoch`);
    this.trim = utf8(`${of}trim`);
    this.snapshot = utf8(`${of}snapshot`);
    this.entries = { key: utf8(this.#entryPrefix), end: endOfPrefix(utf8(this.#entryPrefix)) };
  }

  entry(lsn: Lsn): Uint8Array {
    return utf8(this.#entryPrefix + String(lsn).padStart(LSN_DIGITS, '0'));
  }
}

/** The key is as it was left at that revision; 0: it does not exist. */
export function changedAt(key: Uint8Array, revision: number): EtcdCondition {
  return { key, revision: 'changed', is: 'equal', than: revision };
}

export function exists(key: Uint8Array): EtcdCondition {
  return { key, revision: 'created', is: 'greater', than: 0 };
}

export function isAbsent(key: Uint8Array): EtcdCondition {
  return { key, revision: 'created', is: 'equal', than: 0 };
}

export function numberValue(value: number): Uint8Array {
  return new ByteWriter(8).u64(value).finish();
}

/** 0 when the key does not exist. @throws HF_CORRUPT. */
export function numberIn(answer: EtcdAnswer | undefined): number {
  const row = answer?.rows[0];
  return row ? new ByteReader(row.value, 'number in etcd').u64() : 0;
}

export function epochValue(epoch: number, end: Lsn): Uint8Array {
  return new ByteWriter(16).u64(epoch).u64(end).finish();
}
