/**
 * One life of a machine that carries cells: it is asked for operations and for messages of other
 * cells, takes a cell over when it is told to or feels like it, and follows it otherwise.
 *
 * Invariant: one at a time has a cell's database: its steward or its replica.
 */
import { assert, errorCode, HoldfastError } from '../../src/base/index.ts';
import type { LocalDb } from '../../src/db/index.ts';
import type { CellId, FencedLog } from '../../src/log/index.ts';
import {
  Cell,
  type CellFault,
  type CellMessages,
  type CellPeers,
  type ExecuteOptions,
  type Operation,
  Replica,
  type SlotRange,
} from '../../src/meta/index.ts';
import type { Life } from './time.ts';

export interface HostOptions {
  readonly life: Life;
  readonly fencedLog: FencedLog;
  readonly dbOf: (cell: CellId) => LocalDb;
  readonly peers: CellPeers;
  /** Of a cell that is new. */
  readonly slotsOf: (cell: CellId) => SlotRange;
  readonly hasReplicas: boolean;
  /** Whether it takes a cell for which it is asked and which somebody else may have. */
  readonly mayTake: (cell: CellId) => boolean;
  readonly fault: CellFault | undefined;
  readonly onBug: (error: unknown) => void;
}

/** What is held of one cell. */
interface Held {
  steward: Cell | undefined;
  replica: Replica | undefined;
  /** The last change of role: they come one after the other. */
  turn: Promise<void>;
}

export class Host {
  readonly #options: HostOptions;
  readonly #held = new Map<CellId, Held>();
  #changeCount = 0;

  constructor(options: HostOptions) {
    this.#options = options;
  }

  /** The steward of the cell, if it is here. */
  steward(cell: CellId): Cell | undefined {
    return this.#held.get(cell)?.steward;
  }

  /** Whether it is about to take a cell over, or to leave one. */
  get isChanging(): boolean {
    return this.#changeCount > 0;
  }

  async execute<Result>(
    cell: CellId,
    operation: Operation<Result>,
    options?: ExecuteOptions,
  ): Promise<Result> {
    return await (await this.#asked(cell)).execute(operation, options);
  }

  async messages(cell: CellId): Promise<CellMessages> {
    return (await this.#asked(cell)).messages;
  }

  async #asked(cell: CellId): Promise<Cell> {
    const steward = this.steward(cell);
    if (steward) return steward;
    if (!this.#options.mayTake(cell)) throw new HoldfastError('HF_NOT_STEWARD');
    return await this.seize(cell);
  }

  /** @throws what keeps it from taking over. */
  async seize(cell: CellId): Promise<Cell> {
    await this.#change(cell, async (held) => {
      if (held.steward) return;
      await this.#dropReplica(held);
      held.steward = await this.#open(cell);
      held.steward.lost.then(
        () => this.#leave(cell),
        (error: unknown) => this.#options.onBug(error),
      );
    });
    const steward = this.steward(cell);
    if (!steward) throw new HoldfastError('HF_NOT_STEWARD', 'it was lost at once');
    return steward;
  }

  async #open(cell: CellId): Promise<Cell> {
    const { life, fencedLog: log, dbOf, peers, slotsOf, fault } = this.#options;
    return await Cell.open({
      env: life.env,
      cell,
      log,
      db: dbOf(cell),
      peers,
      slots: slotsOf(cell),
      staysLost: true,
      faults: fault,
    });
  }

  /** It lost the cell, and follows from now on. */
  #leave(cell: CellId): void {
    void this.#change(cell, async (held) => {
      await held.steward?.[Symbol.asyncDispose]();
      held.steward = undefined;
      if (this.#options.hasReplicas) await this.#follow(cell, held);
    });
  }

  /** Follows the cell, and is not its steward any more. */
  async follow(cell: CellId): Promise<Replica | undefined> {
    await this.#change(cell, async (held) => {
      await held.steward?.[Symbol.asyncDispose]();
      held.steward = undefined;
      await this.#follow(cell, held);
    });
    return this.#held.get(cell)?.replica;
  }

  async #follow(cell: CellId, held: Held): Promise<void> {
    if (held.steward || held.replica) return;
    const { life, fencedLog: log, dbOf, fault: faults } = this.#options;
    const parts = { env: life.env, cell, log, db: dbOf(cell), faults };
    try {
      held.replica = await Replica.open({ ...parts, intervalMs: 100 });
    } catch (error) {
      if (errorCode(error) === undefined) this.#options.onBug(error);
    }
  }

  async #dropReplica(held: Held): Promise<void> {
    await held.replica?.[Symbol.asyncDispose]();
    held.replica = undefined;
  }

  /** Gives everything up in good order. */
  async close(): Promise<void> {
    for (const cell of this.#held.keys()) {
      await this.#change(cell, async (held) => {
        await this.#dropReplica(held);
        await held.steward?.[Symbol.asyncDispose]();
        held.steward = undefined;
      });
    }
  }

  async #change(cell: CellId, work: (held: Held) => Promise<void>): Promise<void> {
    let held = this.#held.get(cell);
    if (!held) {
      held = { steward: undefined, replica: undefined, turn: Promise.resolve() };
      this.#held.set(cell, held);
    }
    const present = held;
    this.#changeCount += 1;
    const mine = present.turn
      .then(() => work(present))
      .finally(() => {
        this.#changeCount -= 1;
      });
    present.turn = mine.catch(() => {}); // who asked is told
    await mine;
    assert(!(present.steward && present.replica), 'a database has one user');
  }
}
