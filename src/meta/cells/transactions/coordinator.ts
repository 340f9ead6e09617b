/**
 * Operations that touch rows of other cells, by running them again: what an operation wants of
 * another cell is fetched, and it runs anew with it, until it runs through. What it changes is
 * agreed on with the cells it read from (docs/design/0006).
 *
 *   try ─ detour ─→ fetch ─→ try … ─ ran through ─→ prepare everywhere ─ all hold ─→ run once more
 *    ↑                                     │ busy: abort, pause                        │ the same
 *    └─────────────────────────────────────┴──────────── abort ←── another ────────────┤
 *                                                                   commitment row: answer, apply
 *
 * Invariants:
 * 1. A transaction is committed by the one entry with its own changes and its commitment row.
 * 2. That entry is decided on own rows as they are then, and on foreign rows that are held.
 * 3. A transaction number is used once in an epoch; a transaction of an epoch that is over, without
 *    a commitment row, never commits.
 */
import { assert, errorCode, HoldfastError, mapBounded } from '../../../base/index.ts';
import type { CellId } from '../../../log/index.ts';
import type { PrepareRequest, RowRange, TransactionState, Txid } from '../cell-peers.ts';
import type { ExecuteOptions } from '../executor.ts';
import type { Change, Rows } from '../overlay.ts';
import type { Outcome } from '../retry-rows.ts';
import { CELL_SLOT, rowsOfTag, slotOfKey } from '../rows.ts';
import type { Operation } from '../steward.ts';
import {
  type CellCore,
  confirm,
  type Deadline,
  deadlineOf,
  executeUnguarded,
  passed,
  pause,
  persist,
} from './cell-core.ts';
import { CellRows } from './cell-rows.ts';
import { Detour, detourOf } from './detour.ts';
import { ForeignRows } from './foreign-rows.ts';
import { Holder, textRange } from './locks.ts';
import { isSame, runThrough } from './run-through.ts';
import {
  commitmentKey,
  decodeCommitment,
  encodeCommitment,
  OWN_TAGS,
  type Participant,
  txidOfCommitment,
} from './transaction-rows.ts';
import type { Watch } from './watch.ts';

/** Messages of one transaction under way at once. */
const ASKED_AT_ONCE = 16;
/** Times that an operation asks for more rows; a path of this depth can be walked. */
const FETCHES_MAX = 1000;
/** Attempts after which own rows, too, are held while others prepare. */
const ATTEMPTS_BEFORE_HOLDING = 2;

/** An operation on its way, with what surrounds it. */
interface Request<Result> {
  readonly operation: Operation<Result>;
  readonly options: ExecuteOptions;
  readonly deadline: Deadline;
}

/** What is known when an operation has run through once. */
interface Trial {
  readonly rows: CellRows;
  readonly foreign: ForeignRows;
  /** From before the only fetch; none when there were several. */
  readonly watch: Watch | undefined;
  readonly holder: Holder | undefined;
}

interface Prepared extends Trial {
  readonly txid: Txid;
  readonly participants: readonly Participant[];
}

export class Coordinator {
  readonly #core: CellCore;
  /** Numbers of this epoch that may yet commit. */
  readonly #running = new Set<number>();
  #number = 0;
  /** Transactions of this epoch of which not all participants have heard. */
  #spreading = new Set<Txid>();

  constructor(core: CellCore) {
    this.#core = core;
  }

  get commitmentCount(): number {
    return this.#spreading.size;
  }

  /** Takes up what its predecessors have committed. */
  begin(rows: Rows): void {
    this.#running.clear();
    this.#number = 0;
    this.#spreading = new Set();
    const slots: [number, number] = [CELL_SLOT, CELL_SLOT + 1];
    for (const { key, value } of rowsOfTag(rows, OWN_TAGS.commitment, { slots })) {
      const txid = txidOfCommitment(this.#core.cell, key);
      void this.#spread(txid, decodeCommitment(value));
    }
  }

  async execute<Result>(
    operation: Operation<Result>,
    options: ExecuteOptions,
  ): Promise<Outcome<Result>> {
    const request = { operation, options, deadline: deadlineOf(this.#core.env) };
    for (let attempt = 0; !request.deadline.isOver; attempt++) {
      if (attempt > 0) await pause(this.#core, attempt);
      if (this.#core.signal.aborted) throw new HoldfastError('HF_FENCED', 'dropped; try again');
      const outcome = await this.#attempt(request, attempt);
      if (outcome) return outcome;
    }
    await confirm(this.#core); // to its successor they may agree
    throw new HoldfastError('HF_UNAVAILABLE', 'other cells did not agree in time');
  }

  /** @returns `undefined` when nothing was done, and it can be tried again. */
  async #attempt<Result>(
    request: Request<Result>,
    attempt: number,
  ): Promise<Outcome<Result> | undefined> {
    const trial = await this.#gather(request, attempt >= ATTEMPTS_BEFORE_HOLDING);
    if (!trial) return undefined;
    try {
      if (trial.watch && trial.rows.foreignChanges.size === 0) {
        const outcome = await this.#answerUnchanged(request, trial);
        if (outcome) return outcome;
      }
      const prepared = await this.#prepare(trial);
      return prepared && (await this.#commit(request, prepared));
    } finally {
      trial.watch?.[Symbol.dispose]();
      if (trial.holder) this.#core.state.locks.remove(trial.holder);
    }
  }

  // Reading.

  /** Runs the operation, and fetches what it wants, until it runs through. */
  async #gather<Result>(request: Request<Result>, holds: boolean): Promise<Trial | undefined> {
    const foreign = new ForeignRows();
    let watch: Watch | undefined;
    for (let fetches = 0; fetches < FETCHES_MAX;) {
      const step = await this.#core.steward.peek((rows) =>
        this.#try(rows, request, { foreign, holds, isFirst: fetches === 0 }),
      );
      if (step.kind === 'trial') return { ...step, foreign, watch };
      if (step.kind === 'held') await passed(this.#core, step.detour, request.deadline);
      else {
        watch?.[Symbol.dispose]();
        const count = await this.#fetch(step.ranges, foreign);
        // What several answers say was not so at one moment.
        watch = fetches + count === 1 ? step.watch : undefined;
        if (!watch) step.watch?.[Symbol.dispose]();
        if (count === 0) return undefined;
        fetches += count;
      }
    }
    throw new HoldfastError('HF_TOO_LARGE', 'one operation reads too much of other cells');
  }

  /** Synchronous: what it holds and watches is as it was when the operation ran. */
  #try<Result>(
    rows: Rows,
    request: Request<Result>,
    { foreign, holds, isFirst }: { foreign: ForeignRows; holds: boolean; isFirst: boolean },
  ): Step {
    const { state } = this.#core;
    const scratch = new CellRows(rows, state, { foreign });
    try {
      runThrough(scratch, request);
    } catch (detour) {
      // Rows of several moments may look impossible; the last run is on rows of one.
      if (!(detour instanceof Detour)) return { kind: 'trial', rows: scratch, holder: undefined };
      const { reason } = detour;
      if (reason.kind !== 'foreign') return { kind: 'held', detour };
      const watch = isFirst ? state.watch(scratch.ownKeys, scratch.ownRanges) : undefined;
      return { kind: 'missing', ranges: reason.ranges, watch };
    }
    if (!holds) return { kind: 'trial', rows: scratch, holder: undefined };
    const keys = Array.from(scratch.ownKeys, (text) => ({ from: text, to: `${text}\0` }));
    const holder = new Holder(
      [...keys, ...scratch.ownRanges.map(textRange)],
      [...scratch.changes.keys()],
    );
    state.locks.add(holder);
    return { kind: 'trial', rows: scratch, holder };
  }

  /** @returns how many cells answered; 0 when one did not, and it is to be tried again. */
  async #fetch(ranges: readonly RowRange[], foreign: ForeignRows): Promise<number> {
    const { peers, env, cell } = this.#core;
    try {
      const byCell = Map.groupBy(ranges, ({ from }) => this.#cellOf(from));
      await mapBounded(byCell, ASKED_AT_ONCE, async ([owner, wanted]) => {
        const found = await peers.ofCell(owner).readRows({ ranges: wanted });
        for (const [index, range] of wanted.entries()) foreign.add(range, found[index] ?? []);
      });
      return byCell.size;
    } catch (error) {
      assert(errorCode(error) !== undefined, 'cells answer with errors of ours');
      if (errorCode(error) === 'HF_TOO_LARGE') throw error; // it is no other time
      env.log.debug('another cell could not be read', { cell, error });
      return 0;
    }
  }

  /** @throws HF_MOVED when it seems to be this one: somebody's map is old. */
  #cellOf(key: Uint8Array): CellId {
    const owner = this.#core.peers.cellOfSlot(slotOfKey(key));
    if (owner === this.#core.cell) throw new HoldfastError('HF_MOVED');
    return owner;
  }

  /**
   * Answers what has changed nothing, if nothing that it read here has changed since before the
   * rest was read elsewhere.
   */
  async #answerUnchanged<Result>(
    request: Request<Result>,
    { foreign, watch, holder }: Trial,
  ): Promise<Outcome<Result> | undefined> {
    const { steward, state } = this.#core;
    assert(watch, 'own rows are watched');
    try {
      return await steward.executeOn(
        (rows) => new CellRows(rows, state, { foreign, self: holder }),
        (rows) => {
          const outcome = runThrough(rows, request);
          const isUnchanged = rows.changes.size === 0 && rows.foreignChanges.size === 0;
          const isOfOneMoment = !watch.isChanged && watch.covers(rows.ownKeys, rows.ownRanges);
          if (!isUnchanged || !isOfOneMoment) throw new Detour({ kind: 'changed' });
          return outcome;
        },
      );
    } catch (error) {
      return void detourOf(error);
    }
  }

  // Agreeing.

  /** @returns `undefined` when some cell did not agree; then none holds anything for long. */
  async #prepare(trial: Trial): Promise<Prepared | undefined> {
    const { state, cell, env, peers, fault } = this.#core;
    const txid = { cell, epoch: state.epoch, number: ++this.#number };
    this.#running.add(txid.number);
    let parts: Map<CellId, Part> = new Map();
    try {
      parts = this.#partsOf(trial);
      const answers = await mapBounded(parts, ASKED_AT_ONCE, async ([owner, part]) => ({
        owner,
        answer: await peers.ofCell(owner).prepare({ txid, ...part }),
      }));
      const participants: Participant[] = [];
      for (const { owner, answer } of answers) {
        if (answer !== 'busy') participants.push({ cell: owner, token: answer.token });
      }
      const prepared = { ...trial, txid, participants };
      if (fault === 'apply-before-commit') await this.#applyTo(prepared);
      if (participants.length === parts.size) return prepared;
    } catch (error) {
      assert(errorCode(error) !== undefined, 'cells answer with errors of ours');
      env.log.debug('another cell could not be prepared', { cell, error });
      if (errorCode(error) === 'HF_TOO_LARGE') {
        this.#abort(txid, parts.keys());
        throw error; // it is no other time
      }
    }
    this.#abort(txid, parts.keys());
    return undefined;
  }

  #partsOf({ foreign, rows }: Trial): Map<CellId, Part> {
    const parts = new Map<CellId, Part>();
    const partOf = (key: Uint8Array): Part => {
      const owner = this.#cellOf(key);
      let part = parts.get(owner);
      if (!part) parts.set(owner, (part = { reads: [], changes: [] }));
      return part;
    };
    for (const read of foreign.reads()) partOf(read.from).reads.push(read);
    for (const change of rows.foreignChanges.values()) partOf(change.key).changes.push(change);
    return parts;
  }

  async #applyTo({ txid, participants }: Prepared): Promise<void> {
    await mapBounded(participants, ASKED_AT_ONCE, async ({ cell, token }) => {
      await this.#core.peers.ofCell(cell).apply({ txid, token });
    });
  }

  /** Runs the operation a last time, on own rows as they are now: then it is committed, or not. */
  async #commit<Result>(
    request: Request<Result>,
    prepared: Prepared,
  ): Promise<Outcome<Result> | undefined> {
    const { steward, state } = this.#core;
    const { txid, participants, foreign, holder } = prepared;
    const cells = participants.map(({ cell }) => cell);
    let decision = 'none' as 'none' | 'aborted' | 'committed';
    try {
      const outcome = await steward.executeOn(
        (rows) => new CellRows(rows, state, { foreign, self: holder }),
        (rows) => {
          decision = 'aborted';
          if (state.epoch !== txid.epoch) throw new Detour({ kind: 'changed' });
          this.#running.delete(txid.number);
          const last = runThrough(rows, request);
          if (!isSame(rows.foreignChanges, prepared.rows.foreignChanges)) {
            throw new Detour({ kind: 'changed' });
          }
          if (rows.foreignChanges.size === 0) return last;
          rows.put(commitmentKey(txid), encodeCommitment(participants));
          decision = 'committed';
          return last;
        },
      );
      if (decision === 'committed') void this.#spread(txid, participants);
      else this.#abort(txid, cells);
      return outcome;
    } catch (error) {
      // What may be committed is not given up: the participants ask.
      if (decision === 'aborted') this.#abort(txid, cells);
      const detour = detourOf(error);
      if (detour.reason.kind === 'moved') await passed(this.#core, detour, request.deadline);
      return undefined;
    }
  }

  /** Tells the participants, who would otherwise ask. */
  #abort(txid: Txid, cells: Iterable<CellId>): void {
    const { env, cell, peers, state } = this.#core;
    if (state.epoch === txid.epoch) this.#running.delete(txid.number);
    for (const participant of cells) {
      peers
        .ofCell(participant)
        .abort({ txid })
        .catch((error: unknown) => env.log.debug('an abort was not heard', { cell, error }));
    }
  }

  /** Tells the participants until all have heard; then nobody will ask any more. */
  async #spread(txid: Txid, participants: readonly Participant[]): Promise<void> {
    const { env, cell, peers, state } = this.#core;
    const epoch = state.epoch;
    const isOver = (): boolean => state.epoch !== epoch;
    const spreading = this.#spreading;
    spreading.add(txid);
    try {
      await mapBounded(participants, ASKED_AT_ONCE, async (participant) => {
        const { token } = participant;
        const apply = async (): Promise<void> =>
          await peers.ofCell(participant.cell).apply({ txid, token });
        await persist(this.#core, apply, { isOver });
      });
      await executeUnguarded(this.#core, (rows) => rows.delete(commitmentKey(txid)));
    } catch (error) {
      assert(errorCode(error) !== undefined, 'an error of ours');
      env.log.debug('the next steward goes on telling', { cell, error }); // see `begin`
    } finally {
      spreading.delete(txid);
    }
  }

  /** What has become of a transaction of this cell. */
  async status(txid: Txid, participant: CellId): Promise<TransactionState> {
    const { steward, state, fault, cell } = this.#core;
    if (txid.cell !== cell) throw new HoldfastError('HF_BAD_ARGUMENT', "it is another cell's");
    const look = (rows: Rows): TransactionState => {
      const row = rows.get(commitmentKey(txid));
      const found = row && decodeCommitment(row).find((one) => one.cell === participant);
      if (found) return { state: 'committed', token: found.token };
      const isRunning = txid.epoch === state.epoch && this.#running.has(txid.number);
      return { state: isRunning ? 'pending' : 'aborted' };
    };
    if (fault === 'status-without-barrier') return await steward.peek(look);
    return await steward.execute(look);
  }
}

/** What one cell is asked to agree on. */
interface Part {
  readonly reads: PrepareRequest['reads'][number][];
  readonly changes: Change[];
}

/** What one trial run has come to. */
type Step =
  | { readonly kind: 'trial'; readonly rows: CellRows; readonly holder: Holder | undefined }
  | { readonly kind: 'held'; readonly detour: Detour }
  | {
      readonly kind: 'missing';
      readonly ranges: readonly RowRange[];
      readonly watch: Watch | undefined;
    };
