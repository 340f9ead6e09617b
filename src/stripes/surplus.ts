/**
 * Removes what is too many of a stripe. Copies outside their place go once the place holds a good
 * one; until then what is too many does no harm, as the place may be back with one of its own.
 * Where no device has the position no better place will come: one copy is kept. Bad ones go once
 * any store has a good one.
 *
 * Invariant: no removal lowers the number of shards that are apart (placement/matching.ts). A place
 * that stands for another shard meanwhile does not stand for its own one.
 */
import {
  bytesEqual,
  type ChunkId,
  type DeviceId,
  KiB,
  mapBounded,
  type Scheme,
  type StripeId,
  unlessBug,
} from '../base/index.ts';
import type { Random } from '../env/index.ts';
import { countApart, leavingDevices } from '../placement/index.ts';
import type { ChunkStore } from '../store/index.ts';
import type { Whereabouts } from './gather.ts';
import { chunkIds } from './shape.ts';
import { answerMs } from './store-calls.ts';
import type { ShardPlace, StripeHealth } from './stripe-store.ts';

/** Of a copy that is compared with another one. */
const SAMPLE_BYTES = 16 * KiB;

/** A stripe that is being looked at. */
export interface Subject {
  readonly stripe: StripeId;
  readonly scheme: Scheme;
  readonly generation: number;
  readonly signal: AbortSignal | undefined;
}

interface SurplusContext extends Pick<Whereabouts, 'cluster' | 'calls' | 'storeOf'> {
  readonly random: Random;
}

/** @returns whether anything was removed. */
export async function removeSurplus(
  context: SurplusContext,
  subject: Subject,
  health: StripeHealth,
): Promise<boolean> {
  const { scheme } = subject;
  const leaving = leavingDevices(context.cluster.topology());
  const held = health.places.map(({ foundAt }) => [...foundAt]);
  let hasRemoved = false;
  for (const place of health.places) {
    const { shardIndex, wantedAt, foundAt, badAt } = place;
    const keeper = keeperOf(place, health, { scheme, leaving });
    if (!keeper) continue;
    const isSettled = wantedAt === undefined || wantedAt === keeper.device;
    for (const device of isSettled ? [...foundAt, ...badAt] : badAt) {
      const copy = { shardIndex, device, isBad: badAt.includes(device), keeper };
      if (device === keeper.device && shardIndex === keeper.shardIndex) continue;
      const mayGo = scheme.kind === 'copy' && leaving.has(device) && isSpreadOut(health);
      if (!copy.isBad && !mayGo && keepsApart(held, copy)) continue;
      if (!(await removeCopy(context, subject, copy))) continue;
      hasRemoved = true;
      held[shardIndex] = held[shardIndex]!.filter((each) => each !== device);
    }
  }
  return hasRemoved;
}

/** Whether fewer shards are apart without the copy. */
function keepsApart(held: readonly DeviceId[][], { shardIndex, device }: Copy): boolean {
  const others = held[shardIndex]!.filter((each) => each !== device);
  return countApart(held.with(shardIndex, others)) < countApart(held);
}

/** Whether each place that there is has its shard: more copies have nowhere to go. */
function isSpreadOut({ places }: Pick<StripeHealth, 'places'>): boolean {
  return places.every((place) => place.wantedAt === undefined || isInPlace(place));
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
  const first = places.find((each) => each.wantedAt !== undefined);
  if (!first || !isSpreadOut({ places })) return own;
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
  context: SurplusContext,
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
  { calls, random }: SurplusContext,
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
