/**
 * The engine `memory`: the cells of a whole simulated cluster in one object. Callers on many nodes
 * share it and reach it over a {@link MemoryWire}; what it does on arrival is one step.
 *
 * An append is refused when its epoch is old (`fenced`) and when the entry before it is not there
 * (unknown to the caller, ruling 16). Each check can be switched off, so that a suite or a
 * simulation proves that it would notice.
 */
import { assert, HoldfastError, LIMITS } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { AckOrder } from './ack-order.ts';
import {
  type CellId,
  extendedParts,
  type LogEntry,
  type LogHead,
  type Lsn,
  type SaveSnapshotOptions,
  type SealableLog,
  type Snapshot,
  SNAPSHOT_PART_BYTES_MAX,
} from './fenced-log.ts';
import { type CellCopy, sealedError } from './generations.ts';
import { type MemoryFaults, MemoryWire } from './memory-wire.ts';

/** Bugs planted on purpose. */
export interface MemoryLogBugs {
  readonly isFenceUnchecked?: boolean;
  readonly isPredecessorUnchecked?: boolean;
}

export interface MemoryLogOptions {
  readonly env?: Pick<Env, 'clock' | 'random'>;
  readonly faults?: MemoryFaults;
  readonly bugs?: MemoryLogBugs;
}

interface StoredSnapshot {
  readonly lsn: Lsn;
  readonly parts: readonly Uint8Array[];
}

/** One cell; every method is one step. */
class MemoryCell {
  readonly #bugs: MemoryLogBugs;
  readonly #entries = new Map<Lsn, LogEntry>();
  #head: LogHead = { epoch: 0, lsn: 0, trimmed: 0 };
  #snapshot: StoredSnapshot | undefined;
  /** Nothing is changed any more. */
  isStopped = false;
  /** Of the caller that holds the epoch. */
  ackOrder = new AckOrder();

  constructor(bugs: MemoryLogBugs) {
    this.#bugs = bugs;
  }

  get head(): LogHead {
    return this.#head;
  }

  get snapshot(): StoredSnapshot | undefined {
    return this.#snapshot;
  }

  /** As that of another log was left; nothing was here before. */
  adopt(copy: { epoch: number; snapshot: StoredSnapshot | undefined; entries: LogEntry[] }): void {
    const trimmed = copy.snapshot?.lsn ?? 0;
    this.#snapshot = copy.snapshot;
    for (const entry of copy.entries) this.#entries.set(entry.lsn, entry);
    this.#head = { epoch: copy.epoch, lsn: copy.entries.at(-1)?.lsn ?? trimmed, trimmed };
  }

  #throwIfStopped(): void {
    if (this.isStopped) throw sealedError();
  }

  seize(): { epoch: number; lsn: Lsn } {
    this.#throwIfStopped();
    this.#head = { ...this.#head, epoch: this.#head.epoch + 1 };
    this.ackOrder = new AckOrder();
    return { epoch: this.#head.epoch, lsn: this.#head.lsn };
  }

  /** Epoch 0 is nobody's. */
  #isNewest(epoch: number): boolean {
    return epoch === this.#head.epoch && epoch > 0;
  }

  confirm(epoch: number): boolean {
    return this.#isNewest(epoch) && !this.isStopped;
  }

  append(entry: LogEntry): 'ok' | 'fenced' {
    const { lsn } = this.#head;
    if (this.isStopped) return 'fenced';
    if (!this.#isNewest(entry.epoch) && !this.#bugs.isFenceUnchecked) return 'fenced';
    const isTaken = entry.lsn <= lsn;
    const isNext = entry.lsn === lsn + 1 || this.#bugs.isPredecessorUnchecked;
    if (isTaken || !isNext) {
      const message = `entry ${entry.lsn} does not follow the last one, ${lsn}`;
      throw new HoldfastError('HF_UNKNOWN_OUTCOME', message);
    }
    this.#entries.set(entry.lsn, entry);
    this.#head = { ...this.#head, lsn: entry.lsn };
    return 'ok';
  }

  entriesFrom(from: Lsn): LogEntry[] {
    if (from <= this.#head.trimmed) {
      throw new HoldfastError('HF_NOT_FOUND', `entry ${from} has been trimmed`);
    }
    const found: LogEntry[] = [];
    for (let lsn = from; lsn <= this.#head.lsn; lsn++) {
      const entry = this.#entries.get(lsn);
      if (entry) found.push(entry); // there are gaps when predecessors go unchecked
    }
    return found;
  }

  trim(upTo: Lsn): void {
    this.#throwIfStopped();
    const trimmed = Math.min(upTo, this.#snapshot?.lsn ?? 0);
    if (trimmed <= this.#head.trimmed) return;
    for (const lsn of this.#entries.keys()) if (lsn <= trimmed) this.#entries.delete(lsn);
    this.#head = { ...this.#head, trimmed };
  }

  saveSnapshot(epoch: number, { lsn, parts }: StoredSnapshot, extended?: Lsn): void {
    this.#throwIfStopped();
    if (!this.#isNewest(epoch)) throw new HoldfastError('HF_FENCED');
    assert(lsn >= 1 && lsn <= this.#head.lsn, 'the entry is in the log');
    const newest = this.#snapshot;
    if (lsn <= (newest?.lsn ?? 0)) return;
    const kept = extended === undefined ? [] : extendedParts(newest, extended);
    this.#snapshot = { lsn, parts: [...kept, ...parts] };
  }
}

export class MemoryLog implements SealableLog {
  readonly entryBytesTarget: number = LIMITS.logEntryBytesMax;
  readonly #wire: MemoryWire;
  readonly #bugs: MemoryLogBugs;
  readonly #cells = new Map<CellId, MemoryCell>();
  /** Goes on when all others have stopped. */
  #onlyCell: CellId | undefined;

  constructor({ env, faults, bugs = {} }: MemoryLogOptions = {}) {
    this.#wire = new MemoryWire(env, faults);
    this.#bugs = bugs;
  }

  #cell(id: CellId): MemoryCell {
    let cell = this.#cells.get(id);
    if (!cell) this.#cells.set(id, (cell = new MemoryCell(this.#bugs)));
    cell.isStopped = this.#onlyCell !== undefined && this.#onlyCell !== id;
    return cell;
  }

  /** For all who share it. */
  async stopAllBut(cell: CellId): Promise<void> {
    this.#onlyCell = cell;
    for (const each of this.#cells.keys()) this.#cell(each);
  }

  /** Has no cells any more. */
  clear(): void {
    this.#cells.clear();
  }

  /** Makes a cell as that of another log was left. @param check runs at that moment. */
  async adopt(
    cell: CellId,
    { epoch, snapshot, entries }: CellCopy,
    check: () => void,
  ): Promise<void> {
    const parts = snapshot && (await Array.fromAsync(snapshot.parts));
    const copied = await Array.fromAsync(entries);
    check();
    const stored = snapshot && parts && { lsn: snapshot.lsn, parts };
    this.#cell(cell).adopt({ epoch, snapshot: stored, entries: copied });
  }

  async head(cell: CellId): Promise<LogHead> {
    return await this.#wire.ask(() => this.#cell(cell).head);
  }

  async seize(cell: CellId): Promise<{ epoch: number; lsn: Lsn }> {
    return await this.#wire.change(() => this.#cell(cell).seize());
  }

  async append(
    cell: CellId,
    { epoch, lsn }: { epoch: number; lsn: Lsn },
    bytes: Uint8Array,
  ): Promise<'ok' | 'fenced'> {
    assert(bytes.length <= LIMITS.logEntryBytesMax, 'an entry fits its limit');
    const entry = { epoch, lsn, bytes: new Uint8Array(bytes) };
    const state = this.#cell(cell);
    const answer = this.#wire.change(() => state.append(entry), `${cell} ${epoch}`);
    // An older epoch's answers must not hold up those of the newest.
    const order = epoch === state.head.epoch ? state.ackOrder : new AckOrder();
    return await order.add(answer, (outcome) => outcome);
  }

  async confirm(cell: CellId, epoch: number): Promise<boolean> {
    return await this.#wire.ask(() => this.#cell(cell).confirm(epoch));
  }

  async *read(cell: CellId, from: Lsn): AsyncGenerator<LogEntry> {
    const entries = await this.#wire.ask(() => this.#cell(cell).entriesFrom(from));
    for (const entry of entries) yield { ...entry, bytes: new Uint8Array(entry.bytes) };
  }

  async trim(cell: CellId, upTo: Lsn): Promise<void> {
    await this.#wire.change(() => this.#cell(cell).trim(upTo));
  }

  async saveSnapshot(
    cell: CellId,
    { epoch, lsn }: { epoch: number; lsn: Lsn },
    parts: AsyncIterable<Uint8Array>,
    options: SaveSnapshotOptions = {},
  ): Promise<void> {
    const saved: Uint8Array[] = [];
    for await (const part of parts) {
      assert(part.length <= SNAPSHOT_PART_BYTES_MAX, 'a part fits its limit');
      saved.push(new Uint8Array(part));
    }
    await this.#wire.change(() =>
      this.#cell(cell).saveSnapshot(epoch, { lsn, parts: saved }, options.extends),
    );
  }

  async loadSnapshot(cell: CellId): Promise<Snapshot | undefined> {
    const snapshot = await this.#wire.ask(() => this.#cell(cell).snapshot);
    return snapshot && { lsn: snapshot.lsn, parts: inOrder(snapshot.parts) };
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

async function* inOrder(parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield new Uint8Array(part);
}
