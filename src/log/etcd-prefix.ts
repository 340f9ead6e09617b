/**
 * All keys that we have in an etcd begin with `holdfast/`. In one that has other users too that
 * beginning is exchanged for a *prefix*: nothing is read or changed but what begins with it.
 */
import { assert, bytesEqual, concatBytes, utf8 } from '../base/index.ts';
import type { EtcdKv } from './etcd-kv.ts';
import {
  endOfPrefix,
  type EtcdCondition,
  type EtcdOperation,
  type EtcdRange,
  type EtcdResult,
  type EtcdTransaction,
} from './etcd-messages.ts';

/** How every key begins for us. */
export const ETCD_PREFIX = 'holdfast/';

const OURS = utf8(ETCD_PREFIX);

export class PrefixedKv implements EtcdKv {
  readonly #kv: EtcdKv;
  readonly #prefix: Uint8Array;

  /**
   * @param kv stays the caller's.
   * @param prefix ends in '/'.
   */
  constructor(kv: EtcdKv, prefix: string) {
    this.#kv = kv;
    this.#prefix = utf8(prefix);
  }

  async transact(transaction: EtcdTransaction): Promise<EtcdResult> {
    const prefix = this.#prefix;
    const { answers, ...rest } = await this.#kv.transact({
      conditions: transaction.conditions.map((one) => there(one, prefix)),
      ifMet: transaction.ifMet.map((one) => there(one, prefix)),
      ifNot: transaction.ifNot.map((one) => there(one, prefix)),
    });
    const own = answers.map(({ rows, count }) => ({
      rows: rows.map((row) => ({ ...row, key: exchanged(row.key, prefix, OURS) })),
      count,
    }));
    return { ...rest, answers: own };
  }

  async change(range: EtcdRange, since: number, signal: AbortSignal): Promise<void> {
    await this.#kv.change(there(range, this.#prefix), since, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

function there<What extends EtcdCondition | EtcdOperation | EtcdRange>(
  what: What,
  prefix: Uint8Array,
): What {
  const key = exchanged(what.key, OURS, prefix);
  if (!('end' in what) || !what.end) return { ...what, key };
  return { ...what, key, end: endThere(what.end, prefix) };
}

/** The end of all of ours is the end of all there. */
function endThere(end: Uint8Array, prefix: Uint8Array): Uint8Array {
  if (bytesEqual(end, endOfPrefix(OURS))) return endOfPrefix(prefix);
  return exchanged(end, OURS, prefix);
}

function exchanged(key: Uint8Array, before: Uint8Array, after: Uint8Array): Uint8Array {
  assert(bytesEqual(key.subarray(0, before.length), before), 'a key of ours begins as all do');
  return concatBytes(after, key.subarray(before.length));
}
