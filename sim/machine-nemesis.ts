/** What goes wrong between machines, and how they come and go. */
import type { Machine } from './machine.ts';
import { type ActOptions, mayDisturb } from './limits.ts';
import type { SeededRandom } from './random.ts';
import * as upkeep from './upkeep.ts';
import { TOLERANCE } from './violation.ts';
import type { World } from './world.ts';

/** Mean milliseconds between two of a kind, before they are stretched for a cluster. */
export const MACHINE_ACTIONS = {
  partition: 1500,
  slow: 1000,
  badNet: 1500,
  goAway: 2500,
  loseMachine: 6000,
  addMachine: 6000,
  drain: 5000,
  rest: 4000,
} as const;

export type MachineAction = keyof typeof MACHINE_ACTIONS;

const MACHINES_MAX = 6;
/** Long enough for everything to be settled, and something to be done in peace. */
const REST_MS = 120_000;

export async function actOnMachines(action: MachineAction, options: ActOptions): Promise<void> {
  const { world, random, sleep } = options;
  const victim = random.pick(world.standing);
  switch (action) {
    case 'partition':
      return await partition(world, random, sleep);
    case 'slow':
      return await slow(world, random, sleep);
    case 'badNet':
      return await badNet(world, random, sleep);
    case 'goAway':
      return goAway(world, victim, random);
    case 'loseMachine':
      return loseMachine(world, victim);
    case 'addMachine':
      if (world.standing.length >= MACHINES_MAX || !mayDisturb(world)) return;
      return await world.addMachine(random.between(1, 2));
    case 'drain':
      return await drain(world, victim, sleep);
    case 'rest':
      return await rest(world, sleep);
  }
}

type Sleep = ActOptions['sleep'];

function durationMs(random: SeededRandom): number {
  return random.exponential(random.pick([1000, 5000, 20_000]));
}

/** One machine off, halves, or one direction between some of them. */
async function partition(world: World, random: SeededRandom, sleep: Sleep): Promise<void> {
  const net = world.net!;
  if (!mayDisturb(world) || world.isParted) return;
  world.isParted = true;
  const nodes = world.standing;
  const kind = random.pick(['one', 'halves', 'one-way'] as const);
  const lonely = random.pick(nodes);
  const isLeft = (machine: Machine): boolean =>
    kind !== 'halves' ? machine === lonely : inHalf.has(machine);
  const inHalf = new Set(nodes.filter(() => random.chance(0.5)));
  const left = new Set(nodes.filter(isLeft).map(({ id }) => id));
  world.note(
    `partition ${kind}: ${nodes
      .filter(isLeft)
      .map(({ name }) => name)
      .join(' ')}`,
  );
  world.counts.partitions += 1;
  const isOneWay = kind === 'one-way';
  await world.trouble(async () => {
    net.cutWhere((from, to) =>
      isOneWay ? left.has(from) && !left.has(to) : left.has(from) !== left.has(to),
    );
    await sleep(durationMs(random));
    net.cutWhere(() => false);
    world.isParted = false;
    world.note('the partition is over');
  });
}

async function slow(world: World, random: SeededRandom, sleep: Sleep): Promise<void> {
  if (!mayDisturb(world)) return;
  const [from, to] = [random.pick(world.standing), random.pick(world.standing)];
  if (from === to) return;
  const ms = random.pick([20, 200, 2000]);
  world.note(`${from.name} → ${to.name} is slow by ${ms}`);
  await world.trouble(async () => {
    world.net!.setSlow(from.id, to.id, ms);
    await sleep(durationMs(random));
    world.net!.setSlow(from.id, to.id, 0);
  });
}

/** All connections break now and then, flip bits, or are narrow. */
async function badNet(world: World, random: SeededRandom, sleep: Sleep): Promise<void> {
  if (!mayDisturb(world)) return;
  const { faults } = world.net!;
  world.note('the network is bad');
  await world.trouble(async () => {
    faults.breaksPerMillion = random.pick([0, 1000, 20_000]);
    faults.flipsPerMillion = random.pick([0, 1000]);
    faults.jitterMs = random.pick([0, 5, 50]);
    faults.bytesPerSecond = random.pick([Infinity, 10_000_000, 1_000_000]);
    await sleep(durationMs(random));
    Object.assign(faults, { breaksPerMillion: 0, flipsPerMillion: 0, jitterMs: 0 });
    faults.bytesPerSecond = Infinity;
  });
}

/** Its power is off, perhaps for longer than the others wait for it. */
function goAway(world: World, victim: Machine, random: SeededRandom): void {
  if (!victim.isUp || !mayDisturb(world)) return;
  victim.awayUntilMs = world.nowMs + random.exponential(random.pick([5000, 60_000]));
  victim.crash({ isSilent: true });
}

/** Fire, theft: the machine and its disks are gone. */
function loseMachine(world: World, victim: Machine): void {
  if (victim.isHome || !victim.isUp || victim.isDraining) return;
  const sound = victim.disks.filter((disk) => !world.impaired.has(disk));
  const budget = Math.min(world.impairedMax, TOLERANCE) - world.impaired.size;
  // From the moment on when it is missed puts may be short by one: so it must be borne as well.
  if (sound.length > budget || world.impaired.size + sound.length > 1) return;
  victim.note('is lost');
  for (const disk of victim.disks) world.impair(disk, false);
  world.counts.lost += victim.disks.length;
  victim.vanish();
}

/** Its shards go to the others, then it goes. One that cannot be emptied stays. */
async function drain(world: World, victim: Machine, sleep: Sleep): Promise<void> {
  if (victim.isHome || !victim.isUp || victim.isDraining) return;
  if (world.aliveCount - victim.stores().length < 7) return;
  victim.note('is drained');
  await setDraining(world, victim, true);
  for (let tries = 0; tries < 5; tries++) {
    await sleep(5000);
    await upkeep.heal(world);
    if (await isEmpty(world, victim)) {
      victim.note('is empty and goes');
      await victim.stop();
      if (!victim.isDown) break;
      for (const disk of victim.disks) world.impaired.delete(disk);
      victim.vanish();
      return await world.dismiss(victim);
    }
  }
  victim.note('stays');
  await setDraining(world, victim, false);
}

/** Its stores take no puts from then on. */
async function setDraining(world: World, victim: Machine, isDraining: boolean): Promise<void> {
  victim.isDraining = isDraining;
  await world.call(
    async ({ cluster }) => {
      for (const store of victim.stores()) await store.setState(isDraining ? 'draining' : 'active');
      await cluster.setDevices(victim.devices());
    },
    [victim],
  );
}

async function isEmpty(world: World, victim: Machine): Promise<boolean> {
  if (!victim.isUp || world.impaired.size > 0) return false;
  const outcome = await world.call(async () => {
    for (const store of victim.stores()) {
      for await (const _ of store.list()) return false;
    }
    return victim.stores().length === victim.disks.length;
  }, [victim]);
  return outcome.kind === 'done' && outcome.value;
}

/** For once nothing goes wrong between machines, and everything must work. */
async function rest(world: World, sleep: Sleep): Promise<void> {
  world.note('rest');
  world.isResting = true;
  await sleep(REST_MS);
  world.isResting = false;
}
