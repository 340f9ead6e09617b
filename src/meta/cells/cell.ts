/**
 * A cell as its steward: operations over rows as the {@link Steward} runs them, and around them
 * which slots are owned, transactions with other cells of the space, moves of slots, and kept
 * answers of requests that may be asked again. An operation on own rows alone costs a look at each
 * of its keys; all else begins with a {@link Detour}.
 */
import { errorCode, errorMessage, HoldfastError } from '../../base/index.ts';
import type { CellId } from '../../log/index.ts';
import type { CellFault } from './cell-faults.ts';
import type { CellMessages, CellPeers, SlotRange } from './cell-peers.ts';
import { CellState } from './cell-state.ts';
import type { ExecuteOptions, Executor } from './executor.ts';
import { adopt } from './transactions/adoption.ts';
import { type CellCore, deadlineOf, executeUnguarded, passed } from './transactions/cell-core.ts';
import { CellRows } from './transactions/cell-rows.ts';
import { Coordinator } from './transactions/coordinator.ts';
import { Detour, detourOf } from './transactions/detour.ts';
import { Participant } from './transactions/participant.ts';
import { runThrough } from './transactions/run-through.ts';
import { type MoveRequest, SlotMoves } from './transactions/slot-moves.ts';
import { encodeOwnership, SLOTS_KEY } from './transactions/transaction-rows.ts';
import { type CellParts, type Operation, Steward } from './steward.ts';
import type { Outcome } from './retry-rows.ts';

export interface CellOptions extends CellParts {
  readonly peers: CellPeers;
  /**
   * Owned by a new cell, which may begin with none (`from` = `to`); a cell of before there were
   * ranges has all. Without effect on a cell that has entries.
   */
  readonly slots?: SlotRange | undefined;
  /** Once another steward has taken over, it does not take the cell back: `lost` says so. */
  readonly staysLost?: boolean | undefined;
  readonly faults?: CellFault | undefined;
}

export interface CellView {
  readonly cell: CellId;
  readonly isServing: boolean;
  readonly epoch: number;
  readonly lsn: number;
  readonly slots: SlotRange;
  /** Slots on their way to another cell. */
  readonly outgoing: (SlotRange & { readonly target: CellId }) | undefined;
  /** Intents of other cells' transactions. */
  readonly intentCount: number;
  /** Transactions that this cell coordinates and some participant has not acknowledged. */
  readonly transactionCount: number;
}

export class Cell implements Executor, AsyncDisposable {
  readonly messages: CellMessages;
  /** Resolves when it does not serve any more: fenced (with `staysLost`), handed over or closed. */
  readonly lost: Promise<void>;
  readonly #core: CellCore;
  readonly #coordinator: Coordinator;
  readonly #participant: Participant;
  readonly #moves: SlotMoves;
  /** Requests under way that may be asked again, by their tags. */
  readonly #running = new Map<string, Promise<Outcome<unknown>>>();

  private constructor({ peers, faults: fault, staysLost, ...parts }: CellOptions) {
    const { env, cell } = parts;
    const state = new CellState(() => env.clock.monotonic(), fault);
    const ending = new AbortController();
    const lost = Promise.withResolvers<void>();
    const steward = Steward.idle(parts, {
      staysLost,
      fault,
      onServing: (rows, epoch) => {
        state.load(rows, epoch);
        this.#coordinator.begin(rows);
        this.#moves.begin();
      },
      onDecided: (changes) => state.follow(changes),
      onDropped: () => state.wake(),
      onLost: () => {
        ending.abort();
        lost.resolve();
      },
    });
    this.#core = { env, cell, steward, state, peers, fault, signal: ending.signal };
    this.#coordinator = new Coordinator(this.#core);
    this.#participant = new Participant(this.#core);
    this.#moves = new SlotMoves(this.#core);
    this.lost = lost.promise;
    this.messages = {
      readRows: ({ ranges }) => this.#participant.readRows(ranges),
      prepare: (request) => this.#participant.prepare(request),
      apply: ({ txid, token }) => this.#participant.apply(txid, token),
      abort: ({ txid }) => this.#participant.abort(txid),
      status: ({ txid, participant }) => this.#coordinator.status(txid, participant),
      adopt: (request) => adopt(this.#core, request),
    };
  }

  /** Seizes the cell, brings its database up to the log, takes up what was begun. */
  static async open(options: CellOptions): Promise<Cell> {
    const cell = new Cell(options);
    try {
      await cell.#open(options.slots);
    } catch (error) {
      await cell[Symbol.asyncDispose]();
      throw error;
    }
    return cell;
  }

  async #open(slots: SlotRange | undefined): Promise<void> {
    const { steward } = this.#core;
    await steward.serve();
    if (slots && steward.position.applied.lsn === 0) {
      const row = encodeOwnership({ slots, moveNumber: 0 });
      await executeUnguarded(this.#core, (rows) => rows.put(SLOTS_KEY, row));
    }
    void this.#participant.run();
  }

  async execute<Result>(
    operation: Operation<Result>,
    options: ExecuteOptions = {},
  ): Promise<Result> {
    const { fault } = this.#core;
    const outcome = await this.#runOnce(operation, fault === 'no-retry-row' ? {} : options);
    if ('error' in outcome) throw outcome.error;
    return outcome.result;
  }

  /** Who asks again while it is under way joins it: two would be in each other's way. */
  async #runOnce<Result>(
    operation: Operation<Result>,
    options: ExecuteOptions,
  ): Promise<Outcome<Result>> {
    const { retry } = options;
    if (!retry) return await this.#run(operation, options);
    const name = `${retry.session} ${retry.lane} ${retry.sequence}`;
    const running = this.#running.get(name);
    if (running) return (await running.catch(passedOn)) as Outcome<Result>; // of the same operation
    const mine = this.#run(operation, options).finally(() => this.#running.delete(name));
    this.#running.set(name, mine);
    return await mine;
  }

  async #run<Result>(
    operation: Operation<Result>,
    options: ExecuteOptions,
  ): Promise<Outcome<Result>> {
    const { steward, state, env } = this.#core;
    let deadline;
    for (;;) {
      try {
        return await steward.executeOn(
          (rows) => new CellRows(rows, state),
          (rows) => {
            const outcome = runThrough(rows, { operation, options });
            if (rows.foreignChanges.size === 0) return outcome;
            throw new Detour({ kind: 'foreign', ranges: [] });
          },
        );
      } catch (error) {
        const detour = detourOf(error);
        if (detour.reason.kind === 'foreign') {
          return await this.#coordinator.execute(operation, options);
        }
        deadline ??= deadlineOf(env);
        await passed(this.#core, detour, deadline);
      }
    }
  }

  /**
   * Hands slots at one end of the cell's range to another cell; resolves when that is over. Once
   * begun it goes on by itself, also after a take-over.
   * @throws HF_BUSY while another move is under way here or, with a lower id, at the target:
   *   nothing was moved; HF_UNAVAILABLE; HF_BAD_ARGUMENT when the target refuses them, having them
   *   or none beside them: they stay frozen until it does not.
   */
  async moveSlots(request: MoveRequest): Promise<void> {
    await this.#moves.move(request);
  }

  /** Answers what was asked, then serves no more: HF_NOT_STEWARD. */
  async handOver(): Promise<void> {
    await this.#core.steward.stop('HF_NOT_STEWARD');
  }

  /** Compares the rows with the running digest. @throws HF_CORRUPT when they differ. */
  async verify(): Promise<void> {
    await this.#core.steward.verify();
  }

  view(): CellView {
    const { cell, steward, state } = this.#core;
    const { slots, outgoing } = state.ownership;
    const { epoch, durableLsn } = steward.position;
    return {
      cell,
      isServing: steward.isServing,
      epoch,
      lsn: durableLsn,
      slots,
      outgoing: outgoing && { ...outgoing.slots, target: outgoing.target },
      intentCount: state.intents.length,
      transactionCount: this.#coordinator.commitmentCount,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#core.steward[Symbol.asyncDispose]();
  }
}

/** What kept another run from an answer is none of this one's: its cause tells them apart. */
function passedOn(error: unknown): never {
  const code = errorCode(error);
  if (code === undefined) throw error;
  throw new HoldfastError(code, errorMessage(error), { cause: error });
}
