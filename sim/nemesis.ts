/**
 * What goes wrong, and what the node does about it. Each run draws its own rates, most of them zero
 * ("swarm testing"): a run in which everything happens hides what needs peace to build up.
 */
import { actOnMachines, MACHINE_ACTIONS, type MachineAction } from './machine-nemesis.ts';
import type { SimDisk } from './disk.ts';
import {
  type ActOptions,
  mayDisturb,
  mayImpair,
  metadataHasRoomWithout,
  type NemesisOptions,
} from './limits.ts';
import type { SeededRandom } from './random.ts';
import * as upkeep from './upkeep.ts';
import type { Machine } from './machine.ts';
import type { World } from './world.ts';

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

const DISKS_MAX = 12;
const CRASHES_MAX = 12;
/** Nodes wait for each other; what happens between them takes longer. */
const CLUSTER_PACE = 6;

/** Runs until `signal` is aborted, and leaves the nodes up. */
export async function runNemesis(options: NemesisOptions): Promise<void> {
  const { random, world } = options;
  const calm = random.pick([0.3, 1, 1, 3]);
  const pace = world.net ? calm * CLUSTER_PACE : calm;
  const actions = (Object.keys(MEANS_MS) as Action[]).filter(() => random.chance(0.5));
  // What is broken is mended some time, else a run does little.
  if (!actions.includes('heal')) actions.push('heal');
  const collectGraceMs = random.pick([0, 24 * HOUR_MS]);
  const repeat = async (
    name: string,
    meanMs: number,
    work: (options: ActOptions) => Promise<void>,
  ): Promise<void> => {
    const own = random.fork(name);
    while (!options.signal.aborted) {
      await options.sleep(own.exponential(meanMs * pace));
      if (options.signal.aborted) return;
      await work({ ...options, random: own, collectGraceMs });
    }
  };
  const acts = actions.map((name) => repeat(name, MEANS_MS[name], (given) => act(name, given)));
  if (world.net) {
    const own = random.fork('machines');
    for (const [name, meanMs] of Object.entries(MACHINE_ACTIONS)) {
      if (!own.chance(0.4)) continue;
      acts.push(repeat(name, meanMs, (given) => actOnMachines(name as MachineAction, given)));
    }
  }
  // Whoever still waits for the node when the end comes must not wait in vain.
  let isOver = false;
  const acting = Promise.all(acts).finally(() => (isOver = true));
  await Promise.all([keepUp(options, () => isOver), acting]);
}

/** A node that has crashed is started again. */
async function keepUp(options: NemesisOptions, isOver: () => boolean): Promise<void> {
  const { world, sleep, random } = options;
  const keepers = new Map<Machine, Promise<void>>();
  const keep = async (machine: Machine): Promise<void> => {
    const own = random.fork(world.net ? `keeper ${machine.name}` : 'keeper');
    while (!isOver() && !machine.isGone) {
      const isDue = world.nowMs >= machine.awayUntilMs || options.signal.aborted;
      if (machine.isDown && isDue) await machine.start();
      await sleep(1 + own.exponential(world.net ? 1000 : 20));
    }
  };
  let failure: unknown;
  while (!isOver() && failure === undefined) {
    for (const machine of world.standing) {
      // A new machine is started by who adds it.
      if (keepers.has(machine) || (machine.isDown && machine.life === undefined && !machine.hasRun))
        continue;
      keepers.set(
        machine,
        keep(machine).catch((error: unknown) => void (failure = error)),
      );
    }
    await sleep(world.net ? 500 : 20);
  }
  if (failure !== undefined) throw failure;
  await Promise.all(keepers.values());
}

async function act(
  action: Action,
  { world, random, sleep, collectGraceMs }: ActOptions,
): Promise<void> {
  const victim = random.pick(world.disks);
  switch (action) {
    case 'crash':
      return crash(world, random);
    case 'stop':
      return await stop(world, random);
    case 'lose':
      if (mayImpair(world, victim)) upkeep.takeDisk(world, victim, true);
      return;
    case 'takeAway':
      if (!mayImpair(world, victim)) return;
      upkeep.takeDisk(world, victim, false);
      await sleep(random.exponential(2000));
      return await upkeep.bringDisk(world, victim);
    case 'rot':
      if (mayImpair(world, victim)) upkeep.rotDisk(world, victim, random.between(1, 8));
      return;
    case 'readErrors':
      return await failReads(victim, { world, random, sleep });
    case 'hang':
      victim.hungUntilMs = world.nowMs + random.exponential(500);
      return;
    case 'addDisk':
      if (world.disks.length >= DISKS_MAX) return;
      return await upkeep.addDisk(world, world.machineOf(victim));
    case 'heal':
      await upkeep.heal(world);
      return;
    case 'scrub':
      return await upkeep.scrub(world);
    case 'collect':
      return await upkeep.collect(world, collectGraceMs);
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
  if (!mayImpair(world, victim) || !metadataHasRoomWithout(world, victim)) return;
  world.impair(victim, true);
  await upkeep.setFull(world, victim, true);
  await sleep(random.exponential(2000));
  await upkeep.setFull(world, victim, false);
}

function crash(world: World, random: SeededRandom): void {
  // A start takes its time; one that never gets to its end shows nothing new.
  if (world.counts.crashes >= CRASHES_MAX) return;
  const up = world.standing.filter(({ isDown }) => !isDown);
  if (up.length === 0 || !mayDisturb(world)) return;
  world.counts.crashes += 1;
  (world.net ? random.pick(up) : world.home).crash({ isSilent: world.net && random.chance(0.4) });
}

async function stop(world: World, random: SeededRandom): Promise<void> {
  const up = world.standing.filter(({ isUp }) => isUp);
  if (up.length === 0 || !mayDisturb(world)) return;
  world.counts.restarts += 1;
  await (world.net ? random.pick(up) : world.home).stop();
}
