/**
 * The messages about members, room and alarms, as etcd 3.4 to 3.6 have them.
 *
 * Source: etcd's api/etcdserverpb/rpc.proto (field numbers).
 */
import { assert, HoldfastError } from '../base/index.ts';
import { field, fieldsOf, ProtoWriter } from './etcd-proto.ts';

/** 64 bits in hexadecimal, as etcd shows it; '0' is nobody's. */
export type EtcdMemberId = string;

export interface EtcdMemberInfo {
  readonly id: EtcdMemberId;
  /** Empty until it has been started. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly isLearner: boolean;
}

export interface EtcdStatus {
  readonly id: EtcdMemberId;
  /** '0' while nobody leads. */
  readonly leader: EtcdMemberId;
  readonly version: string;
  /** Of its file: what counts against the quota. */
  readonly dbBytes: number;
  /** Less is in use where the file has holes: defragmenting closes them. */
  readonly dbBytesInUse: number;
  /** The last entry of the ring's log that the member knows to be final, and has applied. */
  readonly raftIndex: number;
  readonly raftAppliedIndex: number;
  readonly raftTerm: number;
  readonly isLearner: boolean;
  /** What its file may grow to; 3.6 and later tell. */
  readonly quotaBytes?: number | undefined;
  /** For people: alarms, mostly. */
  readonly errors: readonly string[];
}

const ALARM_KINDS = ['none', 'no space', 'corrupt'] as const;
export type AlarmKind = (typeof ALARM_KINDS)[number];

export interface EtcdAlarm {
  readonly member: EtcdMemberId;
  readonly kind: AlarmKind;
}

const ALARM_ACTIONS = { get: 0, disarm: 2 } as const;

export function decodeStatus(bytes: Uint8Array): EtcdStatus {
  const fields = fieldsOf(bytes);
  return {
    id: field.id(headerOf(bytes), 2),
    leader: field.id(fields, 4),
    version: field.texts(fields, 2)[0] ?? '',
    dbBytes: field.number(fields, 3),
    dbBytesInUse: field.number(fields, 9),
    raftIndex: field.number(fields, 5),
    raftAppliedIndex: field.number(fields, 7),
    raftTerm: field.number(fields, 6),
    isLearner: field.number(fields, 10) === 1,
    errors: field.texts(fields, 8),
    quotaBytes: field.number(fields, 12) || undefined,
  };
}

function headerOf(bytes: Uint8Array) {
  const [header] = field.messages(fieldsOf(bytes), 1);
  if (!header) throw new HoldfastError('HF_CORRUPT', "etcd's answer has no header");
  return fieldsOf(header);
}

/** Of the whole store, when the answer was given. */
export function decodeRevision(bytes: Uint8Array): number {
  return field.number(headerOf(bytes), 3);
}

/** @param index of the field with the members. */
export function decodeMembers(bytes: Uint8Array, index: number): EtcdMemberInfo[] {
  return field.messages(fieldsOf(bytes), index).map((member) => {
    const fields = fieldsOf(member);
    return {
      id: field.id(fields, 1),
      name: field.texts(fields, 2)[0] ?? '',
      peerUrls: field.texts(fields, 3),
      isLearner: field.number(fields, 5) === 1,
    };
  });
}

export function encodeMember({
  peerUrls,
  isLearner,
}: Pick<EtcdMemberInfo, 'peerUrls' | 'isLearner'>): Uint8Array {
  assert(peerUrls.length > 0, 'a member can be reached');
  const writer = new ProtoWriter();
  for (const url of peerUrls) writer.text(1, url);
  return writer.number(2, isLearner ? 1 : 0).finish();
}

export function encodeMemberId(id: EtcdMemberId): Uint8Array {
  return new ProtoWriter().id(1, id).finish();
}

export function encodeCompaction(revision: number): Uint8Array {
  return new ProtoWriter().number(1, revision).number(2, 1).finish();
}

export function encodeAlarm(action: 'get' | 'disarm', { member, kind }: EtcdAlarm): Uint8Array {
  const writer = new ProtoWriter().number(1, ALARM_ACTIONS[action]);
  return writer.id(2, member).number(3, ALARM_KINDS.indexOf(kind)).finish();
}

export function decodeAlarms(bytes: Uint8Array): EtcdAlarm[] {
  return field.messages(fieldsOf(bytes), 2).map((alarm) => {
    const fields = fieldsOf(alarm);
    const kind = ALARM_KINDS[field.number(fields, 2)] ?? 'corrupt'; // a kind that is newer than us
    return { member: field.id(fields, 1), kind };
  });
}
