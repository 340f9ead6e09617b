/**
 * The engine `etcd`: the cells' logs, sealed, in an etcd that several nodes reach. etcd orders and
 * keeps them; it holds what the snapshots do not vouch for yet, and no content of any other kind.
 */
import { assert } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { CellLogs } from './cell-logs.ts';
import { EtcdCell, type EtcdLogShared } from './etcd-cell.ts';
import { EtcdCalls, type EtcdKv } from './etcd-kv.ts';
import type { CellId } from './fenced-log.ts';
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

export class EtcdLog extends CellLogs {
  readonly #shared: EtcdLogShared;

  /** No epoch of an earlier run may append: seize first. */
  constructor({ kv, prefix, metadataKey, generation, env, parts, patienceMs }: EtcdLogOptions) {
    super();
    assert(prefix.endsWith('/'), 'a prefix ends where a name may begin');
    const calls = new EtcdCalls({ kv, clock: env.clock, patienceMs });
    const sealer = new RecordSealer(metadataKey, env.random);
    this.#shared = { calls, prefix, parts, sealer, generation, env };
  }

  protected override makeCell(id: CellId): EtcdCell {
    return new EtcdCell(id, this.#shared);
  }
}
