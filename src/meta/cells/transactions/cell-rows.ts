/**
 * What an operation of a cell works on: each key is looked at for whose it is. Own rows are the
 * steward's, unless somebody holds them; foreign ones are those that were fetched, and changes of
 * them are kept apart. What cannot be done here and now is a {@link Detour}.
 */
import { keyText } from '../../../base/index.ts';
import type { RangeOptions, Row } from '../../../db/index.ts';
import type { CellFault } from '../cell-faults.ts';
import type { RowRange, SlotRange } from '../cell-peers.ts';
import { type Change, Overlay, type Rows, Scratch } from '../overlay.ts';
import { keyAfter, SLOT_COUNT } from '../rows.ts';
import { Detour, type DetourReason } from './detour.ts';
import { ForeignRows } from './foreign-rows.ts';
import { type Holder, type KeyRange, type Locks, textRange } from './locks.ts';

/** What stands between an operation and the rows of a cell. */
export interface Guard {
  readonly slots: SlotRange;
  /** Slots that are on their way to another cell: nobody touches them. */
  readonly outgoing: { readonly slots: SlotRange; readonly until: Promise<void> } | undefined;
  readonly locks: Locks;
  readonly fault?: CellFault | undefined;
}

interface Parts {
  readonly foreign?: ForeignRows | undefined;
  readonly self?: Holder | undefined;
}

type Owner = 'own' | 'foreign';

export class CellRows extends Scratch {
  /** Ranges of own rows that were read. */
  readonly ownRanges: KeyRange[] = [];
  readonly #guard: Guard;
  readonly #foreign: Overlay;
  readonly #fetched: ForeignRows;
  readonly #self: Holder | undefined;
  /** Kept, so that an operation cannot swallow it. */
  #detour: Detour | undefined;
  /** Of other cells, by the texts of their ends: what parts of the operation wanted in vain. */
  readonly #missing = new Map<string, RowRange>();

  /** @param self whose locks do not hold it up. */
  constructor(below: Rows, guard: Guard, parts: Parts = {}) {
    super(below);
    this.#guard = guard;
    this.#fetched = parts.foreign ?? new ForeignRows();
    this.#foreign = new Overlay(this.#fetched);
    this.#self = parts.self;
  }

  override get slots(): readonly [number, number] {
    return [this.#guard.slots.from, this.#guard.slots.to];
  }

  get foreignChanges(): ReadonlyMap<string, Change> {
    return this.#foreign.changes;
  }

  /** Own keys that were read. */
  get ownKeys(): Iterable<string> {
    return this.seen.keys();
  }

  /** @throws Detour: 'moved' when the slot is another cell's. */
  requireSlot(slot: number): void {
    if (this.#ownerOf(slot) === 'foreign') this.#turn({ kind: 'moved' });
  }

  /** To be called when the operation is over: whether it saw all that it wanted. */
  assertRanThrough(): void {
    if (!this.#detour) return;
    const ranges = [...this.#missing.values()];
    throw ranges.length > 0 ? new Detour({ kind: 'foreign', ranges }) : this.#detour;
  }

  override mayGoOn(error: unknown): boolean {
    return error instanceof Detour && error.reason.kind === 'foreign';
  }

  override get(key: Uint8Array, text: string = keyText(key)): Uint8Array | undefined {
    if (this.#ownerOf(slotOf(key)) === 'foreign')
      return this.#fromForeign(() => this.#foreign.get(key, text));
    const { locks, fault } = this.#guard;
    if (!locks.isEmpty && fault !== 'read-through-intent') {
      this.#waitFor(locks.againstRead(text, this.#self));
    }
    return super.get(key, text);
  }

  override range(options: RangeOptions): Row[] {
    if (this.#ownerOfRange(options) === 'foreign') {
      return this.#fromForeign(() => this.#foreign.range(options));
    }
    const { locks, fault } = this.#guard;
    if (!locks.isEmpty && fault !== 'read-through-intent') {
      this.#waitFor(locks.againstReads(textRange(options), this.#self));
    }
    this.ownRanges.push(options);
    return super.range(options);
  }

  override set(change: Change, text: string = keyText(change.key)): void {
    if (this.#ownerOf(slotOf(change.key)) === 'foreign') {
      this.#foreign.set(change, text);
      return;
    }
    const { locks } = this.#guard;
    if (!locks.isEmpty) this.#waitFor(locks.againstWrite(text, this.#self));
    super.set(change, text);
  }

  override clear(): void {
    super.clear();
    this.#foreign.clear();
  }

  override need(keys: readonly Uint8Array[]): void {
    const ranges: RowRange[] = [];
    for (const key of keys) {
      const isForeign = this.#ownerOf(slotOf(key)) === 'foreign';
      if (isForeign && !this.#fetched.has(key)) ranges.push({ from: key, to: keyAfter(key) });
    }
    if (ranges.length > 0) this.#turn({ kind: 'foreign', ranges });
  }

  #ownerOf(slot: number): Owner {
    if (slot >= SLOT_COUNT) return 'own';
    const { slots, outgoing } = this.#guard;
    if (slot < slots.from || slot >= slots.to) return 'foreign';
    if (outgoing && slot >= outgoing.slots.from && slot < outgoing.slots.to) {
      this.#turn({ kind: 'held', until: outgoing.until });
    }
    return 'own';
  }

  #ownerOfRange({ from, to }: RangeOptions): Owner {
    const first = slotOf(from);
    const last = to.length > 2 ? slotOf(to) : slotOf(to) - 1;
    if (first >= last) return this.#ownerOf(first);
    const { slots, outgoing } = this.#guard;
    if (first >= SLOT_COUNT) return 'own';
    const isOwn = first >= slots.from && (last < slots.to || slots.to === SLOT_COUNT);
    // Whoever looks through many slots asks each cell for its own.
    if (!isOwn) this.#turn({ kind: 'moved' });
    if (outgoing && first < outgoing.slots.to && last >= outgoing.slots.from) {
      this.#turn({ kind: 'held', until: outgoing.until });
    }
    return 'own';
  }

  #fromForeign<Result>(read: () => Result): Result {
    try {
      return read();
    } catch (error) {
      if (error instanceof Detour) this.#turn(error.reason);
      throw error;
    }
  }

  #waitFor(holder: Holder | undefined): void {
    if (holder) this.#turn({ kind: 'held', until: holder.settled });
  }

  #turn(reason: DetourReason): never {
    for (const range of reason.kind === 'foreign' ? reason.ranges : []) {
      const limits = `${range.limit} ${range.isReverse}`;
      this.#missing.set(`${keyText(range.from)} ${keyText(range.to)} ${limits}`, range);
    }
    throw (this.#detour ??= new Detour(reason));
  }
}

/** Of a key that may be the end of a range, and then shorter. */
function slotOf(key: Uint8Array): number {
  return ((key[0] ?? 0) << 8) | (key[1] ?? 0);
}
