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
  type Scheme,
  type StripeId,
} from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { ChunkStore } from '../store/index.ts';
import type { Cluster } from '../cluster/index.ts';
import { inlineCoder, pooledCoder, type StripeCoder } from './coder.ts';
import { encodeStripe } from './coding.ts';
import { type ByteRange, readStripe } from './read.ts';
import { inspectStripe, rebuildStripe } from './rebuild.ts';
import { chunkIds, contentBytesFor, isShort, schemeForShort, stripeShape } from './shape.ts';
import { createSlab, GAP_BYTES, type SlotLease, SlotPool } from './slab.ts';
import { spreadStripe } from './spread.ts';
import type {
  PreparedStripe,
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
}

interface PrepareOptions {
  readonly scheme: Scheme;
  readonly secret?: Uint8Array | undefined;
}

export function openStripes(options: StripesOptions): StripeStore {
  const { threadCount, slotCount } = options;
  assert(slotCount >= 2, 'one slot is to be filled, one is left to read');
  const plan = createSlab(slotCount, Math.max(1, threadCount));
  const coder = threadCount === 0 ? inlineCoder(plan) : pooledCoder(plan);
  return new Stripes(options, new SlotPool(plan), coder);
}

class Stripes implements StripeStore {
  readonly #options: StripesOptions;
  readonly #slots: SlotPool;
  readonly #coder: StripeCoder;
  /** Two rebuilds under different layouts would each take the other's copy for a surplus one. */
  readonly #rebuilding = new KeyedLock();

  constructor(options: StripesOptions, slots: SlotPool, coder: StripeCoder) {
    this.#options = options;
    this.#slots = slots;
    this.#coder = coder;
  }

  get #context() {
    const { cluster, stores } = this.#options;
    const byId = new Map(stores().map((store) => [store.id, store]));
    const storeOf = byId.get.bind(byId);
    return { cluster, stores, storeOf, slots: this.#slots, coder: this.#coder };
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
    const randomKey = this.#options.env.random.bytes(32);
    const keys = { secret: options.secret, randomKey };
    const encoded = await this.#coder.encode(lease.slot, shape, keys);
    return {
      ...encoded,
      scheme,
      schemeNumber: schemeNumber(scheme),
      contentBytes,
      chunkBytes: shape.chunkBytes,
      chunks: lease.rooms(shape).map(({ chunk }) => chunk),
      [Symbol.dispose]: () => lease[Symbol.dispose](),
    };
  }

  prepareShort(content: Uint8Array, options: PrepareOptions): PreparedStripe {
    assert(isShort(content.length), 'the content is short');
    const scheme = schemeForShort(options.scheme);
    const shape = stripeShape(scheme, content.length);
    const padded = new Uint8Array(shape.paddedBytes);
    padded.set(content);
    const chunk = new Uint8Array(shape.chunkBytes);
    const chunks = Array.from({ length: scheme.n }, () => chunk);
    const randomKey = this.#options.env.random.bytes(32);
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
    const minSpare = this.#options.minSpare ?? 1;
    return await spreadStripe(this.#context, prepared, { generation, minSpare, signal });
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
        for (const id of ids) await store.remove(id, { generationMax: generation });
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
