/**
 * The journal: batches of index records in a ring of blocks, replayed at mount on top of the
 * images.
 *
 * - *batch*: records that become durable together, with one flush. It carries the number after its
 *   predecessor's, the predecessor's checksum (*chain*), and its own checksum over everything.
 * - *durable seq*: the last batch whose flush had completed when this one was written. It proves
 *   that the earlier ones once were whole: a hole among them is damage, not a torn end.
 * - *mark*: where replay starts.
 *
 * Invariants: (1) a batch is written after the flush of its predecessor; (2) it lies in one piece:
 * one that does not fit before the end of the ring starts at block 0; (3) blocks from the mark to
 * the head are not written.
 */
import { asBuffer, assert, LIMITS, xxh64 } from '../base/index.ts';
import { BLOCK_BYTES } from './geometry.ts';
import { SLOT_BYTES, SLOT_WORDS, slotsAt } from './slot.ts';
import type { JournalMark } from './superblock.ts';

/** "HFJ1" */
const MAGIC = 0x314a4648;
export const BATCH_HEADER_BYTES = 64;
const CHECKSUM_AT = 48;

export const BATCH_KINDS = { records: 0, seal: 1, mount: 2 } as const;

export interface BatchHead {
  readonly seq: number;
  readonly durableSeq: number;
  readonly chain: bigint;
  readonly kind: number;
  readonly mountEpoch: number;
}

export interface Batch extends BatchHead {
  readonly blocks: number;
  readonly checksum: bigint;
  /** Slots of all records. */
  readonly words: Uint32Array;
}

/** Blocks of a batch with so many slots. */
export function batchBlocks(slots: number): number {
  return Math.ceil((BATCH_HEADER_BYTES + slots * SLOT_BYTES) / BLOCK_BYTES);
}

function checksumSeed(seed: bigint, seq: number): bigint {
  return seed ^ BigInt(seq);
}

/**
 * Writes a batch into `target`, which has exactly its blocks.
 * @param words slots of all records.
 * @returns its checksum, the chain of the next.
 */
export function encodeBatch(
  target: Uint8Array,
  head: BatchHead & { readonly seed: bigint },
  words: Uint32Array,
): bigint {
  // Through a DataView: a Buffer writes 64 bits byte by byte, which is most of the work here.
  const header = new DataView(target.buffer, target.byteOffset, BATCH_HEADER_BYTES);
  header.setUint32(0, MAGIC, true);
  header.setUint32(4, words.length / SLOT_WORDS, true);
  header.setBigUint64(8, BigInt(head.seq), true);
  header.setBigUint64(16, BigInt(head.durableSeq), true);
  header.setBigUint64(24, head.chain, true);
  header.setUint32(32, target.length, true);
  header.setUint32(36, head.kind, true);
  header.setBigUint64(40, BigInt(head.mountEpoch), true);
  header.setBigUint64(CHECKSUM_AT, 0n, true);
  header.setBigUint64(56, head.seed, true);
  target.set(new Uint8Array(words.buffer, words.byteOffset, words.byteLength), BATCH_HEADER_BYTES);
  target.fill(0, BATCH_HEADER_BYTES + words.byteLength);
  const checksum = xxh64(target, checksumSeed(head.seed, head.seq));
  header.setBigUint64(CHECKSUM_AT, checksum, true);
  return checksum;
}

/** Bytes of the batch that may start with this block; `undefined` when none of this store does. */
export function batchBytes(firstBlock: Uint8Array, seed: bigint): number | undefined {
  const block = asBuffer(firstBlock);
  if (block.readUInt32LE(0) !== MAGIC || block.readBigUInt64LE(56) !== seed) return undefined;
  const slots = block.readUInt32LE(4);
  const bytes = block.readUInt32LE(32);
  const isPlausible = slots <= batchSlotsMax && bytes === batchBlocks(slots) * BLOCK_BYTES;
  return isPlausible ? bytes : undefined;
}

/** Slots of the largest batch. */
export const batchSlotsMax: number = LIMITS.journalBatchRecordsMax;

/** Reads a batch; `undefined` when it is not whole. */
export function decodeBatch(bytes: Uint8Array, seed: bigint): Batch | undefined {
  const copy = asBuffer(new Uint8Array(bytes));
  const seq = Number(copy.readBigUInt64LE(8));
  const checksum = copy.readBigUInt64LE(CHECKSUM_AT);
  copy.writeBigUInt64LE(0n, CHECKSUM_AT);
  if (!Number.isSafeInteger(seq) || xxh64(copy, checksumSeed(seed, seq)) !== checksum) {
    return undefined;
  }
  const slots = copy.readUInt32LE(4);
  return {
    seq,
    durableSeq: Number(copy.readBigUInt64LE(16)),
    chain: copy.readBigUInt64LE(24),
    kind: copy.readUInt32LE(36),
    mountEpoch: Number(copy.readBigUInt64LE(40)),
    blocks: copy.length / BLOCK_BYTES,
    checksum,
    words: new Uint32Array(copy.buffer, BATCH_HEADER_BYTES, slots * SLOT_WORDS),
  };
}

/** Where the records of a batch start in its words. */
export function* recordsOf(words: Uint32Array): Generator<number> {
  for (let at = 0; at < words.length; at += slotsAt(words, at) * SLOT_WORDS) yield at;
}

/** The writing end of the ring. */
export class Journal {
  /** Block of the device. */
  readonly ringStart: number;
  readonly ringBlocks: number;
  #mark: JournalMark;
  /** Blocks from the mark of the last checkpoint to the head, unused ones at the ring's end too. */
  #usedBlocks: number;

  constructor(options: {
    readonly ringStart: number;
    readonly ringBlocks: number;
    readonly head: JournalMark;
    readonly usedBlocks: number;
  }) {
    this.ringStart = options.ringStart;
    this.ringBlocks = options.ringBlocks;
    this.#mark = options.head;
    this.#usedBlocks = options.usedBlocks;
  }

  /** The next batch: its number, where it would go, its chain. */
  get head(): JournalMark {
    return this.#mark;
  }

  get usedBlocks(): number {
    return this.#usedBlocks;
  }

  /** Slots of a batch that is sure to fit after a checkpoint. */
  get batchSlotsMax(): number {
    const bytes = Math.floor(this.ringBlocks / 4) * BLOCK_BYTES - BATCH_HEADER_BYTES;
    return Math.min(batchSlotsMax, Math.floor(bytes / SLOT_BYTES));
  }

  hasRoom(blocks: number): boolean {
    return this.#usedBlocks + this.#skipped(blocks) + blocks <= this.ringBlocks;
  }

  /** Where the next batch goes if it has so many blocks. */
  placeOf(blocks: number): number {
    return this.#skipped(blocks) > 0 ? 0 : this.#mark.block;
  }

  /** The batch is durable. */
  advance(blocks: number, checksum: bigint): void {
    assert(this.hasRoom(blocks), 'a batch is written where there is room');
    const end = this.placeOf(blocks) + blocks;
    this.#usedBlocks += this.#skipped(blocks) + blocks;
    const block = end === this.ringBlocks ? 0 : end;
    this.#mark = { seq: this.#mark.seq + 1, block, chain: checksum };
  }

  /** The blocks before a mark are not needed any more. */
  giveBack(blocks: number): void {
    this.#usedBlocks -= blocks;
    assert(this.#usedBlocks >= 0, 'the journal gives back what it used');
  }

  #skipped(blocks: number): number {
    const left = this.ringBlocks - this.#mark.block;
    return blocks > left ? left : 0;
  }
}
