/**
 * What the store holds and where: index, group digests and space, which change together. A record
 * is applied only when the batch that carries it is durable.
 *
 * Invariant: each block is free, or belongs to one chunk of the index, to metadata, or to a put
 * that is under way.
 */
import { type ChunkId, GROUP_COUNT, groupOf } from '../base/index.ts';
import type { GroupDigests } from './group-digests.ts';
import type { IndexTable } from './index-table.ts';
import type { ChunkRecord } from './slot.ts';
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

  /** Counts a chunk that is in the index already: the mount derives the rest from the index. */
  count(record: ChunkRecord): void {
    this.#chunkCount += 1;
    this.#groupCounts[groupOf(record.id)]! += 1;
    if (record.kind === 'live') this.digests.add(record.id);
    else this.#badChunkCount += 1;
  }

  /** Takes a record into the index; what it replaces gives its blocks back. */
  apply(words: Uint32Array): void {
    const id = new Uint8Array(words.buffer, words.byteOffset, 32) as ChunkId;
    const before = this.index.find(id);
    this.index.apply(words);
    const after = this.index.find(id);
    if (before?.kind === 'live') this.digests.remove(id);
    if (after?.kind === 'live') this.digests.add(id);
    const growth = Number(after !== undefined) - Number(before !== undefined);
    this.#chunkCount += growth;
    this.#groupCounts[groupOf(id)]! += growth;
    this.#badChunkCount += Number(after?.kind === 'bad') - Number(before?.kind === 'bad');
    const isKept = before?.extents[0]?.start === after?.extents[0]?.start;
    if (before && !isKept) this.space.release(before.extents);
  }
}
