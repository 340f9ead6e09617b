/**
 * The care of one member of an etcd, and of the ring that it is part of: what it says of itself,
 * who is a member, and room. `EtcdConnection` is for the content.
 *
 * etcd never gives room back by itself. When its file is as long as its quota it raises an *alarm*,
 * and takes no put any more until it has been compacted and *defragmented* (its file written anew,
 * while it answers nobody), and the alarm has been called off.
 */
import { errorCode } from '../base/index.ts';
import type { Clock } from '../env/index.ts';
import { Deadlines, type DialEtcd, EtcdChannel } from './etcd-channel.ts';
import { encodeTransaction } from './etcd-messages.ts';
import {
  decodeAlarms,
  decodeMembers,
  decodeRevision,
  decodeStatus,
  encodeAlarm,
  encodeCompaction,
  encodeMember,
  encodeMemberId,
  type EtcdAlarm,
  type EtcdMemberId,
  type EtcdMemberInfo,
  type EtcdStatus,
} from './etcd-member-messages.ts';

const DEADLINE_MS = 5000;
/** Writing a file of 2 GiB anew, on a slow disk. */
const DEFRAGMENT_MS = 120_000;

const KV = '/etcdserverpb.KV';
const CLUSTER = '/etcdserverpb.Cluster';
const MAINTENANCE = '/etcdserverpb.Maintenance';
const NOTHING = new Uint8Array(0);
/** Where a question has a flag for it: the answer is the ring's, not what this member knows. */
const LINEARIZABLE = Uint8Array.of(0x08, 1);

export interface EtcdCareOptions {
  readonly dial: DialEtcd;
  readonly clock: Clock;
  readonly deadlineMs?: number;
}

/**
 * All methods: @throws HF_UNAVAILABLE when surely nothing was done; HF_UNKNOWN_OUTCOME; HF_BUSY
 * when the ring does not permit it now.
 */
export class EtcdMember implements AsyncDisposable {
  readonly #channel: EtcdChannel;
  readonly #deadlines: Deadlines;
  readonly #long: Deadlines;

  constructor({ dial, clock, deadlineMs = DEADLINE_MS }: EtcdCareOptions) {
    this.#channel = new EtcdChannel(dial, clock);
    this.#deadlines = new Deadlines(clock, deadlineMs);
    this.#long = new Deadlines(clock, DEFRAGMENT_MS);
  }

  async #call(path: string, message: Uint8Array = NOTHING): Promise<Uint8Array> {
    return await this.#deadlines.run((late) => this.#channel.call(path, message, late));
  }

  /** Of this member, as it sees the ring. */
  async status(): Promise<EtcdStatus> {
    return decodeStatus(await this.#call(`${MAINTENANCE}/Status`));
  }

  /** All members of the ring, voting or not. etcd 3.4 answers what this member knows. */
  async members(): Promise<EtcdMemberInfo[]> {
    return decodeMembers(await this.#call(`${CLUSTER}/MemberList`, LINEARIZABLE), 2);
  }

  /**
   * Adds a member that votes: the ring must bear that it is not there until it has been started.
   * @param peerUrls as others reach it; an address belongs to one member.
   * @returns all members; the new one is the one with that address, its name is not known yet.
   */
  async add(peerUrls: readonly string[]): Promise<EtcdMemberInfo[]> {
    return await this.#add(peerUrls, false);
  }

  /** Adds a member that only learns, until it is promoted. One at a time, in etcd 3.4. */
  async addLearner(peerUrls: readonly string[]): Promise<EtcdMemberInfo[]> {
    return await this.#add(peerUrls, true);
  }

  async #add(peerUrls: readonly string[], isLearner: boolean): Promise<EtcdMemberInfo[]> {
    const message = encodeMember({ peerUrls, isLearner });
    return decodeMembers(await this.#call(`${CLUSTER}/MemberAdd`, message), 3);
  }

  /** A learner votes from now on. @throws HF_BUSY until it has caught up; HF_NOT_FOUND. */
  async promote(id: EtcdMemberId): Promise<EtcdMemberInfo[]> {
    return decodeMembers(await this.#call(`${CLUSTER}/MemberPromote`, encodeMemberId(id)), 2);
  }

  /** A member, or a learner, is none any more; for good. @throws HF_NOT_FOUND. */
  async remove(id: EtcdMemberId): Promise<EtcdMemberInfo[]> {
    return decodeMembers(await this.#call(`${CLUSTER}/MemberRemove`, encodeMemberId(id)), 2);
  }

  /** Of the whole ring. */
  async alarms(): Promise<EtcdAlarm[]> {
    const message = encodeAlarm('get', { member: '0', kind: 'none' });
    return decodeAlarms(await this.#call(`${MAINTENANCE}/Alarm`, message));
  }

  /** Calls an alarm off. While its reason lasts, it is raised again. */
  async disarm(alarm: EtcdAlarm): Promise<void> {
    await this.#call(`${MAINTENANCE}/Alarm`, encodeAlarm('disarm', alarm));
  }

  /** The ring lets go of its past; only then defragmenting gives its room back. */
  async compact(): Promise<void> {
    // A question to the ring: the revision in a member's status may be an older one.
    const question = encodeTransaction({
      conditions: [],
      ifMet: [{ do: 'count', key: Uint8Array.of(0) }],
      ifNot: [],
    });
    const revision = decodeRevision(await this.#call(`${KV}/Txn`, question));
    try {
      await this.#call(`${KV}/Compact`, encodeCompaction(revision));
    } catch (error) {
      if (errorCode(error) !== 'HF_NOT_FOUND') throw error; // as little is kept already
    }
  }

  /** Of this member only, which answers nobody meanwhile: one after the other, the leader last. */
  async defragment(): Promise<void> {
    const path = `${MAINTENANCE}/Defragment`;
    await this.#long.run((late) => this.#channel.call(path, NOTHING, late));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#channel.close();
  }
}
