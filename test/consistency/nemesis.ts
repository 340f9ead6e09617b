/**
 * What is done to the nodes while clients use them: one trouble after the other, each over before
 * the next, so that a majority is always there. Nodes are taken in turn, the first one included,
 * and in between the one whose etcd leads.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { errorMessage } from '../../src/base/index.ts';
import { below } from '../e2e/content.ts';
import type { Ground } from './cluster.ts';

export const NEMESES = ['kill', 'pause', 'partition', 'layout', 'clock'] as const;
export type NemesisName = (typeof NEMESES)[number];

const PAUSE_MS = 10_000;
const KILL_MS_MAX = 8000;
const PARTITION_MS = 8000;
const CALM_MS = 3000;
const HOUR_MS = 3_600_000;
/** A clock that is a little wrong, and one whose battery is empty. */
const OFFSETS_MS = [-30 * 24 * HOUR_MS, -HOUR_MS, -3000, 3000, HOUR_MS, 30 * 24 * HOUR_MS];
const JUMPS = 8;
const JUMP_EVERY_MS = 500;

export interface NemesisOptions {
  readonly name: NemesisName;
  readonly ground: Ground;
  readonly random: () => number;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

/** Why this machine cannot have that trouble; `undefined`: it can. */
export function nemesisObstacle(name: NemesisName, ground: Ground): string | undefined {
  if (name !== 'partition' || ground.hasNetwork) return undefined;
  return 'network namespaces cannot be made here (they need root)';
}

/** Until the signal; then all that it did is undone. @returns how many troubles there were. */
export async function runNemesis(options: NemesisOptions): Promise<number> {
  const { name, ground, signal } = options;
  const obstacle = nemesisObstacle(name, ground);
  if (obstacle !== undefined) throw new Error(`no ${name} here: ${obstacle}`);
  const first = ground.running;
  const nemesis = new Nemesis(options);
  let count = 0;
  try {
    for (; !signal.aborted; count += 1) {
      await nemesis[name](await nemesis.victim(count));
      await wait(CALM_MS, signal);
    }
  } finally {
    await ground.heal(name === 'layout' ? [] : first);
  }
  return count;
}

class Nemesis {
  readonly #options: NemesisOptions;

  constructor(options: NemesisOptions) {
    this.#options = options;
  }

  /** Every third is the leader of the ring. */
  async victim(count: number): Promise<string> {
    const { ground } = this.#options;
    const { running } = ground;
    const leader = count % 3 === 2 ? await ground.ringLeader() : undefined;
    return leader ?? running[(count - Math.floor(count / 3)) % running.length]!;
  }

  async kill(name: string): Promise<void> {
    const { ground, random, signal } = this.#options;
    this.#say(`kill ${name}`);
    await ground.kill(name);
    await wait(1000 + below(random, KILL_MS_MAX), signal);
    await ground.restart(name);
    this.#say(`${name} is back`);
  }

  async pause(name: string): Promise<void> {
    const { ground, signal } = this.#options;
    this.#say(`pause ${name}`);
    ground.pause(name);
    await wait(PAUSE_MS, signal);
    ground.resume(name);
    this.#say(`${name} goes on`);
  }

  async partition(name: string): Promise<void> {
    const { ground, signal } = this.#options;
    this.#say(`cut ${name} off`);
    ground.pull(name);
    await wait(PARTITION_MS, signal);
    ground.plug(name);
    this.#say(`${name} is connected`);
  }

  /** Jumps to and fro, at last to the right time. */
  async clock(name: string): Promise<void> {
    const { ground, random, signal } = this.#options;
    for (let jump = 0; jump < JUMPS && !signal.aborted; jump += 1) {
      const offsetMs = OFFSETS_MS[below(random, OFFSETS_MS.length)]!;
      if (jump === 0) this.#say(`the clock of ${name} jumps, first by ${offsetMs / 1000} s`);
      ground.setClock(name, offsetMs);
      await wait(JUMP_EVERY_MS, signal);
    }
    ground.setClock(name, 0);
  }

  /** A node comes, a store is drained, a node leaves; the others keep all. */
  async layout(name: string): Promise<void> {
    const { ground } = this.#options;
    const joined = await ground.join();
    this.#say(`${joined} has joined`);
    await this.#tried(`drain a store of ${name}`, async () => {
      const [first, ...others] = await ground.client(name).call('device.list', {});
      if (others.length === 0) throw new Error('it has one store only');
      await ground.client(name).call('device.remove', { device: first!.id });
    });
    const leaver = name === ground.cluster.home ? joined : name;
    await this.#tried(`${leaver} leaves`, () => ground.leave(leaver));
  }

  async #tried(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.#say(what);
    } catch (error) {
      this.#say(`could not: ${what}: ${errorMessage(error)}`);
    }
  }

  #say(line: string): void {
    this.#options.say(line);
  }
}

/** Or until the signal. */
async function wait(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
