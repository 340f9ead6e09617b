/**
 * Repairs one stripe, without keys: what is missing or bad where the layout wants it is copied from
 * another store or made again from any k good shards; surplus copies go once the right place holds
 * a verified one.
 */
import {
  bytesEqual,
  type ChunkId,
  type DeviceId,
  formatScheme,
  HoldfastError,
  KiB,
  LIMITS,
  mapBounded,
  type Scheme,
  schemeOfNumber,
  type StripeId,
} from '../base/index.ts';
import { leavingDevices } from '../placement/index.ts';
import {
  checkChunk,
  chunkHeaderBytes,
  type ChunkStore,
  decodeChunkHeader,
  stripeIdOf,
} from '../store/index.ts';
import type { Random } from '../env/index.ts';
import type { StripeCoder } from './coder.ts';
import { ShardFinder, type StoreOf, type Whereabouts } from './gather.ts';
import { inspectStripe, unlessBug } from './inspect.ts';
import { chunkIds } from './shape.ts';
import { fitsSlot, type LentChunk, type SlotLease, type SlotPool } from './slab.ts';
import { aliveOf, putWithHandOff } from './spread.ts';
import { answerMs } from './store-calls.ts';
import type { RebuildReport, ShardPlace, StripeHealth, WantedShards } from './stripe-store.ts';

/** Of a copy that is compared with another one. */
const SAMPLE_BYTES = 16 * KiB;

export interface RebuildContext extends Whereabouts {
  readonly random: Random;
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
    plan.steps.length === 0
      ? 0
      : await carryOut(context, { ...subject, ...plan, health: before, failures });
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
 * Each shard belongs at its device; where that is dead, or hung a while ago, at a store without a
 * shard of the stripe.
 */
function planSteps(
  { cluster, calls, storeOf }: Whereabouts,
  { stripe, scheme }: Subject,
  { places }: StripeHealth,
): Plan {
  const wellStoreOf: StoreOf = (device) => {
    const store = storeOf(device);
    return store && !calls.isShunned(store) ? store : undefined;
  };
  const taken = new Set(places.flatMap(({ wantedAt, foundAt }) => [wantedAt, ...foundAt]));
  const free = cluster.handOff(stripe, scheme).filter((device) => !taken.has(device));
  const spares = aliveOf(free, wellStoreOf).values();
  const steps: Step[] = [];
  for (const { shardIndex, wantedAt, foundAt } of places) {
    const own = wantedAt && wellStoreOf(wantedAt);
    const isMissing = foundAt.length === 0;
    if (wantedAt && foundAt.includes(wantedAt)) continue;
    const target = own ?? (isMissing ? spares.next().value : undefined);
    if (target) steps.push({ shardIndex, target, isMissing });
  }
  return { steps, spares };
}

/** @returns bytes written. */
async function carryOut(
  context: RebuildContext,
  work: Subject & Plan & { readonly health: StripeHealth; readonly failures: unknown[] },
): Promise<number> {
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
  context: RebuildContext,
  {
    stripe,
    scheme,
    health,
    generation,
    signal,
    failures,
  }: Subject & {
    readonly health: StripeHealth;
    readonly failures: unknown[];
  },
  { shardIndex, target: own }: Step,
): Promise<number | undefined> {
  const finder = finderOf(context, { stripe, scheme }, health);
  const id = finder.ids[shardIndex]!;
  for (;;) {
    const bytes = LIMITS.stripeShardBytesMax / scheme.n;
    const chunk = await finder.fetchKnown(shardIndex, { bytes, signal });
    if (!chunk) return undefined;
    if (!isGood(id, chunk)) {
      finder.report([shardIndex]);
      continue;
    }
    const put = { id, chunk, generation, signal, lend: notFromASlot };
    const store = await putWithHandOff(context.calls, put, { own, spares: [].values(), failures });
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
async function makeShards(
  context: RebuildContext,
  work: Subject & Plan & { readonly health: StripeHealth; readonly failures: unknown[] },
): Promise<number> {
  const { stripe, scheme, steps, generation, signal, failures } = work;
  using lease = await context.slots.lease();
  const chunks = await makeChunks(context, work, lease);
  const ids = chunkIds(stripe, scheme);
  const written = await mapBounded(steps, steps.length, async (step) => {
    const { shardIndex, target: own, isMissing } = step;
    const spares = isMissing ? work.spares : [].values();
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
  context: RebuildContext,
  work: Subject & Pick<Plan, 'steps'> & { readonly health: StripeHealth },
  lease: SlotLease,
): Promise<readonly Uint8Array[]> {
  const { stripe, scheme, steps, signal, health } = work;
  const finder = finderOf(context, work, health);
  const sizes = await sizesOf(finderOf(context, work, health), scheme, signal);
  const rooms = lease.rooms({ scheme, ...sizes });
  const raw = { slot: lease.slot, stripe, scheme, ...sizes };
  const avoid = steps.map(({ shardIndex }) => shardIndex);
  const bad: number[] = [];
  let good: readonly number[] = [];
  while (good.length < scheme.k) {
    const exclude = [...good, ...bad];
    const options = { rooms, lease, exclude, avoid, lentNot: avoid, signal };
    const more = await finder.gather(scheme.k - good.length, options);
    if (good.length + more.length < scheme.k) throw lost(scheme, good.length + more.length);
    const checked = await context.coder.check(raw, more);
    const forged = more.filter((index) => !checked.includes(index));
    finder.report(forged);
    bad.push(...forged);
    good = [...good, ...checked];
  }
  const wanted = avoid.filter((index) => !good.includes(index));
  if (wanted.length > 0) await context.coder.rebuild(raw, { present: good, wanted });
  return rooms.map(({ chunk }) => chunk);
}

/** Knows who has what, as of the inspection. */
function finderOf(
  context: RebuildContext,
  { stripe, scheme }: Pick<Subject, 'stripe' | 'scheme'>,
  { places }: StripeHealth,
): ShardFinder {
  const finder = new ShardFinder(context, stripe, scheme);
  for (const { shardIndex, foundAt } of places) finder.know(shardIndex, foundAt);
  return finder;
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
    const bytes = await finder.fetchKnown(index, { range, bytes: headerBytes, signal });
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

/**
 * Copies outside their place go once the place holds a good one; until then what is too many does
 * no harm, as the place may be back with one of its own. Where no device has the position no better
 * place will come: one copy is kept. Bad ones go once any store has a good one.
 */
async function removeSurplus(
  context: RebuildContext,
  subject: Subject,
  health: StripeHealth,
): Promise<boolean> {
  const leaving = leavingDevices(context.cluster.topology());
  let hasRemoved = false;
  for (const place of health.places) {
    const { shardIndex, wantedAt, foundAt, badAt } = place;
    const keeper = keeperOf(place, health, { scheme: subject.scheme, leaving });
    if (!keeper) continue;
    const isSettled = wantedAt === undefined || wantedAt === keeper.device;
    for (const device of isSettled ? [...foundAt, ...badAt] : badAt) {
      const copy = { shardIndex, device, isBad: badAt.includes(device), keeper };
      if (device === keeper.device && shardIndex === keeper.shardIndex) continue;
      if (await removeCopy(context, subject, copy)) hasRemoved = true;
    }
  }
  return hasRemoved;
}

interface Keeper {
  readonly device: DeviceId;
  readonly shardIndex: number;
}

/** Who has a good copy, by his own word, and is to keep it. */
function keeperOf(
  { shardIndex, wantedAt, foundAt }: ShardPlace,
  { places }: StripeHealth,
  { scheme, leaving }: { readonly scheme: Scheme; readonly leaving: ReadonlySet<DeviceId> },
): Keeper | undefined {
  const staying = foundAt.find((device) => !leaving.has(device));
  const device = foundAt.find((each) => each === wantedAt) ?? staying ?? foundAt[0];
  const own = device === undefined ? undefined : { device, shardIndex };
  if (wantedAt !== undefined || staying !== undefined || scheme.kind !== 'copy') return own;
  // It is only on what is to be emptied. Once each place that there is has a copy, it may go too.
  const [first, ...others] = places.filter((each) => each.wantedAt !== undefined);
  if (!first || ![first, ...others].every(isInPlace)) return own;
  return { device: first.wantedAt!, shardIndex: first.shardIndex };
}

function isInPlace({ wantedAt, foundAt }: ShardPlace): boolean {
  return wantedAt !== undefined && foundAt.includes(wantedAt);
}

interface Copy {
  readonly shardIndex: number;
  readonly device: DeviceId;
  readonly isBad: boolean;
  readonly keeper: Keeper;
}

async function removeCopy(
  context: RebuildContext,
  { stripe, scheme, generation, signal }: Subject,
  { shardIndex, device, isBad, keeper }: Copy,
): Promise<boolean> {
  const { calls, storeOf } = context;
  const [store, other] = [storeOf(device), storeOf(keeper.device)];
  if (!store || !other) return false;
  const ids = chunkIds(stripe, scheme);
  const id = ids[shardIndex]!;
  const copies = [
    { store, id },
    { store: other, id: ids[keeper.shardIndex]! },
  ] as const;
  // What a store of another node says it has is believed when it gives what the copy gives.
  if (!isBad && !(await isSameSample(context, copies))) return false;
  const bounds = { ms: answerMs(0), signal };
  const removal = calls.run(store, bounds, (stopped) =>
    store.remove(id, { generationMax: generation, signal: stopped }),
  );
  return (await removal.catch(unlessBug)) ?? false;
}

/** Whether two stores give the same bytes from a place that neither could foresee. */
async function isSameSample(
  { calls, random }: RebuildContext,
  copies: readonly [HeldCopy, HeldCopy],
): Promise<boolean> {
  const entry = await copies[0].store.stat(copies[0].id).catch(unlessBug);
  if (!entry) return false;
  const lengthBytes = Math.min(SAMPLE_BYTES, entry.lengthBytes);
  const range = { offset: random.below(entry.lengthBytes - lengthBytes + 1), lengthBytes };
  const bounds = { ms: answerMs(lengthBytes), readBytes: lengthBytes };
  const [a, b] = await mapBounded(copies, 2, async ({ store, id }) => {
    const read = calls.run(store, bounds, (signal) => store.get(id, { ...range, signal }));
    return await read.catch(unlessBug);
  });
  return a !== undefined && b !== undefined && bytesEqual(a, b);
}

interface HeldCopy {
  readonly store: ChunkStore;
  readonly id: ChunkId;
}
