/**
 * Identifiers, branded so that one is never passed for another.
 *
 * - {@link StripeId}, 28 bytes: the truncated digest of a stripe's scheme and shard digests.
 * - {@link ChunkId}, 32 bytes: stripe id ‖ scheme number (u16 BE) ‖ shard index (u16 BE). Metadata
 *   chunks are named by {@link metadataChunkId}.
 * - {@link ObjectId}, 32 hexadecimal digits: random, printed by `put`.
 * - {@link Address}, 64 hexadecimal digits: names content; the same content has the same address.
 * - {@link DeviceId}, {@link NodeId}, {@link ClusterId}, {@link VolumeId}: 32 hexadecimal digits.
 */
import { assert } from './assert.ts';
import { asBuffer, toHex } from './bytes.ts';
import { METADATA_SCHEME_NUMBER, METADATA_SHARD_SCHEME_NUMBER } from './scheme.ts';

declare const brand: unique symbol;
type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };

export type StripeId = Branded<Uint8Array, 'StripeId'>;
export type ChunkId = Branded<Uint8Array, 'ChunkId'>;
export type ObjectId = Branded<string, 'ObjectId'>;
export type Address = Branded<string, 'Address'>;
/** A device is known by the uuid in its superblock. */
export type DeviceId = Branded<string, 'DeviceId'>;
export type NodeId = Branded<string, 'NodeId'>;
export type ClusterId = Branded<string, 'ClusterId'>;
export type VolumeId = Branded<string, 'VolumeId'>;

export const STRIPE_ID_BYTES = 28;
export const CHUNK_ID_BYTES = 32;

export function isHexId(text: string): boolean {
  return /^[0-9a-f]{32}$/.test(text);
}

export function isAddress(text: string): text is Address {
  return /^[0-9a-f]{64}$/.test(text);
}

/** @throws AssertionError when `bytes` is not 16 bytes. */
export function hexId<Id extends ObjectId | DeviceId | NodeId | ClusterId | VolumeId>(
  bytes: Uint8Array,
): Id {
  assert(bytes.length === 16, 'an id is 16 bytes');
  return toHex(bytes) as Id;
}

/** @param digest at least 28 bytes; the first 28 are taken (a copy). */
export function stripeId(digest: Uint8Array): StripeId {
  assert(digest.length >= STRIPE_ID_BYTES, 'the digest fills a stripe id');
  return new Uint8Array(digest.subarray(0, STRIPE_ID_BYTES)) as StripeId;
}

/** The id of the chunk that holds the shard `shardIndex` of a stripe. */
export function chunkId(stripe: StripeId, schemeNumber: number, shardIndex: number): ChunkId {
  assert(shardIndex >= 0 && shardIndex < 0x10000, 'the shard index fits 16 bits');
  const id = Buffer.alloc(CHUNK_ID_BYTES);
  id.set(stripe);
  id.writeUInt16BE(schemeNumber, STRIPE_ID_BYTES);
  id.writeUInt16BE(shardIndex, STRIPE_ID_BYTES + 2);
  return new Uint8Array(id.buffer, id.byteOffset, CHUNK_ID_BYTES) as ChunkId;
}

/** Metadata chunks share a group, so that a store lists them without looking at the others. */
export const METADATA_GROUP = 0;

/**
 * The id of a metadata chunk: two zero bytes, then the first 26 of the digest of its bytes.
 * @param schemeNumber which kind of metadata.
 */
export function metadataChunkId(
  digest: Uint8Array,
  schemeNumber: number = METADATA_SCHEME_NUMBER,
): ChunkId {
  const name = new Uint8Array(STRIPE_ID_BYTES);
  name.set(digest.subarray(0, STRIPE_ID_BYTES - 2), 2);
  return chunkId(stripeId(name), schemeNumber, 0);
}

/** How a part of a snapshot was cut, and which shard of it a chunk is. */
export interface PartPlace {
  /** Shards that restore the part, and shards made: both below 16. */
  readonly k: number;
  readonly n: number;
  readonly index: number;
}

/**
 * The id of a shard of a part: as {@link metadataChunkId}, of what names a stripe of such shards;
 * in place of the shard index k (4 bits), n (4 bits) and the index (8 bits), so that the id of one
 * shard tells those of all.
 */
export function partShardId(named: StripeId, { k, n, index }: PartPlace): ChunkId {
  assert(k >= 1 && k <= n && n < 16 && index < n, 'it is a shard of few');
  const { stripe } = chunkIdParts(metadataChunkId(named));
  return chunkId(stripe, METADATA_SHARD_SCHEME_NUMBER, (k << 12) | (n << 8) | index);
}

/** The id of another shard of the same part. */
export function partSiblingId(id: ChunkId, index: number): ChunkId {
  const sibling = new Uint8Array(id);
  sibling[CHUNK_ID_BYTES - 1] = index;
  return sibling as ChunkId;
}

/** `undefined` for any other id. */
export function partPlaceOf(id: ChunkId): PartPlace | undefined {
  const { schemeNumber, shardIndex } = chunkIdParts(id);
  if (schemeNumber !== METADATA_SHARD_SCHEME_NUMBER) return undefined;
  const [k, n, index] = [shardIndex >>> 12, (shardIndex >>> 8) & 15, shardIndex & 255];
  return k >= 1 && k <= n && index < n ? { k, n, index } : undefined;
}

export interface ChunkIdParts {
  readonly stripe: StripeId;
  readonly schemeNumber: number;
  readonly shardIndex: number;
}

/** The parts of a chunk id; `stripe` is a view of `id`. */
export function chunkIdParts(id: ChunkId): ChunkIdParts {
  assert(id.length === CHUNK_ID_BYTES, 'a chunk id is 32 bytes');
  const buffer = asBuffer(id);
  return {
    stripe: id.subarray(0, STRIPE_ID_BYTES) as StripeId,
    schemeNumber: buffer.readUInt16BE(STRIPE_ID_BYTES),
    shardIndex: buffer.readUInt16BE(STRIPE_ID_BYTES + 2),
  };
}

/** Placement groups of a cluster to begin with (rulings: 4,096, doubling later). */
export const GROUP_COUNT = 4096;

/** The placement group of a stripe: the leading 12 bits of its id. Works on chunk ids as well. */
export function groupOf(id: StripeId | ChunkId): number {
  return (id[0]! << 4) | (id[1]! >>> 4);
}
