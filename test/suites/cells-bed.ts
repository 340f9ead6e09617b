/**
 * Cells of one space on virtual time: a log in memory, messages between them that get lost, come
 * twice and come late, and for each cell a database that outlives its steward. Stewards can be
 * killed, and followed by others.
 */
import { errorCode, HoldfastError } from '../../src/base/index.ts';
import { MemoryDb } from '../../src/db/index.ts';
import type { Env } from '../../src/env/index.ts';
import { type FencedLog, MemoryLog } from '../../src/log/index.ts';
import {
  Cell,
  type CellFault,
  type CellMessages,
  type CellOptions,
  type CellPeers,
  type SlotRange,
} from '../../src/meta/index.ts';
import { virtualEnv } from './virtual-env.ts';

export interface NetFaults {
  /** Of a hundred requests, and again of their answers, how many are lost. */
  readonly lostPercent?: number;
  /** Of a hundred requests, how many arrive again, some time later. */
  readonly doubledPercent?: number;
  readonly delayMsMax?: number;
}

type MessageName = keyof CellMessages;

export interface CellsBedOptions {
  readonly seed?: number;
  readonly net?: NetFaults;
  readonly faults?: CellFault;
  readonly log?: FencedLog;
  readonly staysLost?: boolean;
}

export class CellsBed implements AsyncDisposable {
  readonly env: Env;
  readonly log: FencedLog;
  net: NetFaults;
  readonly #options: CellsBedOptions;
  readonly #cells = new Map<string, Cell>();
  readonly #dbs = new Map<string, MemoryDb>();
  readonly #deposed: Cell[] = [];
  readonly #opening = new Map<string, Promise<Cell>>();
  /** Slot ranges as a map would tell that everybody has; old until `learn`. */
  readonly #map = new Map<string, SlotRange>();
  /** Called with each message on its arrival, before it is acted on. */
  onMessage: (message: { from: string; to: string; name: MessageName }) => void = () => {};

  constructor(options: CellsBedOptions = {}) {
    this.#options = options;
    this.env = virtualEnv(options.seed ?? 1);
    this.log = options.log ?? new MemoryLog();
    this.net = options.net ?? {};
  }

  /** Opens a steward of the cell; the one before it is left as it is. */
  async open(name: string, slots?: SlotRange, more: Partial<CellOptions> = {}): Promise<Cell> {
    const old = this.#cells.get(name);
    if (old) this.#deposed.push(old);
    const db = this.#dbs.get(name) ?? new MemoryDb();
    this.#dbs.set(name, db);
    const { faults, staysLost } = this.#options;
    const cell = await Cell.open({
      env: this.env,
      cell: name,
      log: this.log,
      db,
      peers: this.peersOf(name),
      slots,
      faults,
      staysLost,
      ...more,
    });
    this.#cells.set(name, cell);
    if (!this.#map.has(name)) this.#map.set(name, cell.view().slots);
    return cell;
  }

  /** A steward dies, its database forgets what was not committed, and another one follows. */
  async restart(name: string): Promise<Cell> {
    this.crash(name);
    return await this.open(name);
  }

  all(): Cell[] {
    return [...this.#cells.values(), ...this.#deposed];
  }

  has(name: string): boolean {
    return this.#cells.has(name);
  }

  /** Another steward follows, with a database of its own; the old one does not know of it. */
  async depose(name: string): Promise<Cell> {
    const db = new MemoryDb();
    const cell = await this.open(name, undefined, { db });
    this.#dbs.set(name, db);
    return cell;
  }

  /** From now on the steward hears nothing and its database takes nothing. */
  crash(name: string): void {
    const cell = this.#cells.get(name);
    if (cell) this.#deposed.push(cell);
    this.#cells.delete(name);
    this.#dbs.set(name, this.db(name).crash());
  }

  cell(name: string): Cell {
    const cell = this.#cells.get(name);
    if (!cell) throw new HoldfastError('HF_UNAVAILABLE', `nobody is the steward of ${name}`);
    return cell;
  }

  /**
   * The steward of the moment, or now and then one that does not know that it was deposed.
   */
  async someSteward(name: string): Promise<Cell> {
    const old = this.#deposed.filter((cell) => cell.view().cell === name && cell.view().isServing);
    if (old.length > 0 && this.env.random.below(4) === 0) {
      return old[this.env.random.below(old.length)] as Cell;
    }
    return await this.steward(name);
  }

  /** The steward of the moment; one that is lost is followed by another. */
  async steward(name: string): Promise<Cell> {
    await this.#opening.get(name)?.catch(() => undefined);
    const cell = this.cell(name);
    if (cell.view().isServing || !this.#options.staysLost) return cell;
    const opening = this.open(name);
    this.#opening.set(name, opening);
    return await opening.finally(() => this.#opening.delete(name));
  }

  db(name: string): MemoryDb {
    return this.#dbs.get(name) as MemoryDb;
  }

  names(): string[] {
    return [...this.#dbs.keys()];
  }

  /** Everybody hears which slots the cells have. */
  learn(): void {
    for (const [name, cell] of this.#cells) this.#map.set(name, cell.view().slots);
  }

  cellOfSlot(slot: number): string {
    for (const [name, { from, to }] of this.#map) if (slot >= from && slot < to) return name;
    throw new HoldfastError('HF_UNAVAILABLE', `no cell is known for slot ${slot}`);
  }

  peersOf(from: string): CellPeers {
    return {
      cellOfSlot: (slot) => this.cellOfSlot(slot),
      ofCell: (to) => {
        const ask =
          <Name extends MessageName>(name: Name) =>
          (request: never): Promise<never> =>
            this.#send({ from, to, name }, request);
        return {
          readRows: ask('readRows'),
          prepare: ask('prepare'),
          apply: ask('apply'),
          abort: ask('abort'),
          status: ask('status'),
          adopt: ask('adopt'),
        } as CellMessages;
      },
    };
  }

  async #send(
    message: { from: string; to: string; name: MessageName },
    request: never,
  ): Promise<never> {
    const { lostPercent, doubledPercent } = this.net;
    if (this.#happens(doubledPercent)) {
      void this.#travel(10)
        .then(() => this.#arrive(message, request))
        .catch(() => undefined); // nobody hears what a copy was answered
    }
    await this.#travel();
    if (this.#happens(lostPercent)) throw await this.#silence();
    const answer = await this.#arrive(message, request);
    await this.#travel();
    if (this.#happens(lostPercent)) throw await this.#silence();
    return answer;
  }

  async #arrive(
    message: { from: string; to: string; name: MessageName },
    request: never,
  ): Promise<never> {
    this.onMessage(message);
    try {
      const cell = await this.steward(message.to);
      return (await cell.messages[message.name](request)) as never;
    } catch (error) {
      if (errorCode(error) === 'HF_MOVED') this.learn();
      throw error;
    }
  }

  async #silence(): Promise<HoldfastError> {
    await this.env.clock.sleep(50);
    return new HoldfastError('HF_TIMEOUT');
  }

  async #travel(times = 1): Promise<void> {
    const { delayMsMax = 0 } = this.net;
    if (delayMsMax > 0) await this.env.clock.sleep(this.env.random.below(times * delayMsMax + 1));
  }

  #happens(percent = 0): boolean {
    return percent > 0 && this.env.random.below(100) < percent;
  }

  /** Until no transaction and no move is under way. */
  async quiet(): Promise<void> {
    const busy = (): boolean =>
      [...this.#cells.values()].some((cell) => {
        const { intentCount, transactionCount, outgoing } = cell.view();
        return intentCount > 0 || transactionCount > 0 || outgoing !== undefined;
      });
    for (let tries = 0; tries < 300; tries++) {
      // A steward that dropped everything serves again when it is asked.
      for (const name of this.#cells.keys()) {
        await this.steward(name)
          .then((cell) => cell.execute(() => 0))
          .catch(errorCode);
      }
      if (!busy()) break;
      await this.env.clock.sleep(100);
    }
    if (busy()) throw new Error('the cells do not come to rest');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cell of [...this.#cells.values(), ...this.#deposed]) {
      await cell[Symbol.asyncDispose]();
    }
  }
}
