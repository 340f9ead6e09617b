/**
 * Handing slots to another cell, as the cell that gives them. Each step is durable before the next,
 * so whoever is the steward goes on from where the last one was.
 *
 *   owned ─ freeze ─→ outgoing ─ begin, rows …, end: the target has them ─→ leaving
 *     ↑                  │                                                    │
 *     └── cancel, busy ──┘                                          gone ←─ delete
 *
 * Invariants:
 * 1. Nothing touches outgoing slots: no operation, no intent. So all tries send the same rows.
 * 2. The target owns the slots with the one entry that ends the adoption; until the source has
 *    heard of it nobody serves them.
 * 3. A target that gives slots away itself takes none, so two that give each other slots would wait
 *    for each other, and longer circles, too. So nobody waits for a target of a lower id: it takes
 *    its slots back, once the target has promised not to take them.
 */
import { assert, type ErrorCode, errorCode, HoldfastError, LIMITS } from '../../../base/index.ts';
import type { Row } from '../../../db/index.ts';
import type { CellId } from '../../../log/index.ts';
import type { AdoptAnswer, AdoptRequest, SlotRange } from '../cell-peers.ts';
import { digestOfRows } from '../entries.ts';
import type { Rows, Scratch } from '../overlay.ts';
import { CELL_SLOT, keyAfter, rowKey, slotStart } from '../rows.ts';
import {
  type CellCore,
  deadlineOf,
  executeUnguarded,
  isRefusal,
  passed,
  persist,
} from './cell-core.ts';
import { Detour } from './detour.ts';
import { textRange } from './locks.ts';
import {
  decodeOwnership,
  encodeOwnership,
  OWN_TAGS,
  type Ownership,
  SLOTS_KEY,
} from './transaction-rows.ts';

const PAGE_ROWS = 500;

export interface MoveRequest {
  readonly slots: SlotRange;
  readonly target: CellId;
}

export class SlotMoves {
  readonly #core: CellCore;
  #running: Promise<void> | undefined;

  constructor(core: CellCore) {
    this.#core = core;
  }

  /** Goes on with what a predecessor began. */
  begin(): void {
    void this.#resume().catch((error: unknown) => this.#note(error));
  }

  async #resume(): Promise<void> {
    await this.#running?.catch(() => undefined); // of the last epoch, told to whoever asked
    const { outgoing, leaving } = this.#core.state.ownership;
    if (outgoing || leaving) await this.#finish();
  }

  /** Slots at one end of those that the cell has; nothing when it has none of them any more. */
  async move(request: MoveRequest): Promise<void> {
    if (await this.#freeze(request)) await this.#finish();
  }

  /** @returns whether there is something to do. */
  async #freeze(request: MoveRequest): Promise<boolean> {
    const deadline = deadlineOf(this.#core.env);
    for (;;) {
      try {
        return await executeUnguarded(this.#core, (rows) => this.#freezeNow(rows, request));
      } catch (error) {
        if (!(error instanceof Detour)) throw error;
        await passed(this.#core, error, deadline);
      }
    }
  }

  #freezeNow(rows: Scratch, { slots, target }: MoveRequest): boolean {
    const own = decodeOwnership(rows.get(SLOTS_KEY));
    if (own.outgoing) {
      if (isSameRange(own.outgoing.slots, slots) && own.outgoing.target === target) return true;
      throw new HoldfastError('HF_BUSY', 'other slots are being moved');
    }
    if (own.leaving) throw new HoldfastError('HF_BUSY', 'the last move is not over');
    if (!overlaps(own.slots, slots)) return false;
    const isAtEnd = slots.from === own.slots.from || slots.to === own.slots.to;
    if (!isWithin(slots, own.slots) || !isAtEnd || target === this.#core.cell) {
      throw new HoldfastError('HF_BAD_ARGUMENT', 'slots are moved from an end of those of a cell');
    }
    const holder = this.#core.state.locks.within(textRange(keysOf(slots)));
    if (holder) throw new Detour({ kind: 'held', until: holder.settled });
    const moveNumber = own.moveNumber + 1;
    rows.put(SLOTS_KEY, encodeOwnership({ ...own, moveNumber, outgoing: { slots, target } }));
    return true;
  }

  async #finish(): Promise<void> {
    this.#running ??= this.#run().finally(() => (this.#running = undefined));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { ownership } = this.#core.state;
    if (ownership.outgoing) await this.#send(ownership, ownership.outgoing);
    const { leaving } = this.#core.state.ownership;
    if (leaving) while (await executeUnguarded(this.#core, deleteLeaving));
  }

  /** @throws HF_BUSY when the slots were taken back. */
  async #send({ moveNumber }: Ownership, request: MoveRequest): Promise<void> {
    const { slots } = request;
    const ask = this.#asker(moveNumber, request);
    try {
      await this.#hand(slots, ask);
    } catch (error) {
      if (errorCode(error) !== 'HF_BUSY') throw error;
      const { state } = await ask({ step: 'cancel', slots });
      if (state !== 'done') {
        await this.#settle(moveNumber, (own) => own);
        throw error;
      }
    }
    await this.#settle(moveNumber, (own) => ({
      ...own,
      slots: without(own.slots, slots),
      leaving: slots,
    }));
  }

  /** Resolves when they are the target's. @throws HF_BUSY when it is not to be waited for. */
  async #hand(slots: SlotRange, ask: Ask): Promise<void> {
    const shared = await this.#core.steward.peek(sharedRows);
    let answer = await ask({ step: 'begin', slots, shared });
    let rowCount = 0;
    let digest = 0n;
    let index = 0;
    for await (const rows of this.#pages(slots)) {
      if (answer.state === 'done') return;
      rowCount += rows.length;
      digest = BigInt.asUintN(64, digest + digestOfRows(rows));
      if (index >= answer.index) answer = await ask({ step: 'rows', index, rows });
      index += 1;
    }
    if (answer.state !== 'done') answer = await ask({ step: 'end', rowCount, digest });
    assert(answer.state === 'done', 'the end of an adoption is its end');
  }

  /** How this steward asks the target. */
  #asker(moveNumber: number, { target }: MoveRequest): Ask {
    const { peers, state, cell } = this.#core;
    const attempt = state.epoch;
    const move = { source: cell, number: moveNumber };
    const isOver = (): boolean => state.epoch !== attempt;
    return async (step) => {
      const isAnswer = (code: ErrorCode): boolean =>
        isRefusal(code) || (code === 'HF_BUSY' && target < cell && step.step !== 'cancel');
      const adopt = async (): Promise<AdoptAnswer> =>
        await peers.ofCell(target).adopt({ move, attempt, ...step });
      return await persist(this.#core, adopt, { isOver, isAnswer });
    };
  }

  /** The outgoing slots are so no more, unless another steward has settled the move. */
  async #settle(moveNumber: number, after: (own: Ownership) => Ownership): Promise<void> {
    await executeUnguarded(this.#core, (rows) => {
      const { outgoing, ...own } = decodeOwnership(rows.get(SLOTS_KEY));
      if (!outgoing || own.moveNumber !== moveNumber) return;
      rows.put(SLOTS_KEY, encodeOwnership(after(own)));
    });
  }

  /** Always the same pages, since nothing writes there. */
  async *#pages(slots: SlotRange): AsyncGenerator<readonly Row[]> {
    const { from, to } = keysOf(slots);
    for (let next = from; ;) {
      const start = next;
      const page = await this.#core.steward.peek((rows) =>
        withinBytes(rows.range({ from: start, to, limit: PAGE_ROWS })),
      );
      const last = page.at(-1);
      if (!last) return;
      yield page;
      next = keyAfter(last.key);
    }
  }

  #note(error: unknown): void {
    assert(errorCode(error) !== undefined, 'an error of ours');
    const { env, cell } = this.#core;
    env.log.warn('a slot move waits for the next steward', { cell, error });
  }
}

/** A request without what all steps of a move have in common. */
type StepOf<Request> = Request extends unknown ? Omit<Request, 'move' | 'attempt'> : never;

type Ask = (step: StepOf<AdoptRequest>) => Promise<AdoptAnswer>;

export function keysOf({ from, to }: SlotRange): { from: Uint8Array; to: Uint8Array } {
  return { from: slotStart(from), to: slotStart(to) };
}

export function isWithin(inner: SlotRange, outer: SlotRange): boolean {
  return inner.from < inner.to && inner.from >= outer.from && inner.to <= outer.to;
}

export function overlaps(a: SlotRange, b: SlotRange): boolean {
  return Math.max(a.from, b.from) < Math.min(a.to, b.to);
}

function isSameRange(a: SlotRange, b: SlotRange): boolean {
  return a.from === b.from && a.to === b.to;
}

function without(slots: SlotRange, gone: SlotRange): SlotRange {
  return slots.from === gone.from
    ? { from: gone.to, to: slots.to }
    : { from: slots.from, to: gone.from };
}

/** Rows of no slot that hold for all cells of the space. */
function sharedRows(rows: Rows): Row[] {
  const own = Object.values(OWN_TAGS).map((tag) => rowKey(CELL_SLOT, tag)[2]);
  const all = { from: slotStart(CELL_SLOT), to: slotStart(CELL_SLOT + 1) };
  return rows.range(all).filter(({ key }) => !own.includes(key[2]));
}

function withinBytes(rows: readonly Row[]): readonly Row[] {
  let bytes = 0;
  const end = rows.findIndex((row) => {
    bytes += row.key.length + row.value.length;
    return bytes > LIMITS.movePageBytes;
  });
  return end > 0 ? rows.slice(0, end) : rows;
}

/** @returns whether there is more to delete. */
function deleteLeaving(rows: Scratch): boolean {
  const { leaving, ...own } = decodeOwnership(rows.get(SLOTS_KEY));
  if (!leaving) return false;
  const page = rows.range({ ...keysOf(leaving), limit: PAGE_ROWS });
  for (const { key } of page) rows.delete(key);
  if (page.length === 0) rows.put(SLOTS_KEY, encodeOwnership(own));
  return page.length > 0;
}
