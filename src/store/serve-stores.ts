/**
 * Answers other nodes' operations on the stores of this one; store/remote-store.ts asks. A put is
 * answered when the store has made it durable. Chunks of a peer are checked like any other: the
 * store compares bytes and id. Deletes are taken only from whoever `mayRemove` names (rulings 3,
 * 13); puts by an old layout are refused where `oldestEpoch` says so (ruling 11).
 *
 * Invariant: memory that a store was given stays as it is until the store is done with it, also
 * when the caller has gone.
 */
import type { Duplex } from 'node:stream';
import * as v from 'valibot';
import {
  type ChunkId,
  type DeviceId,
  errorMessage,
  groupOf,
  HoldfastError,
  LIMITS,
  type NodeId,
} from '../base/index.ts';
import type { Clock } from '../env/index.ts';
import type { CallContext, Network } from '../net/index.ts';
import { BufferPool } from './buffer-pool.ts';
import { type ChunkStore, type GetOptions, statChunks, type StoreState } from './chunk-store.ts';
import { OperationGate, ServedMemory } from './served-limits.ts';
import { BatchWriter, readInto, sendChunk, withinMs } from './store-streams.ts';
import * as wire from './store-wire.ts';

export interface ServeStoresOptions {
  readonly clock: Clock;
  /** Whether a node may put a chunk under this name. */
  readonly mayPut: (from: NodeId, id: ChunkId) => boolean;
  /** Whether a node may delete: it is the steward that the registry names. */
  readonly mayRemove: (from: NodeId, id: ChunkId) => boolean | Promise<boolean>;
  /**
   * The topology epoch at which the store has answered that a group is whole; 0 before. Puts of
   * older ones are HF_OLD_EPOCH.
   */
  readonly oldestEpoch: (device: DeviceId, group: number) => number;
}

/** How often a scrub that is under way says so. */
const SCRUB_NEWS_MS = 2000;

/** @param stores those that are open now; asked for each operation. */
export function serveStores(
  network: Pick<Network, 'handle'>,
  stores: () => readonly ChunkStore[],
  options: ServeStoresOptions,
): void {
  const server = new StoreServer(stores, options);
  const { put, putStream, get, getStream, stat, remove, list, ...others } = wire.STORE_METHODS;
  function answer<Schema extends v.GenericSchema<unknown, { device: DeviceId }>>(
    method: string,
    schema: Schema,
    handler: (store: ChunkStore, arg: Arg<Schema>, context: CallContext) => Promise<object>,
  ): void {
    network.handle<Arg<Schema>>(method, { schema }, (arg, context) =>
      server.serve(arg.device, context.from, (store) => handler(store, arg, context)),
    );
  }
  answer(put, wire.PUT, (...call) => server.put(...call));
  answer(putStream, wire.PUT_STREAM, (...call) => server.putStream(...call));
  answer(get, wire.GET, (...call) => server.get(...call));
  answer(getStream, wire.GET, (...call) => server.getStream(...call));
  answer(stat, wire.STAT, (store, arg) => server.stat(store, arg));
  answer(others.statMany, wire.STAT_MANY, (...call) => server.statMany(...call));
  answer(remove, wire.REMOVE, (...call) => server.remove(...call));
  answer(others.dispute, wire.STAT, (...call) => server.dispute(...call));
  answer(list, wire.LIST, (...call) => server.list(...call));
  answer(others.digests, wire.STORE, (...call) => server.digests(...call));
  answer(others.usage, wire.STORE, (store) => server.usage(store));
  answer(others.scrub, wire.SCRUB, (...call) => server.scrub(...call));
  network.handle(others.settle, {}, () => null);
}

type Arg<Schema extends v.GenericSchema> = v.InferOutput<Schema>;
/** What an answer says besides how the store is. */
type Answer<Schema extends v.GenericSchema> = Promise<Omit<v.InferOutput<Schema>, 'state'>>;

class StoreServer {
  readonly #stores: () => readonly ChunkStore[];
  readonly #options: ServeStoresOptions;
  readonly #gate = new OperationGate();
  readonly #memory = new ServedMemory(new BufferPool({ allocate: allocatePages }));

  constructor(stores: () => readonly ChunkStore[], options: ServeStoresOptions) {
    this.#stores = stores;
    this.#options = options;
  }

  /**
   * What every operation has in common: its store is here, and does not serve too many.
   * @throws HF_UNAVAILABLE, HF_BUSY.
   */
  async serve<Said extends object>(
    device: DeviceId,
    from: NodeId,
    work: (store: ChunkStore) => Promise<Said>,
  ): Promise<Said & { readonly state: StoreState }> {
    const store = this.#storeOf(device);
    using _slot = this.#gate.enter(from, store.id);
    const said = await work(store);
    return { ...said, state: store.state };
  }

  async put(
    store: ChunkStore,
    arg: Arg<typeof wire.PUT>,
    { from, signal }: CallContext,
  ): Answer<typeof wire.ANSWER> {
    const { id, generation, bytes } = arg;
    this.#checkMayPut(from, id);
    this.#checkEpoch(arg);
    await store.put(id, bytes, { generation, signal });
    return {};
  }

  async putStream(
    store: ChunkStore,
    arg: Arg<typeof wire.PUT_STREAM>,
    { from, stream, signal }: CallContext,
  ): Answer<typeof wire.ANSWER> {
    const { id, generation, lengthBytes } = arg;
    const source = given(stream);
    this.#checkMayPut(from, id);
    this.#checkEpoch(arg);
    await this.#within(lengthBytes, signal, async (within) => {
      using lent = await this.#memory.lend(from, lengthBytes, within);
      using _ = destroyedWith(source, within);
      await readInto(source, lent.bytes, badStream);
      // Since the first bytes came the group may have been found whole.
      this.#checkEpoch(arg);
      await store.put(id, lent.bytes, { generation, signal: within });
    });
    return {};
  }

  async get(
    store: ChunkStore,
    arg: Arg<typeof wire.GET>,
    { from, signal }: CallContext,
  ): Answer<typeof wire.GET_ANSWER> {
    const lengthBytes = arg.lengthBytes ?? (await lengthOf(store, arg));
    if (lengthBytes > LIMITS.inlineChunkBytesMax) return { lengthBytes };
    using _memory = await this.#memory.reserve(from, lengthBytes, signal);
    const bytes = await store.get(arg.id, { ...rangeOf(arg), signal });
    // It was put just now.
    const isLarge = bytes !== undefined && bytes.length > LIMITS.inlineChunkBytesMax;
    return isLarge ? { lengthBytes: bytes.length } : { bytes };
  }

  async getStream(
    store: ChunkStore,
    arg: Arg<typeof wire.GET>,
    { from, signal, stream }: CallContext,
  ): Answer<typeof wire.GET_STREAM_ANSWER> {
    const target = givenToFill(stream);
    const lengthBytes = arg.lengthBytes ?? (await lengthOf(store, arg));
    return await this.#within(lengthBytes, signal, async (within) => {
      using _memory = await this.#memory.reserve(from, lengthBytes, within);
      const bytes = await store.get(arg.id, { ...rangeOf(arg), signal: within });
      if (bytes) {
        using _ = destroyedWith(target, within);
        await sendChunk(target, bytes);
      }
      return { isThere: bytes !== undefined };
    });
  }

  async stat(store: ChunkStore, { id }: Arg<typeof wire.STAT>): Answer<typeof wire.STAT_ANSWER> {
    return { entry: await store.stat(id) };
  }

  async statMany(
    store: ChunkStore,
    { ids }: Arg<typeof wire.STAT_MANY>,
    { signal }: CallContext,
  ): Answer<typeof wire.STAT_MANY_ANSWER> {
    const entries = await statChunks(store, ids, { signal });
    return { entries: entries.map((entry) => entry ?? null) };
  }

  async remove(
    store: ChunkStore,
    { id, generationMax }: Arg<typeof wire.REMOVE>,
    { from, signal }: CallContext,
  ): Answer<typeof wire.REMOVE_ANSWER> {
    if (!(await this.#options.mayRemove(from, id))) {
      throw new HoldfastError('HF_DENIED', 'deletes are taken only from the steward');
    }
    return { isRemoved: await store.remove(id, { generationMax, signal }) };
  }

  /** Costs what a read costs and does no more harm, so everybody may ask. */
  async dispute(
    store: ChunkStore,
    arg: Arg<typeof wire.STAT>,
    { from, signal }: CallContext,
  ): Answer<typeof wire.DISPUTE_ANSWER> {
    using _memory = await this.#memory.reserve(from, await lengthOf(store, arg), signal);
    const isBad = (await store.dispute?.(arg.id, { signal })) ?? false;
    return { isThere: (await store.stat(arg.id)) !== undefined, isBad };
  }

  async list(
    store: ChunkStore,
    arg: Arg<typeof wire.LIST>,
    { signal, stream }: CallContext,
  ): Answer<typeof wire.ANSWER> {
    const writer = new BatchWriter(givenToFill(stream), wire.writeEntry);
    const group = arg.group === undefined ? {} : { group: arg.group };
    for await (const entry of store.list({ ...group, signal })) await writer.add(entry);
    await writer.flush();
    return {};
  }

  async digests(
    store: ChunkStore,
    _: Arg<typeof wire.STORE>,
    { stream }: CallContext,
  ): Answer<typeof wire.ANSWER> {
    const writer = new BatchWriter(givenToFill(stream), wire.writeDigest);
    for (const digest of await store.digests()) await writer.add(digest);
    await writer.flush();
    return {};
  }

  async usage(store: ChunkStore): Answer<typeof wire.USAGE_ANSWER> {
    return { usage: await store.usage() };
  }

  async scrub(
    store: ChunkStore,
    { device, ...caps }: Arg<typeof wire.SCRUB>,
    { signal, stream }: CallContext,
  ): Answer<typeof wire.SCRUB_ANSWER> {
    const target = givenToFill(stream);
    using _alone = this.#gate.enterAlone(`a scrub of ${device} for another node`);
    const writer = new BatchWriter(target, wire.writeNews);
    let progress = { kind: 'progress' as const, checkedBytes: 0, totalBytes: 0 };
    const onProgress = (checkedBytes: number, totalBytes: number): void => {
      progress = { kind: 'progress', checkedBytes, totalBytes };
    };
    const done = new AbortController();
    const telling = this.#tell(writer, () => progress, AbortSignal.any([signal, done.signal]));
    try {
      const report = await store.scrub({ ...caps, onProgress, signal });
      done.abort();
      await telling;
      for (const news of [progress, ...report.findings]) await writer.add(news);
      await writer.flush();
      const { checkedChunks, checkedBytes } = report;
      return { checkedChunks, checkedBytes };
    } finally {
      done.abort();
      await telling;
    }
  }

  /** Tells of the progress now and then, so that silence means that this node is gone. */
  async #tell(
    writer: BatchWriter<wire.ScrubNews>,
    progress: () => wire.ScrubNews,
    signal: AbortSignal,
  ): Promise<void> {
    for await (const _ of this.#options.clock.every(SCRUB_NEWS_MS, { signal })) {
      try {
        await writer.add(progress());
        await writer.flush();
      } catch {
        return; // the caller is gone, which its signal says as well
      }
    }
  }

  /** @throws HF_UNAVAILABLE: it may be opened soon, or is somewhere else by now. */
  #storeOf(device: DeviceId): ChunkStore {
    const store = this.#stores().find(({ id }) => id === device);
    if (store) return store;
    throw new HoldfastError('HF_UNAVAILABLE', `there is no store ${device} on this node now`);
  }

  /** @throws HF_DENIED. */
  #checkMayPut(from: NodeId, id: ChunkId): void {
    if (this.#options.mayPut(from, id)) return;
    throw new HoldfastError('HF_DENIED', 'metadata is put by the node that has the store');
  }

  /** @throws HF_OLD_EPOCH. */
  #checkEpoch({ device, id, epoch }: { device: DeviceId; id: ChunkId; epoch: number }): void {
    const oldest = this.#options.oldestEpoch(device, groupOf(id));
    if (epoch >= oldest) return;
    throw new HoldfastError(
      'HF_OLD_EPOCH',
      `the group was whole at topology epoch ${oldest}; the put is of ${epoch}`,
    );
  }

  /** At most as long as moving the bytes may take. */
  async #within<Result>(
    lengthBytes: number,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const ms = wire.transferMs(lengthBytes);
    return await withinMs({ clock: this.#options.clock, ms, signal }, work);
  }
}

/** Page-aligned: resizable buffers get pages of their own (see isPageAligned). */
function allocatePages(bytes: number): Uint8Array {
  return new Uint8Array(new ArrayBuffer(bytes, { maxByteLength: bytes + 1 }), 0, bytes);
}

function badStream(reason: string): HoldfastError {
  return new HoldfastError('HF_BAD_ARGUMENT', `put: ${reason}`);
}

function given(stream: Duplex | undefined): Duplex {
  if (stream) return stream;
  throw new HoldfastError('HF_BAD_ARGUMENT', 'this is asked for with a stream');
}

/** A stream on which the caller has nothing to say. */
function givenToFill(stream: Duplex | undefined): Duplex {
  return given(stream).resume();
}

function destroyedWith(stream: Duplex, signal: AbortSignal): Disposable {
  const destroy = (): void => {
    stream.destroy(new HoldfastError('HF_INTERRUPTED', errorMessage(signal.reason)));
  };
  if (signal.aborted) destroy();
  signal.addEventListener('abort', destroy, { once: true });
  return { [Symbol.dispose]: () => signal.removeEventListener('abort', destroy) };
}

/** Bytes from the offset to the end; 0 when the store does not have the chunk. */
async function lengthOf(
  store: ChunkStore,
  { id, offset = 0 }: Pick<Arg<typeof wire.GET>, 'id' | 'offset'>,
): Promise<number> {
  const entry = await store.stat(id);
  return Math.max(0, (entry?.lengthBytes ?? 0) - offset);
}

function rangeOf({ offset, lengthBytes }: Arg<typeof wire.GET>): GetOptions {
  return {
    ...(offset !== undefined && { offset }),
    ...(lengthBytes !== undefined && { lengthBytes }),
  };
}
