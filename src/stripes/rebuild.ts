/**
 * Repairs one stripe, without keys: what is missing or bad where the layout wants it is copied from
 * another store or made again from any k good shards; surplus copies go once the right place holds
 * a verified one.
 */
import {
  bytesEqual,
  type ChunkId,
  HoldfastError,
  LIMITS,
  mapBounded,
  type Scheme,
  schemeOfNumber,
  type StripeId,
  unlessBug,
} from '../base/index.ts';
import { checkChunk, chunkHeaderBytes, decodeChunkHeader, stripeIdOf } from '../store/index.ts';
import type { Random } from '../env/index.ts';
import type { StripeCoder } from './coder.ts';
import { ShardFinder, tooFewShards, type Whereabouts } from './gather.ts';
import { inspectStripe } from './inspect.ts';
import { chunkIds } from './shape.ts';
import { fitsSlot, type LentChunk, type SlotLease, type SlotPool } from './slab.ts';
import { type Plan, planSteps, type Step } from './plan-steps.ts';
import { NO_SPARES } from './spares.ts';
import { putWithHandOff } from './spread.ts';
import { removeSurplus, type Subject } from './surplus.ts';
import type { RebuildReport, StripeHealth, WantedShards } from './stripe-store.ts';

/** Each finds another holder that forges: more than a code bears would be in vain. */
const ROUNDS_MAX = 4;

export interface RebuildContext extends Whereabouts {
  readonly random: Random;
  readonly slots: SlotPool;
  readonly coder: StripeCoder;
}

interface WorkContext extends RebuildContext {
  /** Told that a shard was not what its id names. */
  readonly onForged: () => void;
}

interface Work extends Subject {
  /** As of the last inspection. */
  readonly health: StripeHealth;
  /** Why stores have not taken shards. */
  readonly failures: unknown[];
}

export async function rebuildStripe(
  context: RebuildContext,
  { stripe, schemeNumber, generation }: WantedShards,
  signal: AbortSignal | undefined,
): Promise<RebuildReport> {
  const subject = { stripe, scheme: schemeOfNumber(schemeNumber), generation, signal };
  let writtenBytes = 0;
  let failures: unknown[] = [];
  let after = await inspectStripe(context, subject);
  for (let round = 0, hasMore = true; hasMore && round < ROUNDS_MAX; round++) {
    const plan = planSteps(context, subject, after);
    if (plan.steps.length === 0) break;
    failures = [];
    // What turned out to be forged on the way is missing too.
    hasMore = false;
    const onForged = (): unknown => (hasMore = true);
    const work = { ...subject, ...plan, health: after, failures };
    writtenBytes += await carryOut({ ...context, onForged }, work);
    after = await inspectStripe(context, subject);
  }
  const hasRemoved = await removeSurplus(context, subject, after);
  const health = hasRemoved ? await inspectStripe(context, subject) : after;
  const isComplete = health.places.every(({ foundAt }) => foundAt.length > 0);
  if (!isComplete && failures.length > 0) throw failures[0];
  return { writtenBytes, health };
}

/** @returns bytes written. */
async function carryOut(context: WorkContext, work: Work & Plan): Promise<number> {
  const { steps } = work;
  const moved = await mapBounded(steps, steps.length, async (step) => {
    return step.isMissing ? undefined : await moveShard(context, work, step);
  });
  const toMake = steps.filter((_, index) => moved[index] === undefined);
  const made = toMake.length > 0 ? await makeShards(context, { ...work, steps: toMake }) : 0;
  return moved.reduce<number>((sum, bytes) => sum + (bytes ?? 0), made);
}

/**
 * A shard that is somewhere is copied from there: one chunk is read, not k.
 * @returns bytes written; `undefined` when nobody has a good copy after all.
 */
async function moveShard(
  context: WorkContext,
  work: Work,
  { shardIndex, target: own }: Step,
): Promise<number | undefined> {
  const { scheme, generation, signal, failures } = work;
  const finder = finderOf(context, work);
  const id = finder.ids[shardIndex]!;
  const bytes = LIMITS.stripeShardBytesMax / scheme.n;
  for (;;) {
    const chunk = await finder.fetchKnown(shardIndex, { bytes, signal });
    if (!chunk) return undefined;
    if (!isGood(id, chunk)) {
      await finder.report([shardIndex]);
      context.onForged();
      continue;
    }
    const put = { id, chunk, generation, signal, lend: notFromASlot };
    const store = await putWithHandOff(context.calls, put, { own, spares: NO_SPARES, failures });
    return store ? chunk.length : 0;
  }
}

function isGood(id: ChunkId, chunk: Uint8Array): boolean {
  try {
    checkChunk(id, chunk);
    return true;
  } catch (error) {
    unlessBug(error);
    return false;
  }
}

function notFromASlot(bytes: Uint8Array): LentChunk {
  return { bytes };
}

/** Makes shards again from any k others. @returns bytes written. */
async function makeShards(context: WorkContext, work: Work & Plan): Promise<number> {
  const { stripe, scheme, steps, generation, signal, failures } = work;
  using lease = await context.slots.lease();
  const chunks = await makeChunks(context, work, lease);
  const ids = chunkIds(stripe, scheme);
  const written = await mapBounded(steps, steps.length, async (step) => {
    const { shardIndex, target: own, isMissing } = step;
    const spares = isMissing ? work.spares : NO_SPARES;
    const chunk = chunks[shardIndex]!;
    const lend = lease.lend.bind(lease);
    const put = { id: ids[shardIndex]!, chunk, generation, signal, lend };
    const store = await putWithHandOff(context.calls, put, { own, spares, failures });
    return store ? chunk.length : 0;
  });
  return written.reduce((sum, bytes) => sum + bytes, 0);
}

/** @returns chunks by index, in the slot's memory; those of the steps are verified. */
async function makeChunks(
  context: WorkContext,
  work: Work & Plan,
  lease: SlotLease,
): Promise<readonly Uint8Array[]> {
  const { stripe, scheme, steps, signal } = work;
  const finder = finderOf(context, work);
  const sizes = await sizesOf(finderOf(context, work), scheme, signal);
  const rooms = lease.rooms({ scheme, ...sizes });
  const raw = { slot: lease.slot, stripe, scheme, ...sizes };
  const avoid = steps.map(({ shardIndex }) => shardIndex);
  const bad: number[] = [];
  let good: readonly number[] = [];
  while (good.length < scheme.k) {
    const exclude = [...good, ...bad];
    const options = { rooms, lease, exclude, avoid, lentNot: avoid, signal };
    const more = await finder.gather(scheme.k - good.length, options);
    if (good.length + more.length < scheme.k) throw tooFewShards(scheme, good.length + more.length);
    const checked = await context.coder.check(raw, more);
    const forged = more.filter((index) => !checked.includes(index));
    await finder.report(forged);
    if (forged.length > 0) context.onForged();
    bad.push(...forged);
    good = [...good, ...checked];
  }
  const wanted = avoid.filter((index) => !good.includes(index));
  if (wanted.length > 0) await context.coder.rebuild(raw, { present: good, wanted });
  return rooms.map(({ chunk }) => chunk);
}

/** Knows who has what, as of the inspection. */
function finderOf(context: RebuildContext, { stripe, scheme, health }: Work): ShardFinder {
  const finder = new ShardFinder(context, stripe, scheme);
  for (const { shardIndex, foundAt } of health.places) finder.know(shardIndex, foundAt);
  return finder;
}

/** Lengths come from any chunk's header: repair knows nothing of the content. */
async function sizesOf(
  finder: ShardFinder,
  scheme: Scheme,
  signal: AbortSignal | undefined,
): Promise<{ headerBytes: number; chunkBytes: number }> {
  const headerBytes = chunkHeaderBytes(scheme);
  const range = { offset: 0, lengthBytes: headerBytes };
  let shardBytes: number | undefined;
  const ask = async (index: number, stopped: AbortSignal): Promise<boolean> => {
    const bytes = await finder.fetchKnown(index, { range, bytes: headerBytes, signal: stopped });
    shardBytes ??= bytes && headerOf(finder.stripe, bytes)?.shardBytes;
    return shardBytes !== undefined;
  };
  await finder.takeSome(1, { bytes: headerBytes, signal, extraMax: 1, ask });
  if (shardBytes === undefined) throw tooFewShards(scheme, 0);
  const chunkBytes = headerBytes + shardBytes;
  if (fitsSlot({ scheme, chunkBytes })) return { headerBytes, chunkBytes };
  throw new HoldfastError('HF_TOO_LARGE', `a stripe with chunks of ${chunkBytes} bytes`);
}

/** `undefined` when the bytes are not the header of this stripe. */
function headerOf(stripe: StripeId, bytes: Uint8Array) {
  try {
    const header = decodeChunkHeader(bytes);
    return bytesEqual(stripeIdOf(header), stripe) ? header : undefined;
  } catch (error) {
    return unlessBug(error);
  }
}
