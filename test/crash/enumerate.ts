/**
 * Walks the states that power cuts may leave of loads: for each moment all subsets of up to four
 * unflushed writes, samples of more, torn ones; and for some of them the power fails again during
 * the mount, or a block of the journal rots first and then it does.
 *
 * Everything follows from the seed and the number of the moment, so that one moment can be looked
 * at again.
 */
import { errorMessage } from '../../src/base/index.ts';
import { crashImages, type Media } from '../../src/device/index.ts';
import { TestRandom } from '../suites/store-fixtures.ts';
import { closedViolations, type StateOptions, violations } from './check-state.ts';
import { BLOCK_BYTES, JOURNAL_START_BLOCK, journalBatches } from './format-reader.ts';
import type { PlantedFault } from './planted-faults.ts';
import { recordLoad, recordMount, type Recording, type Snapshot } from './snapshots.ts';

/** A promise that does not hold. */
export interface Violation {
  readonly seed: number;
  readonly moment: number;
  /** What the power cut left, in words. */
  readonly state: string;
  readonly what: string;
}

export interface EnumerateOptions {
  readonly seed: number;
  /** Of the moments of the load, one in so many is looked at. */
  readonly oneMomentIn?: number;
  /** Only this one. */
  readonly moment?: number | undefined;
  /** Only moments of this kind. */
  readonly wants?: (snapshot: Snapshot) => boolean;
  readonly plantedFault?: PlantedFault | undefined;
  /** Told of each state that was checked; returns true to stop. */
  readonly onState?: (found: readonly Violation[]) => boolean;
}

const TORN_PER_MOMENT = 4;
const SUBSETS_MAX = 16;
/** Of so many moments, one is followed by a power cut during the mount. */
const MOUNT_ONE_IN = 6;

export interface Outcome {
  readonly states: number;
  readonly violations: readonly Violation[];
  readonly recording: Recording;
}

/** Records the load of a seed and checks the states that power cuts during it may leave. */
export async function enumerate(options: EnumerateOptions): Promise<Outcome> {
  const recording = await recordLoad(options.seed, options.plantedFault);
  const walk = new Walk(options, recording);
  await walk.checkClosed();
  for (const [moment, snapshot] of recording.snapshots.entries()) {
    const isDue = (moment + options.seed) % (options.oneMomentIn ?? 1) === 0;
    const isChosen = options.moment === undefined ? isDue : moment === options.moment;
    if (isChosen && (options.wants?.(snapshot) ?? true)) await walk.lookAt(moment, snapshot);
    if (walk.isStopped) break;
  }
  return walk.outcome;
}

class Walk {
  isStopped = false;
  readonly #options: EnumerateOptions;
  readonly #recording: Recording;
  readonly #violations: Violation[] = [];
  #states = 0;

  constructor(options: EnumerateOptions, recording: Recording) {
    this.#options = options;
    this.#recording = recording;
  }

  get outcome(): Outcome {
    return {
      states: this.#states,
      violations: this.#violations,
      recording: this.#recording,
    };
  }

  /** The load came to its end, and the store was closed: no block may have leaked. */
  async checkClosed(): Promise<void> {
    const { snapshots, profile } = this.#recording;
    const { seed, plantedFault } = this.#options;
    if (plantedFault) return;
    const found = await closedViolations(snapshots.at(-1)!.point.durable, profile);
    const moment = snapshots.length - 1;
    this.#violations.push(...found.map((what) => ({ seed, moment, state: 'the end', what })));
  }

  async lookAt(moment: number, snapshot: Snapshot): Promise<void> {
    const random = new TestRandom(this.#options.seed * 100_003 + moment);
    const context = { moment, random, isDamaged: false, where: '' };
    await this.#lookAtImages(snapshot, { ...context, subsetCountMax: SUBSETS_MAX });
    if (random.below(MOUNT_ONE_IN) > 0) return;
    const images = [...crashImages(snapshot.point, { random, subsetCountMax: 4, tornCount: 2 })];
    const { media, description } = images[random.below(images.length)]!;
    const isDamaged = random.below(2) === 0;
    if (isDamaged) damageJournal(media, this.#recording.profile.journalBlocks, random);
    const how = `${description}, ${isDamaged ? 'journal damaged, then ' : ''}`;
    const mounting = await this.#recordMount(media, snapshot, { moment, state: how });
    for (const [step, each] of mounting.entries()) {
      const where = `${how}mounted up to flush ${step}, `;
      await this.#lookAtImages(each, { moment, random, isDamaged, where, subsetCountMax: 8 });
    }
  }

  async #recordMount(
    media: Media,
    snapshot: Snapshot,
    place: Pick<Violation, 'moment' | 'state'>,
  ): Promise<Snapshot[]> {
    try {
      return await recordMount(media, snapshot, this.#recording.profile);
    } catch (error) {
      this.#note([{ seed: this.#options.seed, ...place, what: errorMessage(error) }]);
      return [];
    }
  }

  /** Counts a state, and what was found in it. */
  #note(found: readonly Violation[]): void {
    this.#states += 1;
    this.#violations.push(...found);
    this.isStopped = this.#options.onState?.(found) ?? false;
  }

  async #lookAtImages(
    { point, promises, books }: Snapshot,
    context: {
      readonly moment: number;
      readonly random: TestRandom;
      readonly isDamaged: boolean;
      readonly where: string;
      readonly subsetCountMax: number;
    },
  ): Promise<void> {
    const { moment, random, isDamaged, where, subsetCountMax } = context;
    const { profile, emptyUsedBytes } = this.#recording;
    const { seed, plantedFault } = this.#options;
    const state: StateOptions = {
      promises,
      books,
      profile,
      isDamaged,
      emptyUsedBytes,
      random,
      plantedFault,
    };
    const images = crashImages(point, { random, subsetCountMax, tornCount: TORN_PER_MOMENT });
    for (const { media, description } of images) {
      if (this.isStopped) return;
      const found = (await violations(media, state)).map((what) => {
        return { seed, moment, state: where + description, what };
      });
      this.#note(found);
    }
  }
}

/**
 * Turns a bit in some block of the journal, but not of the last batch: before the idle seal nobody
 * can tell damage there from a torn end.
 */
function damageJournal(media: Media, blocks: number, random: TestRandom): void {
  const batches = journalBatches(media, blocks);
  // The last but one as well: the last may be torn, then this is the last.
  const spared = batches.toSorted((a, b) => b.seq - a.seq).slice(0, 2);
  const block = random.below(blocks);
  if (spared.some((batch) => batch.block <= block && block < batch.block + batch.blocks)) return;
  const offset = (JOURNAL_START_BLOCK + block) * BLOCK_BYTES;
  media.flipBit(offset + random.below(BLOCK_BYTES), random.below(8));
}
