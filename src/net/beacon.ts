/**
 * The *beacon*: a datagram in which a node tells its local network where it listens, sealed so that
 * only nodes of its cluster can read it, or tell it from noise.
 *
 *     sealed under the key of the day: node id 16 | stamp u64 | count u8, addresses | zeros
 *
 * All beacons have one length. The *stamp* is the time it was made, in ms since 1970, raised where
 * needed so that no two of a node are equal: counter and time in one. A beacon is *taken* when its
 * stamp is within LIMITS.beaconWindowMs of now and above the last one of that node. Stamps
 * older than the window need not be remembered: they are refused anyway.
 *
 * The key changes daily because nonces are random: see `sealRecord`.
 */
import {
  ByteReader,
  ByteWriter,
  concatBytes,
  errorCode,
  fromHex,
  hexId,
  LIMITS,
  type NodeId,
  utf8,
} from '../base/index.ts';
import {
  deriveKey,
  NONCE_BYTES,
  openRecord,
  RECORD_OVERHEAD_BYTES,
  sealRecord,
} from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import { formatAddress, type NetAddress } from './address.ts';
import { readAddresses } from './hello.ts';

/** Fits one frame of any network. */
export const BEACON_BYTES = 1024;

const PLAIN_BYTES = BEACON_BYTES - RECORD_OVERHEAD_BYTES;
const AAD = utf8('holdfast/1 beacon');
const NODE_BYTES = 16;
const DAY_MS = 24 * 3600 * 1000;

export interface Beacon {
  readonly node: NodeId;
  readonly addresses: readonly NetAddress[];
}

export type BeaconRefusal = 'noise' | 'time' | 'replay' | 'full';

/** Makes beacons of this node and judges those of others. */
export class BeaconSeal {
  readonly #env: Env;
  readonly #key: Uint8Array;
  /** Of the last few days, by their numbers. */
  readonly #dayKeys = new Map<number, Uint8Array>();
  /** The last stamp of each node. */
  readonly #stamps = new Map<NodeId, number>();
  #ownStamp = 0;

  /** @param key 32 bytes that the nodes of a cluster share. */
  constructor(env: Env, key: Uint8Array) {
    this.#env = env;
    this.#key = key;
  }

  make({ node, addresses }: Beacon): Uint8Array {
    const nowMs = Math.floor(this.#env.clock.now());
    this.#ownStamp = Math.max(nowMs, this.#ownStamp + 1);
    const writer = new ByteWriter(PLAIN_BYTES).raw(fromHex(node)).u64(this.#ownStamp);
    const texts = fittingTexts(addresses, PLAIN_BYTES - writer.length - 1);
    writer.u8(texts.length);
    for (const text of texts) writer.text(text);
    const record = concatBytes(writer.finish(), new Uint8Array(PLAIN_BYTES - writer.length));
    const nonce = this.#env.random.bytes(NONCE_BYTES);
    return sealRecord({ key: this.#keyOf(dayOf(this.#ownStamp)), nonce, aad: AAD, record });
  }

  /** The beacon, if it is of this cluster and new. */
  take(sealed: Uint8Array): Beacon | BeaconRefusal {
    const nowMs = this.#env.clock.now();
    const plain = sealed.length === BEACON_BYTES ? this.#open(sealed, nowMs) : undefined;
    if (!plain) return 'noise';
    const reader = new ByteReader(plain, 'beacon');
    const node = hexId<NodeId>(reader.raw(NODE_BYTES));
    const stamp = reader.u64();
    if (Math.abs(nowMs - stamp) > LIMITS.beaconWindowMs) return 'time';
    if (stamp <= (this.#stamps.get(node) ?? -1)) return 'replay';
    if (!this.#stamps.has(node) && !this.#hasRoom(nowMs)) return 'full';
    this.#stamps.set(node, stamp);
    const addressCount = Math.min(reader.u8(), LIMITS.addressesPerRecordMax);
    return {
      node,
      addresses: readAddresses(Array.from({ length: addressCount }, () => reader.text())),
    };
  }

  /** Days begin at different moments for clocks that differ. */
  #open(sealed: Uint8Array, nowMs: number): Uint8Array | undefined {
    const days = new Set([nowMs, nowMs - LIMITS.beaconWindowMs, nowMs + LIMITS.beaconWindowMs]);
    for (const day of new Set([...days].map(dayOf))) {
      try {
        return openRecord({ key: this.#keyOf(day), aad: AAD, sealed });
      } catch (error) {
        if (errorCode(error) !== 'HF_FORGED') throw error;
      }
    }
    return undefined;
  }

  #keyOf(day: number): Uint8Array {
    let key = this.#dayKeys.get(day);
    if (!key) {
      key = deriveKey(this.#key, `holdfast/1 beacon of day ${day}`);
      if (this.#dayKeys.size >= 3) this.#dayKeys.clear();
      this.#dayKeys.set(day, key);
    }
    return key;
  }

  #hasRoom(nowMs: number): boolean {
    if (this.#stamps.size < LIMITS.beaconSendersMax) return true;
    for (const [node, stamp] of this.#stamps) {
      if (nowMs - stamp > LIMITS.beaconWindowMs) this.#stamps.delete(node);
    }
    return this.#stamps.size < LIMITS.beaconSendersMax;
  }
}

function dayOf(ms: number): number {
  return Math.floor(ms / DAY_MS);
}

/** As many addresses as there is room for. */
function fittingTexts(addresses: readonly NetAddress[], roomBytes: number): string[] {
  const texts: string[] = [];
  let left = roomBytes;
  for (const address of addresses.slice(0, LIMITS.addressesPerRecordMax)) {
    const text = formatAddress(address);
    left -= 4 + utf8(text).length;
    if (left >= 0) texts.push(text);
  }
  return texts;
}
