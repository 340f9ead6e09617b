/** What befalls disks, and what users do about it: bring, add, scrub, collect, repair. */
import type { Core } from '../src/node/index.ts';
import type { Repair } from '../src/repair/index.ts';
import type { SimDisk } from './disk.ts';
import type { Machine } from './machine.ts';
import { SHARDS_MAX } from './violation.ts';
import type { UpLife, World } from './world.ts';

/** Until the home has seen what others have stated. */
const FOLLOW_MS = 1000;
const DAY_MS = 24 * 3_600_000;

/** The disk stops answering; with `isForGood` it never comes back. */
export function takeDisk(world: World, disk: SimDisk, isForGood: boolean): void {
  world.note(`${disk.name} ${isForGood ? 'dies' : 'goes away'}`);
  world.impair(disk, false);
  disk.cutPower();
  disk.state = isForGood ? 'lost' : 'away';
  if (isForGood) world.counts.lost += 1;
}

export function rotDisk(world: World, disk: SimDisk, bitCount: number): void {
  world.impair(disk, true);
  world.counts.rot += 1;
  disk.isRotten = true;
  world.note(`${disk.name} rots at ${disk.rot(bitCount)}`);
}

/** Whether the disk refuses puts from now on; in all lives until it is said otherwise. */
export async function setFull(world: World, disk: SimDisk, isFull: boolean): Promise<void> {
  world.note(`${disk.name} ${isFull ? 'is full' : 'has room again'}`);
  disk.isFull = isFull;
  const machine = world.machineOf(disk);
  if (machine.isGone) return;
  await world.call((_core, _objects, life) => machine.limit(life, disk), [machine]);
}

/** A disk that was away is back, or one that had failed is opened again. */
export async function bringDisk(world: World, disk: SimDisk): Promise<void> {
  if (disk.state !== 'away') return;
  world.note(`${disk.name} comes back`);
  disk.state = 'here';
  await openAndState(world, disk);
}

export async function addDisk(world: World, machine: Machine): Promise<void> {
  const disk = world.makeDisk(machine);
  world.note(`${disk.name} is new`);
  await openAndState(world, disk);
}

async function openAndState(world: World, disk: SimDisk): Promise<void> {
  const machine = world.machineOf(disk);
  await world.call(
    async (core, _, life) => {
      await machine.reopen(life, disk);
      await core.cluster.setDevices(machine.devices());
    },
    [machine],
  );
}

export async function scrub(world: World): Promise<void> {
  await maintain(world, 'scrub', async ({ repair }) => await repair.scrub());
}

export async function collect(world: World, graceMs: number): Promise<void> {
  // Others than the home may not ask for everything to go at once.
  const machines = graceMs === 0 ? [world.home] : undefined;
  const work = async ({ repair }: { repair: Repair }) => await repair.collect({ graceMs });
  await maintain(world, 'collect', work, machines);
}

/** As a user's `repair`: stores that are away are written off, all else is made whole. */
export async function heal(world: World): Promise<boolean> {
  const impairments = world.impairmentCount;
  const startMs = world.nowMs;
  if (world.net && !(await stateDisks(world))) return false;
  const isWhole = await maintain(world, 'heal', async ({ core, repair }) => {
    if (!world.net) await stateDisksOf(world.home, core);
    await mend(world);
    await repair.collect({ graceMs: DAY_MS });
    const { failedStores } = await repair.scrub();
    const { incomplete, lost, skipped } = await repair.repair();
    await mend(world);
    const failed = failedStores.length;
    world.note(`healed: ${incomplete} incomplete, ${lost} lost, ${failed} failed`);
    if (world.net && skipped > 0) return false;
    // On fewer disks two shards stand on one: all are there, but less than promised may be lost.
    if (world.aliveCount < SHARDS_MAX) return false;
    return incomplete === 0 && lost === 0 && failed === 0;
  });
  if (!isWhole || world.impairmentCount !== impairments) return false;
  // A machine that is not here keeps what is wrong with its disks.
  if (world.net && !world.wasSettled(startMs)) return false;
  for (const disk of world.impaired.keys()) {
    if (disk.readErrorRate === 0 && !disk.isFull) world.impaired.delete(disk);
  }
  // One that was away kept its rot: nothing of it is needed any more, but it may not open again.
  for (const disk of world.disks) disk.isRotten &&= disk.state !== 'here';
  world.isWholeSince(startMs);
  world.counts.heals += 1;
  return true;
}

/** Every machine opens what it can, and says what it has. @returns whether all did. */
async function stateDisks(world: World): Promise<boolean> {
  const up = world.standing.filter(({ isUp }) => isUp);
  const outcomes = await Promise.all(
    up.map((machine) => world.call((core) => stateDisksOf(machine, core), [machine])),
  );
  for (const machine of world.machines) if (machine.isGone) await world.dismiss(machine);
  await world.sleep(FOLLOW_MS);
  return outcomes.every(({ kind }) => kind === 'done') && up.length === world.standing.length;
}

async function stateDisksOf(machine: Machine, core: Core): Promise<void> {
  const life = machine.upLife;
  if (!life) return;
  for (const disk of machine.disks) {
    await machine.reopen(life, disk);
    // Nobody will repair a disk that cannot be opened.
    if (disk.state === 'here' && !life.stores.has(disk)) disk.state = 'lost';
    disk.isWrittenOff = disk.state !== 'here';
  }
  await core.cluster.setDevices(machine.devices());
}

/** The home's copies of metadata. */
async function mend(world: World): Promise<void> {
  const { metadata } = world.home.upLife?.core ?? {};
  if (metadata && 'mend' in metadata) await (metadata as { mend(): Promise<number> }).mend();
}

async function maintain<Result>(
  world: World,
  what: string,
  work: (parts: { core: Core; repair: Repair; life: UpLife }) => Promise<Result>,
  machines?: readonly Machine[],
): Promise<Result | undefined> {
  const outcome = await world.call(
    (core, _, life) => work({ core, repair: life.repair, life }),
    machines,
  );
  world.noteOutcome(what, outcome);
  return outcome.kind === 'done' ? outcome.value : undefined;
}
