/**
 * One cell of the engine `local`: its index in memory, its records on the mirror.
 *
 * Invariants:
 * 1. The *owner* is the one epoch that may append. There is none after opening, during and after a
 *    seizure that failed, and after an append that failed: an epoch does not outlive its process or
 *    a doubt, so each record has one possible successor in its epoch.
 * 2. Entries are put side by side and acknowledged in lsn order; the index has acknowledged ones
 *    only.
 * 3. A seizure waits for the appends under way, puts what a crash left in doubt once more, then
 *    puts the fence. An epoch number is used for one attempt: it is the time in ms, or one more
 *    than the highest seen. So it is above that of a failed attempt whose store is away just now.
 * 4. Records are removed only when something durable makes them needless: a snapshot (trimmed
 *    entries, older snapshots) or a fence (what it left out).
 */
import { assert, errorCode, errorMessage, HoldfastError, LIMITS, Mutex } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { AckOrder } from './ack-order.ts';
import {
  type CellId,
  type LogEntry,
  type LogHead,
  type Lsn,
  type SaveSnapshotOptions,
  type Snapshot,
} from './fenced-log.ts';
import { type CellCopy, sealedError } from './generations.ts';
import { Garbage } from './garbage.ts';
import {
  encodePartHashes,
  hashOf,
  NO_RECORD,
  type RecordHash,
  type RecordHeader,
  type RecordSealer,
} from './local-record.ts';
import type { CellIndex, IndexedSnapshot, StoredRecord } from './local-recovery.ts';
import type { Mirror, MirrorRef } from './mirror.ts';
import { saveParts } from './snapshot-parts.ts';

const NO_BYTES = new Uint8Array(0);

/** What all cells of a log share. */
export interface LocalLogShared {
  readonly mirror: Mirror;
  readonly sealer: RecordSealer;
  readonly generation: number;
  readonly env: Pick<Env, 'clock' | 'log'>;
}

/** What a new record says of itself; the rest is said by its cell. */
type NewRecord = Pick<RecordHeader, 'kind' | 'epoch' | 'lsn' | 'link'>;

export class LocalCell {
  readonly #id: CellId;
  readonly #shared: LocalLogShared;
  readonly #entries: StoredRecord[];
  readonly #seizing = new Mutex();
  readonly #saving = new Mutex();
  #head: LogHead;
  #epochMax: number;
  /** For good: see {@link LocalCell.stop}. */
  #isStopped = false;
  /** The newest epoch if it may still append. */
  #owner: number | undefined;
  /** The last record that was given out, acknowledged or not. */
  #last: { readonly lsn: Lsn; readonly hash: RecordHash };
  /** Hash of the last record that counts. */
  #tip: RecordHash;
  #order = new AckOrder();
  #fences: StoredRecord[];
  #snapshot: IndexedSnapshot | undefined;
  /** Records that may lack copies; an earlier process left them so. */
  #doubtful: StoredRecord[];
  readonly #garbage: Garbage;

  constructor(id: CellId, index: CellIndex, shared: LocalLogShared) {
    this.#id = id;
    this.#shared = shared;
    this.#entries = [...index.entries];
    this.#head = index.head;
    this.#epochMax = index.epochMax;
    this.#last = { lsn: index.head.lsn, hash: index.tip };
    this.#tip = index.tip;
    this.#fences = [...index.fences];
    this.#snapshot = index.snapshot;
    this.#doubtful = [...index.doubtful];
    const { mirror, env } = shared;
    const voids = index.voids.map(refOf);
    this.#garbage = new Garbage({ cell: id, mirror, report: env.log }, voids);
  }

  head(): LogHead {
    return this.#head;
  }

  confirm(epoch: number): boolean {
    return epoch === this.#owner && !this.#isStopped;
  }

  /** From now on nothing is changed. Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.settled();
  }

  /** Goes on from where another log ended; nothing was here before. */
  async adopt({ epoch, snapshot, entries }: CellCopy): Promise<void> {
    assert(this.#tip === NO_RECORD && !this.#snapshot, 'the cell is new');
    this.#epochMax = epoch;
    if (snapshot) {
      const { lsn, parts } = snapshot;
      this.#head = { epoch, lsn, trimmed: lsn };
      await this.#save({ epoch, lsn, link: NO_RECORD }, parts);
    }
    const own = await this.seize();
    for await (const { lsn, bytes } of entries) {
      const outcome = await this.append({ epoch: own.epoch, lsn }, bytes);
      assert(outcome === 'ok', 'nobody else has a cell that is being copied');
    }
  }

  #entryAt(lsn: Lsn): StoredRecord {
    const entry = this.#entries[lsn - this.#head.trimmed - 1];
    assert(entry?.header.lsn === lsn, 'the index has every entry from the trim point to the head');
    return entry;
  }

  async seize(): Promise<{ epoch: number; lsn: Lsn }> {
    return await this.#seizing.run(async () => {
      this.#owner = undefined;
      if (this.#isStopped) throw sealedError();
      await this.#order.settled();
      await this.#copyDoubtful();
      const { lsn } = this.#head;
      const epoch = Math.max(this.#epochMax + 1, Math.floor(this.#shared.env.clock.now()));
      this.#epochMax = epoch;
      let fence: StoredRecord;
      try {
        fence = await this.#put({ kind: 'fence', epoch, lsn, link: this.#tip }, NO_BYTES);
      } catch (cause) {
        throw this.#unknown(`whether epoch ${epoch} has begun is not known`, cause);
      }
      this.#fences.push(fence);
      this.#head = { ...this.#head, epoch };
      this.#tip = fence.hash;
      this.#last = { lsn, hash: fence.hash };
      this.#order = new AckOrder();
      this.#owner = epoch;
      await this.#garbage.collect([]);
      return { epoch, lsn };
    });
  }

  /** A fence vouches for all before it, so all before it must have all its copies. */
  async #copyDoubtful(): Promise<void> {
    for (let next = this.#doubtful[0]; next; next = this.#doubtful[0]) {
      await this.#shared.mirror.put(await this.#bytesOf(next));
      this.#doubtful.shift();
    }
  }

  async append(
    { epoch, lsn }: { epoch: number; lsn: Lsn },
    bytes: Uint8Array,
  ): Promise<'ok' | 'fenced'> {
    assert(bytes.length <= LIMITS.logEntryBytesMax, 'an entry fits its limit');
    if (!this.confirm(epoch)) return 'fenced';
    if (lsn !== this.#last.lsn + 1) {
      throw this.#unknown(`entry ${lsn} does not follow the last one, ${this.#last.lsn}`);
    }
    const record = this.#seal({ kind: 'entry', epoch, lsn, link: this.#last.hash }, bytes);
    this.#last = { lsn, hash: record.hash };
    const put = this.#shared.mirror.put(record.bytes);
    try {
      await this.#order.add(put, (ref) => this.#accept({ ...record, ref }));
      return 'ok';
    } catch (cause) {
      if (this.#owner === epoch) this.#owner = undefined;
      if (!errorCode(cause)) throw cause; // a bug of ours is no doubt
      const [outcome] = await Promise.allSettled([put]);
      if (outcome.status === 'fulfilled') this.#garbage.add(outcome.value);
      throw this.#unknown(`whether entry ${lsn} was appended is not known`, cause);
    }
  }

  #accept({ header, hash, ref }: StoredRecord): void {
    assert(header.lsn === this.#head.lsn + 1, 'entries are acknowledged in order');
    this.#entries.push({ header, hash, ref });
    this.#head = { ...this.#head, lsn: header.lsn };
    this.#tip = hash;
  }

  /** Entries from `from` to the head as of now. */
  read(from: Lsn): AsyncGenerator<LogEntry> {
    assert(from >= 1, 'the first entry has number 1');
    return this.#readRange(from, this.#head.lsn);
  }

  async *#readRange(from: Lsn, last: Lsn): AsyncGenerator<LogEntry> {
    for (let lsn = from; ; lsn++) {
      if (lsn <= this.#head.trimmed) {
        throw new HoldfastError('HF_NOT_FOUND', `cell ${this.#id}: entry ${lsn} was trimmed`);
      }
      if (lsn > last) return;
      const entry = this.#entryAt(lsn);
      const body = this.#shared.sealer.open(await this.#bytesOf(entry));
      yield { lsn, epoch: entry.header.epoch, bytes: body };
    }
  }

  async trim(upTo: Lsn): Promise<void> {
    if (this.#isStopped) throw sealedError();
    const trimmed = Math.min(upTo, this.#snapshot?.record.header.lsn ?? 0);
    if (trimmed <= this.#head.trimmed) return;
    // A fence at the trim point stays: it may be the newest, and the next entry links to it.
    const needless = this.#fences.filter(({ header }) => header.lsn < trimmed);
    const gone = [...this.#entries.splice(0, trimmed - this.#head.trimmed), ...needless];
    this.#fences = this.#fences.slice(needless.length);
    this.#head = { ...this.#head, trimmed };
    await this.#garbage.collect(gone.map(refOf));
  }

  async saveSnapshot(
    { epoch, lsn }: { epoch: number; lsn: Lsn },
    parts: AsyncIterable<Uint8Array>,
    options: SaveSnapshotOptions = {},
  ): Promise<void> {
    await this.#saving.run(async () => {
      this.#throwIfFenced(epoch);
      if (lsn <= (this.#snapshot?.record.header.lsn ?? 0)) return;
      assert(lsn <= this.#head.lsn, 'the entry is acknowledged');
      const position = { epoch, lsn, link: this.#entryAt(lsn).hash };
      await this.#save(position, parts, { ...options, check: () => this.#throwIfFenced(epoch) });
    });
  }

  /** @param check runs before the snapshot is made valid. */
  async #save(
    position: Pick<NewRecord, 'epoch' | 'lsn' | 'link'>,
    parts: AsyncIterable<Uint8Array>,
    { check, ...options }: SaveSnapshotOptions & { check?: () => void } = {},
  ): Promise<void> {
    const older = this.#snapshot;
    const newest = older && { lsn: older.record.header.lsn, parts: older.parts };
    await saveParts<StoredRecord>(parts, {
      ...options,
      newest,
      put: (part) => this.#put({ ...position, kind: 'snapshot part' }, part),
      commit: async (all) => {
        check?.();
        const body = encodePartHashes(all.map(({ hash }) => hash));
        const record = await this.#put({ ...position, kind: 'snapshot' }, body);
        this.#snapshot = { record, parts: all };
      },
      discard: (needless) => this.#garbage.collect(needless.map(refOf)),
      replace: (needless) => this.#garbage.collect(needless.map(refOf)),
    });
    await this.#garbage.collect(older ? [refOf(older.record)] : []);
  }

  #throwIfFenced(epoch: number): void {
    if (this.confirm(epoch)) return;
    throw new HoldfastError('HF_FENCED', `cell ${this.#id}: epoch ${epoch} may no longer append`);
  }

  loadSnapshot(): Snapshot | undefined {
    const snapshot = this.#snapshot;
    return snapshot && { lsn: snapshot.record.header.lsn, parts: this.#readParts(snapshot) };
  }

  async *#readParts({ parts }: IndexedSnapshot): AsyncGenerator<Uint8Array> {
    for (const part of parts) yield this.#shared.sealer.open(await this.#bytesOf(part));
  }

  async settled(): Promise<void> {
    await this.#order.settled();
    await this.#seizing.run(async () => {});
    await this.#saving.run(async () => {});
  }

  #seal(
    fields: NewRecord,
    body: Uint8Array,
  ): { header: RecordHeader; bytes: Uint8Array; hash: RecordHash } {
    const { generation, sealer } = this.#shared;
    const header: RecordHeader = {
      ...fields,
      generation,
      cell: this.#id,
      acknowledged: this.#head.lsn,
      snapshotLsn: this.#snapshot?.record.header.lsn ?? 0,
    };
    return { header, ...sealer.seal(header, body) };
  }

  async #put(fields: NewRecord, body: Uint8Array): Promise<StoredRecord> {
    const { header, bytes, hash } = this.#seal(fields, body);
    return { header, hash, ref: await this.#shared.mirror.put(bytes) };
  }

  /** The record's bytes, with the hash that the next one links to. @throws HF_CORRUPT. */
  async #bytesOf({ header, hash, ref }: StoredRecord): Promise<Uint8Array> {
    const bytes = await this.#shared.mirror.get(ref);
    if (bytes && hashOf(bytes) === hash) return bytes;
    const { kind, lsn } = header;
    if (kind === 'entry' && lsn <= this.#head.trimmed) {
      throw new HoldfastError('HF_NOT_FOUND', `cell ${this.#id}: entry ${lsn} was trimmed`);
    }
    const message = `log of cell ${this.#id}: the ${kind} ${lsn} cannot be read from any store`;
    throw new HoldfastError('HF_CORRUPT', message, { details: { cell: this.#id, lsn } });
  }

  #unknown(reason: string, cause?: unknown): HoldfastError {
    const why = errorCode(cause) === 'HF_TOO_FEW_STORES' ? `: ${errorMessage(cause)}` : '';
    return new HoldfastError('HF_UNKNOWN_OUTCOME', `cell ${this.#id}: ${reason}${why}`, { cause });
  }
}

function refOf({ ref }: StoredRecord): MirrorRef {
  return ref;
}
