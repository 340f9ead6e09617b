/**
 * Repairs one stripe, without keys: what is missing or bad where the layout wants it is copied from
 * another store or made again from any k good shards; surplus copies go once the right place holds
 * a verified one.
 */
import {
  type DeviceId,
  formatScheme,
  HoldfastError,
  type Scheme,
  schemeOfNumber,
  type StripeId,
} from '../base/index.ts';
import type { ChunkStore } from '../store/index.ts';
import { decodeChunkHeader } from '../store/index.ts';
import type { StripeCoder } from './coder.ts';
import { ShardFinder, type Whereabouts } from './gather.ts';
import { chunkIds } from './shape.ts';
import type { SlotLease, SlotPool } from './slab.ts';
import type { RebuildReport, ShardPlace, StripeHealth, WantedShards } from './stripe-store.ts';

export interface RebuildContext extends Whereabouts {
  readonly slots: SlotPool;
  readonly coder: StripeCoder;
  /** Every store that is alive. */
  readonly stores: () => readonly ChunkStore[];
}

/** Where the shards of a stripe are, by asking every store alive. */
export async function inspectStripe(
  { cluster, stores }: Pick<RebuildContext, 'cluster' | 'stores'>,
  stripe: StripeId,
  scheme: Scheme,
): Promise<StripeHealth> {
  const wanted = cluster.place(stripe, scheme);
  const alive = stores();
  const places: ShardPlace[] = [];
  for (const [shardIndex, id] of chunkIds(stripe, scheme).entries()) {
    const foundAt: DeviceId[] = [];
    const badAt: DeviceId[] = [];
    for (const store of alive) {
      const entry = await store.stat(id);
      if (entry) (entry.isGood ? foundAt : badAt).push(store.id);
    }
    places.push({ shardIndex, wantedAt: wanted[shardIndex], foundAt, badAt });
  }
  const found = places.filter((place) => place.foundAt.length > 0).length;
  return { places, spareCount: found - scheme.k };
}

/** A shard that must be written, and where to. */
interface Step {
  readonly shardIndex: number;
  readonly target: ChunkStore;
}

export async function rebuildStripe(
  context: RebuildContext,
  { stripe, schemeNumber, generation }: WantedShards,
  signal: AbortSignal | undefined,
): Promise<RebuildReport> {
  const scheme = schemeOfNumber(schemeNumber);
  const before = await inspectStripe(context, stripe, scheme);
  const steps = planSteps(context, scheme, stripe, before);
  let writtenBytes = 0;
  if (steps.length > 0) {
    using lease = await context.slots.lease();
    const made = await makeChunks(context, { stripe, scheme, steps, lease, signal });
    const ids = chunkIds(stripe, scheme);
    for (const { shardIndex, target } of steps) {
      const chunk = made[shardIndex]!;
      await target.put(ids[shardIndex]!, chunk, { generation, signal });
      writtenBytes += chunk.length;
    }
  }
  await removeSurplus(context, stripe, scheme, generation);
  return { writtenBytes, health: await inspectStripe(context, stripe, scheme) };
}

/** Each shard belongs at its device; where that is dead, at a store without a shard of the stripe. */
function planSteps(
  { cluster, storeOf }: Whereabouts,
  scheme: Scheme,
  stripe: StripeId,
  { places }: StripeHealth,
): Step[] {
  const taken = new Set(places.flatMap(({ foundAt }) => foundAt));
  const ownPlaces = places.map(({ wantedAt }) => wantedAt).filter((id) => id && storeOf(id));
  const spares = cluster
    .handOff(stripe, scheme)
    .filter((id) => storeOf(id) && !taken.has(id) && !ownPlaces.includes(id));
  const steps: Step[] = [];
  for (const { shardIndex, wantedAt, foundAt } of places) {
    const own = wantedAt && storeOf(wantedAt);
    if (own && !foundAt.includes(own.id)) steps.push({ shardIndex, target: own });
    if (own || foundAt.length > 0) continue;
    const spare = spares.shift();
    const target = spare && storeOf(spare);
    if (target) steps.push({ shardIndex, target });
  }
  return steps;
}

/** @returns the wanted chunks at their indexes, in the slot's memory. */
async function makeChunks(
  context: RebuildContext,
  work: {
    stripe: StripeId;
    scheme: Scheme;
    steps: readonly Step[];
    lease: SlotLease;
    signal: AbortSignal | undefined;
  },
): Promise<Uint8Array[]> {
  const { stripe, scheme, steps, lease, signal } = work;
  const { coder } = context;
  const finder = new ShardFinder(context, stripe, scheme);
  const { headerBytes, chunkBytes } = await sizesOf(finder, scheme, signal);
  const chunks = lease.chunks({ scheme, chunkBytes });
  const raw = { slot: lease.slot, stripe, scheme, headerBytes, chunkBytes };
  const exclude = new Set<number>();
  let good: readonly number[] = [];
  while (good.length < scheme.k) {
    const present = await finder.fetchSome(scheme.k, chunks, { exclude, signal });
    if (present.length < scheme.k) throw lost(scheme, present.length);
    good = await coder.check(raw, present);
    for (const index of present) if (!good.includes(index)) exclude.add(index);
  }
  const wanted = steps.map(({ shardIndex }) => shardIndex).filter((index) => !good.includes(index));
  if (wanted.length > 0) await coder.rebuild(raw, { present: good, wanted });
  return chunks;
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
  for (let index = 0; index < scheme.n; index++) {
    const chunk = await finder.fetch(index, { signal });
    if (!chunk) continue;
    const { headerBytes, shardBytes } = decodeChunkHeader(chunk);
    return { headerBytes, chunkBytes: headerBytes + shardBytes };
  }
  throw lost(scheme, 0);
}

/** A copy outside its place goes once its place holds a good one. */
async function removeSurplus(
  context: RebuildContext,
  stripe: StripeId,
  scheme: Scheme,
  generation: number,
): Promise<void> {
  const { places } = await inspectStripe(context, stripe, scheme);
  const ids = chunkIds(stripe, scheme);
  for (const { shardIndex, wantedAt, foundAt, badAt } of places) {
    if (!wantedAt || !foundAt.includes(wantedAt)) continue;
    for (const device of [...foundAt, ...badAt]) {
      if (device === wantedAt) continue;
      await context.storeOf(device)?.remove(ids[shardIndex]!, { generationMax: generation });
    }
  }
}

