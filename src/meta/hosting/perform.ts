/**
 * An operation at the steward of its cell. What the operation itself throws is its answer; what the
 * cell says instead of running it, or of losing it, becomes a reply to ask again or elsewhere.
 */
import { assert, errorCode } from '../../base/index.ts';
import type { RangeOptions, Row } from '../../db/index.ts';
import type { SlotRange } from '../cells/cell-peers.ts';
import type { ExecuteOptions, Executor } from '../cells/executor.ts';
import { Overlay, type Rows } from '../cells/overlay.ts';
import { rowKey, SLOT_COUNT, slotOfKey } from '../cells/rows.ts';
import type { Operation } from '../cells/steward.ts';
import type { CellCall, Reply } from './hosting-wire.ts';

/** Said by the cell, not by an operation. */
const REPLIES: Readonly<Record<string, Reply>> = {
  HF_MOVED: { kind: 'moved' },
  HF_NOT_STEWARD: { kind: 'elsewhere', steward: undefined },
  HF_FENCED: { kind: 'later', isInDoubt: false },
  HF_CLOSED: { kind: 'later', isInDoubt: false },
  HF_BUSY: { kind: 'later', isInDoubt: false },
  HF_UNAVAILABLE: { kind: 'later', isInDoubt: true },
  HF_TIMEOUT: { kind: 'later', isInDoubt: true },
  HF_INTERRUPTED: { kind: 'later', isInDoubt: true }, // the cell was closed meanwhile
  HF_UNKNOWN_OUTCOME: { kind: 'later', isInDoubt: true },
};

/** Said by a cell before it runs anything. */
const NOT_KEPT: readonly (string | undefined)[] = ['HF_MOVED', 'HF_NOT_STEWARD', 'HF_CLOSED'];

/** @param apiOf the interface of the method over an executor. @throws what the operation throws. */
export async function perform(
  cell: Executor,
  apiOf: (executor: Executor) => object,
  { method, call }: { readonly method: string; readonly call: CellCall },
): Promise<Reply> {
  const { slot, within, retry } = call;
  const executor = new RequestExecutor(cell, { slot, retry }, within);
  const api = apiOf(executor) as Record<string, (...args: unknown[]) => Promise<unknown>>;
  const operation = api[method];
  assert(operation, 'a method of the table is there');
  try {
    return { kind: 'answer', value: await operation.apply(api, [...call.args]) };
  } catch (error) {
    const code = errorCode(error) ?? '';
    // The directory is being recalled; no such answer is kept.
    if (code === 'HF_LEASED') return { kind: 'later', isInDoubt: false };
    if (executor.isAnswer(error)) throw error;
    const reply = REPLIES[code];
    if (!reply) throw error;
    return reply;
  }
}

/** Runs the operations of one request with its options, and knows what they threw themselves. */
class RequestExecutor implements Executor {
  readonly #cell: Executor;
  readonly #options: ExecuteOptions;
  readonly #within: SlotRange | undefined;
  #hasRun = false;
  #isKept = false;
  #thrown: unknown;

  constructor(cell: Executor, options: ExecuteOptions, within: SlotRange | undefined) {
    this.#cell = cell;
    this.#options = options;
    this.#within = within;
  }

  /**
   * Whether that is what the operation threw, now or when it was asked before: then its answer was
   * kept and it did not run. What is dropped says why.
   */
  isAnswer(error: unknown): boolean {
    if (error === this.#thrown) return true;
    const isKept = this.#options.retry !== undefined && !this.#hasRun;
    const isOfCell = NOT_KEPT.includes(errorCode(error)) || (error as Error).cause !== undefined;
    return isKept && !isOfCell;
  }

  async execute<Result>(operation: Operation<Result>): Promise<Result> {
    const within = this.#within;
    // A second one would get the answer that was kept for the first, and not be run.
    assert(!this.#isKept, 'a change is one operation');
    const result = await this.#cell.execute((rows) => {
      this.#hasRun = true;
      this.#thrown = undefined;
      try {
        return within ? runWithin(rows, within, operation) : operation(rows);
      } catch (error) {
        this.#thrown = error;
        throw error;
      }
    }, this.#options);
    this.#isKept = this.#options.retry !== undefined;
    return result;
  }
}

function runWithin<Result>(rows: Overlay, within: SlotRange, operation: Operation<Result>): Result {
  const scratch = new Overlay(new RowsWithin(rows, within));
  const result = operation(scratch);
  for (const change of scratch.changes.values()) rows.set(change);
  return result;
}

/** Only the rows of these slots, and those that belong to no slot. */
class RowsWithin implements Rows {
  readonly slots: readonly [from: number, to: number];
  readonly #rows: Rows;
  readonly #from: Uint8Array;
  readonly #to: Uint8Array;

  constructor(rows: Rows, { from, to }: SlotRange) {
    this.slots = [from, to];
    this.#rows = rows;
    // No tag is as low: where the rows of a slot begin.
    this.#from = rowKey(from, '\0');
    this.#to = rowKey(to, '\0').subarray(0, 2);
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#rows.get(key);
  }

  range(options: RangeOptions): Row[] {
    if (slotOfKey(options.from) >= SLOT_COUNT) return this.#rows.range(options);
    const from = Buffer.compare(options.from, this.#from) > 0 ? options.from : this.#from;
    const to = Buffer.compare(options.to, this.#to) < 0 ? options.to : this.#to;
    if (Buffer.compare(from, to) >= 0) return [];
    return this.#rows.range({ ...options, from, to });
  }
}
