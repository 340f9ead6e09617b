/**
 * The chunk files that a user names, opened and sorted out: those of one set are read together,
 * everything else is named. Which file is which index is what its header says, not its name.
 */
import path from 'node:path';
import { assert, errorCode, HoldfastError, mapBounded, toHex } from '../base/index.ts';
import type { ChunkCoder } from './chunk-coder.ts';
import { type ChunkFault, ChunkFile, faultLines } from './chunk-file.ts';
import { type ChunkFileHeader, chunkFileStripe, shortSetId } from './chunk-format.ts';
import { blockViews } from './chunk-memory.ts';
import { faultOf, type FileGroup, findFiles, groupFiles, NOT_THERE } from './files.ts';

/** A chunk file's name ends with this, after its index: `photos.tar.007.hfc`. */
export const CHUNK_FILE_ENDING = '.hfc';
const OPENS_MAX = 16;
/** Not those that somebody else, or a newer version, may read. */
const LOST_CODES: readonly unknown[] = ['HF_NOT_FOUND', 'HF_NOT_OURS', 'HF_CORRUPT', 'HF_IO'];

export function chunkFileName(name: string, index: number): string {
  return `${name}.${String(index).padStart(3, '0')}${CHUNK_FILE_ENDING}`;
}

/** Chunk files that are named, and those of folders that are named, each once. */
export async function findChunkFiles(places: readonly string[]): Promise<string[]> {
  return await findFiles(places, CHUNK_FILE_ENDING);
}

/** Whether a chunk file has the name that `make` gives to those of a file. */
export function isChunkNamedFor(name: string, file: string): boolean {
  return chunkNameOf(file) === name;
}

/** `photos.tar` of `photos.tar.007.hfc`. */
function chunkNameOf(file: string): string {
  return path.basename(file).replace(/\.\d{3}\.hfc$/, '');
}

/** As {@link groupFiles}: one group for each set. */
export async function groupChunkFiles(paths: readonly string[]): Promise<FileGroup[]> {
  return await groupFiles(paths, {
    async labelOf(file) {
      try {
        await using chunk = await ChunkFile.open(file);
        return { key: toHex(chunk.header.setId), name: chunkNameOf(file) };
      } catch (error) {
        faultOf(error, file);
        return undefined;
      }
    },
    isNamedFor: isChunkNamedFor,
  });
}

export class ChunkSet implements AsyncDisposable {
  /** Of the set; its `index` is that of some file. */
  readonly header: ChunkFileHeader;
  /** By index; those without faults first. */
  readonly files: readonly ChunkFile[];
  /** What was found wrong so far, as it is found. */
  readonly faults: ChunkFault[];
  /** Paths of files that are not there, or are so damaged that nothing of them can be used. */
  readonly lost: readonly string[];
  readonly #bad = new Map<ChunkFile, Set<number>>();

  private constructor(
    files: readonly ChunkFile[],
    found: { readonly faults: ChunkFault[]; readonly lost: readonly string[] },
  ) {
    this.header = files[0]!.header;
    this.files = files;
    this.faults = found.faults;
    this.lost = found.lost;
  }

  /**
   * Opens files and picks the set that they belong to.
   * @throws HF_BAD_ARGUMENT when they hold two whole sets, HF_NOT_OURS when there is none.
   */
  static async open(paths: readonly string[]): Promise<ChunkSet> {
    const faults: ChunkFault[] = [];
    const lost: string[] = [];
    const opened = await mapBounded(paths, OPENS_MAX, async (file) => {
      try {
        return await ChunkFile.open(file);
      } catch (error) {
        faults.push({ path: file, stripeIndex: undefined, reason: faultOf(error, file) });
        if (LOST_CODES.includes(errorCode(error))) lost.push(file);
        return undefined;
      }
    });
    const files = opened.filter((file) => file !== undefined);
    try {
      const chosen = chooseSet(files, faults);
      const strangers = files.filter((file) => !chosen.includes(file));
      for (const { path: file, header } of strangers) {
        const reason = `it is of another file or make (set ${shortSetId(header)})`;
        faults.push({ path: file, stripeIndex: undefined, reason });
      }
      await closeAll(strangers);
      return new ChunkSet(bestFirst(chosen, faults), { faults, lost });
    } catch (error) {
      await closeAll(files);
      throw error;
    }
  }

  /** What the chunk files are called before their index, if that can be seen. */
  get name(): string | undefined {
    const names = this.files.map(({ path: file, header }) => {
      const ending = chunkFileName('', header.index);
      const base = path.basename(file);
      return base.endsWith(ending) && base !== ending ? base.slice(0, -ending.length) : undefined;
    });
    return names.find((name) => name !== undefined);
  }

  /** Indexes of which there is a file. */
  get present(): readonly number[] {
    return [...new Set(this.files.map(({ header }) => header.index))];
  }

  /** @throws HF_TOO_FEW_SHARDS when the set cannot be restored. */
  assertEnough(): void {
    const { k } = this.header;
    if (this.present.length < k) throw this.#tooFew(this.present.length);
  }

  /** Whether every byte that was looked at so far is right. */
  isSound(file: ChunkFile): boolean {
    return file.faults.length === 0 && !this.#bad.has(file);
  }

  /**
   * Brings k good blocks of a stripe into a slot, data blocks where it can.
   * @returns their indexes.
   * @throws HF_TOO_FEW_SHARDS.
   */
  async gather(coder: ChunkCoder, place: { stripeIndex: number; slot: number }): Promise<number[]> {
    const good: number[] = [];
    for (;;) {
      const missing = this.header.k - good.length;
      if (missing === 0) return good;
      const next = this.#candidates(place.stripeIndex, good).slice(0, missing);
      if (next.length < missing) throw this.#tooFew(good.length + next.length, place.stripeIndex);
      good.push(...(await this.check(coder, place, next)));
    }
  }

  /** Brings blocks into a slot and notes which are bad. @returns the indexes of the good ones. */
  async check(
    coder: ChunkCoder,
    place: { stripeIndex: number; slot: number },
    files: readonly ChunkFile[],
  ): Promise<number[]> {
    const stripe = chunkFileStripe(this.header, place.stripeIndex);
    const blocks = blockViews(coder.slab, place.slot, stripe.blockBytes);
    const read = await mapBounded(files, OPENS_MAX, async (file) =>
      file.readBlock(stripe, blocks[file.header.index]!),
    );
    const whole = files.filter((_, position) => read[position]);
    const bad = await coder.check(
      place,
      new Map(whole.map((file) => [file.header.index, file.checksum(place.stripeIndex)])),
    );
    const isGood = (file: ChunkFile) => whole.includes(file) && !bad.includes(file.header.index);
    for (const file of files) {
      if (isGood(file)) continue;
      const reason = whole.includes(file)
        ? 'its block does not match its checksum'
        : 'it is cut, or cannot be read there';
      this.#note(file, place.stripeIndex, reason);
    }
    return files.filter(isGood).map(({ header }) => header.index);
  }

  /** One file for each index that is not there yet. */
  #candidates(stripeIndex: number, good: readonly number[]): ChunkFile[] {
    const byIndex = new Map<number, ChunkFile>();
    for (const file of this.files) {
      const { index } = file.header;
      if (good.includes(index) || byIndex.has(index)) continue;
      if (!this.#bad.get(file)?.has(stripeIndex)) byIndex.set(index, file);
    }
    return [...byIndex.values()];
  }

  #note(file: ChunkFile, stripeIndex: number, reason: string): void {
    const stripes = this.#bad.get(file) ?? new Set();
    this.#bad.set(file, stripes.add(stripeIndex));
    this.faults.push({ path: file.path, stripeIndex, reason });
  }

  #tooFew(have: number, stripeIndex?: number): HoldfastError {
    const { k } = this.header;
    const where = stripeIndex === undefined ? '' : ` of stripe ${stripeIndex}`;
    const bad = this.faults.length === 0 ? '' : `: ${faultLines(this.faults).join(', ')}`;
    return new HoldfastError('HF_TOO_FEW_SHARDS', `have ${have}, need ${k}${where}${bad}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closeAll(this.files);
  }
}

/**
 * The files of one set: the only one that can be restored, else the one with most files.
 * @throws HF_BAD_ARGUMENT when two can.
 */
function chooseSet(files: readonly ChunkFile[], faults: readonly ChunkFault[]): ChunkFile[] {
  const sets = [...Map.groupBy(files, ({ header }) => toHex(header.setId)).values()];
  const distinct = (set: readonly ChunkFile[]) =>
    new Set(set.map(({ header }) => header.index)).size;
  const whole = sets.filter((set) => distinct(set) >= set[0]!.header.k);
  if (whole.length > 1) {
    const names = [...new Set(whole.map((set) => chunkNameOf(set[0]!.path)))];
    const which =
      names.length === whole.length
        ? `say which with --name: ${names.join(', ')}`
        : `give the chunk files of one: ${whole.map((set) => set[0]!.path).join(', ')}`;
    const message = `these are chunk files of ${whole.length} files or makes; ${which}`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  const [best] = whole.length === 1 ? whole : sets.toSorted((a, b) => distinct(b) - distinct(a));
  if (best) return best;
  const found = faultLines(faults).join(', ');
  const message = found ? `no chunk file can be used: ${found}` : 'there are no chunk files (.hfc)';
  const areThere = faults.some(({ reason }) => reason !== NOT_THERE);
  throw new HoldfastError(areThere ? 'HF_NOT_OURS' : 'HF_NOT_FOUND', message);
}

/** Notes what is wrong with files as a whole, and which are there twice. */
function bestFirst(files: readonly ChunkFile[], faults: ChunkFault[]): ChunkFile[] {
  const sorted = files.toSorted(
    (a, b) => a.faults.length - b.faults.length || a.header.index - b.header.index,
  );
  const firsts = new Map<number, ChunkFile>();
  for (const file of sorted) {
    faults.push(...file.faults);
    const { index } = file.header;
    const first = firsts.get(index);
    if (!first) {
      firsts.set(index, file);
      continue;
    }
    const reason = `it is the same chunk file as ${first.path} and counts once`;
    faults.push({ path: file.path, stripeIndex: undefined, reason });
  }
  assert(firsts.size > 0, 'a set has files');
  return sorted;
}

async function closeAll(files: readonly ChunkFile[]): Promise<void> {
  for (const file of files) await file[Symbol.asyncDispose]();
}
