/**
 * The right to append to a cell in etcd, as one seizure gave it, and the appends under it.
 *
 * Invariants:
 * 1. One change is under way at a time. Appends that come meanwhile travel in the next one: etcd
 *    handles the requests of a connection in any order, and would refuse nearly each pipelined
 *    append once (measured, docs/design).
 * 2. It is over after anything but `ok`: an epoch does not outlive a doubt.
 */
import { assert, bytesEqual, errorCode, HoldfastError, KiB } from '../base/index.ts';
import type { EtcdLogShared } from './etcd-cell.ts';
import { type CellKeys, changedAt, exists, isAbsent } from './etcd-keys.ts';
import type { EtcdOutcome } from './etcd-kv.ts';
import type { EtcdLife } from './etcd-life.ts';
import type { CellId, Lsn } from './fenced-log.ts';
import { NO_RECORD, type RecordHash, type RecordSealing } from './local-record.ts';

/**
 * Bytes of the entries of one change, unless a single entry is larger. etcd keeps some 5000 changes
 * in memory, so it grows with them (measured: bench/README.md, Metadata).
 */
const GROUP_BYTES_MAX = 16 * KiB;
/** etcd refuses transactions of more than 128 operations. */
const GROUP_ENTRIES_MAX = 100;

interface Pending {
  readonly lsn: Lsn;
  readonly bytes: Uint8Array;
  readonly outcome: PromiseWithResolvers<'ok' | 'fenced'>;
}

interface Seizure {
  readonly cell: CellId;
  readonly epoch: number;
  /** Of the epoch key. */
  readonly revision: number;
  readonly life: EtcdLife;
  readonly last: { readonly lsn: Lsn; readonly hash: RecordHash };
}

export class EtcdHolder {
  readonly epoch: number;
  readonly revision: number;
  readonly life: EtcdLife;
  readonly #cell: CellId;
  readonly #keys: CellKeys;
  readonly #shared: EtcdLogShared;
  readonly #queue: Pending[] = [];
  /** The last entry that was given out. */
  #last: Seizure['last'];
  #sending: Promise<void> | undefined;
  /** The last entry that is known to be in the log. */
  acknowledged: Lsn;
  isOver = false;

  constructor(
    { cell, epoch, revision, life, last }: Seizure,
    keys: CellKeys,
    shared: EtcdLogShared,
  ) {
    this.#cell = cell;
    this.#keys = keys;
    this.#shared = shared;
    this.epoch = epoch;
    this.revision = revision;
    this.life = life;
    this.#last = last;
    this.acknowledged = last.lsn;
  }

  /** @throws HF_UNKNOWN_OUTCOME. */
  async append(lsn: Lsn, bytes: Uint8Array): Promise<'ok' | 'fenced'> {
    assert(!this.isOver, 'the right to append lasts');
    if (lsn !== this.#last.lsn + 1) {
      throw unknown(`entry ${lsn} does not follow the last one, ${this.#last.lsn}`);
    }
    const sealed = this.#seal(lsn, bytes);
    this.#last = { lsn, hash: sealed.hash };
    const pending = { lsn, bytes: sealed.bytes, outcome: Promise.withResolvers<'ok' | 'fenced'>() };
    this.#queue.push(pending);
    this.#sending ??= this.#send();
    return await pending.outcome.promise;
  }

  #seal(lsn: Lsn, body: Uint8Array): { bytes: Uint8Array; hash: RecordHash } {
    const { generation, sealer } = this.#shared;
    const header = {
      kind: 'entry',
      generation,
      cell: this.#cell,
      epoch: this.epoch,
      lsn,
      acknowledged: this.acknowledged,
      snapshotLsn: 0,
      link: this.#last.hash,
    } as const;
    return sealer.seal(header, body);
  }

  /** Sends group after group until none is left. Never fails: the callers are told. */
  async #send(): Promise<void> {
    while (this.#queue.length > 0) {
      await this.#shared.env.clock.turn(); // whoever appends in the same turn joins the group
      const group = takeGroup(this.#queue);
      try {
        this.#settle(group, await this.#appendGroup(group));
      } catch (error) {
        if (errorCode(error) === 'HF_FENCED') {
          this.#settle(group, 'fenced');
          continue;
        }
        this.isOver = true;
        const reason = `whether entry ${group[0]!.lsn} was appended is not known`;
        const doubt = unknown(`cell ${this.#cell}: ${reason}`, error);
        const failure = errorCode(error) ? doubt : error; // a bug of ours is no doubt
        for (const { outcome } of [...group, ...this.#queue.splice(0)]) outcome.reject(failure);
      }
    }
    this.#sending = undefined;
  }

  #settle(group: readonly Pending[], result: 'ok' | 'fenced'): void {
    if (result === 'ok') this.acknowledged = group.at(-1)!.lsn;
    else this.isOver = true;
    const settled = this.isOver ? [...group, ...this.#queue.splice(0)] : group;
    for (const { outcome } of settled) outcome.resolve(result);
  }

  async #appendGroup(group: readonly Pending[]): Promise<'ok' | 'fenced'> {
    const first = group[0]!;
    const key = this.#keys.entry(first.lsn);
    const puts = group.map(({ lsn, bytes }) => {
      return { do: 'put', key: this.#keys.entry(lsn), value: bytes } as const;
    });
    const appending = {
      conditions: [
        changedAt(this.#keys.epoch, this.revision),
        exists(this.#keys.entry(first.lsn - 1)),
        isAbsent(key),
      ],
      ifMet: puts,
      ifNot: [
        { do: 'get', key: this.#keys.epoch },
        { do: 'get', key },
      ],
    } as const;
    const outcome = await this.#shared.calls.change(appending, this.life);
    return outcome.areMet ? 'ok' : this.#refused(outcome, first);
  }

  #refused({ answers, isAfterDoubt }: EtcdOutcome, first: Pending): 'ok' | 'fenced' {
    const [epoch, entry] = answers.map(({ rows }) => rows[0]);
    // An earlier attempt put it, and its answer was lost. Its nonce makes these bytes ours.
    if (entry && bytesEqual(entry.value, first.bytes)) return 'ok';
    if (isAfterDoubt) throw unknown('an earlier attempt may have been done and trimmed since');
    if (epoch?.changedRevision !== this.revision) return 'fenced';
    throw unknown(entry ? 'its number is taken' : 'the entry before it is not there');
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    await this.#sending;
  }
}

/** The first entry has none before it, only the empty anchor. */
export function entryHash(value: Uint8Array, sealer: RecordSealing): RecordHash {
  return value.length === 0 ? NO_RECORD : sealer.hashOf(value);
}

/** As many as fit one transaction; at least one. */
function takeGroup(queue: Pending[]): Pending[] {
  let bytes = 0;
  let count = 0;
  for (const pending of queue) {
    bytes += pending.bytes.length;
    if (count === GROUP_ENTRIES_MAX || (count > 0 && bytes > GROUP_BYTES_MAX)) break;
    count += 1;
  }
  return queue.splice(0, count);
}

function unknown(reason: string, cause?: unknown): HoldfastError {
  return new HoldfastError('HF_UNKNOWN_OUTCOME', reason, { cause });
}
