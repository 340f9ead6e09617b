/**
 * Calls of stores that end in time, and what is learnt from them. A call that is *late* goes on
 * behind our back: what was lent to it stays as it is until it ends. A store that was late is
 * *shunned* for a while, twice as long each time in a row; then one call at a time tries it again,
 * until one gets an answer.
 *
 * How long a store takes is kept as mean and deviation (source: Jacobson, "Congestion Avoidance and
 * Control", 1988), for small and for large answers. A call that is given up teaches as well that
 * the store takes at least so long: else one that always loses would never be known as slow.
 */
import {
  type ChunkId,
  type DeviceId,
  errorCode,
  errorMessage,
  HoldfastError,
  KiB,
  LIMITS,
  throwIfAborted,
  unlessBug,
  NOT_NEEDED,
} from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { type ChunkStore, whileBusy } from '../store/index.ts';
import type { HedgeOptions } from './hedge.ts';

export interface CallBounds {
  readonly ms: number;
  readonly signal?: AbortSignal | undefined;
  /** A look reads nothing from the device: it says neither that it is well nor that it hangs. */
  readonly isLook?: boolean;
  /** Bytes of a read from which is learnt how fast the store is. */
  readonly readBytes?: number;
  /** Told of the call itself, which may end long after its time: it uses the caller's memory. */
  readonly onCall?: ((call: Promise<unknown>) => void) | undefined;
}

interface Estimate {
  meanMs: number;
  deviationMs: number;
  /** When it was last heard of. */
  atMs: number;
}

interface StoreRecord {
  readonly reads: Map<'small' | 'large', Estimate>;
  /** Calls in a row that were late; those which were under way together count as one. */
  lateCount: number;
  lateAtMs: number;
  underWay: number;
}

const SHUN_MS_MIN = 1000;
const SHUN_MS_MAX = 60_000;
/** An older estimate is none: the store is tried again, and the hedge bears the risk. */
const ESTIMATE_MS = 30_000;
const SMALL_BYTES = 256 * KiB;
/** As long as nothing is known of a store; and an answer is never waited for longer than that. */
const HEDGE_MS_MAX = 300;
/** Less is within what a busy disk or a pause of this process takes now and then. */
const HEDGE_MS_MIN = 30;

/** How long a store may take to move so many bytes. */
export function answerMs(bytes: number): number {
  return LIMITS.storeAnswerMs + Math.ceil((bytes / LIMITS.remoteBytesPerSecondMin) * 1000);
}

export class StoreCalls {
  readonly env: Pick<Env, 'clock' | 'metrics'>;
  readonly #records = new WeakMap<ChunkStore, StoreRecord>();
  readonly #disputes = new Set<Promise<void>>();

  constructor(env: Pick<Env, 'clock' | 'metrics'>) {
    this.env = env;
  }

  /**
   * Its time begins when the store is asked: waiting for a turn is no part of it, and a store that
   * is busy is asked again.
   * @throws HF_UNAVAILABLE when no answer came in time; HF_INTERRUPTED; what the store throws.
   */
  async run<Result>(
    store: ChunkStore,
    bounds: CallBounds,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const startMs = this.env.clock.monotonic();
    const { isLook, signal } = bounds;
    const ms = isLook ? bounds.ms : LIMITS.storeBusyMs;
    const record = this.#recordOf(store);
    record.underWay += 1;
    try {
      return await whileBusy(this.env.clock, { ms, signal }, async () => {
        using _turn = isLook ? undefined : await this.#turnAt(store, signal);
        return await this.#runNow(store, bounds, work);
      });
    } catch (error) {
      if (errorCode(error) !== 'HF_BUSY') throw error;
      const cause = new HoldfastError('HF_TIMEOUT', errorMessage(error), { cause: error });
      const late = new HoldfastError('HF_UNAVAILABLE', `store ${store.id} is busy`, { cause });
      this.#judge(store, bounds, { error: late, startMs, hasEnded: true });
      throw late;
    } finally {
      record.underWay -= 1;
    }
  }

  /** @throws HF_UNAVAILABLE when another call was late while this one waited; HF_INTERRUPTED. */
  async #turnAt(store: ChunkStore, signal?: AbortSignal): Promise<Disposable | undefined> {
    const record = this.#recordOf(store);
    const { lateCount } = record;
    const turn = await store.turn?.({ signal });
    if (record.lateCount <= lateCount) return turn;
    turn?.[Symbol.dispose]();
    throw new HoldfastError('HF_UNAVAILABLE', `store ${store.id} did not answer others in time`);
  }

  async #runNow<Result>(
    store: ChunkStore,
    bounds: CallBounds,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    throwIfAborted(bounds.signal);
    const record = this.#recordOf(store);
    const startMs = this.env.clock.monotonic();
    const stop = new AbortController();
    const call = work(stop.signal);
    bounds.onCall?.(call);
    let hasEnded = false;
    const end = (): unknown => (hasEnded = true);
    call.then(end, end);
    try {
      const result = await this.#inTime(store, call, bounds);
      if (!bounds.isLook) record.lateCount = 0;
      this.#learn(record, bounds, startMs);
      return result;
    } catch (error) {
      this.#judge(store, bounds, { error, startMs, hasEnded });
      if (!hasEnded) stop.abort(error);
      throw error;
    }
  }

  /** Whether the store is to be left alone, as it gave no answer a while ago. */
  isShunned(store: ChunkStore): boolean {
    const record = this.#records.get(store);
    if (!record || record.lateCount === 0) return false;
    const pauseMs = Math.min(SHUN_MS_MAX, SHUN_MS_MIN * 2 ** (record.lateCount - 1));
    const hasPassed = this.env.clock.monotonic() >= record.lateAtMs + pauseMs;
    return !hasPassed || record.underWay > 0;
  }

  /** Whether reads of one store take much longer than those of the others. */
  slowOnes(stores: readonly ChunkStore[], bytes: number): ReadonlySet<ChunkStore> {
    const known = stores.map((store) => this.#estimateOf(store, bytes)?.meanMs);
    const sorted = known.filter((ms) => ms !== undefined).toSorted((a, b) => a - b);
    const usualMs = sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
    const limitMs = 2 * usualMs + HEDGE_MS_MIN / 2;
    return new Set(
      stores.filter((store, index) => this.isShunned(store) || (known[index] ?? 0) > limitMs),
    );
  }

  /**
   * How long to wait for answers of these stores before another one is asked as well.
   * @param all those that are compared.
   */
  hedgeMs(stores: readonly ChunkStore[], all: readonly ChunkStore[], bytes: number): number {
    const slow = this.slowOnes(all, bytes);
    const expected = stores
      .filter((store) => !slow.has(store))
      .map((store) => this.#estimateOf(store, bytes))
      .map((one) => (one ? one.meanMs + 4 * one.deviationMs : HEDGE_MS_MAX));
    return Math.min(HEDGE_MS_MAX, Math.max(HEDGE_MS_MIN, ...expected));
  }

  /** What {@link firstFew} needs besides. */
  hedge(options: Pick<HedgeOptions, 'signal' | 'hedgeMs' | 'extraMax'>): HedgeOptions {
    const { clock, metrics } = this.env;
    return { ...options, clock, onHedge: () => metrics.add('stripes_hedged_reads', 1) };
  }

  /** A shard from this device was not what its id says. */
  countBad(device: DeviceId, node: string | undefined): void {
    this.env.metrics.add('stripes_bad_shards', 1, { store: device, node: node ?? 'none' });
  }

  /** Has a store look at a chunk that it gave wrongly. One that does not answer is asked again. */
  async dispute(store: ChunkStore, id: ChunkId): Promise<void> {
    const disputing = this.run(store, { ms: LIMITS.remoteCallMs }, async (signal) => {
      await store.dispute?.(id, { signal });
    });
    const ended = disputing.catch(unlessBug).finally(() => this.#disputes.delete(ended));
    this.#disputes.add(ended);
    await ended;
  }

  /** Waits for what nobody waited for. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#disputes);
  }

  async #inTime<Result>(
    store: ChunkStore,
    call: Promise<Result>,
    { ms, signal }: CallBounds,
  ): Promise<Result> {
    const done = new AbortController();
    const waiting = signal ? AbortSignal.any([signal, done.signal]) : done.signal;
    const late = this.env.clock.sleep(ms, { signal: waiting }).then(() => {
      throw new HoldfastError('HF_TIMEOUT', `store ${store.id} did not answer within ${ms} ms`);
    });
    try {
      return await Promise.race([call, late]);
    } catch (error) {
      if (errorCode(error) !== 'HF_TIMEOUT') throw error;
      throw new HoldfastError('HF_UNAVAILABLE', (error as Error).message, { cause: error });
    } finally {
      done.abort(NOT_NEEDED);
    }
  }

  #judge(
    store: ChunkStore,
    bounds: CallBounds,
    { error, startMs, hasEnded }: { error: unknown; startMs: number; hasEnded: boolean },
  ): void {
    const record = this.#recordOf(store);
    if (!hasEnded) this.#learn(record, bounds, startMs);
    if (bounds.isLook || bounds.signal?.aborted) return;
    const isLate = errorCode((error as Error).cause) === 'HF_TIMEOUT';
    if (!isLate) {
      const isAnswer = !['HF_UNAVAILABLE', 'HF_BUSY'].includes(errorCode(error) ?? '');
      if (isAnswer) record.lateCount = 0;
      return;
    }
    this.env.metrics.add('stripes_late_calls', 1, { store: store.id });
    // What was under way when it hung is no further sign.
    if (record.lateCount > 0 && startMs < record.lateAtMs) return;
    record.lateCount += 1;
    record.lateAtMs = this.env.clock.monotonic();
  }

  /** A call that was given up only counts when it took longer than what was expected. */
  #learn(record: StoreRecord, { readBytes, signal }: CallBounds, startMs: number): void {
    if (readBytes === undefined) return;
    const nowMs = this.env.clock.monotonic();
    const tookMs = nowMs - startMs;
    const kind = kindOf(readBytes);
    const estimate = record.reads.get(kind);
    if (!estimate || nowMs - estimate.atMs > ESTIMATE_MS) {
      if (signal?.aborted && tookMs < HEDGE_MS_MIN) return;
      record.reads.set(kind, { meanMs: tookMs, deviationMs: tookMs / 2, atMs: nowMs });
      return;
    }
    const difference = tookMs - estimate.meanMs;
    if (signal?.aborted && difference < 0) return;
    // It would have taken longer still.
    estimate.meanMs += signal?.aborted ? difference : difference / 8;
    estimate.deviationMs += (Math.abs(difference) - estimate.deviationMs) / 4;
    estimate.atMs = nowMs;
  }

  #estimateOf(store: ChunkStore, bytes: number): Estimate | undefined {
    const reads = this.#records.get(store)?.reads;
    // What is small takes no longer than what is large.
    const estimate = reads?.get(kindOf(bytes)) ?? reads?.get('large');
    const nowMs = this.env.clock.monotonic();
    return estimate && nowMs - estimate.atMs <= ESTIMATE_MS ? estimate : undefined;
  }

  #recordOf(store: ChunkStore): StoreRecord {
    const record = this.#records.get(store) ?? {
      reads: new Map(),
      lateCount: 0,
      lateAtMs: 0,
      underWay: 0,
    };
    this.#records.set(store, record);
    return record;
  }
}

function kindOf(bytes: number): 'small' | 'large' {
  return bytes <= SMALL_BYTES ? 'small' : 'large';
}
