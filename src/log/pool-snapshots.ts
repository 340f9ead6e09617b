/**
 * What the stores of a cluster have of a generation of the engine `etcd`, for when etcd is lost
 * with all that it had: the newest snapshot of each cell, and copies of the registry, which are
 * saved as if it were one more cell (REGISTRY_CELL). Found again with nothing but the stores and
 * the metadata key.
 *
 * Of two lists of a cell the newer one is that of the higher epoch, then of the higher entry. One
 * that was never committed (its steward was fenced, or died) counts as well: all that it has was
 * acknowledged.
 */
import { concatBytes, errorCode, errorMessage, HoldfastError } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { CellId, Lsn, Snapshot } from './fenced-log.ts';
import type { RegistryCopy } from './generations.ts';
import {
  decodePartRefs,
  encodePartRefs,
  NO_RECORD,
  readHeader,
  RecordSealer,
} from './local-record.ts';
import { REGISTRY_CELL, registryParts } from './log-registry.ts';
import type { MirrorRecord, MirrorRef, PartStore } from './mirror.ts';
import { RegistryState } from './registry-state.ts';

/** Copies of the registry are told apart by their versions alone. */
const REGISTRY_EPOCH = 1;

/** A list of the pool, opened. Its parts may be gone: reading them tells, with HF_CORRUPT. */
export interface PoolSnapshot extends Snapshot {
  readonly ref: MirrorRef;
  readonly generation: number;
  readonly cell: CellId;
  readonly epoch: number;
  readonly lsn: Lsn;
  readonly partRefs: readonly MirrorRef[];
}

export interface PoolSnapshotsOptions {
  /** `lists` gives each list once. */
  readonly parts: PartStore & { lists(): AsyncIterable<MirrorRef & MirrorRecord> };
  /** 32 bytes. */
  readonly metadataKey: Uint8Array;
  readonly env: Pick<Env, 'random' | 'log'>;
}

export class PoolSnapshots {
  readonly #options: PoolSnapshotsOptions;
  readonly #sealer: RecordSealer;

  constructor(options: PoolSnapshotsOptions) {
    this.#options = options;
    this.#sealer = new RecordSealer(options.metadataKey, options.env.random);
  }

  /** All lists that the key opens, of all generations; of each cell the newest first. */
  async all(): Promise<readonly PoolSnapshot[]> {
    const found: PoolSnapshot[] = [];
    for await (const { id, bytes } of this.#options.parts.lists()) {
      try {
        found.push(this.#opened({ id }, bytes));
      } catch (error) {
        if (errorCode(error) === undefined) throw error;
        const reason = errorMessage(error);
        this.#options.env.log.warn('a list of a snapshot was refused', { reason });
      }
    }
    return found.toSorted(
      (a, b) => b.generation - a.generation || b.epoch - a.epoch || b.lsn - a.lsn,
    );
  }

  #opened(ref: MirrorRef, bytes: Uint8Array): PoolSnapshot {
    const { kind, generation, cell, epoch, lsn } = readHeader(bytes);
    if (kind !== 'snapshot') throw new HoldfastError('HF_CORRUPT', 'a list is no snapshot');
    const partRefs = decodePartRefs(this.#sealer.open(bytes));
    const parts = { [Symbol.asyncIterator]: () => this.#parts(cell, partRefs) };
    return { ref, generation, cell, epoch, lsn, partRefs, parts };
  }

  async *#parts(cell: CellId, refs: readonly MirrorRef[]): AsyncGenerator<Uint8Array> {
    for (const ref of refs) {
      const bytes = await this.#options.parts.get(ref);
      const header = bytes && readHeader(bytes);
      if (!bytes || header?.kind !== 'snapshot part' || header.cell !== cell) {
        throw new HoldfastError('HF_CORRUPT', `a part of a snapshot of cell ${cell} is gone`);
      }
      yield this.#sealer.open(bytes);
    }
  }

  /** Stores a copy of the registry of a generation; durable when it resolves. */
  async saveRegistry(generation: number, copy: RegistryCopy): Promise<PoolSnapshot> {
    const { parts } = this.#options;
    const lsn = copy.version;
    const partRefs: MirrorRef[] = [];
    const seal = (kind: 'snapshot' | 'snapshot part', body: Uint8Array): Uint8Array => {
      const place = { generation, cell: REGISTRY_CELL, epoch: REGISTRY_EPOCH, lsn };
      const rest = { acknowledged: lsn, snapshotLsn: 0, link: NO_RECORD };
      return this.#sealer.seal({ kind, ...place, ...rest }, body).bytes;
    };
    for await (const part of registryParts(RegistryState.of(copy))) {
      partRefs.push(await parts.put(seal('snapshot part', part)));
    }
    const list = seal('snapshot', encodePartRefs(partRefs));
    return this.#opened(await parts.put(list, 'list'), list);
  }
}

/** What a copy of the registry says. @throws HF_CORRUPT when it is not whole. */
export async function registryIn(snapshot: Snapshot): Promise<RegistryCopy> {
  const state = RegistryState.decode(concatBytes(...(await Array.fromAsync(snapshot.parts))));
  return { version: snapshot.lsn, rows: state.list('') };
}
