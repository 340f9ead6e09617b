/**
 * One cell as this node carries it: a replica that follows the log, or its steward. One change of
 * role at a time; the database is the same in both, and is opened once.
 *
 *   closed ── follow ──→ replica ── takeOver ──→ steward
 *                           ↑ ←── fenced, handOver ──┘         close from each
 */
import { errorCode, errorMessage, HoldfastError, Mutex, unlessBug } from '../../base/index.ts';
import type { LocalDb } from '../../db/index.ts';
import type { Env } from '../../env/index.ts';
import type { CellId, FencedLog, Lsn } from '../../log/index.ts';
import type { CellFault } from '../cells/cell-faults.ts';
import type { CellPeers, SlotRange } from '../cells/cell-peers.ts';
import { assertNotAhead } from '../cells/catch-up.ts';
import { Cell } from '../cells/cell.ts';
import { Replica } from '../cells/replica.ts';
import type { CarriedState } from './ping-wire.ts';
import type { Loss } from './stewardship-rules.ts';
import { type HostedFaults, Stewardship, type StewardshipOptions } from './stewardship.ts';

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
  /** As in `StewardshipOptions`. */
  readonly recall: StewardshipOptions['recall'];
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
  #failure: { readonly atMs: number; readonly pauseMs: number } | undefined;
  #loss: { readonly atMs: number; readonly count: number } | undefined;
  #servedSinceMs = 0;
  #nudged: Promise<void> | undefined;
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

  /** Its rows as they are here: durable ones, maybe old; nothing while they are not open. */
  get rows(): LocalDb | undefined {
    return this.#isClosed ? undefined : this.#db;
  }

  /** What others are told; nothing while it is not open yet. */
  get state(): CarriedState | undefined {
    const { cell, epoch, lsn } = this;
    if (this.#steward) return { cell, role: 'steward', epoch, lsn };
    if (!this.isAble) return { cell, role: 'unable', epoch, lsn };
    return this.#replica && { cell, role: 'replica', epoch, lsn };
  }

  /** Whether it could take over as far as is known: it did not fail to a moment ago. */
  get isAble(): boolean {
    return !this.#failure || this.#now() - this.#failure.atMs >= this.#failure.pauseMs;
  }

  /** Whether its rows are being kept in line with the log. */
  get isFollowing(): boolean {
    return this.#replica !== undefined;
  }

  /** That another one took the cell, unless it was long ago. */
  get loss(): Loss | undefined {
    if (!this.#loss) return undefined;
    const { atMs, count } = this.#loss;
    const agoMs = this.#now() - atMs;
    return agoMs < LOSS_FORGOTTEN_MS ? { agoMs, count } : undefined;
  }

  /** How far the rows have come; 0 while they are not followed. */
  get lsn(): Lsn {
    return this.#steward?.cell.view().lsn ?? this.#replica?.applied.lsn ?? 0;
  }

  get epoch(): number {
    return this.#steward?.cell.view().epoch ?? 0;
  }

  /** Looks at the log, which has come so far, as is said. Does not wait. */
  nudge(lsn: Lsn): void {
    const replica = this.#replica;
    if (!replica || this.#nudged || replica.applied.lsn >= lsn) return;
    this.#nudged = replica
      .caughtUp()
      .catch(unlessBug) // it looks again by itself
      .finally(() => (this.#nudged = undefined));
  }

  /** Resolves when the rows have come as far as the log was. */
  async caughtUp(): Promise<void> {
    await this.follow();
    await this.#replica?.caughtUp();
  }

  /** A replica unless it is the steward. */
  async follow(): Promise<void> {
    if (this.#replica || this.#steward) return;
    await this.#changing.run(() => this.#noting(() => this.#follow()));
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
        this.#noteFailure(error);
        this.#steward = undefined;
        await this.#follow().catch(unlessBug);
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

  /**
   * Closes the database, and lets it be dropped where nothing needs it any more.
   * @throws HF_CORRUPT when the log has lost entries that the rows know of: they are kept.
   */
  async close({ isDropped }: { readonly isDropped: boolean }): Promise<void> {
    await this.#changing.run(async () => {
      if (this.#isClosed) return;
      if (isDropped) await this.#noting(() => this.#assertOfNoUse());
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

  async #assertOfNoUse(): Promise<void> {
    const { carrying, cell } = this.#options;
    const db = await this.#open();
    const { lsn } = await carrying.log.head(cell);
    assertNotAhead({ cell, db }, lsn);
  }

  async #noting(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#noteFailure(error);
      throw error;
    }
  }

  /** Where the log is what failed, it may be better soon; a disk hardly. */
  #noteFailure(error: unknown): void {
    const before = this.#failure?.pauseMs ?? 0;
    const isPassing = PASSING.includes(errorCode(error));
    const pauseMs = isPassing
      ? UNABLE_MS
      : Math.min(Math.max(UNABLE_MS, 2 * before), UNABLE_MS_MAX);
    this.#failure = { atMs: this.#now(), pauseMs };
  }

  /** Its stewardship has ended: was it another one that took the cell? */
  async #noteLoss(epoch: number): Promise<void> {
    const { carrying, cell } = this.#options;
    const head = await carrying.log.head(cell).catch(unlessBug);
    if (!head || head.epoch <= epoch) return;
    const isAgain = this.#now() - this.#servedSinceMs < LOSS_FORGOTTEN_MS;
    const count = isAgain ? (this.loss?.count ?? 0) + 1 : 1;
    this.#loss = { atMs: this.#now(), count };
  }

  #now(): number {
    return this.#options.env.clock.monotonic();
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
    const { env, carrying, peers, space, recall, faults } = this.#options;
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
    const steward = await Stewardship.open({ env, space, cell, recall, faults });
    this.#steward = steward;
    this.#failure = undefined;
    this.#servedSinceMs = this.#now();
    void cell.lost.then(() => this.#changing.run(() => this.#standBack(steward)));
    return steward;
  }

  /** After it was lost: nothing of it is asked any more. Never fails. */
  async #standBack(steward: Stewardship): Promise<void> {
    if (this.#steward !== steward) return;
    const { env } = this.#options;
    this.#steward = undefined;
    try {
      await this.#noteLoss(steward.cell.view().epoch);
      await steward[Symbol.asyncDispose]();
      await this.#follow();
    } catch (error) {
      unlessBug(error);
      env.log.warn('a cell is not followed', { cell: this.cell, reason: errorMessage(error) });
    }
  }
}

/** How often a replica looks at the log by itself: it is nudged when the steward has written. */
const UNTOLD_MS = 30_000;
/** A cell that was split off begins without any. */
const NO_SLOTS: SlotRange = { from: 0, to: 0 };
/** What could not be taken over or followed is left to others for so long. */
const UNABLE_MS = 3000;
const UNABLE_MS_MAX = 60_000;
/** Failures of the log and of the way to it, not of this node. */
const PASSING: readonly (string | undefined)[] = [
  'HF_UNAVAILABLE',
  'HF_UNKNOWN_OUTCOME',
  'HF_TIMEOUT',
  'HF_FENCED',
  'HF_INTERRUPTED',
];
/** Who served for so long, or lost the cell so long ago, begins anew. */
const LOSS_FORGOTTEN_MS = 600_000;
