/**
 * Clients that ask side by side, through different nodes, in windows: after so many calls all wait
 * for each other, so that the history can be checked piece by piece.
 *
 * A client stays with its node until that is not there; then it goes on with the next one. What it
 * asked before may still be under way there: its outcome is unknown.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { HoldfastClient } from '../../src/client/index.ts';
import { below } from '../e2e/content.ts';
import { type Outcome, outcomeOfError, Recorder } from './history.ts';

export const CLIENT_COUNT = 4;
export const CALLS_PER_WINDOW = 30;
/** The system answers within some 10 s for each of its steps, or says that it cannot. */
const PATIENCE_MS = 25_000;
/** Before a client whose node is not there tries another one. */
const AFTER_NOTHING_MS = 100;

/** As much of a client as workloads use: the fake of tests has no more. */
export type Caller = Pick<HoldfastClient, 'call' | 'put' | 'get'>;

/** The nodes that clients may go through. */
export interface Doors {
  readonly names: readonly string[];
  client(name: string): Caller;
}

export interface Kind<Call> {
  /** @param number counts the calls of a run, from 1. */
  plan(random: () => number, number: number): Call;
  changes(call: Call): boolean;
  /** @throws what the node says; it is recorded as the outcome. */
  ask(client: Caller, call: Call, signal: AbortSignal): Promise<string>;
  /** Errors that are answers. */
  readonly answers: ReadonlySet<string>;
  /** Asked at the end of each window, one after the other, so that states do not pile up. */
  readonly survey: readonly Call[];
}

export interface RunOptions<Call> {
  readonly kind: Kind<Call>;
  readonly doors: Doors;
  readonly random: () => number;
  /** Windows are begun until this says so. */
  readonly isOver: (windows: number) => boolean;
  readonly recorder?: Recorder<Call>;
}

/** @returns what happened. */
export async function runClients<Call>(options: RunOptions<Call>): Promise<Recorder<Call>> {
  const { isOver, recorder = new Recorder<Call>() } = options;
  const run = new ClientRun({ ...options, recorder });
  for (let windows = 0; !isOver(windows); windows += 1) await run.window();
  return recorder;
}

class ClientRun<Call> {
  readonly #options: RunOptions<Call> & { readonly recorder: Recorder<Call> };
  readonly #doors: number[] = Array.from({ length: CLIENT_COUNT }, (_, i) => i);
  #number = 0;

  constructor(options: RunOptions<Call> & { readonly recorder: Recorder<Call> }) {
    this.#options = options;
  }

  async window(): Promise<void> {
    const { kind, recorder } = this.#options;
    let left = CALLS_PER_WINDOW;
    const work = async (client: number): Promise<void> => {
      while (left > 0) {
        left -= 1;
        await this.#ask(client, this.#next());
      }
    };
    await Promise.all(this.#doors.map((_, client) => work(client)));
    const surveyor = below(this.#options.random, CLIENT_COUNT);
    for (const call of kind.survey) await this.#ask(surveyor, call);
    recorder.endWindow();
  }

  #next(): Call {
    const { kind, random } = this.#options;
    this.#number += 1;
    return kind.plan(random, this.#number);
  }

  async #ask(client: number, call: Call): Promise<void> {
    const { kind, doors, recorder } = this.#options;
    const { names } = doors;
    const door = names[this.#doors[client]! % names.length]!;
    const about = { call, client: `client ${client} on ${door}`, changes: kind.changes(call) };
    const outcome = await recorder.record(about, () => outcomeOf(kind, doors.client(door), call));
    if (outcome.kind === 'answer') return;
    this.#doors[client]! += 1;
    await sleep(AFTER_NOTHING_MS);
  }
}

async function outcomeOf<Call>(kind: Kind<Call>, client: Caller, call: Call): Promise<Outcome> {
  try {
    const text = await kind.ask(client, call, AbortSignal.timeout(PATIENCE_MS));
    return { kind: 'answer', text };
  } catch (error) {
    return outcomeOfError(error, kind.answers);
  }
}
