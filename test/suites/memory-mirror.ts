/**
 * A Mirror on stores in memory that outlive the log: puts fail before, in the middle of and after
 * their work; stores go and come back; records are lost. A removal does not reach a store that is
 * away, and nobody makes up for it later: the log must bear that.
 */
import { assert, HoldfastError, LIMITS, toHex } from '../../src/base/index.ts';
import { digest } from '../../src/crypto/index.ts';
import type { Mirror, MirrorRecord, MirrorRef } from '../../src/log/index.ts';

/** Fails with `none`, `one` or `all` of the copies stored; `lie`: says ok, with none stored. */
export type PutFault = 'none' | 'one' | 'all' | 'lie' | undefined;

export class MemoryMirror implements Mirror {
  readonly #stores: Map<string, Uint8Array>[];
  readonly #copyCount: number;
  readonly away = new Set<number>();
  /** Asked at each put. */
  nextFault: () => PutFault = () => undefined;
  /** How long a put takes. */
  delay: () => Promise<void> = async () => {};

  /** Removals fail. */
  keepsAll = false;

  constructor({ storeCount = 4, copyCount = 2 } = {}) {
    this.#stores = Array.from({ length: storeCount }, () => new Map<string, Uint8Array>());
    this.#copyCount = copyCount;
  }

  #present(): Map<string, Uint8Array>[] {
    return this.#stores.filter((_, index) => !this.away.has(index));
  }

  async put(bytes: Uint8Array): Promise<MirrorRef> {
    assert(bytes.length <= LIMITS.chunkBytesMax, 'a record fits a chunk');
    const id = digest(bytes);
    const copy = new Uint8Array(bytes);
    await this.delay();
    const fault = this.nextFault();
    if (fault === 'lie') return { id };
    const present = this.#present();
    const start = id[0]! % Math.max(present.length, 1);
    const chosen = [...present.slice(start), ...present.slice(0, start)].slice(0, this.#copyCount);
    const written = fault === 'none' ? 0 : fault === 'one' ? 1 : chosen.length;
    for (const store of chosen.slice(0, written)) store.set(toHex(id), copy);
    if (fault || chosen.length < this.#copyCount) throw new HoldfastError('HF_TOO_FEW_STORES');
    return { id };
  }

  async get({ id }: MirrorRef): Promise<Uint8Array | undefined> {
    const store = this.#present().find((each) => each.has(toHex(id)));
    return store && new Uint8Array(store.get(toHex(id))!);
  }

  async remove(refs: readonly MirrorRef[]): Promise<void> {
    if (this.keepsAll) throw new HoldfastError('HF_TOO_FEW_STORES');
    for (const { id } of refs) for (const store of this.#present()) store.delete(toHex(id));
  }

  async *list(): AsyncGenerator<MirrorRef & MirrorRecord> {
    const records = new Map(this.#present().flatMap((store) => [...store]));
    // By id, so in no order that the log could count on.
    for (const [hex, bytes] of [...records].sort(([a], [b]) => (a < b ? -1 : 1))) {
      yield { id: new Uint8Array(Buffer.from(hex, 'hex')), bytes: new Uint8Array(bytes) };
    }
  }

  /** Loses every copy, on stores that are away too. */
  lose({ id }: MirrorRef): void {
    for (const store of this.#stores) store.delete(toHex(id));
  }

  /** How many stores hold the record. */
  copiesOf({ id }: MirrorRef): number {
    return this.#stores.filter((store) => store.has(toHex(id))).length;
  }
}
