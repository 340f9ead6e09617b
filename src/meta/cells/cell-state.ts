/**
 * What a cell knows by heart of its own rows while it serves: which slots it has, and what other
 * cells' transactions hold. Both are read when it takes over and follow the rows as they change.
 */
import { keyText } from '../../base/index.ts';
import type { CellFault } from './cell-faults.ts';
import type { SlotRange } from './cell-peers.ts';
import type { Change, Rows } from './overlay.ts';
import { CELL_SLOT, rowsOfTag } from './rows.ts';
import type { Guard } from './transactions/cell-rows.ts';
import { Holder, type KeyRange, Locks, textRange } from './transactions/locks.ts';
import { Watch } from './transactions/watch.ts';
import {
  ALL_SLOTS,
  decodeIntent,
  decodeOwnership,
  type Intent,
  OWN_TAGS,
  type Ownership,
  SLOTS_KEY,
} from './transactions/transaction-rows.ts';

/** An intent and since when it is known here, on the monotonic clock. */
export interface HeldIntent {
  readonly intent: Intent;
  readonly sinceMs: number;
}

const CELL_SLOT_HIGH = CELL_SLOT >> 8;
const INTENT_TAG = OWN_TAGS.intent.charCodeAt(0);
const SLOTS_TAG = OWN_TAGS.slots.charCodeAt(0);

export class CellState implements Guard {
  readonly locks = new Locks();
  readonly fault: CellFault | undefined;
  readonly #nowMs: () => number;
  readonly #intents = new Map<string, HeldIntent & { readonly holder: Holder }>();
  /** Read sets that are watched for changes. */
  readonly #watches = new Set<Watch>();
  #epoch = 0;
  #ownership = ALL_SLOTS;
  #frozen = Promise.withResolvers<void>();

  constructor(nowMs: () => number, fault: CellFault | undefined) {
    this.#nowMs = nowMs;
    this.fault = fault;
  }

  /** Of the steward that these rows are of. */
  get epoch(): number {
    return this.#epoch;
  }

  get ownership(): Ownership {
    return this.#ownership;
  }

  get slots(): SlotRange {
    return this.#ownership.slots;
  }

  get outgoing(): Guard['outgoing'] {
    const { outgoing } = this.#ownership;
    if (!outgoing || this.fault === 'move-without-freeze') return undefined;
    return { slots: outgoing.slots, until: this.#frozen.promise };
  }

  get hasIntents(): boolean {
    return this.#intents.size > 0;
  }

  get intents(): readonly HeldIntent[] {
    return [...this.#intents.values()];
  }

  /** Begins anew with the rows that were taken over. */
  load(rows: Rows, epoch: number): void {
    this.#epoch = epoch;
    this.wake();
    this.#own(decodeOwnership(rows.get(SLOTS_KEY)));
    for (const { key, value } of rowsOfTag(rows, OWN_TAGS.intent, CELL_ONLY)) {
      this.hold(keyText(key), decodeIntent(key, value));
    }
  }

  /** Whoever waits for something here looks again. */
  wake(): void {
    this.locks.clear();
    this.#intents.clear();
    for (const watch of this.#watches) watch.spoil(); // others may have written meanwhile
    this.#frozen.resolve();
    this.#frozen = Promise.withResolvers();
  }

  /** Takes in what the changes say. */
  follow(changes: ReadonlyMap<string, Change>): void {
    for (const watch of this.#watches) watch.look(changes);
    for (const [text, { key, value }] of changes) {
      if (key[0] !== CELL_SLOT_HIGH) continue;
      if (key[2] === SLOTS_TAG) this.#own(decodeOwnership(value));
      else if (key[2] !== INTENT_TAG) continue;
      else if (value) this.hold(text, decodeIntent(key, value));
      else this.letGo(text);
    }
  }

  hold(text: string, intent: Intent): void {
    if (this.#intents.has(text)) return;
    const holder = holderOf(intent, this.fault);
    this.#intents.set(text, { intent, sinceMs: this.#nowMs(), holder });
    this.locks.add(holder);
  }

  letGo(text: string): void {
    const held = this.#intents.get(text);
    if (!held) return;
    this.#intents.delete(text);
    this.locks.remove(held.holder);
  }

  intentOf(text: string): Intent | undefined {
    return this.#intents.get(text)?.intent;
  }

  /** Watches what was read until the watch is disposed. */
  watch(keys: Iterable<string>, ranges: readonly KeyRange[]): Watch {
    const watch = new Watch(keys, ranges, () => this.#watches.delete(watch));
    this.#watches.add(watch);
    return watch;
  }

  #own(ownership: Ownership): void {
    this.#ownership = ownership;
    if (ownership.outgoing) return;
    this.#frozen.resolve();
    this.#frozen = Promise.withResolvers();
  }
}

/** What of `CELL_SLOT` is scanned: the tags there are the cell's own. */
const CELL_ONLY = { slots: [CELL_SLOT, CELL_SLOT + 1] as [number, number] };

export function holderOf(
  { reads, changes }: Pick<Intent, 'reads' | 'changes'>,
  fault: CellFault | undefined,
): Holder {
  const texts = changes.map(({ key }) => keyText(key));
  return new Holder(fault === 'no-read-locks' ? [] : reads.map(textRange), texts);
}
