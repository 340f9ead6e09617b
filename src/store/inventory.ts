/**
 * What the store holds and where: index, group digests and space, which change together. A record
 * is applied only when the batch that carries it is durable.
 *
 * Invariant: each block is free, or belongs to one chunk of the index, to metadata, or to a put
 * that is under way.
 */
import { CHUNK_ID_BYTES, type ChunkId, GROUP_COUNT, groupOf } from '../base/index.ts';
import { isMetadataChunk } from './chunk-format.ts';
import type { GroupDigests } from './group-digests.ts';
import { type IndexTable, recordAt } from './index-table.ts';
import { recordsOf } from './journal.ts';
import { kindOf, readExtent, type RecordKind, SLOT_KINDS, WORD_EXTENT } from './slot.ts';
import type { Space } from './space.ts';

export class Inventory {
  readonly index: IndexTable;
  readonly digests: GroupDigests;
  readonly space: Space;
  #chunkCount = 0;
  #badChunkCount = 0;
  /** Chunks of each group: most groups of a small store have none, and are not looked through. */
  readonly #groupCounts = new Uint32Array(GROUP_COUNT);

  constructor(parts: { index: IndexTable; digests: GroupDigests; space: Space }) {
    this.index = parts.index;
    this.digests = parts.digests;
    this.space = parts.space;
  }

  get chunkCount(): number {
    return this.#chunkCount;
  }

  /** Chunks known bad; they count as chunks too. */
  get badChunkCount(): number {
    return this.#badChunkCount;
  }

  hasGroup(group: number): boolean {
    return this.#groupCounts[group]! > 0;
  }

  /** Counts all chunks that are in the index already: the mount derives the rest from it. */
  countAll(): void {
    for (const [number, { words }] of this.index.partitions.entries()) {
      const ids = bytesOf(words);
      this.index.visit(number, (_, at) => {
        const id = idIn(ids, at);
        this.#add(id, kindOf(words, at));
        if (isMetadataChunk(id)) this.space.countChunk(recordAt(words, at));
      });
    }
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
    if (!isRemoved) this.#add(id, kind);
    if (!before) return;
    this.#subtract(id, before.kind);
    const isKept =
      !isRemoved && before.extents[0]!.start === readExtent(words, at + WORD_EXTENT).start;
    if (!isKept) this.space.release(before);
  }

  #add(id: ChunkId, kind: number): void {
    this.#chunkCount += 1;
    this.#groupCounts[groupOf(id)]! += 1;
    if (kind === SLOT_KINDS.live) this.digests.add(id);
    else this.#badChunkCount += 1;
  }

  #subtract(id: ChunkId, kind: RecordKind): void {
    this.#chunkCount -= 1;
    this.#groupCounts[groupOf(id)]! -= 1;
    if (kind === 'live') this.digests.remove(id);
    else this.#badChunkCount -= 1;
  }
}

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

/** The id in the slot at word `at`; a view. */
function idIn(bytes: Uint8Array, at: number): ChunkId {
  return bytes.subarray(at * 4, at * 4 + CHUNK_ID_BYTES) as ChunkId;
}
