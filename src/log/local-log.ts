/**
 * The engine `local`: one instance serves all cells of this machine. It has no file of its own;
 * what is durable are the records on the mirror (ruling 10), read once when it is opened.
 */
import { errorCode, errorMessage, HoldfastError, LIMITS } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { CellLogs } from './cell-logs.ts';
import type { CellId, SealableLog } from './fenced-log.ts';
import { LocalCell, type LocalLogShared } from './local-cell.ts';
import { decodePartHashes, hashOf, readHeader, RecordSealer } from './local-record.ts';
import { NEW_CELL, newestSnapshot, recoverCell, type StoredRecord } from './local-recovery.ts';
import { REGISTRY_CELL } from './log-registry.ts';
import type { Mirror, MirrorRecord, MirrorRef } from './mirror.ts';

export interface LocalLogOptions {
  readonly mirror: Mirror;
  /** 32 bytes. */
  readonly metadataKey: Uint8Array;
  /** Of the registry, from 1; rises when the engine is changed. */
  readonly generation: number;
  readonly env: Env;
}

export function sharedOf({
  mirror,
  metadataKey,
  generation,
  env,
}: LocalLogOptions): LocalLogShared {
  return { mirror, sealer: new RecordSealer(metadataKey, env.random), generation, env };
}

export class LocalLog extends CellLogs<LocalCell> implements SealableLog {
  override readonly entryBytesTarget: number = LIMITS.logEntryBytesMax;
  readonly #shared: LocalLogShared;
  /** Goes on when all others have stopped. */
  #onlyCell: CellId | undefined;

  private constructor(shared: LocalLogShared, cells: Map<CellId, LocalCell>) {
    super(cells);
    this.#shared = shared;
  }

  /**
   * Reads every record on the mirror. No epoch of an earlier run may append: seize first.
   * @throws HF_CORRUPT when acknowledged entries of a cell are lost; HF_FENCED when a newer
   *   generation is open; HF_UNAVAILABLE while this one is not; HF_WRONG_KEY when the key opens
   *   none of the records.
   */
  static async open(options: LocalLogOptions): Promise<LocalLog> {
    const { generation } = options;
    const shared = sharedOf(options);
    const records = await readRecords(shared);
    const newer = [...records.keys()].find((each) => each > generation && isOpen(records, each));
    if (newer !== undefined) {
      const message = `the log belongs to generation ${newer}, not ${generation}`;
      throw new HoldfastError('HF_FENCED', message);
    }
    if (!isOpen(records, generation)) {
      throw new HoldfastError('HF_UNAVAILABLE', `generation ${generation} of the log is not made`);
    }
    const cells = new Map<CellId, LocalCell>();
    for (const [id, ofCell] of records.get(generation) ?? []) {
      cells.set(id, new LocalCell(id, recoverCell(id, ofCell), shared));
    }
    return new LocalLog(shared, cells);
  }

  protected override makeCell(id: CellId): LocalCell {
    const cell = new LocalCell(id, NEW_CELL, this.#shared);
    if (this.#onlyCell !== undefined && this.#onlyCell !== id) void cell.stop();
    return cell;
  }

  async stopAllBut(cell: CellId): Promise<void> {
    this.#onlyCell = cell;
    for (const [id, each] of this.cells) if (id !== cell) await each.stop();
  }
}

/**
 * The newest generation that is open; `undefined` when there is not one record.
 * @throws HF_WRONG_KEY when the key opens none of them.
 */
export async function newestLocalGeneration(
  options: Omit<LocalLogOptions, 'generation'>,
): Promise<number | undefined> {
  const records = await readRecords(sharedOf({ ...options, generation: 1 }));
  const open = [...records.keys()].filter((each) => isOpen(records, each));
  return open.length > 0 ? Math.max(...open) : undefined;
}

/** Of each generation, the records of each cell. */
export type LocalRecords = ReadonlyMap<number, ReadonlyMap<CellId, readonly StoredRecord[]>>;

/** @throws HF_WRONG_KEY when the key opens none of the records. */
export async function readRecords(shared: LocalLogShared): Promise<LocalRecords> {
  const generations = new Map<number, Map<CellId, StoredRecord[]>>();
  let refused: unknown;
  for await (const stored of shared.mirror.list()) {
    let record: StoredRecord;
    try {
      record = readRecord(stored, shared);
    } catch (error) {
      if (errorCode(error) !== 'HF_CORRUPT' && errorCode(error) !== 'HF_FORGED') throw error;
      // What it stood for, if anything, shows as a gap.
      shared.env.log.warn('a record of the log was refused', { reason: errorMessage(error) });
      if (errorCode(error) === 'HF_FORGED') refused = error;
      continue;
    }
    const { generation, cell } = record.header;
    const cells = generations.get(generation) ?? new Map<CellId, StoredRecord[]>();
    const records = cells.get(cell) ?? [];
    records.push(record);
    generations.set(generation, cells.set(cell, records));
  }
  if (refused && generations.size === 0) {
    const message = 'the metadata key opens no record of the log';
    throw new HoldfastError('HF_WRONG_KEY', message, { cause: refused });
  }
  return generations;
}

/** The first generation is open from the start, a later one has got its registry last. */
export function isOpen(records: LocalRecords, generation: number): boolean {
  const ofRegistry = records.get(generation)?.get(REGISTRY_CELL) ?? [];
  return generation === 1 || newestSnapshot(ofRegistry) !== undefined;
}

/** Opens it, whatever its kind: its header counts as well. @throws HF_CORRUPT, HF_FORGED. */
function readRecord({ id, bytes }: MirrorRef & MirrorRecord, shared: LocalLogShared): StoredRecord {
  const body = shared.sealer.open(bytes);
  const header = readHeader(bytes);
  const record: StoredRecord = { header, hash: hashOf(bytes), ref: { id } };
  return header.kind === 'snapshot' ? { ...record, partHashes: decodePartHashes(body) } : record;
}
