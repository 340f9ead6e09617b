/**
 * Parts of cells' snapshots in the data pool: each a chunk, with a scheme number of its own, on
 * stores of as many nodes as content survives losses of, and one more. Where they are is not
 * written down: which stores follows from the part's id, and who reads asks them all. Only what the
 * log lists is part of a snapshot, so a part that nothing lists is litter, not a danger.
 */
import {
  asBuffer,
  type ChunkId,
  type DeviceId,
  errorCode,
  HoldfastError,
  LIMITS,
  mapBounded,
  METADATA_PART_SCHEME_NUMBER,
  metadataChunkId,
  type NodeId,
  toHex,
} from '../../base/index.ts';
import type { Cluster } from '../../cluster/index.ts';
import { digest } from '../../crypto/index.ts';
import type { Mirror, MirrorRef } from '../../log/index.ts';
import type { ChunkStore } from '../../store/index.ts';
import type { Peers } from '../core.ts';
import {
  COPY_GENERATION,
  copiesOn,
  findCopy,
  ignored,
  removeQuietly,
  rendezvous,
  spreadOver,
} from './copies.ts';

const STORES_AT_ONCE = 16;

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

/** Copies of one part. */
export interface HeldPart {
  readonly id: ChunkId;
  /** When the youngest of them was written: clocks of stores differ. */
  writtenAtMs: number;
  readonly good: ChunkStore[];
  readonly bad: ChunkStore[];
}

export class PoolParts implements Pick<Mirror, 'put' | 'get' | 'remove'> {
  readonly #options: PoolPartsOptions;

  constructor(options: PoolPartsOptions) {
    this.#options = options;
  }

  /** @throws HF_TOO_FEW_STORES when fewer nodes take it than must; HF_NO_SPACE. */
  async put(bytes: Uint8Array): Promise<MirrorRef> {
    const id = metadataChunkId(digest(bytes), METADATA_PART_SCHEME_NUMBER);
    const { nodes, full } = await this.#putCopies(id, bytes, new Set());
    if (nodes.size >= this.#nodesMin()) return { id };
    if (full) throw full;
    throw new HoldfastError(
      'HF_TOO_FEW_STORES',
      `metadata could be stored on ${nodes.size} nodes only and must be on ${this.#nodesMin()}`,
    );
  }

  /** More than half of the nodes, so that a ring that has its majority finds it; not beyond. */
  #nodesMin(): number {
    const { tolerance, nodeCount } = this.#options;
    return Math.min(tolerance + 1, Math.floor(nodeCount() / 2) + 1);
  }

  /** Puts copies on further nodes than `nodes`, until there are as many as it is to have. */
  async #putCopies(
    id: ChunkId,
    bytes: Uint8Array,
    before: ReadonlySet<NodeId>,
  ): Promise<{ readonly nodes: ReadonlySet<NodeId>; readonly full: unknown }> {
    const nodes = new Set(before);
    let full: unknown;
    const candidates = this.#order(id).values();
    const putOne = async (): Promise<void> => {
      for (const store of candidates) {
        const node = this.#nodeOf(store);
        if (nodes.has(node)) continue;
        nodes.add(node); // so that no other copy goes there meanwhile
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
    const missing = Math.max(0, this.#options.tolerance + 1 - before.size);
    await mapBounded(Array.from({ length: missing }), LIMITS.deviceOperationsMax, putOne);
    return { nodes, full };
  }

  #nodeOf({ id }: ChunkStore): NodeId {
    return this.#options.nodeOf(id) ?? (id as string as NodeId);
  }

  #order(id: ChunkId): readonly ChunkStore[] {
    const { stores, isLeaving } = this.#options;
    const staying = stores().filter((store) => !isLeaving?.(store.id));
    return spreadOver(rendezvous(staying, id), (store) => this.#nodeOf(store));
  }

  async get({ id }: MirrorRef): Promise<Uint8Array | undefined> {
    return await findCopy(this.#options.stores(), id as ChunkId);
  }

  async remove(refs: readonly MirrorRef[]): Promise<void> {
    await mapBounded(this.#options.stores(), STORES_AT_ONCE, async (store) => {
      for (const { id } of refs) await removeQuietly(store, id as ChunkId);
    });
  }

  /**
   * Brings parts back to copies on as many nodes as they are to have, and lets go of bad ones. To
   * be run by one node at a time; two do no harm.
   * @returns how many lacked some.
   */
  async repair(): Promise<number> {
    const nodes = new Set(this.#order(NO_PART).map((store) => this.#nodeOf(store)));
    const wanted = Math.min(this.#options.tolerance + 1, nodes.size);
    let needyCount = 0;
    for (const { id, good, bad } of await this.census()) {
      const staying = good.filter(({ id: device }) => !this.#options.isLeaving?.(device));
      const holders = new Set(staying.map((store) => this.#nodeOf(store)));
      if (holders.size >= wanted && bad.length === 0) continue;
      needyCount += 1;
      const bytes = await this.get({ id });
      if (!bytes) continue; // nothing left to copy; the log knows whether it is missed
      await this.#putCopies(id, bytes, holders);
      for (const store of bad) {
        const isGood = (await store.stat(id).catch(ignored))?.isGood;
        if (isGood === false) await removeQuietly(store, id);
      }
    }
    return needyCount;
  }

  /** On the stores that can be asked. */
  async census(): Promise<readonly HeldPart[]> {
    const parts = new Map<string, HeldPart>();
    await mapBounded(this.#options.stores(), STORES_AT_ONCE, async (store) => {
      try {
        for await (const entry of copiesOn(store, METADATA_PART_SCHEME_NUMBER)) {
          const { id, isGood, writtenAtMs } = entry;
          const held = parts.get(toHex(id)) ?? { id, writtenAtMs, good: [], bad: [] };
          held.writtenAtMs = Math.max(held.writtenAtMs, writtenAtMs);
          (isGood ? held.good : held.bad).push(store);
          parts.set(toHex(id), held);
        }
      } catch (error) {
        if (errorCode(error) === undefined) throw error; // what it holds is looked at next time
      }
    });
    return [...parts.values()];
  }
}

/** Any id: only the set of stores matters. */
const NO_PART = metadataChunkId(asBuffer(new Uint8Array(32)), METADATA_PART_SCHEME_NUMBER);

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
