/**
 * Meets the shares exactly where no direct move is left: device A gives a position to B in one row,
 * and B gives one to C in another. The chain is an augmenting path of the flow network that `Rows`
 * describes: there is one as long as a device is over its share. A *free* slot has got another
 * device already, so giving it on costs no move; the chain found has the fewest that are not free.
 */
import { assert } from '../base/index.ts';
import type { Rows } from './rows.ts';

export function settle(rows: Rows, isFree: (slot: number) => boolean): void {
  // Even rows are worth any number of free moves, but none that is paid for.
  const free: Terms = { isFree, mayPay: false, most: rows.evenMost };
  const paid: Terms = { isFree, mayPay: true, most: rows.roomMost };
  for (const terms of [free, paid]) {
    let isMoving = !rows.isMet();
    while (isMoving) isMoving = new Chain(rows, terms).move();
  }
  assert(rows.isMet(), 'every share is met');
}

interface Terms {
  readonly isFree: (slot: number) => boolean;
  /** May slots that are not free be given on? */
  readonly mayPay: boolean;
  /** See `Rows.mayEnter`. */
  readonly most: Uint8Array;
}

const NONE = -1;

class Chain {
  readonly #rows: Rows;
  readonly #terms: Terms;
  /** device → the slot that it would take over; NONE for the first of the chain. */
  readonly #slots: Int32Array;
  readonly #unreached: number[];

  constructor(rows: Rows, terms: Terms) {
    this.#rows = rows;
    this.#terms = terms;
    this.#slots = new Int32Array(rows.loads.length).fill(NONE);
    this.#unreached = [...rows.loads.keys()].filter((device) => !rows.isOver(device));
  }

  /** Moves one position from a device over its share to one short of it, if there is a way. */
  move(): boolean {
    const end = this.#find();
    if (end !== undefined) this.#apply(end);
    return end !== undefined;
  }

  /** A device short of its share, reached from one over its share. */
  #find(): number | undefined {
    let reached = [...this.#rows.loads.keys()].filter((device) => this.#rows.isOver(device));
    while (reached.length > 0) {
      for (const device of reached) {
        reached.push(...this.#reachFrom(device, this.#terms.isFree));
        if (this.#rows.isShort(reached.at(-1)!)) return reached.at(-1)!;
      }
      if (!this.#terms.mayPay) return undefined;
      const paid: number[] = [];
      for (const device of reached) {
        paid.push(...this.#reachFrom(device, () => true));
        if (paid.length > 0 && this.#rows.isShort(paid.at(-1)!)) return paid.at(-1)!;
      }
      reached = paid;
    }
    return undefined;
  }

  /**
   * The devices that could take over a slot of `device`, each once for the whole chain; up to the
   * first that is short. Otherwise all that could take a slot are reached at once, so two moves of
   * a chain in one row never want the same room.
   */
  #reachFrom(device: number, mayGive: (slot: number) => boolean): number[] {
    const rows = this.#rows;
    const reached: number[] = [];
    let slot = rows.table.indexOf(device);
    for (; slot !== NONE; slot = rows.table.indexOf(device, slot + 1)) {
      if (this.#unreached.length === 0) break;
      if (!mayGive(slot)) continue;
      const row = rows.rowOf(slot);
      for (let i = this.#unreached.length - 1; i >= 0; i--) {
        const next = this.#unreached[i]!;
        if (!rows.mayEnter(row, [device, next], this.#terms.most)) continue;
        this.#slots[next] = slot;
        this.#unreached.splice(i, 1);
        reached.push(next);
        if (rows.isShort(next)) return reached;
      }
    }
    return reached;
  }

  /** Moves one position along the chain that ends at `end`. */
  #apply(end: number): void {
    for (let next = end; this.#slots[next] !== NONE;) {
      const slot = this.#slots[next]!;
      const device = this.#rows.table[slot]!;
      const mayEnter = this.#rows.mayEnter(
        this.#rows.rowOf(slot),
        [device, next],
        this.#terms.most,
      );
      assert(mayEnter, 'the moves of a chain do not meet');
      this.#rows.set(slot, next);
      next = device;
    }
  }
}
