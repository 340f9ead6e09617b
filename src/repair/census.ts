/**
 * Which shards of which stripes are where, for one placement group at a time: a stripe's wanted
 * record from the reference slot beside the chunks that the stores list. A stripe is *wanted* when
 * a manifest names it. Most say so themselves; of one whose confirmation failed or is still on its
 * way the volume's cell is asked, so no acknowledged stripe is overlooked, whatever was forgotten
 * in between.
 */
import {
  chunkIdParts,
  type DeviceId,
  errorCode,
  LIMITS,
  mapBounded,
  isMetadataScheme,
  schemeOfNumber,
  type StripeId,
  toHex,
} from '../base/index.ts';
import type { Cluster } from '../cluster/index.ts';
import type { Holder, Namespace, References, StripeRecord } from '../meta/index.ts';
import { countApart, settledPlaces } from '../placement/index.ts';
import type { ChunkEntry, ChunkStore } from '../store/index.ts';
import type { CollectedTree } from './collector.ts';
import { knownScheme } from './holdings.ts';
import { recordsOf } from './whole-groups.ts';

export interface HeldChunk {
  readonly store: ChunkStore;
  readonly entry: ChunkEntry;
  readonly shardIndex: number;
}

export interface StripeCensus {
  readonly record: StripeRecord;
  readonly held: readonly HeldChunk[];
  /** Distinct shard indexes with a good chunk somewhere. */
  readonly goodCount: number;
  /** How many of them are on a device that need not stand for another one. */
  readonly apartCount: number;
  /** Where the layout wants each shard; `undefined` where it has no device. */
  readonly wanted: readonly (DeviceId | undefined)[];
}

export interface Unconfirmed {
  readonly stripe: StripeId;
  readonly holder: Holder;
}

export interface GroupCensus {
  /** The wanted ones. */
  readonly stripes: readonly StripeCensus[];
  /** Named, but by no manifest yet: their writers are at work, or gone. */
  readonly pending: readonly StripeCensus[];
  /** References that are pending although their manifest is committed. */
  readonly unconfirmed: readonly Unconfirmed[];
  /** Chunks whose stripe has no record, those of one stripe together. */
  readonly unnamed: readonly (readonly HeldChunk[])[];
  /** Chunks known bad, by the store that has them; those of stripes without a record too. */
  readonly badByStore: ReadonlyMap<DeviceId, number>;
}

export interface CensusContext {
  readonly cluster: Cluster;
  readonly references: References;
  readonly stores: () => readonly ChunkStore[];
  /** The namespace of a volume; `undefined` when it is not open here. */
  readonly namespaceOf: (volume: string) => Namespace | undefined;
  /** Likewise its tree. */
  readonly treeOf: (volume: string) => CollectedTree | undefined;
}

/**
 * @param silent stores that did not answer: they are not asked again, and added to. What they hold
 *   counts as missing.
 */
export async function takeCensus(
  context: CensusContext,
  group: number,
  silent: Set<DeviceId> = new Set(),
): Promise<GroupCensus> {
  // Holdings first: a stripe named meanwhile then shows fewer shards, never an unnamed chunk.
  const stores = context.stores().filter(({ id }) => !silent.has(id));
  const chunks = await mapBounded(stores, LIMITS.deviceOperationsMax, async (store) => {
    try {
      return await chunksOf(store, group);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      silent.add(store.id);
      return [];
    }
  });
  const held = byStripe(chunks.flat());
  const stripes: StripeCensus[] = [];
  const pending: StripeCensus[] = [];
  const unconfirmed: Unconfirmed[] = [];
  for await (const record of recordsOf(context.references, group)) {
    const key = stripeKey(record.stripe, record.schemeNumber);
    const together = held.get(key) ?? [];
    const wanted = wantedPlaces(context.cluster, record, together);
    const census = censusOf(record, together, wanted);
    held.delete(key);
    const holder = record.isStored ? undefined : await committedHolder(context, record);
    if (holder) unconfirmed.push({ stripe: record.stripe, holder });
    if (record.isStored || holder) stripes.push(census);
    else pending.push(census);
  }
  const badByStore = countBad(chunks.flat());
  return { stripes, pending, unconfirmed, unnamed: [...held.values()], badByStore };
}

/** By the layout, but a copy that was put near its writer is wanted where it is. */
function wantedPlaces(
  cluster: Cluster,
  { stripe, schemeNumber }: StripeRecord,
  chunks: readonly HeldChunk[],
): readonly (DeviceId | undefined)[] {
  const scheme = schemeOfNumber(schemeNumber);
  const at = {
    places: cluster.place(stripe, scheme),
    order: () => cluster.handOff(stripe, scheme),
    topology: cluster.topology(),
  };
  return settledPlaces(at, scheme, (index) => holdersOf(chunks, index));
}

/** Who names the stripe in a manifest that is committed; asking changes nothing. */
async function committedHolder(
  context: CensusContext,
  { stripe }: StripeRecord,
): Promise<Holder | undefined> {
  for (const holder of await context.references.holders(stripe)) {
    if (await isCommitted(context, holder)) return holder;
  }
  return undefined;
}

/** An inode, or a write into one. */
async function isCommitted(
  { namespaceOf, treeOf }: CensusContext,
  { volume, inode }: Holder,
): Promise<boolean> {
  if (await namespaceOf(volume)?.record(inode)) return true;
  return ((await treeOf(volume)?.committedWrites([inode])) ?? []).length > 0;
}

async function chunksOf(store: ChunkStore, group: number): Promise<HeldChunk[]> {
  const chunks: HeldChunk[] = [];
  for await (const entry of store.list({ group })) {
    const { schemeNumber, shardIndex } = chunkIdParts(entry.id);
    if (isMetadataScheme(schemeNumber)) continue; // the log vouches for its own
    if (!knownScheme(schemeNumber)) continue;
    chunks.push({ store, entry, shardIndex });
  }
  return chunks;
}

function byStripe(chunks: readonly HeldChunk[]): Map<string, HeldChunk[]> {
  const held = new Map<string, HeldChunk[]>();
  for (const chunk of chunks) {
    const { stripe, schemeNumber } = chunkIdParts(chunk.entry.id);
    const key = stripeKey(stripe, schemeNumber);
    const together = held.get(key);
    if (together) together.push(chunk);
    else held.set(key, [chunk]);
  }
  return held;
}

function countBad(chunks: readonly HeldChunk[]): Map<DeviceId, number> {
  const counts = new Map<DeviceId, number>();
  for (const { store, entry } of chunks) {
    if (!entry.isGood) counts.set(store.id, (counts.get(store.id) ?? 0) + 1);
  }
  return counts;
}

function stripeKey(stripe: StripeId, schemeNumber: number): string {
  return `${toHex(stripe)}/${schemeNumber}`;
}

/** @param wanted where the layout wants each shard. */
export function censusOf(
  record: StripeRecord,
  held: readonly HeldChunk[],
  wanted: readonly (DeviceId | undefined)[],
): StripeCensus {
  const good = held.filter(({ entry }) => entry.isGood);
  return {
    record,
    held,
    goodCount: new Set(good.map(({ shardIndex }) => shardIndex)).size,
    apartCount: countApart(wanted.map((_, index) => holdersOf(held, index))),
    wanted,
  };
}

/** Devices that hold a good chunk of the shard. */
export function holdersOf(chunks: readonly HeldChunk[], index: number): DeviceId[] {
  return chunks
    .filter(({ entry, shardIndex }) => entry.isGood && shardIndex === index)
    .map(({ store }) => store.id);
}

/** Copies beyond a good one of each shard; a bad one counts, or nobody would ever remove it. */
export function hasSurplus({ held, goodCount }: StripeCensus): boolean {
  return held.length > goodCount;
}

/** Shards that may still be lost; below 0 the stripe is lost. */
export function spareCount({ record, goodCount }: StripeCensus): number {
  return goodCount - schemeOfNumber(record.schemeNumber).k;
}

/** Devices that may be lost, whichever they are, and it can still be read; -1: it cannot now. */
export function bearableLosses(census: StripeCensus): number {
  if (spareCount(census) < 0) return -1;
  const { k } = schemeOfNumber(census.record.schemeNumber);
  return Math.max(0, census.apartCount - k);
}

export function stateOf(census: StripeCensus): 'ok' | 'degraded' | 'lost' {
  const { n } = schemeOfNumber(census.record.schemeNumber);
  if (spareCount(census) < 0) return 'lost';
  // Two shards on one device are lost together, so they count as one.
  return census.apartCount >= n ? 'ok' : 'degraded';
}
