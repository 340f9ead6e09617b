/**
 * Snapshots of a cell of the engine `etcd`. Parts are sealed and stored outside, where large things
 * are; etcd has the list of the newest snapshot's parts, which makes them valid. Setting the list
 * is the commit, under the cell's fence.
 *
 * The same list is stored beside the parts, before that: should etcd be lost with all that it has,
 * the newest snapshot is found there (pool-snapshots.ts). So what a snapshot replaces goes only
 * when the log is trimmed: rows of a new one may be of several moments until it is extended.
 */
import { bytesEqual, errorCode, HoldfastError, Mutex } from '../base/index.ts';
import type { EtcdLogShared } from './etcd-cell.ts';
import type { EtcdHolder } from './etcd-holder.ts';
import { type CellKeys, changedAt, exists } from './etcd-keys.ts';
import type { CellId, Lsn, SaveSnapshotOptions, Snapshot } from './fenced-log.ts';
import { Garbage } from './garbage.ts';
import { decodePartRefs, encodePartRefs, NO_RECORD, readHeader } from './local-record.ts';
import type { MirrorRef } from './mirror.ts';
import { saveParts } from './snapshot-parts.ts';

/** Where a snapshot is saved, on top of what, and under which fence. */
interface SnapshotPosition extends SaveSnapshotOptions {
  readonly epoch: number;
  readonly holder: Pick<EtcdHolder, 'revision' | 'life'>;
  readonly lsn: Lsn;
}

export interface StoredSnapshot {
  readonly parts: readonly MirrorRef[];
  /** The list as it is stored beside them. */
  readonly list: Uint8Array;
}

interface ListedSnapshot extends StoredSnapshot {
  readonly lsn: Lsn;
  /** Of the list. */
  readonly revision: number;
}

export class EtcdSnapshots {
  readonly #cell: CellId;
  readonly #keys: CellKeys;
  readonly #shared: EtcdLogShared;
  readonly #saving = new Mutex();
  /** Parts that nothing lists. */
  readonly #garbage: Garbage;
  /** The list of the newest snapshot, if it was made here. */
  #list: MirrorRef | undefined;

  constructor(cell: CellId, keys: CellKeys, shared: EtcdLogShared) {
    this.#cell = cell;
    this.#keys = keys;
    this.#shared = shared;
    this.#garbage = new Garbage({ cell, mirror: shared.parts, report: shared.env.log });
  }

  /** @throws HF_CORRUPT, HF_FORGED when the list cannot be read. */
  async newest(): Promise<ListedSnapshot | undefined> {
    const key = this.#keys.snapshot;
    const { answers } = await this.#shared.calls.question([{ do: 'get', key }]);
    const row = answers[0]?.rows[0];
    if (!row) return undefined;
    const header = readHeader(row.value);
    if (header.kind !== 'snapshot' || header.cell !== this.#cell) {
      throw new HoldfastError('HF_CORRUPT', `cell ${this.#cell}: the list is no snapshot's`);
    }
    const parts = decodePartRefs(this.#shared.sealer.open(row.value));
    return { lsn: header.lsn, parts, list: row.value, revision: row.changedRevision };
  }

  async save(position: SnapshotPosition, parts: AsyncIterable<Uint8Array>): Promise<void> {
    await this.#saving.run(async () => {
      const newest = await this.newest();
      if (position.lsn <= (newest?.lsn ?? 0)) return;
      await saveParts<MirrorRef>(parts, {
        extends: position.extends,
        newest,
        put: (part) => this.#shared.parts.put(this.#seal('snapshot part', position, part)),
        commit: async (all) => {
          const list = this.#seal('snapshot', position, encodePartRefs(all));
          const ref = await this.#shared.parts.put(list, 'list');
          try {
            await this.#commit(position, list, newest?.revision ?? 0);
          } catch (error) {
            if (errorCode(error) === 'HF_FENCED') this.#garbage.add(ref); // else it may count
            throw error;
          }
          if (this.#list) this.#garbage.add(this.#list);
          this.#list = ref;
        },
        discard: (needless) => this.#garbage.collect(needless),
        replace: async (needless) => needless.forEach((ref) => this.#garbage.add(ref)),
      });
    });
  }

  /** What older snapshots had alone is not needed any more. */
  async settleReplaced(): Promise<void> {
    await this.#saving.run(() => this.#garbage.collect([]));
  }

  #seal(
    kind: 'snapshot' | 'snapshot part',
    { epoch, lsn }: SnapshotPosition,
    body: Uint8Array,
  ): Uint8Array {
    const { generation, sealer } = this.#shared;
    const header = { kind, generation, cell: this.#cell, epoch, lsn };
    const rest = { acknowledged: lsn, snapshotLsn: 0, link: NO_RECORD };
    return sealer.seal({ ...header, ...rest }, body).bytes;
  }

  /** @throws HF_FENCED, HF_UNKNOWN_OUTCOME. */
  async #commit(
    { lsn, holder }: SnapshotPosition,
    value: Uint8Array,
    olderRevision: number,
  ): Promise<void> {
    const { epoch, snapshot: key } = this.#keys;
    const listing = {
      conditions: [
        changedAt(epoch, holder.revision),
        changedAt(key, olderRevision),
        exists(this.#keys.entry(lsn)),
      ],
      ifMet: [{ do: 'put', key, value }],
      ifNot: [{ do: 'get', key }],
    } as const;
    const { calls } = this.#shared;
    const { areMet, isAfterDoubt, answers } = await calls.change(listing, holder.life);
    if (areMet) return;
    const listed = answers[0]?.rows[0];
    if (listed && bytesEqual(listed.value, value)) return; // by an attempt whose answer was lost
    if (!isAfterDoubt) {
      const message = `cell ${this.#cell}: the epoch may no longer save snapshots`;
      throw new HoldfastError('HF_FENCED', message);
    }
    throw new HoldfastError('HF_UNKNOWN_OUTCOME', `cell ${this.#cell}: a snapshot is in doubt`);
  }

  async load(): Promise<Snapshot | undefined> {
    const snapshot = await this.newest();
    return snapshot && { lsn: snapshot.lsn, parts: this.#readParts(snapshot) };
  }

  async *#readParts({ lsn, parts, revision }: ListedSnapshot): AsyncGenerator<Uint8Array> {
    for (const ref of parts) {
      const bytes = await this.#shared.parts.get(ref);
      if (!bytes && (await this.newest())?.revision !== revision) {
        const message = `log of cell ${this.#cell}: snapshot ${lsn} was replaced by a newer one`;
        throw new HoldfastError('HF_NOT_FOUND', message);
      }
      const header = bytes && readHeader(bytes);
      if (!bytes || header?.kind !== 'snapshot part' || header.cell !== this.#cell) {
        const message = `log of cell ${this.#cell}: a part of snapshot ${lsn} cannot be read`;
        throw new HoldfastError('HF_CORRUPT', message);
      }
      yield this.#shared.sealer.open(bytes);
    }
  }

  /** Resolves when nothing is being saved. */
  async settled(): Promise<void> {
    await this.#saving.run(async () => {});
  }
}
