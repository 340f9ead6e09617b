/**
 * The engine `local`: one instance serves all cells of this machine. It has no file of its own;
 * what is durable are the records on the mirror (ruling 10), read once when it is opened.
 */
import { errorCode, errorMessage, HoldfastError } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { CellLogs } from './cell-logs.ts';
import type { CellId } from './fenced-log.ts';
import { LocalCell, type LocalLogShared } from './local-cell.ts';
import { decodePartHashes, hashOf, readHeader, RecordSealer } from './local-record.ts';
import { NEW_CELL, recoverCell, type StoredRecord } from './local-recovery.ts';
import type { Mirror, MirrorRecord, MirrorRef } from './mirror.ts';

export interface LocalLogOptions {
  readonly mirror: Mirror;
  /** 32 bytes. */
  readonly metadataKey: Uint8Array;
  /** Of the registry, from 1; rises when the engine is changed. */
  readonly generation: number;
  readonly env: Env;
}

export class LocalLog extends CellLogs {
  readonly #shared: LocalLogShared;

  private constructor(shared: LocalLogShared, cells: Map<CellId, LocalCell>) {
    super(cells);
    this.#shared = shared;
  }

  /**
   * Reads every record on the mirror. No epoch of an earlier run may append: seize first.
   * @throws HF_CORRUPT when acknowledged entries of a cell are lost; HF_FENCED when a newer
   *   generation has taken over; HF_WRONG_KEY when the key opens none of the records.
   */
  static async open({ mirror, metadataKey, generation, env }: LocalLogOptions): Promise<LocalLog> {
    const sealer = new RecordSealer(metadataKey, env.random);
    const shared: LocalLogShared = { mirror, sealer, generation, env };
    const cells = new Map<CellId, LocalCell>();
    for (const [id, records] of await readCells(shared)) {
      cells.set(id, new LocalCell(id, recoverCell(id, records), shared));
    }
    return new LocalLog(shared, cells);
  }

  protected override makeCell(id: CellId): LocalCell {
    return new LocalCell(id, NEW_CELL, this.#shared);
  }
}

/** The records of each cell. Those of older generations are left alone and not read. */
async function readCells(shared: LocalLogShared): Promise<Map<CellId, StoredRecord[]>> {
  const { mirror, generation, env } = shared;
  const cells = new Map<CellId, StoredRecord[]>();
  let refused: unknown;
  for await (const stored of mirror.list()) {
    let record: StoredRecord;
    try {
      record = readRecord(stored, shared);
    } catch (error) {
      if (errorCode(error) !== 'HF_CORRUPT' && errorCode(error) !== 'HF_FORGED') throw error;
      // What it stood for, if anything, shows as a gap.
      env.log.warn('a record of the log was refused', { reason: errorMessage(error) });
      if (errorCode(error) === 'HF_FORGED') refused = error;
      continue;
    }
    const { header } = record;
    if (header.generation > generation) {
      const message = `the log belongs to generation ${header.generation}, not ${generation}`;
      throw new HoldfastError('HF_FENCED', message);
    }
    if (header.generation < generation) continue;
    const known = cells.get(header.cell);
    if (known) known.push(record);
    else cells.set(header.cell, [record]);
  }
  if (refused && cells.size === 0) {
    const message = 'the metadata key opens no record of the log';
    throw new HoldfastError('HF_WRONG_KEY', message, { cause: refused });
  }
  return cells;
}

/** Opens it, whatever its kind: its header counts as well. @throws HF_CORRUPT, HF_FORGED. */
function readRecord({ id, bytes }: MirrorRef & MirrorRecord, shared: LocalLogShared): StoredRecord {
  const body = shared.sealer.open(bytes);
  const header = readHeader(bytes);
  const record: StoredRecord = { header, hash: hashOf(bytes), ref: { id } };
  return header.kind === 'snapshot' ? { ...record, partHashes: decodePartHashes(body) } : record;
}
