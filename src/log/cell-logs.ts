/** A fenced log as a set of cells, each of which keeps a log of its own: what the engines share. */
import { assert, HoldfastError } from '../base/index.ts';
import type {
  CellId,
  FencedLog,
  LogEntry,
  LogHead,
  Lsn,
  SaveSnapshotOptions,
  Snapshot,
} from './fenced-log.ts';

/** The log of one cell; its methods are those of {@link FencedLog}. */
export interface CellLog {
  head(): LogHead | Promise<LogHead>;
  seize(): Promise<{ epoch: number; lsn: Lsn }>;
  append(position: { epoch: number; lsn: Lsn }, bytes: Uint8Array): Promise<'ok' | 'fenced'>;
  confirm(epoch: number): boolean | Promise<boolean>;
  read(from: Lsn): AsyncIterable<LogEntry>;
  trim(upTo: Lsn): Promise<void>;
  saveSnapshot(
    position: { epoch: number; lsn: Lsn },
    parts: AsyncIterable<Uint8Array>,
    options?: SaveSnapshotOptions,
  ): Promise<void>;
  loadSnapshot(): Snapshot | undefined | Promise<Snapshot | undefined>;
  /** When nothing that was asked is under way any more. */
  settled(): Promise<unknown>;
}

export abstract class CellLogs<Cell extends CellLog> implements FencedLog {
  abstract readonly entryBytesTarget: number;
  protected readonly cells: Map<CellId, Cell>;
  #isClosed = false;

  constructor(cells: Map<CellId, Cell> = new Map()) {
    this.cells = cells;
  }

  /** Of a cell that is asked for the first time. */
  protected abstract makeCell(id: CellId): Cell;

  #cell(id: CellId): Cell {
    assert(/^[a-z0-9-]+$/.test(id), 'a cell has a short name');
    if (this.#isClosed) throw new HoldfastError('HF_CLOSED', 'the log is closed');
    let cell = this.cells.get(id);
    if (!cell) this.cells.set(id, (cell = this.makeCell(id)));
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
    options?: SaveSnapshotOptions,
  ): Promise<void> {
    await this.#cell(cell).saveSnapshot(position, parts, options);
  }

  async loadSnapshot(cell: CellId): Promise<Snapshot | undefined> {
    return await this.#cell(cell).loadSnapshot();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const cell of this.cells.values()) await cell.settled();
  }
}
