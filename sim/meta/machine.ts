/**
 * A machine: its disk outlives its lives. A crash forgets what was not committed; nothing that a
 * dead machine still computes gets out, because its clock, log, net and databases are shut.
 */
import { MemoryDb } from '../../src/db/index.ts';
import type { Log } from '../../src/env/index.ts';
import type { CellId, FencedLog } from '../../src/log/index.ts';
import type { CellFault, CellPeers, SlotRange } from '../../src/meta/index.ts';
import type { SeededRandom } from '../random.ts';
import { Host } from './host.ts';
import { Life, type Time } from './time.ts';

export interface MachineOptions {
  readonly index: number;
  readonly time: Time;
  readonly random: SeededRandom;
  readonly clockRate: number;
  readonly logOf: (life: Life) => FencedLog;
  readonly commitDelayMsMax: number;
  readonly peersOf: (from: { readonly index: number; readonly life: Life }) => CellPeers;
  readonly slotsOf: (cell: CellId) => SlotRange;
  readonly hasReplicas: boolean;
  readonly mayTake: (cell: CellId) => boolean;
  readonly fault: CellFault | undefined;
  readonly onBug: (error: unknown) => void;
  readonly log: Log;
}

export class Machine {
  readonly index: number;
  readonly #options: MachineOptions;
  readonly #dbs = new Map<CellId, MemoryDb>();
  #current: { readonly life: Life; readonly host: Host } | undefined;
  /** Its disk takes nothing more. */
  isFull = false;

  constructor(options: MachineOptions) {
    this.index = options.index;
    this.#options = options;
    this.start();
  }

  get current(): { readonly life: Life; readonly host: Host } | undefined {
    return this.#current;
  }

  start(): void {
    if (this.#current) return;
    const { time, random, clockRate, log, logOf, peersOf } = this.#options;
    const life = new Life({ time, random, clockRate, log });
    const host = new Host({
      ...this.#options,
      life,
      fencedLog: logOf(life),
      dbOf: (cell) => this.#db(cell, life),
      peers: peersOf({ index: this.index, life }),
    });
    this.#current = { life, host };
  }

  crash(): void {
    if (!this.#current) return;
    this.#current.life.end();
    this.#current = undefined;
    for (const [cell, db] of this.#dbs) this.#dbs.set(cell, db.crash({}));
  }

  pause(ms: number): void {
    const { time } = this.#options;
    if (this.#current) this.#current.life.pausedUntilMs = time.nowMs + ms;
  }

  resume(): void {
    if (this.#current) this.#current.life.pausedUntilMs = 0;
  }

  /** What is on its disk of a cell. */
  diskOf(cell: CellId): MemoryDb | undefined {
    return this.#dbs.get(cell);
  }

  /** The database of this life: the last one's, reopened. */
  #db(cell: CellId, life: Life): MemoryDb {
    const { random, commitDelayMsMax } = this.#options;
    const isFull = (): boolean => this.isFull;
    const options = {
      clock: life.env.clock,
      commitDelayMs: () => random.below(commitDelayMsMax + 1),
      get bytesMax(): number {
        return isFull() ? 0 : Infinity;
      },
    };
    const before = this.#dbs.get(cell);
    const db = before ? before.crash(options) : new MemoryDb(options);
    this.#dbs.set(cell, db);
    return db;
  }
}
