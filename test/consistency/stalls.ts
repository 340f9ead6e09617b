/**
 * How long nothing is acknowledged when a node dies: machines are killed in turn while names are
 * made and taken away in several directories, through nodes that live. Directories lie in several
 * cells, and the longest time between two acknowledgements in any of them counts: so a cell whose
 * steward died is seen, though the others go on.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { errorCode } from '../../src/base/index.ts';
import type { Ground } from './cluster.ts';

/** Random slots of four cells: one of them has no directory in one of thirty runs. */
const DIRECTORIES = 16;
const PER_PROBER = 4;
const BEFORE_MS = 3000;
/** Longer than any stall may be. */
const AFTER_MS = 20_000;
const AGAIN_MS = 50;
const CALL_MS = 15_000;

/** A steward's death, and one that takes the leader of the ring along. */
const STALL_MS_MAX = { steward: 5000, leader: 10_000 } as const;

export interface Stall {
  readonly node: string;
  readonly role: 'no seat' | 'member' | 'leader';
  /** Cells that others took over from it. */
  readonly cellsTaken: number;
  readonly longestMs: number;
  /** What the probers were told meanwhile. */
  readonly errors: Readonly<Record<string, number>>;
}

/** How a node goes: its machine loses power, its processes stand still, its cable is pulled. */
export const WAYS = ['kill', 'pause', 'partition'] as const;
export type Way = (typeof WAYS)[number];

export interface StallPlan {
  readonly say: (line: string) => void;
  readonly way?: Way | undefined;
  /** Killed in turn; all of them when left out, and then whose etcd leads. */
  readonly victims?: readonly string[];
}

/** @throws when one took too long. */
export function assertShort(stalls: readonly Stall[]): void {
  for (const stall of stalls) {
    const msMax = stall.role === 'leader' ? STALL_MS_MAX.leader : STALL_MS_MAX.steward;
    if (stall.longestMs > msMax) {
      throw new Error(`more than ${msMax} ms passed without an answer: ${JSON.stringify(stall)}`);
    }
  }
}

export async function measureStalls(
  ground: Ground,
  { say, victims, way = 'kill' }: StallPlan,
): Promise<readonly Stall[]> {
  const root = `stalls-${Date.now()}`;
  const first = ground.client(ground.running[0]!);
  for (let number = 0; number < DIRECTORIES; number += 1) {
    await first.call('tree.makeDirectory', { path: `${root}-${number}` });
  }
  const turns = victims ?? [...ground.running, 'leader'];
  const stalls: Stall[] = [];
  for (const turn of turns) {
    const victim = turn === 'leader' ? await ground.ringLeader() : turn;
    if (victim === undefined) throw new Error('no etcd leads');
    const stall = await measureOne(ground, { root, victim, way });
    say(JSON.stringify(stall));
    stalls.push(stall);
    await ground.heal([victim]);
    await ground.rest();
  }
  return stalls;
}

const GO: Readonly<Record<Way, (ground: Ground, name: string) => void | Promise<void>>> = {
  kill: (ground, name) => ground.kill(name),
  pause: (ground, name) => ground.pause(name),
  partition: (ground, name) => ground.pull(name),
};

async function measureOne(
  ground: Ground,
  { root, victim, way }: { readonly root: string; readonly victim: string; readonly way: Way },
): Promise<Stall> {
  const leader = await ground.ringLeader();
  const members = await ground.ringMembers();
  const role = victim === leader ? 'leader' : members.includes(victim) ? 'member' : 'no seat';
  const doors = ground.running.filter((name) => name !== victim);
  const takenBefore = takenCount(ground, doors);
  const over = new AbortController();
  const probers = Array.from({ length: DIRECTORIES }, (_, number) => {
    const door = doors[Math.floor(number / PER_PROBER) % doors.length]!;
    return new Prober(ground, { door, directory: `${root}-${number}` });
  });
  const runs = Promise.all(probers.map((prober) => prober.run(over.signal)));
  await sleep(BEFORE_MS);
  for (const prober of probers) prober.begin();
  await GO[way](ground, victim);
  await sleep(AFTER_MS);
  for (const prober of probers) prober.end();
  over.abort();
  await runs;
  const errors: Record<string, number> = {};
  for (const code of probers.flatMap((prober) => prober.errors))
    errors[code] = (errors[code] ?? 0) + 1;
  const longestMs = Math.round(Math.max(...probers.map((prober) => prober.longestMs)));
  const cellsTaken = takenCount(ground, doors) - takenBefore;
  return { node: victim, role, cellsTaken, longestMs, errors };
}

function takenCount(ground: Ground, names: readonly string[]): number {
  return names.reduce((sum, name) => sum + ground.takenBy(name).length, 0);
}

/** Makes a name and takes it away, again and again, in one directory. */
class Prober {
  readonly errors: string[] = [];
  longestMs = 0;
  readonly #ground: Ground;
  readonly #where: { readonly door: string; readonly directory: string };
  readonly #run = Math.round(performance.now());
  #lastMs = performance.now();

  constructor(ground: Ground, where: { readonly door: string; readonly directory: string }) {
    this.#ground = ground;
    this.#where = where;
  }

  /** Only what comes from now on counts. */
  begin(): void {
    this.longestMs = 0;
    this.errors.length = 0;
  }

  /** One that has not come back by now counts as long as it took. */
  end(): void {
    this.#note();
  }

  #note(): void {
    const nowMs = performance.now();
    this.longestMs = Math.max(this.longestMs, nowMs - this.#lastMs);
    this.#lastMs = nowMs;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { door, directory } = this.#where;
    const client = this.#ground.client(door);
    for (let number = 0; !signal.aborted; number += 1) {
      const path = `${directory}/${this.#run}-${number}`;
      const options = { signal: AbortSignal.any([signal, AbortSignal.timeout(CALL_MS)]) };
      try {
        await client.call('tree.makeFile', { path }, options);
        this.#note();
        await client.call('tree.unlink', { path }, options);
        this.#note();
      } catch (error) {
        if (signal.aborted) return;
        this.errors.push(errorCode(error) ?? 'error');
      }
      await sleep(AGAIN_MS);
    }
  }
}
