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
  METADATA_SCHEME_NUMBER,
  schemeOfNumber,
  type StripeId,
  toHex,
} from '../base/index.ts';
import type { Cluster } from '../cluster/index.ts';
import type { Holder, Namespace, References, StripeRecord } from '../meta/index.ts';
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
}

export interface CensusContext {
  readonly cluster: Cluster;
  readonly references: References;
  readonly stores: () => readonly ChunkStore[];
  /** The namespace of a volume; `undefined` when it is not open here. */
  readonly namespaceOf: (volume: string) => Namespace | undefined;
}

export async function takeCensus(context: CensusContext, group: number): Promise<GroupCensus> {
  // Holdings first: a stripe named meanwhile then shows fewer shards, never an unnamed chunk.
  const held = await listHoldings(context.stores(), group);
  const stripes: StripeCensus[] = [];
  const pending: StripeCensus[] = [];
  const unconfirmed: Unconfirmed[] = [];
  for await (const record of stripeRecords(context.references, group)) {
    const key = stripeKey(record.stripe, record.schemeNumber);
    const chunks = held.get(key) ?? [];
    held.delete(key);
    const census = countShards(context.cluster, record, chunks);
    const holder = record.isStored ? undefined : await committedHolder(context, record);
    if (holder) unconfirmed.push({ stripe: record.stripe, holder });
    if (record.isStored || holder) stripes.push(census);
    else pending.push(census);
  }
  return { stripes, pending, unconfirmed, unnamed: [...held.values()] };
}

/** Who names the stripe in a manifest that is committed; asking changes nothing. */
async function committedHolder(
  { references, namespaceOf }: CensusContext,
  { stripe }: StripeRecord,
): Promise<Holder | undefined> {
  for (const holder of await references.holders(stripe)) {
    if (await namespaceOf(holder.volume)?.record(holder.inode)) return holder;
  }
  return undefined;
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
