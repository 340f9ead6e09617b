/**
 * What all stores hold, as counts and digests by group: each store is asked once, instead of group
 * by group. A group is *even* when, of every scheme that is in it, all n shard indexes have the
 * same count and digest, each at the device where the layout wants it, and no device holds anything
 * else of it: then each stripe of which there is a shard has all of them where they belong. Which
 * stripes are wanted is another question (whole-groups.ts).
 *
 * The *contents* of an even group are its stripes, as one text: scheme, count and digest.
 */
import {
  type DeviceId,
  errorCode,
  GROUP_COUNT,
  LIMITS,
  mapBounded,
  isMetadataScheme,
  type Scheme,
  schemeOfNumber,
} from '../base/index.ts';
import type { Cluster } from '../cluster/index.ts';
import { NO_DEVICE, standingApart } from '../placement/index.ts';
import type { ChunkStore, GroupDigest } from '../store/index.ts';

export interface Places {
  /** The device of each shard index of a group. */
  readonly of: (group: number, scheme: Scheme) => readonly (DeviceId | undefined)[];
  /** See `standingApart`. */
  readonly standingApart: (
    others: readonly (DeviceId | undefined)[],
  ) => (device: DeviceId) => boolean;
}

export interface SchemeContents {
  readonly schemeNumber: number;
  readonly count: number;
  readonly digest: bigint;
}

interface Held extends GroupDigest {
  readonly device: DeviceId;
}

/** Of the layout as it is now; it does not follow later ones. */
export function placesOf(cluster: Pick<Cluster, 'layout' | 'topology'>): Places {
  const { table, width } = cluster.layout();
  const topology = cluster.topology();
  const byNumber = new Map(topology.devices.map(({ number, id }) => [number, id]));
  const of: Places['of'] = (group, { n }) =>
    Array.from({ length: n }, (_, index) => {
      const number = index < width ? table[group * width + index]! : NO_DEVICE;
      return number === NO_DEVICE ? undefined : byNumber.get(number);
    });
  return { of, standingApart: (others) => standingApart(topology, others) };
}

export class Holdings {
  readonly #byGroup = new Map<number, Held[]>();
  /** Stores that did not answer; what they hold is not known, so it counts as nothing. */
  readonly silent = new Set<DeviceId>();

  /** Asks each store once. */
  static async ask(stores: readonly ChunkStore[]): Promise<Holdings> {
    const holdings = new Holdings();
    await mapBounded(stores, LIMITS.deviceOperationsMax, async (store) => {
      try {
        for (const digest of await store.digests()) holdings.add(store.id, digest);
      } catch (error) {
        if (errorCode(error) === undefined) throw error;
        holdings.silent.add(store.id);
      }
    });
    return holdings;
  }

  add(device: DeviceId, digest: GroupDigest): void {
    // The log vouches for its own chunks; an empty entry is none.
    if (isMetadataScheme(digest.schemeNumber) || digest.count === 0) return;
    const { group } = digest;
    if (group < 0 || group >= GROUP_COUNT) return; // another node says so
    const held = this.#byGroup.get(group) ?? [];
    held.push({ ...digest, device });
    this.#byGroup.set(group, held);
  }

  /** What an even group contains, none when it is empty; `undefined` when it is not even. */
  contentsOf(group: number, places: Places): readonly SchemeContents[] | undefined {
    const held = this.#byGroup.get(group);
    if (!held) return [];
    const contents: SchemeContents[] = [];
    for (const schemeNumber of new Set(held.map((each) => each.schemeNumber))) {
      const ofScheme = held.filter((each) => each.schemeNumber === schemeNumber);
      const scheme = knownScheme(schemeNumber);
      const even = scheme && evenContents(ofScheme, scheme, { group, places });
      if (!even) return undefined;
      contents.push({ schemeNumber, ...even });
    }
    return contents;
  }
}

type Sums = Pick<SchemeContents, 'count' | 'digest'>;

/** What all shard indexes of one scheme have in common; `undefined` when one differs. */
function evenContents(
  held: readonly Held[],
  scheme: Scheme,
  { group, places }: { readonly group: number; readonly places: Places },
): Sums | undefined {
  const { count, digest } = held.find(({ shardIndex }) => shardIndex === 0) ?? { count: 0 };
  // The last copy of a near scheme may stand anywhere apart from the others (settledPlaces).
  const row = places.of(group, scheme);
  const fixed = scheme.isNear ? row.slice(0, -1) : row;
  const isApart = scheme.isNear ? places.standingApart(fixed) : () => false;
  const isAtPlace = ({ device, shardIndex }: Held): boolean =>
    shardIndex < fixed.length
      ? fixed[shardIndex] === device
      : shardIndex < scheme.n && isApart(device);
  if (digest === undefined || !held.every(isAtPlace)) return undefined;
  for (let index = 0; index < scheme.n; index++) {
    const sums = sumsOf(held.filter(({ shardIndex }) => shardIndex === index));
    if (sums.count !== count || sums.digest !== digest) return undefined;
  }
  return { count, digest };
}

function sumsOf(held: readonly Sums[]): Sums {
  return {
    count: held.reduce((sum, each) => sum + each.count, 0),
    digest: BigInt.asUintN(
      64,
      held.reduce((sum, each) => sum + each.digest, 0n),
    ),
  };
}

export function contentsText(contents: readonly SchemeContents[]): string {
  return contents
    .toSorted((a, b) => a.schemeNumber - b.schemeNumber)
    .map(({ schemeNumber, count, digest }) => `${schemeNumber}:${count}:${digest}`)
    .join(' ');
}

/** `undefined` for one that nobody knows: another node may say anything. */
export function knownScheme(number: number): Scheme | undefined {
  try {
    return schemeOfNumber(number);
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return undefined;
  }
}
