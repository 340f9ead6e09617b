/**
 * What goes wrong, and what the node does about it. Each run draws its own rates, most of them zero
 * ("swarm testing"): a run in which everything happens hides what needs peace to build up.
 */
import type { SimDisk } from './disk.ts';
import type { SeededRandom } from './random.ts';
import { TOLERANCE, type World } from './world.ts';

/** Mean milliseconds between two of a kind. */
const MEANS_MS = {
  crash: 800,
  stop: 3000,
  lose: 1500,
  takeAway: 1000,
  rot: 700,
  readErrors: 1200,
  hang: 700,
  addDisk: 4000,
  heal: 800,
  scrub: 2000,
  collect: 500,
  fill: 1500,
} as const;

type Action = keyof typeof MEANS_MS;

const HOUR_MS = 3_600_000;

/** Fewer of six, and metadata could not be written at all. */
const ALIVE_MIN = 4;
const DISKS_MAX = 12;
const CRASHES_MAX = 12;

export interface NemesisOptions {
  readonly world: World;
  readonly random: SeededRandom;
  readonly sleep: (ms: number) => Promise<void>;
  readonly signal: AbortSignal;
}

/** Runs until `signal` is aborted, and leaves the node up. */
export async function runNemesis(options: NemesisOptions): Promise<void> {
  const { random } = options;
  const calm = random.pick([0.3, 1, 1, 3]);
  const actions = (Object.keys(MEANS_MS) as Action[]).filter(() => random.chance(0.5));
  // What is broken is mended some time, else a run does little.
  if (!actions.includes('heal')) actions.push('heal');
  const collectGraceMs = random.pick([0, 24 * HOUR_MS]);
  const repeat = async (action: Action): Promise<void> => {
    const own = random.fork(action);
    while (!options.signal.aborted) {
      await options.sleep(own.exponential(MEANS_MS[action] * calm));
      if (options.signal.aborted) return;
      await act(action, { ...options, random: own, collectGraceMs });
    }
  };
  // Whoever still waits for the node when the end comes must not wait in vain.
  let isOver = false;
  const acting = Promise.all(actions.map(repeat)).finally(() => (isOver = true));
  await Promise.all([keepUp(options, () => isOver), acting]);
}

/** A node that has crashed is started again. */
async function keepUp(
  { world, sleep, random }: NemesisOptions,
  isOver: () => boolean,
): Promise<void> {
  const own = random.fork('keeper');
  while (!isOver()) {
    if (world.isDown) await world.start();
    await sleep(1 + own.exponential(20));
  }
}

async function act(
  action: Action,
  { world, random, sleep, collectGraceMs }: NemesisOptions & { collectGraceMs: number },
): Promise<void> {
  const victim = random.pick(world.disks);
  switch (action) {
    case 'crash':
      // A start takes its time; one that never gets to its end shows nothing new.
      return world.counts.crashes < CRASHES_MAX ? world.crash() : undefined;
    case 'stop':
      return await world.stop();
    case 'lose':
      if (mayImpair(world, victim)) world.takeDisk(victim, true);
      return;
    case 'takeAway':
      if (!mayImpair(world, victim)) return;
      world.takeDisk(victim, false);
      await sleep(random.exponential(2000));
      return await world.bringDisk(victim);
    case 'rot':
      if (mayImpair(world, victim)) world.rotDisk(victim, random.between(1, 8));
      return;
    case 'readErrors':
      return await failReads(victim, { world, random, sleep });
    case 'hang':
      victim.hungUntilMs = world.nowMs + random.exponential(500);
      return;
    case 'addDisk':
      return world.disks.length < DISKS_MAX ? await world.addDisk() : undefined;
    case 'heal':
      await world.heal();
      return;
    case 'scrub':
      return await world.scrub();
    case 'collect':
      return await world.collect(collectGraceMs);
    case 'fill':
      return await fill(victim, { world, random, sleep });
  }
}

async function failReads(
  victim: SimDisk,
  { world, random, sleep }: Pick<NemesisOptions, 'world' | 'random' | 'sleep'>,
): Promise<void> {
  if (!mayImpair(world, victim)) return;
  world.impair(victim, true);
  victim.readErrorRate = random.pick([0.02, 0.3, 1]);
  await sleep(random.exponential(1000));
  victim.readErrorRate = 0;
}

/** The disk has no room for a while: others have filled it, or its owner lowered the maximum. */
async function fill(
  victim: SimDisk,
  { world, random, sleep }: Pick<NemesisOptions, 'world' | 'random' | 'sleep'>,
): Promise<void> {
  if (!mayImpair(world, victim)) return;
  world.impair(victim, true);
  await world.setFull(victim, true);
  await sleep(random.exponential(2000));
  await world.setFull(victim, false);
}

function mayImpair(world: World, victim: SimDisk): boolean {
  if (!world.isUp || victim.state !== 'here' || victim.id === undefined) return false;
  if (!world.impaired.has(victim) && world.impaired.size >= TOLERANCE) return false;
  return world.impaired.has(victim) || world.aliveCount > ALIVE_MIN;
}
