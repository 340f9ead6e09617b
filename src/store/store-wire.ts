/**
 * How chunk operations travel between nodes: names of the methods, the shapes of their arguments
 * and answers, and the records of lists, which travel in batches (store-streams.ts). Both ends
 * check everything; what a peer says is never taken for granted.
 */
import * as v from 'valibot';
import {
  type ByteReader,
  type ByteWriter,
  CHUNK_ID_BYTES,
  type ChunkId,
  type DeviceId,
  GROUP_COUNT,
  isHexId,
  LIMITS,
  SHARDS_MAX,
} from '../base/index.ts';
import type { ChunkEntry, GroupDigest, ScrubFinding } from './chunk-store.ts';
import { GENERATION_MAX } from './slot.ts';

export const STORE_METHODS = {
  put: 'store/put',
  putStream: 'store/put-stream',
  get: 'store/get',
  getStream: 'store/get-stream',
  stat: 'store/stat',
  statMany: 'store/stat-many',
  remove: 'store/remove',
  dispute: 'store/dispute',
  list: 'store/list',
  digests: 'store/digests',
  usage: 'store/usage',
  scrub: 'store/scrub',
  /** Answers at once: what was sent before on the same connection has left the sender. */
  settle: 'store/settle',
} as const;

function wholeUpTo(max: number) {
  return v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(max));
}

const whole = wholeUpTo(Number.MAX_SAFE_INTEGER);
const bytes = v.custom<Uint8Array>((value) => value instanceof Uint8Array);
const device = v.custom<DeviceId>((value) => typeof value === 'string' && isHexId(value));
const chunk = v.custom<ChunkId>(
  (value) => value instanceof Uint8Array && value.length === CHUNK_ID_BYTES,
);
const generation = wholeUpTo(GENERATION_MAX);
const chunkBytes = wholeUpTo(LIMITS.chunkBytesMax);
const state = v.picklist(['active', 'draining', 'failed']);
const subject = { device, id: chunk };
const range = { offset: v.optional(chunkBytes), lengthBytes: v.optional(chunkBytes) };

const small = v.pipe(bytes, v.minLength(1), v.maxLength(LIMITS.inlineChunkBytesMax));
const length = v.pipe(chunkBytes, v.minValue(1));

/** `epoch`: the topology epoch by which the writer has chosen the store. */
export const PUT = v.object({ ...subject, generation, epoch: whole, bytes: small });
export const PUT_STREAM = v.object({ ...subject, generation, epoch: whole, lengthBytes: length });
export const GET = v.object({ ...subject, ...range });
export const STAT = v.object(subject);
export const STAT_MANY = v.object({ device, ids: v.pipe(v.array(chunk), v.maxLength(SHARDS_MAX)) });
export const REMOVE = v.object({ ...subject, generationMax: whole });
export const LIST = v.object({ device, group: v.optional(wholeUpTo(GROUP_COUNT - 1)) });
export const STORE = v.object({ device });

const positive = v.pipe(v.number(), v.finite(), v.gtValue(0));
export const SCRUB = v.object({
  device,
  rateBytesPerSecond: v.optional(positive),
  passMs: v.optional(positive),
  busyShareMax: v.optional(v.pipe(positive, v.maxValue(1))),
  startsOver: v.optional(v.boolean()),
});

/** Every answer says how the store is. */
export const ANSWER = v.object({ state });
/** `bytes` where they fit; else their number: they must be asked for as a stream. */
export const GET_ANSWER = v.object({
  state,
  bytes: v.optional(bytes),
  lengthBytes: v.optional(chunkBytes),
});
export const GET_STREAM_ANSWER = v.object({ state, isThere: v.boolean() });
const entry = v.object({
  lengthBytes: whole,
  generation,
  writtenAtMs: whole,
  isGood: v.boolean(),
});
export const STAT_ANSWER = v.object({ state, entry: v.optional(entry) });
/** In the order of the ids; `null` where there is no such chunk. */
export const STAT_MANY_ANSWER = v.object({
  state,
  entries: v.pipe(v.array(v.nullable(entry)), v.maxLength(SHARDS_MAX)),
});
export const REMOVE_ANSWER = v.object({ state, isRemoved: v.boolean() });
/** What the store itself finds; it may not have the chunk any more. */
export const DISPUTE_ANSWER = v.object({ state, isThere: v.boolean(), isBad: v.boolean() });
export const USAGE_ANSWER = v.object({
  state,
  usage: v.object({
    sizeBytes: whole,
    usedBytes: whole,
    freeBytes: whole,
    chunkCount: whole,
    badChunkCount: whole,
  }),
});
export const SCRUB_ANSWER = v.object({ state, checkedChunks: whole, checkedBytes: whole });

/** How long moving so many bytes may take in all. */
export function transferMs(lengthBytes: number): number {
  return LIMITS.remoteCallMs + Math.ceil((lengthBytes / LIMITS.remoteBytesPerSecondMin) * 1000);
}

// Records.

export function writeEntry(writer: ByteWriter, one: ChunkEntry): void {
  writer.raw(one.id).u32(one.lengthBytes).u32(one.generation).u64(one.writtenAtMs);
  writer.u8(one.isGood ? 1 : 0);
}

export function readEntry(reader: ByteReader): ChunkEntry {
  return {
    id: new Uint8Array(reader.raw(CHUNK_ID_BYTES)) as ChunkId,
    lengthBytes: reader.u32(),
    generation: reader.u32(),
    writtenAtMs: reader.u64(),
    isGood: reader.u8() === 1,
  };
}

export function writeDigest(writer: ByteWriter, one: GroupDigest): void {
  writer.u16(one.group).u16(one.schemeNumber).u16(one.shardIndex).u32(one.count);
  writer.bigU64(one.digest);
}

export function readDigest(reader: ByteReader): GroupDigest {
  return {
    group: reader.u16(),
    schemeNumber: reader.u16(),
    shardIndex: reader.u16(),
    count: reader.u32(),
    digest: reader.bigU64(),
  };
}

/** What a scrub reports while it runs, and what it found. */
export type ScrubNews =
  | { readonly kind: 'progress'; readonly checkedBytes: number; readonly totalBytes: number }
  | ScrubFinding;

const NEWS_KINDS = ['progress', 'bad-chunk', 'mended'] as const;
const TEXT_MAX = 500;

export function writeNews(writer: ByteWriter, news: ScrubNews): void {
  writer.u8(NEWS_KINDS.indexOf(news.kind));
  if (news.kind === 'progress') writer.u64(news.checkedBytes).u64(news.totalBytes);
  else if (news.kind === 'mended') writer.text(news.what.slice(0, TEXT_MAX));
  else writer.raw(news.id).text(news.reason.slice(0, TEXT_MAX));
}

export function readNews(reader: ByteReader): ScrubNews {
  const kind = NEWS_KINDS[reader.u8()];
  if (kind === undefined) throw reader.corrupt('there is no such news');
  if (kind === 'progress') {
    return { kind, checkedBytes: reader.u64(), totalBytes: reader.u64() };
  }
  if (kind === 'mended') return { kind, what: reader.text() };
  const id = new Uint8Array(reader.raw(CHUNK_ID_BYTES)) as ChunkId;
  return { kind, id, reason: reader.text() };
}
