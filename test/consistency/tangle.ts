/**
 * The workload `tangle`: clients move directories into each other, through several nodes and cells,
 * wherever they saw them last. Whatever order that has, it ends with one tree: each directory is
 * there once, none has got into itself and none is lost. Directories are known by their owners.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FileView } from '../../src/api/index.ts';
import { below } from '../e2e/content.ts';
import { type Caller, CLIENT_COUNT, type Doors } from './clients.ts';
import { type Outcome, outcomeOfError, Recorder } from './history.ts';

const DIRECTORIES = 12;
/** Directories in the root of a volume lie in cells of their own; moved, they stay there. */
const UID_OF_FIRST = 1000;
const PATIENCE_MS = 25_000;
const AFTER_NOTHING_MS = 100;
/** So many moves by one sight of the tree: then others have moved what it showed. */
const MOVES_PER_LOOK = 5;

/** What a tree answers that has changed meanwhile. */
const ANSWERS: ReadonlySet<string> = new Set([
  'HF_NOT_FOUND',
  'HF_EXISTS',
  'HF_NOT_DIRECTORY',
  'HF_BAD_ARGUMENT',
]);

export interface TangleRunOptions {
  readonly doors: Doors;
  readonly random: () => number;
  /** Of the names in the root of the volume. */
  readonly prefix: string;
  readonly isOver: () => boolean;
}

interface Seen {
  readonly path: string;
  readonly uid: number;
}

export class TangleRun {
  readonly recorder = new Recorder<string>();
  readonly #options: TangleRunOptions;

  constructor(options: TangleRunOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    await Promise.all(Array.from({ length: CLIENT_COUNT }, (_, client) => this.#work(client)));
  }

  /** @returns one line for each fault. @throws what the node says. */
  async check(): Promise<string[]> {
    const { doors } = this.#options;
    const seen = await this.#look(doors.client(doors.names[0]!));
    const faults: string[] = [];
    for (let uid = UID_OF_FIRST; uid < UID_OF_FIRST + DIRECTORIES; uid += 1) {
      const paths = seen.filter((one) => one.uid === uid).map(({ path }) => path);
      if (paths.length !== 1)
        faults.push(`directory ${uid} is at: ${paths.join(', ') || 'no path'}`);
    }
    return faults;
  }

  async #work(client: number): Promise<void> {
    const { doors, random, isOver } = this.#options;
    let door = client;
    while (!isOver()) {
      const name = doors.names[door % doors.names.length]!;
      const about = { client: `client ${client} on ${name}`, changes: true };
      const caller = doors.client(name);
      let seen: Seen[] = [];
      const looked = await outcomeOf(async () => void (seen = await this.#look(caller)));
      let isPassing = looked.kind === 'answer';
      for (let move = 0; move < MOVES_PER_LOOK && isPassing && seen.length > 1; move += 1) {
        const [from, into] = [seen[below(random, seen.length)]!, seen[below(random, seen.length)]!];
        const isOut = below(random, 4) === 0;
        const to = isOut ? this.#nameOf(from.uid) : `${into.path}/${this.#nameOf(from.uid)}`;
        const { kind } = await this.recorder.record(
          { ...about, call: `${from.path} → ${to}` },
          () =>
            outcomeOf(async (signal) => {
              const places = { from: from.path, to, flag: 'noReplace' as const };
              await caller.call('tree.rename', places, { signal });
            }),
        );
        isPassing = kind === 'answer';
      }
      if (isPassing) continue;
      door += 1;
      await sleep(AFTER_NOTHING_MS);
    }
  }

  /** All directories, each with its path; what moves meanwhile may be missed, or seen twice. */
  async #look(caller: Caller): Promise<Seen[]> {
    const { prefix } = this.#options;
    const seen = (await listed(caller, '')).filter(({ path }) => path.startsWith(prefix));
    // A tree that got into itself would be walked for ever.
    for (let next = 0; next < seen.length && seen.length < DIRECTORIES ** 2; next += 1) {
      seen.push(...(await listed(caller, seen[next]!.path)));
    }
    return seen;
  }

  #nameOf(uid: number): string {
    return `${this.#options.prefix}${uid}`;
  }

  async prepare(): Promise<void> {
    const { doors } = this.#options;
    const caller = doors.client(doors.names[0]!);
    for (let number = 0; number < DIRECTORIES; number += 1) {
      const uid = UID_OF_FIRST + number;
      await caller.call('tree.makeDirectory', { path: this.#nameOf(uid), uid });
    }
  }
}

async function listed(caller: Caller, path: string): Promise<Seen[]> {
  const seen: Seen[] = [];
  const onItem = (view: FileView): void => {
    if (view.type === 'directory') seen.push({ path: view.path, uid: view.uid });
  };
  const signal = AbortSignal.timeout(PATIENCE_MS);
  try {
    await caller.call('tree.list', { path }, { onItem, signal });
  } catch (error) {
    const outcome = outcomeOfError(error, ANSWERS);
    if (outcome.kind !== 'answer') throw error; // else it was moved
  }
  return seen;
}

async function outcomeOf(work: (signal: AbortSignal) => Promise<void>): Promise<Outcome> {
  try {
    await work(AbortSignal.timeout(PATIENCE_MS));
    return { kind: 'answer', text: 'ok' };
  } catch (error) {
    return outcomeOfError(error, ANSWERS);
  }
}
