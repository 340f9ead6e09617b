/**
 * The *ring*: the three or five nodes that run the etcd of a cluster for all of it, and where each
 * of them stands. The record is the value of the registry's key `ring`; each node keeps the newest
 * that it has seen in a file too, since whoever cannot reach the ring cannot ask the registry.
 *
 * A *seat* is one node's part in it:
 *
 *     founder → member       one of the first: its etcd starts a new ring
 *     joining → learner → member   to be added; added, receives the log, does not vote; votes
 *     any → leaving → (gone)       to be removed
 *
 * Of a *named* etcd, which the user runs (named-etcd.ts), it says only where that is: no node has a
 * seat then.
 *
 * Invariant: the record says first what is wanted, etcd is changed next, and the record then says
 * that it is done; so whoever finds it half done can go on (ring-plan.ts).
 */
import * as v from 'valibot';
import {
  errorMessage,
  fromUtf8,
  HoldfastError,
  isHexId,
  type NodeId,
  utf8,
} from '../../base/index.ts';
import { type NamedEtcd, StoredNamedEtcd } from './named-etcd.ts';

/** Of the registry. */
export const RING_KEY = 'ring';

export const RING_SEATS_MAX = 7;

/** Of a ring that was never restored. */
export const FIRST_LIFE = 1;

const SeatState = v.picklist(['founder', 'joining', 'learner', 'member', 'leaving']);
export type SeatState = v.InferOutput<typeof SeatState>;

const Count = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const Id = v.pipe(v.string(), v.check(isHexId, 'no id of a node'));

const StoredRing = v.strictObject({
  format: v.literal(1),
  generation: Count,
  life: Count,
  version: Count,
  token: v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/)),
  roundTripMs: v.pipe(v.number(), v.minValue(0)),
  members: v.pipe(
    v.array(v.strictObject({ node: Id, state: SeatState, since: Count })),
    v.maxLength(RING_SEATS_MAX),
  ),
  named: v.optional(StoredNamedEtcd),
  next: v.optional(StoredNamedEtcd),
});

export interface RingSeat {
  readonly node: NodeId;
  readonly state: SeatState;
  /** The version of the record with which it came: what its etcd has is of then, or nothing. */
  readonly since: number;
}

export interface RingRecord {
  /** Of the registry that the ring carries. */
  readonly generation: number;
  /** 1; one more each time the ring was restored from what was left of it, or moved on from. */
  readonly life: number;
  /** Rises with each change. */
  readonly version: number;
  /** Names the ring: members of another one are not talked to. */
  readonly token: string;
  /** The longest way between members when it was formed. */
  readonly roundTripMs: number;
  /** At least one, or none when it is a named one. */
  readonly members: readonly RingSeat[];
  /** The etcd that the user runs, in place of members. */
  readonly named?: NamedEtcd | undefined;
  /** Where the metadata is to move from this ring, as the generation that follows. */
  readonly next?: NamedEtcd | undefined;
}

export function encodeRing(record: RingRecord): Uint8Array {
  return utf8(`${JSON.stringify({ format: 1, ...record })}\n`);
}

/** @throws HF_CORRUPT. */
export function decodeRing(bytes: Uint8Array): RingRecord {
  try {
    const { format: _, members, ...rest } = v.parse(StoredRing, JSON.parse(fromUtf8(bytes)));
    if (new Set(members.map(({ node }) => node)).size < members.length) {
      throw new HoldfastError('HF_CORRUPT', 'a node has two seats');
    }
    if (members.length > 0 === (rest.named !== undefined)) {
      throw new HoldfastError('HF_CORRUPT', 'a ring has seats, or was named');
    }
    return { ...rest, members: members as unknown as readonly RingSeat[] };
  } catch (error) {
    const message = `the record of the ring: ${errorMessage(error)}`;
    throw new HoldfastError('HF_CORRUPT', message, { cause: error });
  }
}

/** Negative when `a` is the older one. */
export function compareRings(a: RingRecord, b: RingRecord): number {
  return a.generation - b.generation || a.life - b.life || a.version - b.version;
}

export function isNewerRing(a: RingRecord, b: RingRecord | undefined): boolean {
  return b === undefined || compareRings(a, b) > 0;
}

/** Members of one ring in one life of it talk to each other; nobody else does. */
export function isSameLife(a: RingStamp, b: RingStamp): boolean {
  return a.generation === b.generation && a.life === b.life;
}

export type RingStamp = Pick<RingRecord, 'generation' | 'life'>;

export function seatOf(record: RingRecord | undefined, node: NodeId): RingSeat | undefined {
  return record?.members.find((seat) => seat.node === node);
}

/** Whether etcd knows this seat; of one that leaves that is not known. */
export function isInEtcd({ state }: RingSeat): boolean {
  return state !== 'joining';
}

/** What etcd knows a member by: the socket of its name, in the folder where an etcd runs. */
export function peerUrlOf(node: NodeId): string {
  return `unix://${socketName(node)}`;
}

/** etcd wants a port in an address, and takes it for a part of the socket's name. */
export function socketName(name: string): string {
  return `${name}:1`;
}
