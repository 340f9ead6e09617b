/**
 * The engine `etcd`: the cells' logs, sealed, in an etcd that several nodes reach. etcd orders and
 * keeps them; it holds what the snapshots do not vouch for yet, and no content of any other kind.
 */
import { assert, KiB } from '../base/index.ts';
import { CellLogs } from './cell-logs.ts';
import { EtcdCell, type EtcdLogShared } from './etcd-cell.ts';
import { EtcdGeneration, type EtcdPlace, type GenerationCalls } from './etcd-generation.ts';
import { CellKeys, cellOfKey, cellRange } from './etcd-keys.ts';
import { EtcdSnapshots, type StoredSnapshot } from './etcd-snapshots.ts';
import type { CellId } from './fenced-log.ts';
import { RecordSealer, type RecordSealing } from './local-record.ts';
import type { PartStore } from './mirror.ts';

export interface EtcdLogOptions extends EtcdPlace {
  /** Takes the snapshots' parts, which are too large for etcd; names are made from the bytes. */
  readonly parts: PartStore;
  /** PLAIN_RECORDS in simulations; all who share the log have the same. */
  readonly sealing?: RecordSealing;
}

/** Deflated, a full one is about GROUP_BYTES_MAX (etcd-holder.ts), some 120 creates of files. */
const ENTRY_BYTES_TARGET = 40 * KiB;

export function sharedOf(options: EtcdLogOptions, calls: GenerationCalls): EtcdLogShared {
  const { prefix, metadataKey, generation, env, parts, sealing } = options;
  assert(prefix.endsWith('/'), 'a prefix ends where a name may begin');
  const sealer = sealing ?? new RecordSealer(metadataKey, env.random);
  return { calls, prefix, parts, sealer, generation, env };
}

export class EtcdLog extends CellLogs<EtcdCell> {
  override readonly entryBytesTarget: number = ENTRY_BYTES_TARGET;
  readonly #shared: EtcdLogShared;

  /** No epoch of an earlier run may append: seize first. */
  constructor(options: EtcdLogOptions) {
    super();
    this.#shared = sharedOf(options, new EtcdGeneration(options));
  }

  /** All that etcd has anything of. */
  async *cellIds(): AsyncGenerator<CellId> {
    const { calls, prefix } = this.#shared;
    for (let last: CellId | undefined; ;) {
      const range = cellRange(prefix, last);
      const { answers } = await calls.question([{ do: 'get', ...range, limit: 1 }]);
      const row = answers[0]?.rows[0];
      if (!row) return;
      yield (last = cellOfKey(prefix, row.key));
    }
  }

  /**
   * What is stored of a cell's newest snapshot; `undefined` when there is none.
   * @throws HF_CORRUPT, HF_FORGED when the list cannot be read.
   */
  async snapshotParts(cell: CellId): Promise<StoredSnapshot | undefined> {
    const { prefix } = this.#shared;
    const snapshots = new EtcdSnapshots(cell, new CellKeys(prefix, cell), this.#shared);
    return await snapshots.newest();
  }

  protected override makeCell(id: CellId): EtcdCell {
    return new EtcdCell(id, this.#shared);
  }
}
