/**
 * Everything of one run: machines around one log, the net between them, who owns which slots, and
 * the history of what clients asked and heard.
 */
import { assert, errorCode } from '../../src/base/index.ts';
import { type Log, type LogFields, silentLog } from '../../src/env/index.ts';
import type { CellId } from '../../src/log/index.ts';
import type { Cell, CellFault, CellMessages, CellPeers, SlotRange } from '../../src/meta/index.ts';
import type { SeededRandom } from '../random.ts';
import { textOf } from '../sim-env.ts';
import { Violation } from '../violation.ts';
import { Engine } from './engine.ts';
import type { Host } from './host.ts';
import type { HistoryCall } from './linearizable.ts';
import { Machine } from './machine.ts';
import { type Asker, Net } from './net.ts';
import { type Plan, SLOT_COUNT } from './plan.ts';
import { CELL_FAULTS, type PlantName } from './planting.ts';
import { Life, Time } from './time.ts';
import type { NodeName, TreeCall } from './tree-model.ts';

/** Of a question to a machine. */
const TIMEOUT_MS = 150;
const TAKEN_MS_MAX = 500;
/** How often a cell that asks for a slot's owner gets the newest answer. */
const LOOK_CHANCE = 0.3;

/** The first cell has the space's name, as the contract of cells says. */
export function cellId(index: number): CellId {
  return index === 0 ? 'volume-1' : `volume-1-${index + 1}`;
}

export interface WorldOptions {
  readonly plan: Plan;
  readonly random: SeededRandom;
  readonly plant?: PlantName | undefined;
  /** Whether to note each question that failed, and what the machines log. */
  readonly keepsTrace?: boolean | undefined;
}

interface Owner extends SlotRange {
  readonly cell: CellId;
}

export class World {
  readonly plan: Plan;
  readonly plant: PlantName | undefined;
  readonly time: Time = new Time();
  readonly net: Net;
  readonly engine: Engine;
  readonly machines: readonly Machine[];
  readonly cells: readonly CellId[];
  /** Without machines: who waits at the end, and the log. */
  readonly life: Life;
  readonly history: HistoryCall<TreeCall>[] = [];
  readonly notes: string[] = [];
  readonly #random: SeededRandom;
  readonly #keepsTrace: boolean;
  #moment = 0;
  readonly #violated = Promise.withResolvers<never>();
  #owners: readonly Owner[];
  /** Until then the cell is not taken from a steward that serves. */
  readonly #takenUntilMs = new Map<CellId, number>();
  /** Before the troubles, and after them. */
  #isCalm = true;

  constructor({ plan, random, plant, keepsTrace = false }: WorldOptions) {
    this.plan = plan;
    this.plant = plant;
    this.#keepsTrace = keepsTrace;
    const { time } = this;
    const onBug = (error: unknown): void => this.violate(`a bug: ${textOf(error)}`, error);
    this.#random = random.fork('world');
    this.life = new Life({ time, random: random.fork('engine') });
    this.net = new Net({ time, random: random.fork('net'), rates: plan.net, onBug });
    this.cells = plan.cuts.slice(1).map((_, index) => cellId(index));
    this.#owners = this.cells.map((cell) => ({ cell, ...this.#firstSlots(cell) }));
    this.engine = new Engine({
      engine: plan.engine,
      nextEngine: plan.nextEngine,
      rates: plan.log,
      life: this.life,
      plant,
      isCalm: () => this.#isCalm,
    });
    this.machines = plan.clockRates.map(
      (clockRate, index) =>
        new Machine({
          index,
          time,
          random: random.fork(`machine-${index}`),
          clockRate,
          logOf: (life) => this.engine.logOf(life),
          commitDelayMsMax: plan.commitDelayMsMax,
          peersOf: (from) => this.#peersOf(from),
          slotsOf: (cell) => this.#firstSlots(cell),
          hasReplicas: plan.hasReplicas,
          mayTake: (cell) => this.#mayTake(cell),
          fault: CELL_FAULTS.find((fault) => fault === plant) as CellFault | undefined,
          onBug,
          log: this.#logOf(index),
        }),
    );
    this.#violated.promise.catch(() => {}); // thrown by whoever races it
  }

  /** Rejects as soon as a promise does not hold. */
  get violated(): Promise<never> {
    return this.#violated.promise;
  }

  get isCalm(): boolean {
    return this.#isCalm;
  }

  /** Events of the history are one after the other. */
  nextMoment(): number {
    this.#moment += 1;
    return this.#moment;
  }

  slotOf(node: NodeName): number {
    const slot = this.plan.slots.get(node);
    assert(slot !== undefined, 'every node of the plan has a slot');
    return slot;
  }

  violate(what: string, cause?: unknown): void {
    this.#violated.reject(new Violation(what, { cause }));
  }

  note(what: string): void {
    this.notes.push(`${this.time.nowMs.toFixed(1)} ${what}`);
  }

  /** Whoever is asked may take a cell from its steward, though not all the time. */
  #mayTake(cell: CellId): boolean {
    const hasSteward = this.newestSteward(cell)?.cell.view().isServing === true;
    if (this.#isCalm) return !hasSteward;
    if (hasSteward && this.time.nowMs < (this.#takenUntilMs.get(cell) ?? 0)) return false;
    if (!this.#random.chance(this.plan.seizeChance)) return false;
    this.#takenUntilMs.set(cell, this.time.nowMs + this.#random.below(TAKEN_MS_MAX));
    return true;
  }

  /** What a machine calls an error can only be one of ours: nothing rots before the end. */
  #logOf(machine: number): Log {
    const error = (message: string, fields: LogFields = {}): void =>
      this.violate(`machine ${machine}: ${message} ${textsOf(fields)}`);
    if (!this.#keepsTrace) return { ...silentLog, error };
    const write = (message: string, fields: LogFields = {}): void =>
      this.note(`machine ${machine}: ${message} ${textsOf(fields)}`);
    return { debug: write, info: write, warn: write, error };
  }

  #firstSlots(cell: CellId): SlotRange {
    const index = this.cells.indexOf(cell);
    assert(index >= 0, 'the cell is one of ours');
    return { from: this.plan.cuts[index]!, to: this.plan.cuts[index + 1]! };
  }

  /** Which cell has the slot, as far as is known. */
  cellOfSlot(slot: number): CellId {
    const owner = this.#owners.find(({ from, to }) => from <= slot && slot < to);
    return owner?.cell ?? this.#random.pick(this.cells);
  }

  /** After somebody was told that slots have moved: what the stewards say themselves. */
  lookAtOwners(): void {
    this.#owners = this.cells.flatMap((cell) => {
      const view = this.newestSteward(cell)?.cell.view();
      const known = this.#owners.find((owner) => owner.cell === cell);
      return view ? [{ cell, ...view.slots }] : known ? [known] : [];
    });
  }

  /** Of those who take themselves for it, the one with the highest epoch. */
  newestSteward(cell: CellId): { cell: Cell; machine: Machine } | undefined {
    let newest: { cell: Cell; machine: Machine } | undefined;
    for (const machine of this.machines) {
      const steward = machine.current?.host.steward(cell);
      if (!steward) continue;
      if (newest && newest.cell.view().epoch > steward.view().epoch) continue;
      newest = { cell: steward, machine };
    }
    return newest;
  }

  /** Asks a machine that may be the cell's steward; often it is. */
  async ask<Answer>(
    from: Asker,
    cell: CellId,
    question: (host: Host) => Promise<Answer>,
  ): Promise<Answer> {
    const isStray = this.#random.chance(this.#isCalm ? 0 : this.plan.strayChance);
    const known = isStray ? undefined : this.newestSteward(cell)?.machine;
    const machine = known ?? this.#random.pick(this.machines);
    try {
      return await this.net.call(from, machine, { ask: question, timeoutMs: TIMEOUT_MS });
    } catch (error) {
      if (this.#keepsTrace) {
        const at = `machine ${machine.index} about ${cell}`;
        this.note(`${from.index} asked ${at}: ${textOf(error)} (${errorCode(error)})`);
      }
      if (errorCode(error) === 'HF_MOVED') this.lookAtOwners();
      throw error;
    }
  }

  #peersOf(from: Asker): CellPeers {
    return {
      cellOfSlot: (slot) => {
        // A map may be old, but does not stay so.
        if (this.#random.chance(LOOK_CHANCE)) this.lookAtOwners();
        return this.cellOfSlot(slot);
      },
      ofCell: (cell) => this.#messagesOf(from, cell),
    };
  }

  #messagesOf(from: Asker, cell: CellId): CellMessages {
    const ask = <Answer>(
      question: (messages: CellMessages) => Promise<Answer>,
    ): Promise<Answer> => {
      if (from.life.isOver) return new Promise(() => {});
      return this.ask(from, cell, async (host) => await question(await host.messages(cell)));
    };
    return {
      readRows: (request) => ask((messages) => messages.readRows(request)),
      prepare: (request) => ask((messages) => messages.prepare(request)),
      apply: (request) => ask((messages) => messages.apply(request)),
      abort: (request) => ask((messages) => messages.abort(request)),
      status: (request) => ask((messages) => messages.status(request)),
      adopt: (request) => ask((messages) => messages.adopt(request)),
    };
  }

  /** From now on everything is as bad as the plan says. */
  disturb(): void {
    this.#isCalm = false;
    this.net.disturb();
  }

  /** From now on nothing goes wrong, and nobody takes a cell that has a steward. */
  heal(): void {
    this.#isCalm = true;
    this.net.heal();
    for (const machine of this.machines) {
      machine.isFull = false;
      machine.resume();
      machine.start();
    }
    this.note('healed');
  }

  /** Slots that no cell, or more than one, takes for its own. */
  slotsInDispute(): string | undefined {
    this.lookAtOwners();
    let next = 0;
    for (const { from, to, cell } of this.#owners.toSorted((a, b) => a.from - b.from)) {
      if (from === to) continue;
      if (from !== next) return `slot ${Math.min(from, next)} (${cell}: ${from} to ${to})`;
      next = to;
    }
    return next === SLOT_COUNT ? undefined : `slot ${next}`;
  }
}

function textsOf(fields: LogFields): string {
  return Object.entries(fields)
    .map(([name, value]) => `${name}=${textOf(value)}`)
    .join(' ');
}

/** Errors after which a question is asked again. */
export function isPassing(error: unknown): boolean {
  return PASSING.has(errorCode(error) ?? '');
}

const PASSING: ReadonlySet<string> = new Set([
  'HF_BUSY',
  'HF_CLOSED',
  'HF_FENCED',
  'HF_INTERRUPTED',
  'HF_MOVED',
  'HF_NO_SPACE',
  'HF_NOT_STEWARD',
  'HF_TIMEOUT',
  'HF_UNAVAILABLE',
  'HF_UNKNOWN_OUTCOME',
]);
