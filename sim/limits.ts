/** How far the nemesis may go: what is promised must be able to hold. */
import type { SimDisk } from './disk.ts';
import type { SeededRandom } from './random.ts';
import { TOLERANCE } from './violation.ts';
import type { World } from './world.ts';

/** Fewer of six, and metadata could not be written at all. */
const ALIVE_MIN = 4;

export interface NemesisOptions {
  readonly world: World;
  readonly random: SeededRandom;
  readonly sleep: (ms: number) => Promise<void>;
  readonly signal: AbortSignal;
}

export interface ActOptions extends NemesisOptions {
  readonly collectGraceMs: number;
}

/** What is put while machines do not reach each other may have one shard to spare. */
export function mayDisturb(world: World): boolean {
  return !world.net || (world.impaired.size <= 1 && !world.isResting);
}

/** Whether chunks of so many disks more may be lost. */
export function mayImpair(world: World, victim: SimDisk): boolean {
  const machine = world.machineOf(victim);
  if (!machine.isUp || victim.state !== 'here' || victim.id === undefined) return false;
  if (!world.impaired.has(victim)) {
    if (world.impaired.size >= world.impairedMax) return false;
    if (world.net && machine.isHome && !homeBears(world)) return false;
  }
  return world.impaired.has(victim) || world.aliveCount > ALIVE_MIN;
}

/** A full store is alive, so all copies of metadata must find room on the others (ruling 9). */
export function metadataHasRoomWithout({ home, impaired, net }: World, victim: SimDisk): boolean {
  if (!net || !home.disks.includes(victim)) return true;
  const sound = home.disks.filter((disk) => disk.state === 'here' && !impaired.has(disk));
  return sound.filter((disk) => disk !== victim).length > TOLERANCE;
}

/** Metadata stands on the disks of the home alone; see quorum.ts. */
function homeBears({ home, impaired }: World): boolean {
  const members = home.disks.filter(({ isWrittenOff }) => !isWrittenOff);
  const bears = Math.min(2, Math.ceil(members.length / 2) - 1);
  return members.filter((disk) => impaired.has(disk) || disk.state !== 'here').length < bears;
}
