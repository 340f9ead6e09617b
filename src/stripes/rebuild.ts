/**
 * Repairs one stripe, without keys: what is missing or bad where the layout wants it is copied from
 * another store or made again from any k good shards; surplus copies go once the right place holds
 * a verified one.
 */
import {
  assert,
  bytesEqual,
  type DeviceId,
  errorCode,
  formatScheme,
  HoldfastError,
  LIMITS,
  mapBounded,
  type Scheme,
  schemeOfNumber,
  type StripeId,
} from '../base/index.ts';
import {
  type ChunkEntry,
  chunkHeaderBytes,
  type ChunkStore,
  decodeChunkHeader,
  stripeIdOf,
} from '../store/index.ts';
import type { StripeCoder } from './coder.ts';
import { ShardFinder, type Whereabouts } from './gather.ts';
import { chunkIds } from './shape.ts';
import { fitsSlot, type SlotLease, type SlotPool } from './slab.ts';
import { aliveOf, putWithHandOff } from './spread.ts';
import type { RebuildReport, ShardPlace, StripeHealth, WantedShards } from './stripe-store.ts';

export interface RebuildContext extends Whereabouts {
  readonly slots: SlotPool;
  readonly coder: StripeCoder;
}

/** A stripe that is being looked at. */
interface Subject {
  readonly stripe: StripeId;
  readonly scheme: Scheme;
  readonly generation: number;
  readonly signal: AbortSignal | undefined;
}

/** Where the shards of a stripe are, by asking every store alive. */
export async function inspectStripe(
  { cluster, stores }: Pick<Whereabouts, 'cluster' | 'stores'>,
  { stripe, scheme }: Pick<Subject, 'stripe' | 'scheme'>,
): Promise<StripeHealth> {
  const ids = chunkIds(stripe, scheme);
  const wanted = cluster.place(stripe, scheme);
  const alive = stores();
  const answers = await mapBounded(alive, LIMITS.deviceOperationsMax, async (store) => {
    const entries: (ChunkEntry | undefined)[] = [];
    for (const id of ids) entries.push(await store.stat(id).catch(unlessBug));
    return { device: store.id, entries };
  });
  const places = ids.map((_, shardIndex): ShardPlace => {
    const holders = answers.filter(({ entries }) => entries[shardIndex]);
    const [foundAt, badAt] = [true, false].map((isGood) =>
      holders
        .filter(({ entries }) => entries[shardIndex]!.isGood === isGood)
        .map(({ device }) => device),
    ) as [DeviceId[], DeviceId[]];
    return { shardIndex, wantedAt: wanted[shardIndex], foundAt, badAt };
  });
  const found = places.filter((place) => place.foundAt.length > 0).length;
  const devices = new Set(places.flatMap(({ foundAt }) => foundAt)).size;
  const isWhole = found === scheme.n && devices >= Math.min(scheme.n, alive.length);
  return { places, spareCount: found - scheme.k, isWhole };
}

/** A store that cannot answer counts as one without the chunk. */
function unlessBug(error: unknown): undefined {
  if (errorCode(error) === undefined) throw error;
}

export async function rebuildStripe(
  context: RebuildContext,
  { stripe, schemeNumber, generation }: WantedShards,
  signal: AbortSignal | undefined,
): Promise<RebuildReport> {
  const subject = { stripe, scheme: schemeOfNumber(schemeNumber), generation, signal };
  const before = await inspectStripe(context, subject);
  const plan = planSteps(context, subject, before);
  const failures: unknown[] = [];
  const writtenBytes =
    plan.steps.length === 0 ? 0 : await carryOut(context, { ...subject, ...plan, failures });
  const after = await inspectStripe(context, subject);
  const hasRemoved = await removeSurplus(context, subject, after);
  const health = hasRemoved ? await inspectStripe(context, subject) : after;
  const isComplete = health.places.every(({ foundAt }) => foundAt.length > 0);
  if (!isComplete && failures.length > 0) throw failures[0];
  return { writtenBytes, health };
}

/** A shard that must be written, and where to. */
interface Step {
  readonly shardIndex: number;
  readonly target: ChunkStore;
  /** No store has it good: any place is better than none. */
  readonly isMissing: boolean;
}

interface Plan {
  readonly steps: readonly Step[];
  /** Stores without a shard of the stripe, in hand-off order; each is taken once. */
  readonly spares: ArrayIterator<ChunkStore>;
}

/**
 * Each shard belongs at its device; where that is dead, at a store without a shard of the stripe.
 */
function planSteps(
  { cluster, storeOf }: Whereabouts,
  { stripe, scheme }: Subject,
  { places }: StripeHealth,
): Plan {
  const taken = new Set(places.flatMap(({ wantedAt, foundAt }) => [wantedAt, ...foundAt]));
  const free = cluster.handOff(stripe, scheme).filter((device) => !taken.has(device));
  const spares = aliveOf(free, storeOf).values();
  const steps: Step[] = [];
  for (const { shardIndex, wantedAt, foundAt } of places) {
    const own = wantedAt && storeOf(wantedAt);
    const isMissing = foundAt.length === 0;
    if (own && foundAt.includes(own.id)) continue;
    const target = own ?? (isMissing ? spares.next().value : undefined);
    if (target) steps.push({ shardIndex, target, isMissing });
  }
  return { steps, spares };
}

/** @returns bytes written. */
async function carryOut(
  context: RebuildContext,
  work: Subject & Plan & { readonly failures: unknown[] },
): Promise<number> {
  const { stripe, scheme, steps, generation, signal, failures } = work;
  using lease = await context.slots.lease();
  const chunks = await makeChunks(context, work, lease);
  const ids = chunkIds(stripe, scheme);
  const written = await mapBounded(steps, steps.length, async (step) => {
    const { shardIndex, target: own, isMissing } = step;
    const spares = isMissing ? work.spares : [].values();
    const put = { id: ids[shardIndex]!, chunk: chunks[shardIndex]!, generation, signal };
    const store = await putWithHandOff(put, { own, spares, failures });
    return store ? put.chunk.length : 0;
  });
  return written.reduce((sum, bytes) => sum + bytes, 0);
}

/** @returns chunks by index, in the slot's memory; those of the steps are verified. */
async function makeChunks(
  context: RebuildContext,
  { stripe, scheme, steps, signal }: Subject & Pick<Plan, 'steps'>,
  lease: SlotLease,
): Promise<readonly Uint8Array[]> {
  const finder = new ShardFinder(context, stripe, scheme);
  const sizes = await sizesOf(finder, scheme, signal);
  const rooms = lease.rooms({ scheme, ...sizes });
  const raw = { slot: lease.slot, stripe, scheme, ...sizes };
  const bad: number[] = [];
  let good: readonly number[] = [];
  while (good.length < scheme.k) {
    const exclude = [...good, ...bad];
    const more = await finder.fetchSome(scheme.k - good.length, rooms, { exclude, signal });
    if (good.length + more.length < scheme.k) throw lost(scheme, good.length + more.length);
    const checked = await context.coder.check(raw, more);
    bad.push(...more.filter((index) => !checked.includes(index)));
    good = [...good, ...checked];
  }
  const wanted = steps.map(({ shardIndex }) => shardIndex).filter((index) => !good.includes(index));
  if (wanted.length > 0) await context.coder.rebuild(raw, { present: good, wanted });
  return rooms.map(({ chunk }) => chunk);
}

function lost(scheme: Scheme, have: number): HoldfastError {
  return new HoldfastError(
    'HF_TOO_FEW_SHARDS',
    `${formatScheme(scheme)}: have ${have} good shards, need ${scheme.k}`,
  );
}

/** Lengths come from any chunk's header: repair knows nothing of the content. */
async function sizesOf(
  finder: ShardFinder,
  scheme: Scheme,
  signal: AbortSignal | undefined,
): Promise<{ headerBytes: number; chunkBytes: number }> {
  const headerBytes = chunkHeaderBytes(scheme);
  for (let index = 0; index < scheme.n; index++) {
    const range = { offset: 0, lengthBytes: headerBytes };
    const bytes = await finder.fetch(index, { range, signal });
    const header = bytes && headerOf(finder.stripe, bytes);
    if (!header) continue;
    const chunkBytes = headerBytes + header.shardBytes;
    if (fitsSlot({ scheme, chunkBytes })) return { headerBytes, chunkBytes };
    throw new HoldfastError('HF_TOO_LARGE', `a stripe with chunks of ${chunkBytes} bytes`);
  }
  throw lost(scheme, 0);
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

/** Copies outside their place go once the place holds a good one; bad ones once any store does. */
async function removeSurplus(
  { storeOf }: Whereabouts,
  { stripe, scheme, generation }: Subject,
  { places }: StripeHealth,
): Promise<boolean> {
  const ids = chunkIds(stripe, scheme);
  let hasRemoved = false;
  for (const { shardIndex, wantedAt, foundAt, badAt } of places) {
    if (foundAt.length === 0) continue;
    const isInPlace = wantedAt !== undefined && foundAt.includes(wantedAt);
    const surplus = isInPlace ? foundAt.filter((device) => device !== wantedAt) : [];
    for (const device of [...surplus, ...badAt]) {
      assert(
        foundAt.some((each) => each !== device),
        'a good copy stays',
      );
      const removal = storeOf(device)?.remove(ids[shardIndex]!, { generationMax: generation });
      if (await removal?.catch(unlessBug)) hasRemoved = true;
    }
  }
  return hasRemoved;
}
