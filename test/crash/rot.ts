/**
 * Trials in which something on the media is not what was written: one bit, a whole block of zeros,
 * two blocks in each other's place, a write that went to the wrong block, one that was lost.
 *
 * What must hold in all of them: no wrong bytes come out; a chunk is bad only when a block of its
 * own was hit; a chunk is missing, back, or of an older generation only when the mount says that
 * something is lost; and it does not say so unless the journal was hit, or more than one block.
 */
import { bytesEqual, errorCode, errorMessage, toHex } from '../../src/base/index.ts';
import { type Media, SimulatedDevice } from '../../src/device/index.ts';
import { type ExtentStore, openStore } from '../../src/store/index.ts';
import { testEnv, TestRandom } from '../suites/store-fixtures.ts';
import { readBlock } from './format-reader.ts';
import type { RotImage, Zone } from './rot-image.ts';

export const DAMAGES = ['bit', 'zeros', 'swapped', 'misdirected', 'stale'] as const;
export type Damage = (typeof DAMAGES)[number];

const BLOCK_BYTES = 4096;

/** What a trial came to. */
export interface TrialResult {
  readonly violations: readonly string[];
  /** In words, so that it can be told apart and repeated. */
  readonly description: string;
  readonly badCount: number;
  readonly missingCount: number;
  readonly isDamageReported: boolean;
}

/** @param trial number: the same one does the same. */
export async function runTrial(
  image: RotImage,
  { damage, zone, trial }: { damage: Damage; zone: Zone; trial: number },
): Promise<TrialResult> {
  const random = new TestRandom(trial * 97 + zone.length);
  const media = image.media.fork();
  const hit = inflict(image, media, { damage, zone, random });
  const description = `${damage} in ${zone}, trial ${trial}: blocks ${hit.join(', ')}`;
  const look = new Look(image, hit);
  try {
    const env = testEnv({ sleeps: false });
    const store = await openStore({ env, device: new SimulatedDevice({ media }) });
    await look.at(store);
  } catch (error) {
    look.violations.push(`the store does not mount: ${errorMessage(error)}`);
  }
  const { violations, badCount, missingCount, isDamageReported } = look;
  return { violations, description, badCount, missingCount, isDamageReported };
}

/** @returns the blocks whose content has changed. */
function inflict(
  image: RotImage,
  media: Media,
  options: { readonly damage: Damage; readonly zone: Zone; readonly random: TestRandom },
): number[] {
  const { damage, zone, random } = options;
  const pick = (blocks: readonly number[]): number => blocks[random.below(blocks.length)]!;
  const block = pick(image.zones[zone]);
  const other = pick(image.zones[random.below(2) === 0 ? zone : 'anywhere']);
  const content = readBlock(media, block);
  switch (damage) {
    case 'bit':
      media.flipBit(block * BLOCK_BYTES + random.below(BLOCK_BYTES), random.below(8));
      return [block];
    case 'zeros':
      media.write(Buffer.alloc(BLOCK_BYTES), block * BLOCK_BYTES);
      return [block];
    case 'swapped':
      media.write(readBlock(media, other), block * BLOCK_BYTES);
      media.write(content, other * BLOCK_BYTES);
      return [block, other];
    case 'misdirected':
      // What was to go to `block` has gone to `other`; `block` is as it was before.
      media.write(readBlock(earlierOf(image, random), block), block * BLOCK_BYTES);
      media.write(content, other * BLOCK_BYTES);
      return [block, other];
    case 'stale':
      media.write(readBlock(earlierOf(image, random), block), block * BLOCK_BYTES);
      return [block];
  }
}

function earlierOf({ earlier }: RotImage, random: TestRandom): Media {
  return earlier[random.below(earlier.length)]!;
}

/** Reads everything of a store and compares. */
class Look {
  readonly violations: string[] = [];
  badCount = 0;
  missingCount = 0;
  isDamageReported = false;
  readonly #image: RotImage;
  readonly #hitBlocks: readonly number[];
  readonly #hitChunks: ReadonlySet<string | undefined>;

  constructor(image: RotImage, hitBlocks: readonly number[]) {
    this.#image = image;
    this.#hitBlocks = hitBlocks;
    this.#hitChunks = new Set(hitBlocks.map((block) => image.owners.get(block)));
  }

  async at(store: ExtentStore): Promise<void> {
    const { damage, damagedAtMs } = await store.describe();
    this.isDamageReported = damage.length > 0;
    if (this.isDamageReported !== damagedAtMs > 0) this.violations.push('damage is not recorded');
    if (this.isDamageReported && !this.#mayLose()) this.violations.push(...damage);
    const { chunks, removed } = this.#image;
    for (const chunk of chunks) await this.#read(store, chunk);
    for (const { id } of removed) {
      if (await store.stat(id)) this.#lose('a chunk that was removed is back');
    }
    let count = 0;
    for await (const _ of store.list()) count += 1;
    if (count !== chunks.length) this.#lose(`${count} chunks are listed, not ${chunks.length}`);
  }

  /** Whether what was hit had no second copy, or both were hit. */
  #mayLose(): boolean {
    const journal = new Set(this.#image.zones.journal);
    return this.#hitBlocks.length > 1 || this.#hitBlocks.some((block) => journal.has(block));
  }

  #lose(what: string): void {
    if (!this.isDamageReported) this.violations.push(what);
  }

  async #read(store: ExtentStore, { id, bytes }: RotImage['chunks'][number]): Promise<void> {
    const name = toHex(id);
    try {
      const read = await store.get(id);
      const entry = await store.stat(id);
      if (!read || !entry) {
        this.missingCount += 1;
        this.#lose('a chunk is missing');
      } else if (!bytesEqual(read, bytes)) {
        this.violations.push('a chunk has wrong bytes');
      } else if (entry.generation < this.#image.generations.get(name)!) {
        this.#lose('a chunk has an older generation');
      }
    } catch (error) {
      if (errorCode(error) !== 'HF_CORRUPT') throw error;
      this.badCount += 1;
      if (!this.#hitChunks.has(name)) this.violations.push('a chunk is bad that was not hit');
    }
  }
}
