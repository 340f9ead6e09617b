/**
 * What the store holds and where: index, group digests and space, which change together. A record
 * is applied only when the batch that carries it is durable.
 *
 * The digests are worked out when somebody first asks, partition by partition, and kept up to date
 * from then on: they would take a third of a mount.
 *
 * Invariant: each block is free, or belongs to one chunk of the index, to metadata, or to a put
 * that is under way.
 */
import { CHUNK_ID_BYTES, type ChunkId, GROUP_COUNT, groupOf } from '../base/index.ts';
import type { GroupDigest } from './chunk-store.ts';
import { GroupDigests } from './group-digests.ts';
import { type IndexTable, recordAt } from './index-table.ts';
import { recordsOf } from './journal.ts';
import {
  type ChunkRecord,
  groupAt,
  isMetadataAt,
  kindOf,
  readExtent,
  SLOT_KINDS,
  WORD_EXTENT,
} from './slot.ts';
import type { Space } from './space.ts';

export class Inventory {
  readonly index: IndexTable;
  readonly space: Space;
  #chunkCount = 0;
  #badChunkCount = 0;
  /** Chunks of each group: most groups of a small store have none, and are not looked through. */
  readonly #groupCounts = new Uint32Array(GROUP_COUNT);
  readonly #digests = new GroupDigests();
  /** The first so many partitions are in the digests. */
  #digestedPartitions = 0;

  constructor(parts: { index: IndexTable; space: Space }) {
    this.index = parts.index;
    this.space = parts.space;
  }

  get chunkCount(): number {
    return this.#chunkCount;
  }

  /** Chunks known bad; they count as chunks too. */
  get badChunkCount(): number {
    return this.#badChunkCount;
  }

  /** Records of one group, or of all, part by part. */
  *recordsOf(group: number | undefined): Iterable<readonly ChunkRecord[]> {
    const { index } = this;
    if (group === undefined) {
      for (const number of index.partitions.keys()) yield index.recordsOf(number);
    } else if (this.#groupCounts[group]! > 0) {
      const records = index.recordsOf(index.partitionOf(Math.floor(group / 16)));
      yield records.filter(({ id }) => groupOf(id) === group);
    }
  }

  /** Counts all chunks that are in the index already: the mount derives the rest from it. */
  countAll(): void {
    for (const number of this.index.partitions.keys()) {
      this.index.visit(number, (words, at) => {
        this.#chunkCount += 1;
        this.#groupCounts[groupAt(words, at)]! += 1;
        if (kindOf(words, at) === SLOT_KINDS.bad) this.#badChunkCount += 1;
        if (isMetadataAt(words, at)) this.space.countChunk(recordAt(words, at));
      });
    }
  }

  /** Of all groups. @param turn lets others work between two parts of the index. */
  async digests(turn: () => Promise<void>): Promise<GroupDigest[]> {
    while (this.#digestedPartitions < this.index.partitions.length) {
      const ids = bytesOf(this.index.partitions[this.#digestedPartitions]!.words);
      this.index.visit(this.#digestedPartitions, (words, at) => {
        if (kindOf(words, at) === SLOT_KINDS.live) this.#digests.add(idIn(ids, at));
      });
      this.#digestedPartitions += 1;
      await turn();
    }
    return this.#digests.list();
  }

  /** Takes the records of a batch into the index; what they replace gives its blocks back. */
  apply(words: Uint32Array): void {
    const ids = bytesOf(words);
    for (const at of recordsOf(words)) this.#apply(words, at, idIn(ids, at));
  }

  #apply(words: Uint32Array, at: number, id: ChunkId): void {
    const before = this.index.find(id);
    this.index.apply(words, at);
    const kind = kindOf(words, at);
    const isRemoved = kind === SLOT_KINDS.removed;
    if (!isRemoved) this.#count(id, kind === SLOT_KINDS.live, 1);
    if (!before) return;
    this.#count(id, before.kind === 'live', -1);
    const isKept =
      !isRemoved && before.extents[0]!.start === readExtent(words, at + WORD_EXTENT).start;
    if (!isKept) this.space.release(before);
  }

  #count(id: ChunkId, isLive: boolean, by: 1 | -1): void {
    this.#chunkCount += by;
    this.#groupCounts[groupOf(id)]! += by;
    if (!isLive) this.#badChunkCount += by;
    else if (this.index.partitionOf(id[0]!) >= this.#digestedPartitions) return;
    else if (by === 1) this.#digests.add(id);
    else this.#digests.remove(id);
  }
}

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

/** The id in the slot at word `at`; a view. */
function idIn(bytes: Uint8Array, at: number): ChunkId {
  return bytes.subarray(at * 4, at * 4 + CHUNK_ID_BYTES) as ChunkId;
}
