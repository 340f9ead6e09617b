/**
 * Who is home while the metadata is in a ring: the node that the registry's record names. When that
 * one is away for some seconds, the next metadata node puts itself there. So all agree but for
 * moments, in which two may believe that it is they: what a home does bears that, since stores take
 * deletes from the newest generation only, and references and cells have fences of their own.
 *
 * Invariant: a node takes itself for home only while it has lately read so; without the ring it is
 * nobody's home.
 */
import { errorCode, errorMessage, type NodeId, utf8, xxh64 } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { Registry } from '../../log/index.ts';
import { type HomeRecord, readHomeRecord, takeHome } from './home-record.ts';
import { Notice } from './notice.ts';

const LOOK_MS = 1000;
/** A home that nobody hears for so long is replaced. */
const AWAY_MS = 5000;
/** What was read so long ago may not be so any more; below the time of a new election of etcd. */
const BELIEF_MS = 8000;

export interface HomeSeatOptions {
  readonly env: Env;
  readonly self: NodeId;
  readonly registry: Registry;
  /** Metadata nodes that answer now, this one too, as of the call. */
  readonly candidates: () => readonly NodeId[];
  /** Whether the node shall not be home: it is about to leave. */
  readonly isLeaving?: (() => boolean) | undefined;
  /** Told what was read, whenever it was read. */
  readonly note: (record: HomeRecord) => void;
}

export class HomeSeat {
  readonly #options: HomeSeatOptions;
  readonly #notice = new Notice();
  #record: HomeRecord | undefined;
  #readAtMs = -Infinity;
  /** Since when the home of now does not answer. */
  #awaySinceMs: number | undefined;
  #isHome = false;
  #tenure = new AbortController();

  constructor(options: HomeSeatOptions) {
    this.#options = options;
  }

  get isHome(): boolean {
    return this.#isHome;
  }

  /** Aborted when this node, which is home, is it no more. */
  get tenure(): AbortSignal {
    return this.#tenure.signal;
  }

  /** As read last. */
  get record(): HomeRecord | undefined {
    return this.#record;
  }

  /** Resolves when `isHome` has changed, or `signal` is aborted. */
  async changed(signal: AbortSignal): Promise<void> {
    await this.#notice.next(signal);
  }

  /** Until `signal` is aborted. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { env } = this.#options;
    for await (const _ of env.clock.every(LOOK_MS, { signal })) {
      await this.look().catch((error: unknown) => {
        if (errorCode(error) === undefined) throw error;
        env.log.debug('it cannot be read who is home', { reason: errorMessage(error) });
      });
      this.#settle();
    }
    this.#readAtMs = -Infinity;
    this.#settle();
  }

  /** Reads the record, and puts this node there when it is its turn. @throws HF_UNAVAILABLE. */
  async look(): Promise<void> {
    await this.#read();
    if (!this.#isToTake()) return;
    const { env, registry, self } = this.#options;
    const before = this.#record;
    await takeHome(registry, self, before).catch((error: unknown) => {
      if (errorCode(error) !== 'HF_UNKNOWN_OUTCOME') throw error;
    });
    await this.#read();
    if (this.#isHome) env.log.warn('this node is home now', { before: before?.node });
  }

  /** Gives the seat to another node. @returns whether this node is home no more. */
  async resign(): Promise<boolean> {
    const { registry, self } = this.#options;
    await this.#read();
    const next = this.#order().find((node) => node !== self);
    if (this.#record?.node === self && next !== undefined) {
      await takeHome(registry, next, this.#record);
      await this.#read();
    }
    return this.#record?.node !== self;
  }

  async #read(): Promise<void> {
    const { env, registry, note } = this.#options;
    const atMs = env.clock.monotonic();
    const record = await readHomeRecord(registry);
    this.#readAtMs = atMs;
    if (record?.node !== this.#record?.node) this.#awaySinceMs = undefined;
    this.#record = record;
    if (record) note(record);
    this.#settle();
  }

  #settle(): void {
    const { env, self } = this.#options;
    const isFresh = env.clock.monotonic() - this.#readAtMs < BELIEF_MS;
    const isHome = isFresh && this.#record?.node === self;
    if (isHome === this.#isHome) return;
    this.#isHome = isHome;
    if (isHome) this.#tenure = new AbortController();
    else this.#tenure.abort();
    this.#notice.give();
  }

  #isToTake(): boolean {
    const { env, self, isLeaving } = this.#options;
    const nowMs = env.clock.monotonic();
    const order = this.#order();
    const home = this.#record?.node;
    if (home !== undefined && order.includes(home)) {
      this.#awaySinceMs = undefined;
      return false;
    }
    this.#awaySinceMs ??= nowMs;
    return order[0] === self && !isLeaving?.() && nowMs - this.#awaySinceMs >= AWAY_MS;
  }

  /** Those that answer, in the order in which they take over. */
  #order(): readonly NodeId[] {
    const weigh = (node: NodeId): bigint => xxh64(utf8(`home/${node}`));
    return this.#options.candidates().toSorted((a, b) => (weigh(a) < weigh(b) ? -1 : 1));
  }
}
