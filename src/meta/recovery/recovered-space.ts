/**
 * A space made again from snapshots of its cells, when their logs are lost: as one cell of all
 * slots. The snapshots are of several moments, so that what went over several cells just then may
 * be there in part.
 *
 * 1. A slot is the cell's that says so; of two, the one's that has taken it over from the other.
 * 2. A transaction that its coordinator has committed is applied where it is an intent still; all
 *    other intents are dropped.
 * 3. Rows of no slot that hold for all cells are those of any; a cell's own rows go.
 */
import { bytesEqual, compareBytes, HoldfastError, keyText } from '../../base/index.ts';
import type { Changes, LocalDb, Row } from '../../db/index.ts';
import type { Env } from '../../env/index.ts';
import type { CellId, FencedLog, Lsn, Snapshot } from '../../log/index.ts';
import { catchUp } from '../cells/catch-up.ts';
import type { SlotRange } from '../cells/cell-peers.ts';
import { type Change } from '../cells/overlay.ts';
import {
  CELL_SLOT,
  keyAfter,
  LOCAL_SLOT,
  prefixRange,
  rowKey,
  SLOT_COUNT,
  slotOfKey,
  slotStart,
} from '../cells/rows.ts';
import { loadSnapshot, snapshotParts } from '../cells/snapshot.ts';
import type { KeyRange } from '../cells/transactions/locks.ts';
import { keysOf } from '../cells/transactions/slot-moves.ts';
import {
  commitmentKey,
  decodeAdoption,
  decodeCommitment,
  decodeIntent,
  decodeOwnership,
  OWN_TAGS,
  SLOTS_KEY,
} from '../cells/transactions/transaction-rows.ts';

const PAGE_ROWS = 500;

/** A cell whose rows are those of a snapshot. */
export interface LoadedCell {
  readonly cell: CellId;
  /** Its own, and changed; stays the caller's. */
  readonly db: LocalDb;
}

/**
 * Fills a database with the rows of a snapshot.
 * @throws HF_CORRUPT when it is not whole, or needs entries of the log to be of one moment.
 */
export async function loadWhole(db: LocalDb, snapshot: Snapshot): Promise<void> {
  const { applied, consistentFrom } = await loadSnapshot(db, snapshot);
  if (applied.lsn >= consistentFrom) return;
  const message = `the snapshot at entry ${snapshot.lsn} needs the log up to ${consistentFrom}`;
  throw new HoldfastError('HF_CORRUPT', message);
}

/**
 * The same from a log.
 * @returns false when it never had an entry. @throws HF_CORRUPT.
 */
export async function loadFromLog(source: {
  readonly env: Env;
  readonly cell: CellId;
  readonly log: FencedLog;
  readonly db: LocalDb;
}): Promise<boolean> {
  const { lsn } = await source.log.head(source.cell);
  if (lsn > 0) await catchUp(source, lsn);
  return lsn > 0;
}

/** Slots that follow each other, and whose rows they are. */
interface Run {
  readonly slots: SlotRange;
  readonly db: LocalDb;
}

export class RecoveredSpace {
  /** In the order of their slots; the last is CELL_SLOT. */
  readonly #runs: readonly Run[];
  /** Slots that no snapshot has: they were on their way from one cell to another. */
  readonly lostSlots: number;

  private constructor(runs: readonly Run[], lostSlots: number) {
    this.#runs = runs;
    this.lostSlots = lostSlots;
  }

  /** @param cells at least one. @throws HF_CORRUPT. */
  static async open(cells: readonly LoadedCell[]): Promise<RecoveredSpace> {
    const owners = ownersOf(cells);
    const [first] = cells as readonly [LoadedCell];
    const runs: Run[] = [];
    for (let from = 0; from < SLOT_COUNT;) {
      const owner = owners[from];
      let to = from + 1;
      while (to < SLOT_COUNT && owners[to] === owner) to += 1;
      if (owner) runs.push({ slots: { from, to }, db: owner.db });
      from = to;
    }
    runs.push({ slots: { from: CELL_SLOT, to: CELL_SLOT + 1 }, db: first.db });
    const lostSlots = owners.filter((owner) => !owner).length;
    const space = new RecoveredSpace(runs, lostSlots);
    await space.#settle(cells);
    return space;
  }

  /** Applies intents that were committed, and joins the rows of no slot. */
  async #settle(cells: readonly LoadedCell[]): Promise<void> {
    const shared = new Map<string, Row>();
    for (const { cell, db } of cells) {
      for (const { key, value } of rowsWithin(db, tagRange(OWN_TAGS.intent))) {
        const { txid, token, changes } = decodeIntent(key, value);
        const row = cells.find((one) => one.cell === txid.cell)?.db.get(commitmentKey(txid));
        const participants = row ? decodeCommitment(row) : [];
        const isCommitted = participants.some(
          (one) => one.cell === cell && bytesEqual(one.token, token),
        );
        if (isCommitted) await this.transact(changesOf(changes));
      }
      for (const row of rowsWithin(db, CELL_KEYS)) {
        const text = keyText(row.key);
        if (!OWN.has(row.key[2]!) && !shared.has(text)) shared.set(text, row);
      }
    }
    const { db } = this.#runs.at(-1)!;
    const deletes = Array.from(rowsWithin(db, CELL_KEYS), ({ key }) => key);
    await db.transact({ puts: [...shared.values()], deletes });
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#runOf(key)?.db.get(key);
  }

  /** All of it in key order, also while rows that have been given are changed. */
  rows(): Generator<Row> {
    return rowsWithin(this, ALL_KEYS);
  }

  /** In key order. */
  range({ limit, ...wanted }: KeyRange & { readonly limit: number }): Row[] {
    const found: Row[] = [];
    for (const { slots, db } of this.#runs) {
      const keys = keysOf(slots);
      const from = compareBytes(keys.from, wanted.from) > 0 ? keys.from : wanted.from;
      const to = compareBytes(keys.to, wanted.to) < 0 ? keys.to : wanted.to;
      if (compareBytes(from, to) >= 0) continue;
      found.push(...db.range({ from, to, limit: limit - found.length }));
      if (found.length === limit) break;
    }
    return found;
  }

  /** Rows of lost slots are dropped. */
  async transact({ puts, deletes }: Changes): Promise<void> {
    for (const { slots, db } of this.#runs) {
      const isHere = (key: Uint8Array): boolean => holds(slots, slotOfKey(key));
      const own = {
        puts: puts.filter(({ key }) => isHere(key)),
        deletes: deletes.filter(isHere),
      };
      if (own.puts.length + own.deletes.length > 0) await db.transact(own);
    }
  }

  #runOf(key: Uint8Array): Run | undefined {
    const slot = slotOfKey(key);
    return this.#runs.find(({ slots }) => holds(slots, slot));
  }

  /** Of the one cell that it is from now on. */
  snapshot(lsn: Lsn): Snapshot {
    const applied = { lsn, chainHash: 0n, logBytes: 0, digest: 0n };
    const parts = snapshotParts(this, { applied, newestLsn: () => lsn, pause: async () => {} });
    return { lsn, parts };
  }
}

/** But those of one copy of a cell. */
const ALL_KEYS: KeyRange = { from: new Uint8Array(), to: slotStart(LOCAL_SLOT) };
const CELL_KEYS: KeyRange = { from: slotStart(CELL_SLOT), to: slotStart(CELL_SLOT + 1) };
/** Tags of rows that are one cell's own. */
const OWN: ReadonlySet<number> = new Set(Object.values(OWN_TAGS).map((tag) => tag.charCodeAt(0)));

function tagRange(tag: string): KeyRange {
  return prefixRange(rowKey(CELL_SLOT, tag));
}

function* rowsWithin(db: Pick<LocalDb, 'range'>, { from, to }: KeyRange): Generator<Row> {
  for (let next = from; ;) {
    const page = db.range({ from: next, to, limit: PAGE_ROWS });
    yield* page;
    const last = page.at(-1);
    if (!last) return;
    next = keyAfter(last.key);
  }
}

function changesOf(changes: readonly Change[]): Changes {
  return {
    puts: changes.flatMap(({ key, value }) => (value ? [{ key, value }] : [])),
    deletes: changes.flatMap(({ key, value }) => (value ? [] : [key])),
  };
}

/** Whose each slot is. @throws HF_CORRUPT. */
function ownersOf(cells: readonly LoadedCell[]): (LoadedCell | undefined)[] {
  const known = cells.map((loaded) => ({
    loaded,
    ownership: decodeOwnership(loaded.db.get(SLOTS_KEY)),
    taken: Array.from(rowsWithin(loaded.db, tagRange(OWN_TAGS.adoption)), ({ value }) =>
      decodeAdoption(value),
    ).filter(({ state }) => state === 'done'),
  }));
  return Array.from({ length: SLOT_COUNT }, (_, slot) => {
    const owners = known.filter(({ ownership }) => holds(ownership.slots, slot));
    const taker = owners.find(({ taken }) => taken.some(({ slots }) => holds(slots, slot)));
    return ((owners.length > 1 ? taker : undefined) ?? owners[0])?.loaded;
  });
}

function holds({ from, to }: SlotRange, slot: number): boolean {
  return slot >= from && slot < to;
}
