/**
 * What the store holds, in memory: a hash table of 64-byte slots (slot.ts) for each partition. The
 * bytes of a table are what a checkpoint writes.
 *
 * - *partition*: the chunks whose id starts with the same bits. Open addressing, linear probing,
 *   grown when it would be more than three quarters full; given up when nothing is in it and no
 *   image of it is in use, else never shrunk: a goal is never below the image that is in use.
 * - *planned*: slots that operations under way may add. *goal*: the size that a table needs for
 *   what it has and what is planned; room for images of that size is kept free (space.ts).
 *
 * Invariants: (1) between a chunk's home slot and its slots no slot is free; (2) a chunk has one
 * record, and its continuations carry its whole id; (3) a table has at least one free slot.
 */
import { asBuffer, assert, type ChunkId } from '../base/index.ts';
import { imageBlocks } from './index-image.ts';
import {
  type ChunkRecord,
  countOf,
  decodeRecord,
  kindOf,
  SLOT_KINDS,
  SLOT_WORDS,
  WORD_VERIFIED,
} from './slot.ts';

/** One block. */
const SLOTS_MIN = 64;

export interface Partition {
  /** A power of two of slots, or nothing. */
  words: Uint32Array;
  usedSlots: number;
  plannedSlots: number;
  goalSlots: number;
  /** Changed since its image was made. */
  isDirty: boolean;
}

function tableSlotsFor(slots: number, atLeast: number): number {
  let size = Math.max(atLeast, slots > 0 ? SLOTS_MIN : 0);
  while (slots * 4 > size * 3) size *= 2;
  return size;
}

/** Shards of one stripe share their leading bytes; the last byte of the index spreads them. */
function homeOf(words: Uint32Array, at: number, slots: number): number {
  return (words[at + 1]! + Math.imul(words[at + 7]! >>> 24, 0x9e37_79b1)) & (slots - 1);
}

export class IndexTable {
  readonly partitions: readonly Partition[];
  readonly #shift: number;
  readonly #key = new Uint32Array(8);
  readonly #keyBytes = new Uint8Array(this.#key.buffer);
  #goalBlocks = 0;

  /** @param partitionBits log2 of the number of partitions, 0–8. */
  constructor(partitionBits: number) {
    this.#shift = 8 - partitionBits;
    this.partitions = Array.from({ length: 2 ** partitionBits }, () => ({
      words: new Uint32Array(0),
      usedSlots: 0,
      plannedSlots: 0,
      goalSlots: 0,
      isDirty: false,
    }));
  }

  /** Blocks of one image of every table at its goal, both copies. */
  get goalBlocks(): number {
    return this.#goalBlocks;
  }

  /** Number of the partition of a chunk, or of a placement group when its first byte is given. */
  partitionOf(firstByte: number): number {
    return firstByte >>> this.#shift;
  }

  /** The record of a chunk, or `undefined`. Its id is the caller's array. */
  find(id: ChunkId): ChunkRecord | undefined {
    const { words } = this.#partition(id);
    const offsets = this.#offsetsOf(words, id);
    if (offsets.length === 0) return undefined;
    const record = decodeRecord({ words, offsets });
    assert(record, 'the index holds whole records');
    return { ...record, id };
  }

  /** Puts a record in the place of the chunk's present one, or takes it away. */
  apply(record: Uint32Array): void {
    const id = new Uint8Array(record.buffer, record.byteOffset, 32) as ChunkId;
    this.remove(id);
    if (kindOf(record, 0) === SLOT_KINDS.removed) return;
    const partition = this.#partition(id);
    const count = record.length / SLOT_WORDS;
    partition.usedSlots += count;
    this.#growTo(
      partition,
      tableSlotsFor(partition.usedSlots, partition.words.length / SLOT_WORDS),
    );
    for (let slot = 0; slot < count; slot++) {
      insert(partition.words, record.subarray(slot * SLOT_WORDS, (slot + 1) * SLOT_WORDS));
    }
    partition.isDirty = true;
    this.#setGoal(partition);
  }

  remove(id: ChunkId): void {
    const partition = this.#partition(id);
    // Each removal may move the slots behind it, so the places are looked up again.
    for (;;) {
      const offset = this.#offsetsOf(partition.words, id, true).at(-1);
      if (offset === undefined) return;
      removeAt(partition.words, offset / SLOT_WORDS);
      partition.usedSlots -= 1;
      partition.isDirty = true;
    }
  }

  /** Notes when a chunk was last found good; kept with the next checkpoint. */
  setVerified(id: ChunkId, seconds: number): void {
    const partition = this.#partition(id);
    const [offset] = this.#offsetsOf(partition.words, id);
    if (offset === undefined) return;
    partition.words[offset + WORD_VERIFIED] = seconds;
    partition.isDirty = true;
  }

  /** Records of one partition as they are now; ids are copies. */
  recordsOf(partitionNumber: number): ChunkRecord[] {
    const { words } = this.partitions[partitionNumber]!;
    const records: ChunkRecord[] = [];
    for (let at = 0; at < words.length; at += SLOT_WORDS) {
      const kind = kindOf(words, at);
      if (kind !== SLOT_KINDS.live && kind !== SLOT_KINDS.bad) continue;
      const id = new Uint8Array(words.buffer.slice(at * 4, at * 4 + 32)) as ChunkId;
      const offsets = countOf(words, at) === 1 ? [at] : this.#offsetsOf(words, id);
      const record = decodeRecord({ words, offsets });
      if (record) records.push({ ...record, id });
    }
    return records;
  }

  /** Gives up the table of a partition that has no image, if it is empty. */
  dropEmpty(partitionNumber: number): void {
    const partition = this.partitions[partitionNumber]!;
    if (partition.usedSlots > 0) return;
    partition.words = new Uint32Array(0);
    this.#setGoal(partition);
  }

  /** Takes over a table as an image holds it. */
  load(partitionNumber: number, words: Uint32Array): void {
    const partition = this.partitions[partitionNumber]!;
    partition.words = words;
    partition.usedSlots = 0;
    for (let at = 0; at < words.length; at += SLOT_WORDS) {
      if (kindOf(words, at) !== SLOT_KINDS.free) partition.usedSlots += 1;
    }
    this.#setGoal(partition);
  }

  /** Takes over the slots that are left of a table with lost pages. */
  salvage(partitionNumber: number, damaged: Uint32Array): void {
    const partition = this.partitions[partitionNumber]!;
    this.load(partitionNumber, new Uint32Array(damaged.length));
    for (let at = 0; at < damaged.length; at += SLOT_WORDS) {
      const kind = kindOf(damaged, at);
      if (kind !== SLOT_KINDS.live && kind !== SLOT_KINDS.bad) continue;
      if (countOf(damaged, at) > 1) continue; // its continuations may be on a lost page
      insert(partition.words, damaged.subarray(at, at + SLOT_WORDS));
      partition.usedSlots += 1;
    }
    partition.isDirty = true;
    this.#setGoal(partition);
  }

  /** Says that an operation may add so many slots; {@link unplan} takes it back when it is over. */
  plan(id: ChunkId, slots: number): void {
    const partition = this.#partition(id);
    partition.plannedSlots += slots;
    this.#setGoal(partition);
  }

  unplan(id: ChunkId, slots: number): void {
    const partition = this.#partition(id);
    partition.plannedSlots -= slots;
    assert(partition.plannedSlots >= 0, 'what is taken back was planned');
    this.#setGoal(partition);
  }

  #partition(id: ChunkId): Partition {
    return this.partitions[this.partitionOf(id[0]!)]!;
  }

  #setGoal(partition: Partition): void {
    const slots = partition.usedSlots + partition.plannedSlots;
    const goal = tableSlotsFor(slots, partition.words.length / SLOT_WORDS);
    if (goal === partition.goalSlots) return;
    this.#goalBlocks += imageBlocks(goal) - imageBlocks(partition.goalSlots);
    partition.goalSlots = goal;
  }

  #growTo(partition: Partition, slots: number): void {
    const old = partition.words;
    if (slots * SLOT_WORDS === old.length) return;
    partition.words = new Uint32Array(slots * SLOT_WORDS);
    for (let at = 0; at < old.length; at += SLOT_WORDS) {
      if (kindOf(old, at) !== SLOT_KINDS.free) {
        insert(partition.words, old.subarray(at, at + SLOT_WORDS));
      }
    }
  }

  /** Offsets of the chunk's record and continuations in order; none without a record. */
  #offsetsOf(words: Uint32Array, id: ChunkId, isAnySlot = false): number[] {
    if (words.length === 0) return [];
    this.#keyBytes.set(id);
    const mask = words.length - 1;
    let at = homeOf(this.#key, 0, words.length / SLOT_WORDS) * SLOT_WORDS;
    let record: number | undefined;
    const rest: number[] = [];
    for (;;) {
      const kind = kindOf(words, at);
      if (kind === SLOT_KINDS.free) break;
      if (this.#isKeyAt(words, at)) {
        if (kind === SLOT_KINDS.continuation) rest.push(at);
        else record = at;
        if (record !== undefined && countOf(words, record) === 1 && !isAnySlot) return [record];
      }
      at = (at + SLOT_WORDS) & mask;
    }
    rest.sort((a, b) => countOf(words, a) - countOf(words, b));
    return record === undefined ? (isAnySlot ? rest : []) : [record, ...rest];
  }

  #isKeyAt(words: Uint32Array, at: number): boolean {
    const key = this.#key;
    for (let word = 7; word >= 0; word--) if (words[at + word] !== key[word]) return false;
    return true;
  }
}

function insert(words: Uint32Array, slot: Uint32Array): void {
  const mask = words.length - 1;
  let at = homeOf(slot, 0, words.length / SLOT_WORDS) * SLOT_WORDS;
  while (kindOf(words, at) !== SLOT_KINDS.free) at = (at + SLOT_WORDS) & mask;
  words.set(slot, at);
}

/** Removes a slot, moves those behind it that it would cut off from their home (Knuth 6.4 R). */
function removeAt(words: Uint32Array, slot: number): void {
  const slots = words.length / SLOT_WORDS;
  let hole = slot;
  for (let next = (hole + 1) % slots; ; next = (next + 1) % slots) {
    const at = next * SLOT_WORDS;
    if (kindOf(words, at) === SLOT_KINDS.free) break;
    const home = homeOf(words, at, slots);
    const isReachable = hole <= next ? hole < home && home <= next : hole < home || home <= next;
    if (isReachable) continue;
    words.copyWithin(hole * SLOT_WORDS, at, at + SLOT_WORDS);
    hole = next;
  }
  words.fill(0, hole * SLOT_WORDS, (hole + 1) * SLOT_WORDS);
}

/** The bytes of a table, as an image holds them. */
export function tableBytes(words: Uint32Array): Uint8Array {
  return asBuffer(new Uint8Array(words.buffer, words.byteOffset, words.byteLength));
}
