/**
 * The media that a power cut may leave: what was durable, with some of the pending writes on top.
 * Few pending writes: every subset; many: a sample. Then the same with writes torn by sectors.
 * After "All File Systems Are Not Created Equal" (OSDI '14) in spirit: enumerate, do not guess.
 */
import { asBuffer } from '../base/index.ts';
import type { Random } from '../env/index.ts';
import type { Media } from './media.ts';
import type { CrashPoint, SimulatedWrite } from './simulated-device.ts';

/** A disk writes a sector whole or not at all. */
const SECTOR_BYTES = 512;
/** Chance in percent that a sector of a torn write reached the media. */
const SECTOR_KEPT_PERCENT = 70;
/** Of many pending writes, so many of the last ones alone: later ones overtook earlier ones. */
const LAST_KEPT = [1, 2, 4] as const;

export interface CrashImage {
  readonly media: Media;
  /** Which writes it has, for the message of a failed test. */
  readonly description: string;
}

export interface CrashImagesOptions {
  readonly random: Pick<Random, 'below'>;
  /** All subsets when they are no more than this, else so many at random. */
  readonly subsetCountMax?: number;
  /** Images with torn writes. */
  readonly tornCount?: number;
}

/** The durable media with the writes of `kept` whole and no others. */
export function crashImage(point: CrashPoint, kept: Iterable<SimulatedWrite>): Media {
  const media = point.durable.fork();
  const keptWrites = new Set(kept);
  for (const write of point.pending) {
    if (keptWrites.has(write)) media.write(write.bytes, write.offset);
  }
  return media;
}

/** Images of one crash point, made one by one as they are asked for. */
export function* crashImages(
  point: CrashPoint,
  { random, subsetCountMax = 16, tornCount = 4 }: CrashImagesOptions,
): Generator<CrashImage> {
  for (const kept of subsets(point.pending, subsetCountMax, random)) {
    yield { media: crashImage(point, kept), description: describe(kept, point) };
  }
  if (point.pending.length === 0) return;
  for (let torn = 0; torn < tornCount; torn++) {
    const media = point.durable.fork();
    const isKept = tearOf(torn, random);
    for (const write of point.pending) tear(media, write, isKept);
    yield { media, description: `torn writes, try ${torn} of ${tornCount}` };
  }
}

function* subsets(
  writes: readonly SimulatedWrite[],
  countMax: number,
  random: Pick<Random, 'below'>,
): Generator<SimulatedWrite[]> {
  const count = 2 ** writes.length;
  if (count <= countMax) {
    for (let mask = 0; mask < count; mask++) {
      yield writes.filter((_, index) => Math.floor(mask / 2 ** index) % 2 === 1);
    }
    return;
  }
  yield [];
  yield [...writes];
  const lastCounts = LAST_KEPT.filter((_, index) => index + 2 < countMax);
  for (const count of lastCounts) yield writes.slice(-count);
  for (let sample = 2 + lastCounts.length; sample < countMax; sample++) {
    const keptPercent = 5 + random.below(91);
    yield writes.filter(() => random.below(100) < keptPercent);
  }
}

/** Whether a sector of a write of so many reached the media. */
type Tear = (sector: number, count: number) => boolean;

/** The head of every write, all but the last sector of every write, and chance from then on. */
function tearOf(number: number, random: Pick<Random, 'below'>): Tear {
  if (number === 0) return (sector, count) => sector < count / 2;
  if (number === 1) return (sector, count) => sector < count - 1;
  return () => random.below(100) < SECTOR_KEPT_PERCENT;
}

function tear(media: Media, write: SimulatedWrite, isKept: Tear): void {
  const bytes = Buffer.alloc(write.bytes.length);
  const count = bytes.length / SECTOR_BYTES;
  media.read(bytes, write.offset);
  for (let sector = 0; sector < count; sector++) {
    if (!isKept(sector, count)) continue;
    const at = sector * SECTOR_BYTES;
    asBuffer(write.bytes).copy(bytes, at, at, at + SECTOR_BYTES);
  }
  media.write(bytes, write.offset);
}

function describe(kept: readonly SimulatedWrite[], point: CrashPoint): string {
  const numbers = kept.map((write) => write.number).join(', ');
  return `writes [${numbers}] of ${point.pending.length} pending`;
}
