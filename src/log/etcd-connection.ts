/**
 * A ring of etcds as one {@link EtcdKv}. Requests go to one *member* until it fails; then the next
 * one is asked: at once where surely nothing was done, else with the caller's next attempt. Each
 * answer is linearizable whoever gives it, as a member asks the ring before it reads.
 */
import { assert, errorCode, HoldfastError } from '../base/index.ts';
import type { Clock } from '../env/index.ts';
import { Deadlines, type DialEtcd, EtcdChannel } from './etcd-channel.ts';
import type { EtcdKv } from './etcd-kv.ts';
import {
  decodeResult,
  encodeTransaction,
  encodeWatch,
  type EtcdRange,
  type EtcdResult,
  type EtcdTransaction,
  isWatchNews,
} from './etcd-messages.ts';

/** Ruling 16: etcd itself may take 7 s to notice that a proposal went down with its leader. */
const DEADLINE_MS = 1500;
const TRANSACT = '/etcdserverpb.KV/Txn';
const WATCH = '/etcdserverpb.Watch/Watch';

export interface EtcdConnectionOptions {
  /** One for each member, in the order in which they are asked. */
  readonly members: readonly DialEtcd[];
  readonly clock: Clock;
  readonly deadlineMs?: number;
}

export class EtcdConnection implements EtcdKv {
  readonly #clock: Clock;
  readonly #deadlines: Deadlines;
  #channels = new Map<DialEtcd, EtcdChannel>();
  #members: readonly EtcdChannel[] = [];
  #current = 0;
  #isClosed = false;

  constructor({ members, clock, deadlineMs = DEADLINE_MS }: EtcdConnectionOptions) {
    this.#clock = clock;
    this.#deadlines = new Deadlines(clock, deadlineMs);
    this.setMembers(members);
  }

  /**
   * From now on these are asked, the first one first; nothing changes when they are the same.
   * Connections of those that were members before (the same function) are kept; what is under way
   * with the others is in doubt.
   */
  setMembers(dials: readonly DialEtcd[]): void {
    assert(dials.length > 0, 'there is a member to ask');
    const before = this.#channels;
    if (isSame(dials, [...before.keys()])) return;
    this.#channels = new Map(
      dials.map((dial) => [dial, before.get(dial) ?? new EtcdChannel(dial, this.#clock)]),
    );
    for (const [dial, channel] of before) if (!this.#channels.has(dial)) channel.close();
    this.#members = [...this.#channels.values()];
    this.#current = 0;
  }

  get #member(): EtcdChannel {
    return this.#members[this.#current]!;
  }

  async transact(transaction: EtcdTransaction): Promise<EtcdResult> {
    const message = encodeTransaction(transaction);
    return await this.#deadlines.run(async (late) => {
      for (let left = this.#members.length - 1; ; left--) {
        if (this.#isClosed) throw closed();
        const member = this.#member;
        try {
          return understood(await member.call(TRANSACT, message, late), transaction);
        } catch (error) {
          const code = errorCode(error);
          if (code === 'HF_UNAVAILABLE' || code === 'HF_UNKNOWN_OUTCOME') this.#moveOn(member);
          if (code !== 'HF_UNAVAILABLE' || left <= 0) throw error;
        }
      }
    });
  }

  /** Whoever fails first moves all on. */
  #moveOn(member: EtcdChannel): void {
    if (this.#member === member) this.#current = (this.#current + 1) % this.#members.length;
  }

  async change(range: EtcdRange, since: number, signal: AbortSignal): Promise<void> {
    const member = this.#member;
    try {
      const message = encodeWatch(range, since + 1);
      await member.follow(WATCH, message, { isEnough: isWatchNews, signal });
    } catch {
      this.#moveOn(member); // whoever waits looks now, and waits again
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const member of this.#members) member.close();
  }
}

/**
 * @throws HF_UNKNOWN_OUTCOME when it is nonsense: what was asked may have been done all the same.
 */
function understood(answer: Uint8Array, transaction: EtcdTransaction): EtcdResult {
  try {
    return decodeResult(answer, transaction);
  } catch (cause) {
    throw new HoldfastError('HF_UNKNOWN_OUTCOME', 'etcd answered nonsense', { cause });
  }
}

function isSame(dials: readonly DialEtcd[], others: readonly DialEtcd[]): boolean {
  return dials.length === others.length && dials.every((dial, index) => dial === others[index]);
}

function closed(): HoldfastError {
  return new HoldfastError('HF_CLOSED', 'the connection to etcd is closed');
}
