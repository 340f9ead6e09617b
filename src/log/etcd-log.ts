/**
 * The engine `etcd`: the cells' logs, sealed, in an etcd that several nodes reach. etcd orders and
 * keeps them; it holds what the snapshots do not vouch for yet, and no content of any other kind.
 */
import { assert, HoldfastError } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { EtcdCell, type EtcdLogShared } from './etcd-cell.ts';
import { EtcdCalls, type EtcdKv } from './etcd-kv.ts';
import type { CellId, FencedLog, LogEntry, LogHead, Lsn, Snapshot } from './fenced-log.ts';
import { RecordSealer } from './local-record.ts';
import type { Mirror } from './mirror.ts';

/** Where the engine `etcd` keeps what it keeps. */
export interface EtcdPlace {
  /** Stays the caller's. */
  readonly kv: EtcdKv;
  /** Of all keys, ends in '/'; another one for each cluster and generation (ruling 17). */
  readonly prefix: string;
  /** 32 bytes. */
  readonly metadataKey: Uint8Array;
  /** Of the registry, from 1; rises when the engine is changed. */
  readonly generation: number;
  readonly env: Env;
  /** How long attempts go on; by default three deadlines. */
  readonly patienceMs?: number;
}

export interface EtcdLogOptions extends EtcdPlace {
  /** Takes the snapshots' parts, which are too large for etcd; names are made from the bytes. */
  readonly parts: Pick<Mirror, 'put' | 'get' | 'remove'>;
}

export class EtcdLog implements FencedLog {
  readonly #shared: EtcdLogShared;
  readonly #cells = new Map<CellId, EtcdCell>();
  #isClosed = false;

  /** No epoch of an earlier run may append: seize first. */
  constructor({ kv, prefix, metadataKey, generation, env, parts, patienceMs }: EtcdLogOptions) {
    assert(prefix.endsWith('/'), 'a prefix ends where a name may begin');
    const calls = new EtcdCalls({ kv, clock: env.clock, patienceMs });
    const sealer = new RecordSealer(metadataKey, env.random);
    this.#shared = { calls, prefix, parts, sealer, generation, env };
  }

  #cell(id: CellId): EtcdCell {
    assert(/^[a-z0-9-]+$/.test(id), 'a cell has a short name');
    if (this.#isClosed) throw new HoldfastError('HF_CLOSED', 'the log is closed');
    let cell = this.#cells.get(id);
    if (!cell) this.#cells.set(id, (cell = new EtcdCell(id, this.#shared)));
    return cell;
  }

  async head(cell: CellId): Promise<LogHead> {
    return await this.#cell(cell).head();
  }

  async seize(cell: CellId): Promise<{ epoch: number; lsn: Lsn }> {
    return await this.#cell(cell).seize();
  }

  async append(
    cell: CellId,
    position: { epoch: number; lsn: Lsn },
    bytes: Uint8Array,
  ): Promise<'ok' | 'fenced'> {
    return await this.#cell(cell).append(position, bytes);
  }

  async confirm(cell: CellId, epoch: number): Promise<boolean> {
    return await this.#cell(cell).confirm(epoch);
  }

  read(cell: CellId, from: Lsn): AsyncIterable<LogEntry> {
    return this.#cell(cell).read(from);
  }

  async trim(cell: CellId, upTo: Lsn): Promise<void> {
    await this.#cell(cell).trim(upTo);
  }

  async saveSnapshot(
    cell: CellId,
    position: { epoch: number; lsn: Lsn },
    parts: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    await this.#cell(cell).saveSnapshot(position, parts);
  }

  async loadSnapshot(cell: CellId): Promise<Snapshot | undefined> {
    return await this.#cell(cell).loadSnapshot();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const cell of this.#cells.values()) await cell.settled();
  }
}
