/**
 * Which shards of which stripes are where, for one placement group at a time: a stripe's wanted
 * record from the reference slot beside the chunks that the stores list.
 */
import {
  chunkIdParts,
  type DeviceId,
  METADATA_SCHEME_NUMBER,
  schemeOfNumber,
  type StripeId,
  toHex,
} from '../base/index.ts';
import type { Cluster } from '../cluster/index.ts';
import type { References, StripeRecord } from '../meta/index.ts';
import type { ChunkEntry, ChunkStore } from '../store/index.ts';

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
  /** Distinct devices that hold a good chunk. */
  readonly goodDevices: number;
  readonly isInPlace: boolean;
}

export interface GroupCensus {
  readonly stripes: readonly StripeCensus[];
  /** Chunks whose stripe has no record, those of one stripe together. */
  readonly unnamed: readonly (readonly HeldChunk[])[];
}

export interface CensusContext {
  readonly cluster: Cluster;
  readonly references: References;
  readonly stores: () => readonly ChunkStore[];
}

export async function takeCensus(context: CensusContext, group: number): Promise<GroupCensus> {
  // Holdings first: a stripe named meanwhile then shows fewer shards, never an unnamed chunk.
  const held = await listHoldings(context.stores(), group);
  const stripes: StripeCensus[] = [];
  for await (const record of stripeRecords(context.references, group)) {
    const key = stripeKey(record.stripe, record.schemeNumber);
    const chunks = held.get(key) ?? [];
    held.delete(key);
    if (!record.isStored) continue; // its writer is still at work, or gone: collection's business
    stripes.push(countShards(context.cluster, record, chunks));
  }
  return { stripes, unnamed: [...held.values()] };
}

async function listHoldings(
  stores: readonly ChunkStore[],
  group: number,
): Promise<Map<string, HeldChunk[]>> {
  const held = new Map<string, HeldChunk[]>();
  for (const store of stores) {
    for await (const entry of store.list({ group })) {
      const { stripe, schemeNumber, shardIndex } = chunkIdParts(entry.id);
      if (schemeNumber === METADATA_SCHEME_NUMBER) continue; // the log vouches for its own
      const key = stripeKey(stripe, schemeNumber);
      const chunks = held.get(key) ?? [];
      chunks.push({ store, entry, shardIndex });
      held.set(key, chunks);
    }
  }
  return held;
}

function stripeKey(stripe: StripeId, schemeNumber: number): string {
  return `${toHex(stripe)}/${schemeNumber}`;
}

async function* stripeRecords(references: References, group: number): AsyncIterable<StripeRecord> {
  let after: StripeId | undefined;
  for (;;) {
    const page = await references.stripesOfGroup(group, after);
    yield* page;
    after = page.at(-1)?.stripe;
    if (!after) return;
  }
}

function countShards(
  cluster: Cluster,
  record: StripeRecord,
  held: readonly HeldChunk[],
): StripeCensus {
  const scheme = schemeOfNumber(record.schemeNumber);
  const good = held.filter(({ entry }) => entry.isGood);
  const wanted = cluster.place(record.stripe, scheme);
  const at = (device: DeviceId | undefined, index: number): boolean =>
    good.some(({ store, shardIndex }) => shardIndex === index && store.id === device);
  return {
    record,
    held,
    goodCount: new Set(good.map(({ shardIndex }) => shardIndex)).size,
    goodDevices: new Set(good.map(({ store }) => store.id)).size,
    isInPlace: wanted.every((device, index) => at(device, index)),
  };
}

/** Shards that may still be lost; below 0 the stripe is lost. */
export function spareCount({ record, goodCount }: StripeCensus): number {
  return goodCount - schemeOfNumber(record.schemeNumber).k;
}

export function stateOf(census: StripeCensus): 'ok' | 'degraded' | 'lost' {
  const { n } = schemeOfNumber(census.record.schemeNumber);
  if (spareCount(census) < 0) return 'lost';
  // Two shards on one device are lost together, so they count as one.
  return Math.min(census.goodCount, census.goodDevices) >= n ? 'ok' : 'degraded';
}
