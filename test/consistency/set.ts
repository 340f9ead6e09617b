/**
 * The workload `set`: elements are added as objects under a prefix, and read by listing it. A read
 * has every element whose addition was acknowledged before the read began, and none that nobody had
 * begun to add when it ended; in between it may be either. At the end each element that was
 * acknowledged is there.
 *
 * Source: the description of the set workload of Garage's Jepsen suite.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../src/base/index.ts';
import { CLIENT_COUNT, type Caller, type Doors } from './clients.ts';
import { type Outcome, outcomeOfError, Recorder } from './history.ts';

const READ_EVERY = 8;
const PATIENCE_MS = 25_000;
const AFTER_NOTHING_MS = 100;
const NO_ANSWERS: ReadonlySet<string> = new Set();

export interface SetFault {
  readonly element: string;
  readonly what: 'lost' | 'never added' | 'added without being asked';
  readonly reader: string;
}

interface Addition {
  readonly begunAt: number;
  /** Infinity: nobody knows, or it was refused. */
  ackedAt: number;
  /** The node said that nothing was done. */
  isRefused: boolean;
}

export interface SetRunOptions {
  readonly doors: Doors;
  readonly prefix: string;
  /** Asked before each call of a client. */
  readonly isOver: () => boolean;
}

export class SetRun {
  readonly recorder = new Recorder<string>();
  readonly faults: SetFault[] = [];
  readonly #options: SetRunOptions;
  readonly #added = new Map<string, Addition>();
  #moment = 0;
  reads = 0;

  constructor(options: SetRunOptions) {
    this.#options = options;
  }

  get acknowledged(): number {
    return [...this.#added.values()].filter(({ ackedAt }) => ackedAt < Infinity).length;
  }

  async run(): Promise<void> {
    await Promise.all(Array.from({ length: CLIENT_COUNT }, (_, client) => this.#work(client)));
  }

  /** Reads through each node, when all is well again. @throws what the node says. */
  async readAll(): Promise<void> {
    const { doors } = this.#options;
    for (const name of doors.names) await this.#read(doors.client(name), `at the end on ${name}`);
  }

  async #work(client: number): Promise<void> {
    const { doors, isOver } = this.#options;
    let door = client;
    for (let number = 1; !isOver(); number += 1) {
      const name = doors.names[door % doors.names.length]!;
      const about = { client: `client ${client} on ${name}`, changes: true };
      const isRead = number % READ_EVERY === 0;
      const element = `${client}-${number}`;
      const outcome = await this.recorder.record({ ...about, call: element }, () =>
        isRead
          ? outcomeOf(() => this.#read(doors.client(name), about.client))
          : this.#add(doors.client(name), element),
      );
      if (outcome.kind === 'answer') continue;
      door += 1;
      await sleep(AFTER_NOTHING_MS);
    }
  }

  async #add(caller: Caller, element: string): Promise<Outcome> {
    const addition = { begunAt: this.#now(), ackedAt: Infinity, isRefused: false };
    this.#added.set(element, addition);
    const key = `${this.#options.prefix}${element}`;
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const outcome = await outcomeOf(async () => {
      await caller.put(contentOf(element), { key, signal });
    });
    if (outcome.kind === 'answer') addition.ackedAt = this.#now();
    addition.isRefused = outcome.kind === 'nothing';
    return outcome;
  }

  async #read(caller: Caller, reader: string): Promise<void> {
    const { prefix } = this.#options;
    const begunAt = this.#now();
    const found = new Set<string>();
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const onItem = ({ key }: { readonly key: string | null }): void => {
      if (key === null) throw new HoldfastError('HF_CORRUPT', 'a listing by prefix has no key');
      found.add(key.slice(prefix.length));
    };
    await caller.call('object.list', { prefix }, { signal, onItem });
    this.reads += 1;
    const endedAt = this.#now();
    for (const [element, { ackedAt }] of this.#added) {
      if (ackedAt < begunAt && !found.has(element))
        this.faults.push({ element, what: 'lost', reader });
    }
    for (const element of found) {
      const addition = this.#added.get(element);
      if (!addition || addition.begunAt > endedAt) {
        this.faults.push({ element, what: 'never added', reader });
      } else if (addition.isRefused) {
        this.faults.push({ element, what: 'added without being asked', reader });
      }
    }
  }

  #now(): number {
    this.#moment += 1;
    return this.#moment;
  }
}

async function* contentOf(element: string): AsyncGenerator<Buffer> {
  yield Buffer.from(element);
}

async function outcomeOf(work: () => Promise<void>): Promise<Outcome> {
  try {
    await work();
    return { kind: 'answer', text: 'ok' };
  } catch (error) {
    return outcomeOfError(error, NO_ANSWERS);
  }
}
