/**
 * Parts of cells' snapshots in the data pool, and the lists of them: each erasure coded, k chunks
 * of k + tolerance restore it, on stores of different nodes; small ones, and where there are few
 * nodes, have k = 1, which are copies (part-shards.ts). Where they are is not written down: which
 * stores follows from the part's id, and who reads asks them all. Only what the log lists is part
 * of a snapshot, so a part that nothing lists is litter, not a danger.
 */
import {
  type ChunkId,
  chunkIdParts,
  type DeviceId,
  errorCode,
  HoldfastError,
  isPoolMetadataScheme,
  KiB,
  LIMITS,
  mapBounded,
  METADATA_LIST_SCHEME_NUMBER,
  type NodeId,
  toHex,
  unlessBug,
} from '../../base/index.ts';
import type { Cluster } from '../../cluster/index.ts';
import type { MirrorRecord, MirrorRef, PartStore } from '../../log/index.ts';
import type { ChunkStore } from '../../store/index.ts';
import type { Peers } from '../core.ts';
import { majorityOf } from '../ring/ring-plan.ts';
import {
  COPY_GENERATION,
  copiesOn,
  firstCopy,
  removeQuietly,
  rendezvous,
  spreadOver,
} from './copies.ts';
import { chunkIdsOf, neededCount, type PartChunk, partOf, PartShards } from './part-shards.ts';

const STORES_AT_ONCE = 16;
/** Smaller shards would be mostly headers, and blocks that are not full. */
const SHARD_BYTES_MIN = 64 * KiB;
/** More shards would make reading slower, and save little. */
const DATA_SHARDS_MAX = 4;
/** Nodes without a chunk of a part: there it is made again when a node is lost for good. */
const SPARE_NODES = 1;

export interface PoolPartsOptions {
  /** All stores of the cluster that can be asked, as of the call. */
  readonly stores: () => readonly ChunkStore[];
  readonly nodeOf: (device: DeviceId) => NodeId | undefined;
  /** Nodes that have stores, those that are away too. */
  readonly nodeCount: () => number;
  /** Losses that a part survives, where there are nodes enough. */
  readonly tolerance: number;
  /** Whether a store is being drained: it gets no parts. */
  readonly isLeaving?: ((device: DeviceId) => boolean) | undefined;
}

/** Chunks of one part. */
export interface HeldPart {
  readonly id: ChunkId;
  /** When the youngest of them was written: clocks of stores differ. */
  writtenAtMs: number;
  readonly good: HeldChunk[];
  readonly bad: HeldChunk[];
}

interface HeldChunk {
  readonly id: ChunkId;
  readonly store: ChunkStore;
}

/**
 * Nodes that take a copy, or it is not stored: more than half of them, so that a ring that has its
 * majority finds it; not beyond the tolerance.
 */
export function copiesMin(nodeCount: number, tolerance: number): number {
  return Math.min(tolerance + 1, majorityOf(nodeCount));
}

export class PoolParts implements PartStore {
  readonly #options: PoolPartsOptions;
  readonly #shards = new PartShards();

  constructor(options: PoolPartsOptions) {
    this.#options = options;
  }

  /** @throws HF_TOO_FEW_STORES when fewer nodes take it than must; HF_NO_SPACE. */
  async put(bytes: Uint8Array, kind: 'part' | 'list' = 'part'): Promise<MirrorRef> {
    const { tolerance, nodeCount } = this.#options;
    const isList = kind === 'list';
    for (let k = isList ? 1 : this.#dataShards(bytes.length); ;) {
      const chunks = this.#shards.chunksOf(bytes, { k, tolerance, isList });
      const { id } = chunks[0]!;
      const { nodes, full } = await this.#putOnNodes(chunks, new Set());
      const nodesMin = k - 1 + copiesMin(nodeCount(), tolerance);
      if (nodes.size >= nodesMin) return { id };
      await this.remove([{ id }]);
      if (k > 1) {
        k = Math.max(1, Math.min(k - 1, nodes.size - tolerance)); // with fewer it may do
        continue;
      }
      if (full) throw full;
      throw new HoldfastError(
        'HF_TOO_FEW_STORES',
        `metadata could be stored on ${nodes.size} nodes only and must be on ${nodesMin}`,
      );
    }
  }

  /** As many as the nodes that are here allow, and the length. */
  #dataShards(byteCount: number): number {
    const byLength = Math.floor(byteCount / SHARD_BYTES_MIN);
    const byNodes = this.#nodesHere() - this.#options.tolerance - SPARE_NODES;
    return Math.max(1, Math.min(DATA_SHARDS_MAX, byLength, byNodes));
  }

  #nodesHere(): number {
    return new Set(this.#staying().map((store) => this.#nodeOf(store))).size;
  }

  /**
   * Puts each chunk on a node of its own, and on none of `before`.
   * @returns all of these nodes.
   */
  async #putOnNodes(
    chunks: readonly PartChunk[],
    before: ReadonlySet<NodeId>,
  ): Promise<{ readonly nodes: ReadonlySet<NodeId>; readonly full: unknown }> {
    const nodes = new Set(before);
    let full: unknown;
    const [first] = chunks;
    const candidates = first ? this.#order(partOf(first.id), this.#staying()).values() : [];
    const putOne = async ({ id, bytes }: PartChunk): Promise<void> => {
      for (const store of candidates) {
        const node = this.#nodeOf(store);
        if (nodes.has(node)) continue;
        nodes.add(node); // so that no other chunk goes there meanwhile
        try {
          await store.put(id, bytes, { generation: COPY_GENERATION });
          return;
        } catch (error) {
          if (errorCode(error) === undefined) throw error;
          if (errorCode(error) === 'HF_NO_SPACE') full = error;
          nodes.delete(node);
        }
      }
    };
    await mapBounded(chunks, LIMITS.deviceOperationsMax, putOne);
    return { nodes, full };
  }

  #nodeOf({ id }: ChunkStore): NodeId {
    return this.#options.nodeOf(id) ?? (id as string as NodeId);
  }

  #staying(): readonly ChunkStore[] {
    const { stores, isLeaving } = this.#options;
    return stores().filter((store) => !isLeaving?.(store.id));
  }

  #order(part: ChunkId, stores: readonly ChunkStore[]): readonly ChunkStore[] {
    return spreadOver(rendezvous(stores, part), (store) => this.#nodeOf(store));
  }

  /** From any chunks that restore it. */
  async get({ id }: MirrorRef): Promise<Uint8Array | undefined> {
    const part = id as ChunkId;
    const needed = neededCount(part);
    const found: PartChunk[] = [];
    const order = this.#order(part, this.#options.stores());
    const others = chunkIdsOf(part, 1).entries();
    const findOne = async (): Promise<void> => {
      for (const [index, chunk] of others) {
        // Where it was put, if all were there that are here now.
        const stores = [...order.slice(index), ...order.slice(0, index)];
        const bytes = await firstCopy(stores, chunk);
        if (!bytes) continue;
        found.push({ id: chunk, bytes });
        return;
      }
    };
    await mapBounded(Array.from({ length: needed }), needed, findOne);
    return found.length === needed ? this.#shards.restored(part, found) : undefined;
  }

  async remove(refs: readonly MirrorRef[]): Promise<void> {
    const ids = refs.flatMap(({ id }) => chunkIdsOf(id as ChunkId, 1));
    await mapBounded(this.#options.stores(), STORES_AT_ONCE, async (store) => {
      for (const id of ids) await removeQuietly(store, id);
    });
  }

  /** Every list of parts that can be read, each once. */
  async *lists(): AsyncGenerator<MirrorRef & MirrorRecord> {
    for (const { id } of await this.census()) {
      if (chunkIdParts(id).schemeNumber !== METADATA_LIST_SCHEME_NUMBER) continue;
      const bytes = await this.get({ id });
      if (bytes) yield { id, bytes };
    }
  }

  /**
   * Brings parts back to all their chunks, on as many nodes as there are for them, and lets go of
   * bad ones. To be run by one node at a time; two do no harm.
   * @returns how many parts lacked some.
   */
  async repair(): Promise<number> {
    const nodeCount = this.#nodesHere();
    let needyCount = 0;
    for (const held of await this.census()) {
      const ids = chunkIdsOf(held.id, this.#options.tolerance + 1);
      const { nodes, missing } = this.#lacking(ids, held.good);
      const wanted = Math.min(ids.length, nodeCount);
      if (ids.length - missing.size >= wanted && held.bad.length === 0) continue;
      needyCount += 1;
      const bytes = await this.get(held);
      if (!bytes) continue; // too little is left; the log knows whether it is missed
      const chunks = this.#shards.chunksAgain(held.id, bytes, ids.length);
      const again = chunks?.filter((_, index) => missing.has(index)) ?? [];
      await this.#putOnNodes(again, nodes);
      for (const { id, store } of held.bad) {
        const isGood = (await store.stat(id).catch(unlessBug))?.isGood;
        if (isGood === false) await removeQuietly(store, id);
      }
    }
    return needyCount;
  }

  /** Which chunks have no node of their own, and which nodes the others have. */
  #lacking(
    ids: readonly ChunkId[],
    good: readonly HeldChunk[],
  ): { readonly nodes: ReadonlySet<NodeId>; readonly missing: ReadonlySet<number> } {
    const staying = good.filter(({ store }) => !this.#options.isLeaving?.(store.id));
    const byId = Map.groupBy(staying, ({ id }) => toHex(id));
    const nodes = new Set<NodeId>();
    const missing = new Set<number>();
    for (const [index, id] of ids.entries()) {
      const holders = (byId.get(toHex(id)) ?? []).map(({ store }) => this.#nodeOf(store));
      const node = holders.find((one) => !nodes.has(one));
      if (node === undefined) missing.add(index);
      else nodes.add(node);
    }
    return { nodes, missing };
  }

  /** On the stores that can be asked. */
  async census(): Promise<readonly HeldPart[]> {
    const parts = new Map<string, HeldPart>();
    await mapBounded(this.#options.stores(), STORES_AT_ONCE, async (store) => {
      try {
        for await (const { id, isGood, writtenAtMs } of copiesOn(store, isPoolMetadataScheme)) {
          const part = partOf(id);
          const held = parts.get(toHex(part)) ?? { id: part, writtenAtMs, good: [], bad: [] };
          held.writtenAtMs = Math.max(held.writtenAtMs, writtenAtMs);
          (isGood ? held.good : held.bad).push({ id, store });
          parts.set(toHex(part), held);
        }
      } catch (error) {
        if (errorCode(error) === undefined) throw error; // what it holds is looked at next time
      }
    });
    return [...parts.values()];
  }
}

/** In the pool of a cluster, as it is at each call. */
export function poolParts({
  cluster,
  own,
  peers,
  tolerance,
}: {
  readonly cluster: Pick<Cluster, 'topology' | 'nodeOf'>;
  /** The stores of this node that are alive. */
  readonly own: () => readonly ChunkStore[];
  readonly peers: Pick<Peers, 'alive'>;
  readonly tolerance: number;
}): PoolParts {
  const devices = () => cluster.topology().devices.filter(({ state }) => state !== 'out');
  return new PoolParts({
    stores: () => storesOfAll(own(), peers),
    tolerance,
    nodeOf: (device) => cluster.nodeOf(device),
    nodeCount: () => new Set(devices().map(({ id }) => cluster.nodeOf(id))).size,
    isLeaving: (device) => devices().some(({ id, state }) => id === device && state !== 'in'),
  });
}

/** Each once: a device that has just been moved here may still count as another node's. */
export function storesOfAll(
  own: readonly ChunkStore[],
  peers: Pick<Peers, 'alive'>,
): readonly ChunkStore[] {
  const ids = new Set(own.map(({ id }) => id));
  return [...own, ...peers.alive().filter(({ id }) => !ids.has(id))];
}
