/**
 * One cell as this node carries it: a replica that follows the log, or its steward. One change of
 * role at a time; the database is the same in both, and is opened once.
 *
 *   closed ── follow ──→ replica ── takeOver ──→ steward
 *                           ↑ ←── fenced, handOver ──┘         close from each
 */
import { errorCode, errorMessage, HoldfastError, Mutex } from '../../base/index.ts';
import type { LocalDb } from '../../db/index.ts';
import type { Env } from '../../env/index.ts';
import type { CellId, FencedLog, Lsn } from '../../log/index.ts';
import type { CellFault } from '../cells/cell-faults.ts';
import type { CellPeers, SlotRange } from '../cells/cell-peers.ts';
import { Cell } from '../cells/cell.ts';
import { Replica } from '../cells/replica.ts';
import { type HostedFaults, Stewardship } from './stewardship.ts';

/** What a node needs to carry cells. */
export interface Carrying {
  readonly log: FencedLog;
  /** The cache of a cell's rows. */
  readonly openDb: (cell: CellId) => Promise<LocalDb>;
  /** The cell is not carried here any more; its database has been closed. */
  readonly dropDb?: ((cell: CellId) => Promise<void>) | undefined;
  /** Cells whose databases earlier runs of the node left here. */
  readonly knownDbs?: (() => Promise<readonly CellId[]>) | undefined;
}

export interface CarriedCellOptions {
  readonly env: Env;
  readonly space: string;
  readonly cell: CellId;
  readonly carrying: Carrying;
  readonly peers: CellPeers;
  readonly faults?: (HostedFaults & { readonly cell?: CellFault | undefined }) | undefined;
}

export class CarriedCell implements AsyncDisposable {
  readonly space: string;
  readonly cell: CellId;
  readonly #options: CarriedCellOptions;
  readonly #changing = new Mutex();
  #db: LocalDb | undefined;
  #replica: Replica | undefined;
  #steward: Stewardship | undefined;
  #failedAtMs: number | undefined;
  #isClosed = false;
  /** By the monotonic clock. */
  readonly sinceMs: number;

  constructor(options: CarriedCellOptions) {
    this.sinceMs = options.env.clock.monotonic();
    this.space = options.space;
    this.cell = options.cell;
    this.#options = options;
  }

  get steward(): Stewardship | undefined {
    return this.#steward;
  }

  /** Whether it could take over as far as is known: it did not fail to a moment ago. */
  isAble(withinMs: number): boolean {
    const { clock } = this.#options.env;
    return this.#failedAtMs === undefined || clock.monotonic() - this.#failedAtMs >= withinMs;
  }

  /** How far the rows have come; 0 while they are not followed. */
  get lsn(): Lsn {
    return this.#steward?.cell.view().lsn ?? this.#replica?.applied.lsn ?? 0;
  }

  get epoch(): number {
    return this.#steward?.cell.view().epoch ?? 0;
  }

  nudge(lsn: Lsn): void {
    this.#replica?.nudge(lsn);
  }

  /** Resolves when the rows have come as far as the log was. */
  async caughtUp(): Promise<void> {
    await this.follow();
    await this.#replica?.caughtUp();
  }

  /** A replica unless it is the steward. */
  async follow(): Promise<void> {
    if (this.#replica || this.#steward) return;
    await this.#changing.run(() => this.#follow());
  }

  /**
   * Seizes the cell, unless this node is its steward already.
   * @throws what keeps it from that; then it is a replica again.
   */
  async takeOver(): Promise<Stewardship> {
    return await this.#changing.run(async () => {
      if (this.#steward) return this.#steward;
      try {
        return await this.#takeOver();
      } catch (error) {
        this.#failedAtMs = this.#options.env.clock.monotonic();
        this.#steward = undefined;
        await this.#follow().catch(coded);
        throw error;
      }
    });
  }

  /** Serves no more, and follows from now on. */
  async handOver(): Promise<void> {
    await this.#changing.run(async () => {
      const steward = this.#steward;
      if (!steward) return;
      await steward.cell.handOver();
      await this.#standBack(steward);
    });
  }

  /** Closes the database, and lets it be dropped where nothing needs it any more. */
  async close({ isDropped }: { readonly isDropped: boolean }): Promise<void> {
    await this.#changing.run(async () => {
      if (this.#isClosed) return;
      this.#isClosed = true;
      const steward = this.#steward;
      this.#steward = undefined;
      await steward?.[Symbol.asyncDispose]();
      await this.#replica?.[Symbol.asyncDispose]();
      this.#replica = undefined;
      await this.#db?.[Symbol.asyncDispose]();
      if (isDropped) await this.#options.carrying.dropDb?.(this.cell);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close({ isDropped: false });
  }

  async #open(): Promise<LocalDb> {
    if (this.#isClosed) throw new HoldfastError('HF_CLOSED');
    this.#db ??= await this.#options.carrying.openDb(this.cell);
    return this.#db;
  }

  async #follow(): Promise<void> {
    if (this.#replica || this.#steward) return;
    const { env, carrying, cell } = this.#options;
    const db = await this.#open();
    const parts = { env, cell, log: carrying.log, db };
    this.#replica = await Replica.open({ ...parts, intervalMs: UNTOLD_MS });
  }

  async #takeOver(): Promise<Stewardship> {
    const { env, carrying, peers, space, faults } = this.#options;
    const db = await this.#open();
    const replica = this.#replica;
    this.#replica = undefined;
    await replica?.[Symbol.asyncDispose]();
    const cell = await Cell.open({
      env,
      cell: this.cell,
      log: carrying.log,
      db,
      peers,
      slots: this.cell === space ? undefined : NO_SLOTS,
      staysLost: true,
      faults: faults?.cell,
    });
    const steward = await Stewardship.open({ env, space, cell, faults });
    this.#steward = steward;
    this.#failedAtMs = undefined;
    void cell.lost.then(() => this.#changing.run(() => this.#standBack(steward)));
    return steward;
  }

  /** After it was lost: nothing of it is asked any more. Never fails. */
  async #standBack(steward: Stewardship): Promise<void> {
    if (this.#steward !== steward) return;
    const { env } = this.#options;
    this.#steward = undefined;
    try {
      await steward[Symbol.asyncDispose]();
      await this.#follow();
    } catch (error) {
      coded(error);
      env.log.warn('a cell is not followed', { cell: this.cell, reason: errorMessage(error) });
    }
  }
}

/** How often a replica looks at the log by itself: it is nudged when the steward has written. */
const UNTOLD_MS = 30_000;
/** A cell that was split off begins without any. */
const NO_SLOTS: SlotRange = { from: 0, to: 0 };

function coded(error: unknown): void {
  if (errorCode(error) === undefined) throw error;
}
