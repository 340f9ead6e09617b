/**
 * Inode numbers for new objects, near to what they belong to, so that most of what a put touches
 * lies in one cell: a number of its directory's slot, or without a key of its id's. They are taken
 * in ranges, and so are ids of objects without a key: of one slot until its range is used up.
 *
 * All of it is a hint: a number of another slot does as well.
 */
import { hexId, type ObjectId, remember, toHex } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { type Inode, type Namespace, type Nearness, slotNear } from '../meta/index.ts';
import type { KeyPath } from './keys.ts';
import type { SealedTree } from './sealed-tree.ts';

/** Inode numbers taken from a cell at once. */
const INODES_PER_RANGE = 1024;
/** Slots of which numbers are kept; a range that is given up for another one is lost. */
const RANGES_MAX = 256;
/** Directories that are remembered by their path. */
const DIRECTORIES_MAX = 1024;
/** Hexadecimal digits of an id that are its slot. */
const SLOT_DIGITS = 3;

interface Range {
  next: Inode;
  readonly end: Inode;
}

export interface InodeSourceOptions {
  readonly env: Pick<Env, 'random'>;
  readonly namespace: Pick<Namespace, 'allocateInodes'>;
  readonly tree: Pick<SealedTree, 'nearestDirectory'>;
}

export class InodeSource {
  readonly #options: InodeSourceOptions;
  /** By slot; the one used last is the last. */
  readonly #ranges = new Map<number, Range>();
  readonly #refills = new Map<number, Promise<void>>();
  /** By path; the one learnt last is the last. */
  readonly #directories = new Map<string, Inode>();
  #idSlot = '';
  #idsLeft = 0;

  constructor(options: InodeSourceOptions) {
    this.#options = options;
  }

  /** Of an object without a key. */
  newId(): ObjectId {
    const { random } = this.#options.env;
    if (this.#idsLeft === 0) {
      this.#idSlot = toHex(random.bytes(2)).slice(0, SLOT_DIGITS);
      this.#idsLeft = INODES_PER_RANGE;
    }
    this.#idsLeft -= 1;
    return `${this.#idSlot}${hexId(random.bytes(16)).slice(SLOT_DIGITS)}` as ObjectId;
  }

  /** For an object that is to be put there. */
  async takeFor(path: KeyPath | undefined, objectId: ObjectId): Promise<Inode> {
    if (!path) return await this.take({ objectId });
    const known = this.#directories.get(path.directories.join(''));
    return await this.take({
      inode: known ?? (await this.#options.tree.nearestDirectory(path.directories)),
    });
  }

  /** The directory of an object that was put. */
  learn({ directories }: KeyPath, directory: Inode): void {
    remember(this.#directories, directories.join(''), directory, DIRECTORIES_MAX);
  }

  async take(near: Nearness): Promise<Inode> {
    const slot = slotNear(near);
    for (;;) {
      const range = this.#ranges.get(slot);
      if (range && range.next < range.end) {
        remember(this.#ranges, slot, range, RANGES_MAX);
        const inode = range.next;
        range.next += 1n;
        return inode;
      }
      const refill = this.#refills.get(slot) ?? this.#refill(slot, near);
      this.#refills.set(slot, refill);
      await refill;
    }
  }

  async #refill(slot: number, near: Nearness): Promise<void> {
    try {
      const next = await this.#options.namespace.allocateInodes(INODES_PER_RANGE, near);
      const range = { next, end: next + BigInt(INODES_PER_RANGE) };
      remember(this.#ranges, slot, range, RANGES_MAX);
    } finally {
      this.#refills.delete(slot);
    }
  }
}
