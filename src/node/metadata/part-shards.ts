/**
 * How a part of a snapshot becomes chunks, any k of which restore it: k data shards and as many
 * parity shards as losses are to be borne, each a chunk with the header of a stripe's, which lists
 * the digests of all, so that a store checks each against its id (docs/formats/chunk.md). With
 * k = 1 the chunks are copies: one id for all, and the bytes themselves.
 */
import {
  assert,
  bytesEqual,
  type ChunkId,
  chunkIdParts,
  METADATA_LIST_SCHEME_NUMBER,
  METADATA_PART_SCHEME_NUMBER,
  metadataChunkId,
  partPlaceOf,
  partShardId,
  partSiblingId,
  roundUp,
  type Scheme,
  schemeNumber,
} from '../../base/index.ts';
import { CodecMemory, type ErasureCodec, openCodec } from '../../codec/index.ts';
import { digest } from '../../crypto/index.ts';
import {
  type ChunkHeader,
  chunkHeaderBytes,
  decodeChunkHeader,
  encodeChunkHeader,
  stripeIdOf,
} from '../../store/index.ts';

const SHARD_UNIT_BYTES = 64;

export interface PartChunk {
  readonly id: ChunkId;
  readonly bytes: Uint8Array;
}

/** The id of a list of parts. */
export function listId(bytes: Uint8Array): ChunkId {
  return metadataChunkId(digest(bytes), METADATA_LIST_SCHEME_NUMBER);
}

/** What names a part: of shards the id of the first. */
export function partOf(chunk: ChunkId): ChunkId {
  return partPlaceOf(chunk) ? partSiblingId(chunk, 0) : chunk;
}

/** Chunks that restore a part. */
export function neededCount(part: ChunkId): number {
  return partPlaceOf(part)?.k ?? 1;
}

/** The ids of its chunks in their order; of copies there may be any number. */
export function chunkIdsOf(part: ChunkId, copyCount: number): ChunkId[] {
  const length = partPlaceOf(part)?.n ?? copyCount;
  return Array.from({ length }, (_, index) =>
    partPlaceOf(part) ? partSiblingId(part, index) : part,
  );
}

/** Of one thread; its memory is taken when it is first needed. */
export class PartShards {
  #memory: CodecMemory | undefined;

  /** The chunks of a part that are to be `k + tolerance`, in order. */
  chunksOf(
    bytes: Uint8Array,
    { k, tolerance, isList }: { k: number; tolerance: number; isList: boolean },
  ): PartChunk[] {
    if (k === 1) {
      const number = isList ? METADATA_LIST_SCHEME_NUMBER : METADATA_PART_SCHEME_NUMBER;
      const id = metadataChunkId(digest(bytes), number);
      return Array.from({ length: tolerance + 1 }, () => ({ id, bytes }));
    }
    return this.#encoded(bytes, { kind: 'rs', k, n: k + tolerance });
  }

  /**
   * The chunks of a part again, as its name says that they were made; `undefined` when they are not
   * those: then whoever made them made no code word of it.
   */
  chunksAgain(part: ChunkId, bytes: Uint8Array, copyCount: number): PartChunk[] | undefined {
    const place = partPlaceOf(part);
    if (!place) return Array.from({ length: copyCount }, () => ({ id: part, bytes }));
    const chunks = this.#encoded(bytes, { kind: 'rs', k: place.k, n: place.n });
    return bytesEqual(chunks[0]!.id, part) ? chunks : undefined;
  }

  #encoded(bytes: Uint8Array, scheme: Scheme): PartChunk[] {
    const { k, n } = scheme;
    const headerBytes = chunkHeaderBytes(scheme);
    const shardBytes = roundUp(Math.ceil(bytes.length / k), SHARD_UNIT_BYTES);
    const chunks = Array.from({ length: n }, () => new Uint8Array(headerBytes + shardBytes));
    const shards = chunks.map((chunk) => chunk.subarray(headerBytes));
    const pieces = shards.slice(0, k);
    for (const [index, piece] of pieces.entries()) {
      piece.set(bytes.subarray(index * shardBytes, (index + 1) * shardBytes));
    }
    const codec = this.#codec(scheme);
    codec.encode(pieces, shards);
    const header: ChunkHeader = {
      schemeNumber: schemeNumber(scheme),
      matrixId: codec.matrixId,
      shardBytes,
      sealedBytes: bytes.length,
      shardDigests: shards.map((shard) => digest(shard)),
    };
    const named = stripeIdOf(header);
    return chunks.map((chunk, index) => {
      encodeChunkHeader(header, chunk);
      return { id: partShardId(named, { k, n, index }), bytes: chunk };
    });
  }

  /**
   * @param found k different chunks of the part, checked against their ids.
   * @returns `undefined` when they are not as they are made here.
   */
  restored(part: ChunkId, found: readonly PartChunk[]): Uint8Array | undefined {
    const place = partPlaceOf(part);
    const [first] = found;
    assert(first && found.length === neededCount(part), 'there are as many as are needed');
    if (!place) return first.bytes;
    const { k, n } = place;
    const header = decodeChunkHeader(first.bytes);
    const { headerBytes, shardBytes, sealedBytes } = header;
    const codec = this.#codec({ kind: 'rs', k, n });
    if (header.matrixId !== codec.matrixId || shardBytes % SHARD_UNIT_BYTES !== 0) return undefined;
    const shards = Array.from({ length: n }, (): Uint8Array | undefined => undefined);
    for (const { id, bytes } of found) {
      shards[chunkIdParts(id).shardIndex & 0xff] = bytes.subarray(headerBytes);
    }
    const whole = new Uint8Array(k * shardBytes);
    const pieces = Array.from({ length: k }, (_, index) =>
      whole.subarray(index * shardBytes, (index + 1) * shardBytes),
    );
    codec.decode(shards, pieces);
    return whole.subarray(0, sealedBytes);
  }

  #codec(scheme: Scheme): ErasureCodec {
    this.#memory ??= CodecMemory.create();
    return openCodec(scheme, this.#memory);
  }
}
