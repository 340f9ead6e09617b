/** The stripe store over a set of chunk stores: puts the parts of this module together. */
import {
  assert,
  errorCode,
  KeyedLock,
  LIMITS,
  mapBounded,
  schemeNumber,
  schemeOfNumber,
  throwIfAborted,
  UnderWay,
  type DeviceId,
  type Scheme,
  type StripeId,
} from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { ChunkStore } from '../store/index.ts';
import type { Cluster } from '../cluster/index.ts';
import { inlineCoder, pooledCoder, type StripeCoder } from './coder.ts';
import { encodeStripe } from './coding.ts';
import { type ByteRange, readStripe } from './read.ts';
import { inspectStripe } from './inspect.ts';
import { rebuildStripe } from './rebuild.ts';
import { chunkIds, contentBytesFor, isShort, schemeForShort, stripeShape } from './shape.ts';
import { createSlab, GAP_BYTES, type LentChunk, type SlotLease, SlotPool } from './slab.ts';
import { spreadStripe } from './spread.ts';
import { answerMs, StoreCalls } from './store-calls.ts';
import type {
  PreparedStripe,
  PrepareOptions,
  ReadOptions,
  RebuildReport,
  SpreadReport,
  StripeBuffer,
  StripeHealth,
  StripeRef,
  StripeStore,
  WantedShards,
} from './stripe-store.ts';

export interface StripesOptions {
  readonly env: Env;
  readonly cluster: Cluster;
  /** The stores that are alive, as of the call. */
  readonly stores: () => readonly ChunkStore[];
  /** Threads that code; 0 codes in the calling thread. */
  readonly threadCount: number;
  /** Stripes in memory at once, at least 2. */
  readonly slotCount: number;
  /** Ruling 9's minSpare. */
  readonly minSpare?: number;
  /** Whether a device is of this node: the last copy of `near-N` goes to one; reads prefer it. */
  readonly isNear?: (device: DeviceId) => boolean;
}

export function openStripes(options: StripesOptions): StripeStore {
  const { threadCount, slotCount } = options;
  assert(slotCount >= 2, 'one slot is to be filled, one is left to read');
  // As many spare ones: see SlotPool.
  const plan = createSlab(2 * slotCount, Math.max(1, threadCount));
  const coder = threadCount === 0 ? inlineCoder(plan) : pooledCoder(plan);
  return new Stripes(options, new SlotPool(plan), coder);
}

class Stripes implements StripeStore {
  readonly #options: StripesOptions;
  readonly #slots: SlotPool;
  readonly #coder: StripeCoder;
  readonly #calls: StoreCalls;
  readonly #spreads = new UnderWay();
  /** Where the chunks of a prepared stripe lie, when not in memory of their own. */
  readonly #leases = new WeakMap<PreparedStripe, SlotLease>();
  /** Two rebuilds under different layouts would each take the other's copy for a surplus one. */
  readonly #rebuilding = new KeyedLock();

  constructor(options: StripesOptions, slots: SlotPool, coder: StripeCoder) {
    this.#options = options;
    this.#slots = slots;
    this.#coder = coder;
    this.#calls = new StoreCalls(options.env);
  }

  get #context() {
    const { cluster, stores, isNear = () => false } = this.#options;
    const byId = new Map(stores().map((store) => [store.id, store]));
    const storeOf = byId.get.bind(byId);
    const calls = this.#calls;
    const { random } = this.#options.env;
    const [slots, coder] = [this.#slots, this.#coder];
    return { cluster, calls, random, stores, storeOf, isNear, slots, coder };
  }

  contentBytesFor(scheme: Scheme): number {
    return contentBytesFor(scheme);
  }

  async lease(
    scheme: Scheme,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<StripeBuffer> {
    const lease = await this.#slots.leaseToFill();
    try {
      throwIfAborted(signal);
    } catch (error) {
      lease[Symbol.dispose]();
      throw error;
    }
    return new LeasedBuffer(lease, contentBytesFor(scheme));
  }

  async prepare(
    buffer: StripeBuffer,
    contentBytes: number,
    options: PrepareOptions,
  ): Promise<PreparedStripe> {
    assert(buffer instanceof LeasedBuffer, 'the buffer was lent by this store');
    assert(contentBytes <= buffer.content.length, 'the content fits the buffer');
    const { lease } = buffer;
    const scheme = isShort(contentBytes) ? schemeForShort(options.scheme) : options.scheme;
    const shape = stripeShape(scheme, contentBytes);
    const randomKey = options.key ?? this.#options.env.random.bytes(32);
    const keys = { secret: options.secret, randomKey };
    const encoded = await this.#coder.encode(lease.slot, shape, keys);
    const prepared = {
      ...encoded,
      scheme,
      schemeNumber: schemeNumber(scheme),
      contentBytes,
      chunkBytes: shape.chunkBytes,
      chunks: lease.rooms(shape).map(({ chunk }) => chunk),
      [Symbol.dispose]: () => lease[Symbol.dispose](),
    };
    this.#leases.set(prepared, lease);
    return prepared;
  }

  prepareShort(content: Uint8Array, options: PrepareOptions): PreparedStripe {
    assert(isShort(content.length), 'the content is short');
    const scheme = schemeForShort(options.scheme);
    const shape = stripeShape(scheme, content.length);
    const padded = new Uint8Array(shape.paddedBytes);
    padded.set(content);
    const chunk = new Uint8Array(shape.chunkBytes);
    const chunks = Array.from({ length: scheme.n }, () => chunk);
    const randomKey = options.key ?? this.#options.env.random.bytes(32);
    const { secret } = options;
    const request = { shape, content: padded, area: padded, chunks, secret, randomKey };
    const encoded = encodeStripe(undefined, request);
    return {
      ...encoded,
      scheme,
      schemeNumber: schemeNumber(scheme),
      contentBytes: content.length,
      chunkBytes: shape.chunkBytes,
      chunks,
      [Symbol.dispose]: () => {},
    };
  }

  async spread(
    prepared: PreparedStripe,
    { generation, signal }: { generation: number; signal?: AbortSignal | undefined },
  ): Promise<SpreadReport> {
    const { minSpare = 1 } = this.#options;
    const lease = this.#leases.get(prepared);
    const lend = (chunk: Uint8Array): LentChunk => lease?.lend(chunk) ?? { bytes: chunk };
    const options = { generation, minSpare, lend, signal };
    return await this.#spreads.run(() => spreadStripe(this.#context, prepared, options));
  }

  async spreadsSettled(): Promise<void> {
    await this.#spreads.settled();
  }

  async read(ref: StripeRef, range?: ByteRange, options: ReadOptions = {}): Promise<Uint8Array> {
    return await readStripe(this.#context, ref, { ...options, range });
  }

  async inspect(stripe: StripeId, number: number): Promise<StripeHealth> {
    return await inspectStripe(this.#context, { stripe, scheme: schemeOfNumber(number) });
  }

  async rebuild(
    wanted: WantedShards,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<RebuildReport> {
    using _lock = await this.#rebuilding.acquire(wanted.stripe);
    return await rebuildStripe(this.#context, wanted, signal);
  }

  async remove({ stripe, schemeNumber: number, generation }: WantedShards): Promise<boolean> {
    const ids = chunkIds(stripe, schemeOfNumber(number));
    const stores = this.#options.stores();
    const asked = await mapBounded(stores, LIMITS.deviceOperationsMax, async (store) => {
      try {
        for (const id of ids) {
          await this.#calls.run(store, { ms: answerMs(0) }, (signal) =>
            store.remove(id, { generationMax: generation, signal }),
          );
        }
        return store.id;
      } catch (error) {
        if (errorCode(error) === undefined) throw error;
        return undefined; // it is going, and what it holds with it
      }
    });
    const { devices } = this.#options.cluster.topology();
    return devices.every(({ id, state }) => state === 'out' || asked.includes(id));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#calls[Symbol.asyncDispose]();
    await this.#coder[Symbol.asyncDispose]();
  }
}

class LeasedBuffer implements StripeBuffer {
  readonly lease: SlotLease;
  readonly content: Uint8Array;

  constructor(lease: SlotLease, contentBytes: number) {
    this.lease = lease;
    this.content = lease.area.subarray(GAP_BYTES, GAP_BYTES + contentBytes);
  }

  [Symbol.dispose](): void {
    this.lease[Symbol.dispose]();
  }
}
