/**
 * One cell of the engine `etcd`: its log in etcd, its snapshots' parts elsewhere.
 *
 *     <cell>/epoch      epoch u64 | last entry of the older epochs u64
 *     <cell>/entry/<n>  entry n, sealed; n in sixteen digits
 *     <cell>/trim       number of the last trimmed entry u64
 *     <cell>/snapshot   sealed list of the newest snapshot's parts
 *
 * Invariants:
 * 1. Entries are gap-free: a change that puts some requires the one before, that the first is not
 *    there, and the epoch key as the seizure left it. So it is harmless late and twice, too.
 * 2. The entry at the trim point stays in etcd as an *anchor*, entry 0 of a new cell is an empty
 *    one: the entry before the next is always there to be required, and its hash to be checked.
 */
import { assert, bytesEqual, HoldfastError, LIMITS, Mutex } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { EtcdHolder, entryHash } from './etcd-holder.ts';
import {
  CellKeys,
  changedAt,
  epochValue,
  exists,
  isAbsent,
  numberIn,
  numberValue,
} from './etcd-keys.ts';
import type { GenerationCalls } from './etcd-generation.ts';
import type { EtcdAnswer, EtcdOperation, EtcdRow } from './etcd-messages.ts';
import { EPOCHS_PER_LIFE, type EtcdLife } from './etcd-life.ts';
import { EtcdSnapshots } from './etcd-snapshots.ts';
import type {
  CellId,
  LogEntry,
  LogHead,
  Lsn,
  SaveSnapshotOptions,
  Snapshot,
} from './fenced-log.ts';
import { readHeader, type RecordSealing } from './local-record.ts';
import type { CellCopy } from './generations.ts';
import type { PartStore } from './mirror.ts';

/** Entries asked for at once; together they fill no more than a few MiB of memory. */
const PAGE_ENTRIES = 8;

interface RaisedEpoch {
  readonly epoch: number;
  /** Of the epoch key. */
  readonly revision: number;
  readonly life: EtcdLife;
  /** The last entry of the older epochs. */
  readonly end: Lsn;
}

/** What all cells of a log share. */
export interface EtcdLogShared {
  readonly calls: GenerationCalls;
  readonly prefix: string;
  readonly parts: PartStore;
  readonly sealer: RecordSealing;
  readonly generation: number;
  readonly env: Pick<Env, 'clock' | 'log'>;
}

export class EtcdCell {
  readonly #id: CellId;
  readonly #shared: EtcdLogShared;
  readonly #keys: CellKeys;
  readonly #snapshots: EtcdSnapshots;
  readonly #seizing = new Mutex();
  #holder: EtcdHolder | undefined;

  constructor(id: CellId, shared: EtcdLogShared) {
    this.#id = id;
    this.#shared = shared;
    this.#keys = new CellKeys(shared.prefix, id);
    this.#snapshots = new EtcdSnapshots(id, this.#keys, shared);
  }

  async #ask(operations: readonly EtcdOperation[]): Promise<readonly EtcdAnswer[]> {
    return (await this.#shared.calls.question(operations)).answers;
  }

  async head(): Promise<LogHead> {
    const { epoch, trim, entries } = this.#keys;
    const [epochs, trims, counted] = await this.#ask([
      { do: 'get', key: epoch },
      { do: 'get', key: trim },
      { do: 'count', ...entries },
    ]);
    const trimmed = numberIn(trims);
    return { epoch: numberIn(epochs), lsn: lastLsn(trimmed, counted), trimmed };
  }

  async confirm(epoch: number): Promise<boolean> {
    const holder = this.#holder;
    const { calls } = this.#shared;
    const result = await calls.questionUnlessSealed([{ do: 'get', key: this.#keys.epoch }]);
    if (!result) return false; // the next generation may have another holder
    const { answers, life } = result;
    // What it appended in an earlier life may be lost, though its seizure is not.
    if (holder?.epoch === epoch && holder.life.revision !== life.revision) return false;
    return epoch > 0 && numberIn(answers[0]) === epoch;
  }

  async seize(): Promise<{ epoch: number; lsn: Lsn }> {
    return await this.#seizing.run(async () => {
      this.#holder = undefined;
      // Again when somebody else seized in between, or when an answer was lost.
      while (!this.#holder) {
        const raised = await this.#raiseEpoch();
        if (raised) this.#holder = await this.#settleEnd(raised);
      }
      return { epoch: this.#holder.epoch, lsn: this.#holder.acknowledged };
    });
  }

  /** From here on no older epoch appends, so the end found with it is final. */
  async #raiseEpoch(): Promise<RaisedEpoch | undefined> {
    const { epoch: key, trim, entries } = this.#keys;
    const { calls } = this.#shared;
    const { answers: known, life } = await calls.questionInLife([{ do: 'get', key }]);
    const row = known[0]?.rows[0];
    const isOfThisLife = (row?.changedRevision ?? 0) >= life.revision;
    const epoch = numberIn(known[0]) + (isOfThisLife ? 1 : EPOCHS_PER_LIFE);
    const genesis = { do: 'put', key: this.#keys.entry(0), value: new Uint8Array(0) } as const;
    const raising = {
      conditions: [changedAt(key, row?.changedRevision ?? 0)],
      ifMet: [
        { do: 'get', key: trim },
        { do: 'put', key, value: epochValue(epoch, 0) },
        ...(row ? [] : [genesis]),
        { do: 'count', ...entries },
      ],
      ifNot: [],
    } as const;
    const { areMet, revision, answers } = await calls.change(raising, life);
    if (!areMet) return undefined;
    return { epoch, revision, life, end: lastLsn(numberIn(answers[0]), answers.at(-1)) };
  }

  /** Writes the end beside the epoch and deletes what lies beyond it (ruling 16). */
  async #settleEnd(raised: RaisedEpoch): Promise<EtcdHolder | undefined> {
    const { epoch, end, life } = raised;
    const lastKey = this.#keys.entry(end);
    const settling = {
      conditions: [changedAt(this.#keys.epoch, raised.revision), exists(lastKey)],
      ifMet: [
        { do: 'get', key: lastKey },
        { do: 'put', key: this.#keys.epoch, value: epochValue(epoch, end) },
        { do: 'delete', key: this.#keys.entry(end + 1), end: this.#keys.entries.end },
      ],
      ifNot: [
        { do: 'get', key: lastKey },
        { do: 'get', key: this.#keys.epoch },
      ],
    } as const;
    const { areMet, revision, answers } = await this.#shared.calls.change(settling, life);
    const [entry, epochs] = answers.map(({ rows }) => rows[0]);
    if (!areMet) {
      const isOurs = epochs?.changedRevision === raised.revision;
      if (isOurs && !entry) throw this.#corrupt(end, 'is missing');
      return undefined;
    }
    assert(entry, 'the entry was required');
    const last = { lsn: end, hash: entryHash(entry.value, this.#shared.sealer) };
    return new EtcdHolder(
      { cell: this.#id, epoch, revision, life, last },
      this.#keys,
      this.#shared,
    );
  }

  async append(
    { epoch, lsn }: { epoch: number; lsn: Lsn },
    bytes: Uint8Array,
  ): Promise<'ok' | 'fenced'> {
    assert(bytes.length <= LIMITS.logEntryBytesMax, 'an entry fits its limit');
    const holder = this.#holder;
    if (holder?.epoch !== epoch || holder.isOver) return 'fenced';
    return await holder.append(lsn, bytes);
  }

  /** Goes on from where another log ended; nothing was here before. */
  async adopt({ epoch, snapshot, entries }: CellCopy): Promise<void> {
    const lsn = snapshot?.lsn ?? 0;
    const beginning = {
      conditions: [isAbsent(this.#keys.epoch)],
      ifMet: [
        { do: 'put', key: this.#keys.epoch, value: epochValue(epoch, lsn) },
        { do: 'put', key: this.#keys.trim, value: numberValue(lsn) },
        { do: 'put', key: this.#keys.entry(lsn), value: new Uint8Array(0) },
      ],
      ifNot: [],
    } as const;
    const { calls } = this.#shared;
    await calls.change(beginning, await calls.life());
    const own = await this.seize();
    if (snapshot) await this.saveSnapshot({ epoch: own.epoch, lsn }, snapshot.parts);
    for await (const entry of entries) {
      const outcome = await this.append({ epoch: own.epoch, lsn: entry.lsn }, entry.bytes);
      if (outcome === 'fenced') throw new HoldfastError('HF_FENCED', 'the copy was taken over');
    }
  }

  async *read(from: Lsn): AsyncGenerator<LogEntry> {
    assert(from >= 1, 'the first entry has number 1');
    let previous: EtcdRow | undefined;
    let last = Number.POSITIVE_INFINITY;
    for (let lsn = from; lsn <= last;) {
      // From the entry before, for its hash.
      const [trims, counted, page] = await this.#ask([
        { do: 'get', key: this.#keys.trim },
        { do: 'count', ...this.#keys.entries },
        {
          do: 'get',
          key: this.#keys.entry(lsn - 1),
          end: this.#keys.entries.end,
          limit: PAGE_ENTRIES,
        },
      ]);
      const trimmed = numberIn(trims);
      if (lsn <= trimmed) {
        throw new HoldfastError('HF_NOT_FOUND', `cell ${this.#id}: entry ${lsn} was trimmed`);
      }
      last = Math.min(last, lastLsn(trimmed, counted));
      previous = page?.rows[0];
      for (const row of page?.rows.slice(1) ?? []) {
        if (lsn > last) return;
        yield this.#opened(lsn, previous, row);
        previous = row;
        lsn += 1;
      }
      if (lsn <= last && (page?.rows.length ?? 0) < 2) throw this.#corrupt(lsn, 'is missing');
    }
  }

  #opened(lsn: Lsn, previous: EtcdRow | undefined, row: EtcdRow): LogEntry {
    const isNext = bytesEqual(row.key, this.#keys.entry(lsn));
    const isAfter = previous && bytesEqual(previous.key, this.#keys.entry(lsn - 1));
    if (!isNext || !isAfter) throw this.#corrupt(lsn, 'or the one before it is missing');
    const header = readHeader(row.value);
    const isOurs = header.cell === this.#id && header.generation === this.#shared.generation;
    if (header.kind !== 'entry' || header.lsn !== lsn || !isOurs) {
      throw this.#corrupt(lsn, 'is another record');
    }
    if (header.link !== entryHash(previous.value, this.#shared.sealer)) {
      throw this.#corrupt(lsn, 'does not follow the one before it');
    }
    return { lsn, epoch: header.epoch, bytes: this.#shared.sealer.open(row.value) };
  }

  #corrupt(lsn: Lsn, what: string): HoldfastError {
    return new HoldfastError('HF_CORRUPT', `log of cell ${this.#id}: entry ${lsn} ${what}`);
  }

  async trim(upTo: Lsn): Promise<void> {
    const { trim } = this.#keys;
    const { calls } = this.#shared;
    for (;;) {
      const life = await calls.life();
      const snapshotLsn = (await this.#snapshots.newest())?.lsn ?? 0;
      if (upTo >= snapshotLsn) await this.#snapshots.settleReplaced();
      const [trims] = await this.#ask([{ do: 'get', key: trim }]);
      const trimmed = Math.min(upTo, snapshotLsn);
      if (trimmed <= numberIn(trims)) return;
      const trimming = {
        conditions: [changedAt(trim, trims?.rows[0]?.changedRevision ?? 0)],
        ifMet: [
          { do: 'put', key: trim, value: numberValue(trimmed) },
          { do: 'delete', key: this.#keys.entry(0), end: this.#keys.entry(trimmed) },
        ],
        ifNot: [],
      } as const;
      if ((await calls.change(trimming, life)).areMet) return;
    }
  }

  async saveSnapshot(
    position: { epoch: number; lsn: Lsn },
    parts: AsyncIterable<Uint8Array>,
    options: SaveSnapshotOptions = {},
  ): Promise<void> {
    const holder = this.#holder;
    if (holder?.epoch !== position.epoch || holder.isOver) throw new HoldfastError('HF_FENCED');
    assert(position.lsn >= 1 && position.lsn <= holder.acknowledged, 'the entry is acknowledged');
    await this.#snapshots.save({ ...position, ...options, holder }, parts);
  }

  async loadSnapshot(): Promise<Snapshot | undefined> {
    return await this.#snapshots.load();
  }

  /** Resolves when nothing is under way; later calls are the caller's affair. */
  async settled(): Promise<void> {
    await this.#seizing.run(async () => {});
    await this.#holder?.settled();
    await this.#snapshots.settled();
  }
}

/** The entries from the anchor on are counted, and it is at the trim point. */
function lastLsn(trimmed: Lsn, counted: EtcdAnswer | undefined): Lsn {
  return counted && counted.count > 0 ? trimmed + counted.count - 1 : 0;
}
