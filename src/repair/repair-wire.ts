/**
 * How {@link Repair} travels between nodes: one exchange for each call, which may last as long as
 * it needs. While it lasts the serving node sends *news*, the progress so far, every second; the
 * caller gives up after a silence, not after a time. News are records of three u64: done, total,
 * bytes. Both ends check what they get.
 */
import * as v from 'valibot';
import {
  ByteReader,
  ByteWriter,
  HoldfastError,
  LIMITS,
  STRIPE_ID_BYTES,
  type StripeId,
} from '../base/index.ts';
import type { CollectSummary, HealthSummary, Progress, RepairStatus } from './repair.ts';
import type { RepairSummary, ScrubSummary } from './repair.ts';

/** How often the serving node says that it is at work. */
export const NEWS_EVERY_MS = 1000;
/** After so long without news the caller takes the other node for gone. */
export const SILENCE_MS = 15_000;
export const NEWS_BYTES = 24;
/** Stripes in one request: 28 bytes each, and a message has a megabyte. */
export const STRIPES_PER_REQUEST = 16_384;
/** No peer may shorten the time that writers have to name what they put. */
const GRACE_MS_MIN = 10 * 60 * 1000;

const whole = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const rate = v.optional(v.pipe(v.number(), v.finite(), v.minValue(1)));
const count = whole;
const volume = v.pipe(v.string(), v.minLength(1), v.maxLength(LIMITS.keyBytesMax));
const inode = v.pipe(
  v.string(),
  v.regex(/^\d{1,20}$/),
  v.transform((text) => BigInt(text)),
  v.maxValue(2n ** 64n - 1n),
);
const stripe = v.custom<StripeId>(
  (value) => value instanceof Uint8Array && value.length === STRIPE_ID_BYTES,
);

/** Arguments of each method, as they travel. */
export const REPAIR_ARGS = {
  scrub: v.object({}),
  health: v.object({}),
  status: v.object({}),
  repair: v.object({ isAutomatic: v.optional(v.boolean()), rateBytesPerSecond: rate }),
  collect: v.object({ graceMs: v.pipe(whole, v.minValue(GRACE_MS_MIN)) }),
  release: v.object({ volume, inode }),
  releaseLoose: v.object({ volume, inode }),
  abandon: v.object({
    volume,
    inode,
    stripes: v.pipe(v.array(stripe), v.maxLength(STRIPES_PER_REQUEST)),
  }),
};

export type RepairMethod = keyof typeof REPAIR_ARGS;

const scrubSummary = v.object({
  checked: count,
  bad: count,
  checkedBytes: whole,
  mended: count,
  failedStores: v.array(v.string()),
}) satisfies v.GenericSchema<unknown, ScrubSummary>;

const healthSummary = v.object({
  stripes: v.object({ ok: count, degraded: count, lost: count }),
  bySpare: v.record(v.string(), count),
  misplaced: count,
  unnamedChunks: count,
  badChunks: count,
}) satisfies v.GenericSchema<unknown, HealthSummary>;

const repairSummary = v.object({
  repaired: count,
  incomplete: count,
  skipped: count,
  lost: count,
  writtenBytes: whole,
}) satisfies v.GenericSchema<unknown, RepairSummary>;

const collectSummary = v.object({
  releases: count,
  strays: count,
  deletedStripes: count,
  deletedChunks: count,
}) satisfies v.GenericSchema<unknown, CollectSummary>;

const repairStatus = v.object({
  activity: v.picklist(['rest', 'look', 'repair', 'collect', 'scrub', 'health']),
  isWaiting: v.boolean(),
  startedAtMs: v.optional(whole),
  doneCount: count,
  totalCount: count,
  doneBytes: whole,
  totalBytes: whole,
  bytesPerSecond: whole,
  leftMs: v.optional(whole),
  stripesAtRisk: count,
  bytesAtRisk: whole,
  wholeGroups: count,
  groupCount: count,
  lastRepairAtMs: v.optional(whole),
}) satisfies v.GenericSchema<unknown, RepairStatus>;

/** Answers of each method. */
export const REPAIR_ANSWERS = {
  scrub: scrubSummary,
  health: healthSummary,
  status: repairStatus,
  repair: repairSummary,
  collect: collectSummary,
  release: v.null(),
  releaseLoose: v.null(),
  abandon: v.null(),
};

export function methodName(method: RepairMethod): string {
  return `repair/${method}`;
}

export function encodeNews({ doneCount, totalCount, bytes }: Progress): Uint8Array {
  return new ByteWriter(NEWS_BYTES).u64(doneCount).u64(totalCount).u64(bytes).finish();
}

/** Progress as it comes in, however the stream cuts it. @throws HF_UNAVAILABLE for nonsense. */
export async function* readNews(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Progress> {
  let rest = Buffer.alloc(0);
  for await (const slice of stream) {
    rest = Buffer.concat([rest, slice]);
    while (rest.length >= NEWS_BYTES) {
      yield decodeNews(rest.subarray(0, NEWS_BYTES));
      rest = rest.subarray(NEWS_BYTES);
    }
  }
  if (rest.length > 0) throw nonsense('its news are cut short');
}

function decodeNews(bytes: Uint8Array): Progress {
  const reader = new ByteReader(bytes, 'news of repair');
  try {
    return { doneCount: reader.u64(), totalCount: reader.u64(), bytes: reader.u64() };
  } catch (error) {
    throw nonsense((error as Error).message);
  }
}

/** As good as no answer. */
export function nonsense(reason: string): HoldfastError {
  return new HoldfastError('HF_UNAVAILABLE', `the other node answered nonsense: ${reason}`);
}
