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
  ID_WORDS,
  kindOf,
  SLOT_KINDS,
  SLOT_WORDS,
  slotsAt,
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
  /** Id of the chunk that is looked for. */
  readonly #key = new Uint32Array(ID_WORDS);
  readonly #keyBytes = new Uint8Array(this.#key.buffer);
  #goalBlocks = 0;
  #goalSlots = 0;

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

  /** Memory of every table at its goal. */
  get tableBytes(): number {
    return this.#goalSlots * SLOT_WORDS * 4;
  }

  /** Number of the partition of a chunk, or of a placement group when its first byte is given. */
  partitionOf(firstByte: number): number {
    return firstByte >>> this.#shift;
  }

  /** The record of a chunk, or `undefined`. Its id is the caller's array. */
  find(id: ChunkId): ChunkRecord | undefined {
    this.#keyBytes.set(id);
    const { words } = this.#partition(id[0]!);
    const at = placeOf(words, this.#key);
    return at === undefined ? undefined : { ...recordAt(words, at), id };
  }

  /** Puts the record at `from` of `source` in the place of the chunk's present one, if any. */
  apply(source: Uint32Array, from = 0): void {
    for (let word = 0; word < ID_WORDS; word++) this.#key[word] = source[from + word]!;
    const partition = this.#partition(source[from]! & 0xff);
    this.#remove(partition);
    if (kindOf(source, from) === SLOT_KINDS.removed) return;
    const slots = slotsAt(source, from);
    partition.usedSlots += slots;
    this.#growTo(
      partition,
      tableSlotsFor(partition.usedSlots, partition.words.length / SLOT_WORDS),
    );
    for (let slot = 0; slot < slots; slot++) {
      insert(partition.words, source, from + slot * SLOT_WORDS);
    }
    partition.isDirty = true;
    this.#setGoal(partition);
  }

  remove(id: ChunkId): void {
    this.#keyBytes.set(id);
    this.#remove(this.#partition(id[0]!));
  }

  /** Notes when a chunk was last found good; kept with the next checkpoint. */
  setVerified(id: ChunkId, seconds: number): void {
    const partition = this.#partition(id[0]!);
    this.#keyBytes.set(id);
    const at = placeOf(partition.words, this.#key);
    if (at === undefined) return;
    partition.words[at + WORD_VERIFIED] = seconds;
    partition.isDirty = true;
  }

  /** Records of one partition as they are now; ids are copies. */
  recordsOf(partitionNumber: number): ChunkRecord[] {
    const records: ChunkRecord[] = [];
    this.visit(partitionNumber, (words, at) => {
      const record = recordAt(words, at);
      records.push({ ...record, id: new Uint8Array(record.id) as ChunkId });
    });
    return records;
  }

  /**
   * Shows each record of a partition as the place of its slot: {@link recordAt} tells the rest. For
   * all chunks at once an object for each would take longer than reading the device.
   * @param visitor must not change the index.
   */
  visit(partitionNumber: number, visitor: (words: Uint32Array, at: number) => void): void {
    const { words } = this.partitions[partitionNumber]!;
    for (let at = 0; at < words.length; at += SLOT_WORDS) {
      const kind = kindOf(words, at);
      if (kind === SLOT_KINDS.live || kind === SLOT_KINDS.bad) visitor(words, at);
    }
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
      insert(partition.words, damaged, at);
      partition.usedSlots += 1;
    }
    partition.isDirty = true;
    this.#setGoal(partition);
  }

  /** Says that an operation may add so many slots; {@link unplan} takes it back when it is over. */
  plan(id: ChunkId, slots: number): void {
    const partition = this.#partition(id[0]!);
    partition.plannedSlots += slots;
    this.#setGoal(partition);
  }

  unplan(id: ChunkId, slots: number): void {
    const partition = this.#partition(id[0]!);
    partition.plannedSlots -= slots;
    assert(partition.plannedSlots >= 0, 'what is taken back was planned');
    this.#setGoal(partition);
  }

  #partition(firstByte: number): Partition {
    return this.partitions[this.partitionOf(firstByte)]!;
  }

  /** Removes all slots of the chunk whose id is the key. */
  #remove(partition: Partition): void {
    // Each removal may move the slots behind it, so they are looked for again.
    for (;;) {
      const at = placeOf(partition.words, this.#key, true);
      if (at === undefined) return;
      removeAt(partition.words, at / SLOT_WORDS);
      partition.usedSlots -= 1;
      partition.isDirty = true;
    }
  }

  #setGoal(partition: Partition): void {
    const slots = partition.usedSlots + partition.plannedSlots;
    const goal = tableSlotsFor(slots, partition.words.length / SLOT_WORDS);
    if (goal === partition.goalSlots) return;
    this.#goalBlocks += imageBlocks(goal) - imageBlocks(partition.goalSlots);
    this.#goalSlots += goal - partition.goalSlots;
    partition.goalSlots = goal;
  }

  #growTo(partition: Partition, slots: number): void {
    const old = partition.words;
    if (slots * SLOT_WORDS === old.length) return;
    partition.words = new Uint32Array(slots * SLOT_WORDS);
    for (let at = 0; at < old.length; at += SLOT_WORDS) {
      if (kindOf(old, at) !== SLOT_KINDS.free) insert(partition.words, old, at);
    }
  }
}

/** Offset of a chunk's own slot, or of its first one of any kind; `undefined` without. */
function placeOf(words: Uint32Array, key: Uint32Array, isAnySlot = false): number | undefined {
  if (words.length === 0) return undefined;
  const mask = words.length - 1;
  let at = homeOf(key, 0, words.length / SLOT_WORDS) * SLOT_WORDS;
  for (;;) {
    const kind = kindOf(words, at);
    if (kind === SLOT_KINDS.free) return undefined;
    const isOfKind = isAnySlot || kind !== SLOT_KINDS.continuation;
    if (isOfKind && isIdAt(words, at, key)) return at;
    at = (at + SLOT_WORDS) & mask;
  }
}

function isIdAt(words: Uint32Array, at: number, key: Uint32Array): boolean {
  // From the end: ids with the same home differ there.
  for (let word = ID_WORDS - 1; word >= 0; word--) {
    if (words[at + word] !== key[word]) return false;
  }
  return true;
}

/** The record whose own slot is at `at` of a table; its id is a view. */
export function recordAt(words: Uint32Array, at: number): ChunkRecord {
  const count = countOf(words, at);
  const record = decodeRecord(words, at, count === 1 ? [] : continuationsOf(words, at));
  assert(record, 'the index holds whole records');
  return record;
}

/** Offsets of the continuations of the record at `at`, in order. */
function continuationsOf(words: Uint32Array, at: number): number[] {
  const places: number[] = [];
  const key = words.subarray(at, at + ID_WORDS);
  const mask = words.length - 1;
  let next = homeOf(key, 0, words.length / SLOT_WORDS) * SLOT_WORDS;
  for (;;) {
    const kind = kindOf(words, next);
    if (kind === SLOT_KINDS.free) return places;
    const isOurs = kind === SLOT_KINDS.continuation && isIdAt(words, next, key);
    if (isOurs) places[countOf(words, next) - 1] = next;
    next = (next + SLOT_WORDS) & mask;
  }
}

/** Puts the slot at `from` of `source` into a table that has a free one. */
function insert(words: Uint32Array, source: Uint32Array, from: number): void {
  const mask = words.length - 1;
  let at = homeOf(source, from, words.length / SLOT_WORDS) * SLOT_WORDS;
  while (kindOf(words, at) !== SLOT_KINDS.free) at = (at + SLOT_WORDS) & mask;
  for (let word = 0; word < SLOT_WORDS; word++) words[at + word] = source[from + word]!;
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
