/**
 * Which groups are whole, found out without listing a chunk wherever that can be done.
 *
 * Why equal digests mean whole: an even group (holdings.ts) has of each of its stripes all shards,
 * at their places, and nothing else. It is whole when those stripes are the wanted ones, no fewer
 * and no more, so its contents are compared with those of its reference slot: the stripes that are
 * stored, and none pending. That catches what digests alone cannot show: a stripe whose shards are
 * all lost, and one that was removed while all its holders were away. Then the contents are
 * *vouched for*, and as long as they stay the same, so does the answer: a stripe is recorded as
 * stored only when shards of it have come, and its record goes only by our own hand, which says so
 * here however that ends ({@link WholeGroups.doubt}). The sums are modulo 2^64 over XXH64 of ids
 * that are digests themselves: they do not agree by accident; a node that lies about them could as
 * well lie about its chunks, and scrub is there for both. Chunks known bad are in no digest; who
 * repairs looks for them where stores say that there are some.
 *
 * Order of telling (ruling 11): stores hear that a group is whole at an epoch, and from then on
 * refuse puts of older ones, *before* their digests are asked once more and the slot records it. So
 * nothing that an older layout has placed can arrive behind the back of who recorded it, but for a
 * put that was already past its store's check; the next look finds it and moves it.
 */
import {
  type DeviceId,
  errorCode,
  GROUP_COUNT,
  mapBounded,
  type StripeId,
  xxh64,
} from '../base/index.ts';
import type { Cluster } from '../cluster/index.ts';
import type { Env } from '../env/index.ts';
import type { References, StripeRecord } from '../meta/index.ts';
import type { ChunkStore } from '../store/index.ts';
import { contentsText, Holdings, type Places, placesOf, type SchemeContents } from './holdings.ts';

/** Groups whose reference slots are asked about at once. */
const GROUPS_AT_ONCE = 64;

/**
 * Bugs that tests plant to see that they would be found. `equal-is-whole`: nobody asks whether what
 * is held evenly is wanted. `grace-alone`: what nothing names is deleted without being named first.
 */
export type PlantedFault = 'equal-is-whole' | 'grace-alone';

export interface WholeGroupsContext {
  readonly env: Env;
  readonly cluster: Cluster;
  readonly references: References;
  readonly stores: () => readonly ChunkStore[];
  /** Tells the stores that groups are whole at a topology epoch; see whole-epochs.ts. */
  readonly onWhole?: ((groups: readonly number[], epoch: number) => Promise<void>) | undefined;
  /** Only for tests, which prove that they would notice it. */
  readonly plantedFault?: PlantedFault | undefined;
}

export interface Survey {
  readonly epoch: number;
  /** Whole groups → what they contain. */
  readonly whole: ReadonlyMap<number, readonly SchemeContents[]>;
  /** Groups that must be looked at stripe by stripe, ascending. */
  readonly others: readonly number[];
  /** Stores that did not answer. */
  readonly silent: ReadonlySet<DeviceId>;
}

export class WholeGroups {
  readonly #context: WholeGroupsContext;
  /** Group → the contents that its reference slot vouched for. */
  readonly #vouched = new Map<number, string>();
  /** Group → the epoch that its slot has recorded, once asked. */
  readonly #recorded = new Map<number, number>();
  #doubtCount = 0;

  constructor(context: WholeGroupsContext) {
    this.#context = context;
  }

  /** References of the group may have gone. */
  doubt(group: number): void {
    this.#doubtCount += 1;
    this.#vouched.delete(group);
  }

  /** Asks each store once, and the reference slots of groups whose contents have changed. */
  async survey(): Promise<Survey> {
    const { cluster, stores } = this.#context;
    const { epoch } = cluster.layout();
    const places = placesOf(cluster);
    const holdings = await Holdings.ask(stores());
    const whole = new Map<number, readonly SchemeContents[]>();
    const others: number[] = [];
    const unknown: [group: number, contents: readonly SchemeContents[]][] = [];
    for (let group = 0; group < GROUP_COUNT; group++) {
      const contents = holdings.contentsOf(group, places);
      if (contents && this.#vouched.get(group) === contentsText(contents)) {
        whole.set(group, contents);
      } else if (contents) unknown.push([group, contents]);
      else others.push(group);
    }
    await mapBounded(unknown, GROUPS_AT_ONCE, async ([group, contents]) => {
      if (await this.#isWanted(group, contents)) whole.set(group, contents);
      else others.push(group);
    });
    return { epoch, whole, others: others.toSorted((a, b) => a - b), silent: holdings.silent };
  }

  /** Whether the stripes that the slot has stored are those, and none is pending. */
  async #isWanted(group: number, contents: readonly SchemeContents[]): Promise<boolean> {
    const { references, plantedFault } = this.#context;
    const text = contentsText(contents);
    const doubts = this.#doubtCount;
    if (plantedFault !== 'equal-is-whole') {
      const wanted = await wantedContents(references, group);
      if (!wanted || contentsText(wanted) !== text) return false;
    }
    // A doubt that came meanwhile may be about what was just read.
    if (doubts === this.#doubtCount) this.#vouched.set(group, text);
    return true;
  }

  /**
   * Records for the groups of a survey that are whole, and not known to be so at this epoch yet.
   * Empty ones have nothing to be found: the stores hear of them, the slots do not.
   */
  async record({ epoch, whole }: Pick<Survey, 'epoch' | 'whole'>): Promise<void> {
    const { cluster, references, stores, onWhole, env } = this.#context;
    try {
      await onWhole?.([...whole.keys()], epoch);
      const due = await this.#unrecorded({ epoch, whole });
      if (due.length === 0) return;
      const places = placesOf(cluster);
      const holdings = await Holdings.ask(stores());
      // A newer layout has come meanwhile: whole by the old one is nothing to record.
      if (cluster.layout().epoch !== epoch) return;
      const still = due.filter((group) => isSame(holdings, places, { group, whole }));
      await mapBounded(still, GROUPS_AT_ONCE, async (group) => {
        await references.setWholeEpoch(group, epoch);
        this.#recorded.set(group, epoch);
      });
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      env.log.warn('which groups are whole could not be recorded', { error });
    }
  }

  async #unrecorded({ epoch, whole }: Pick<Survey, 'epoch' | 'whole'>): Promise<number[]> {
    const held = [...whole].filter(([, contents]) => contents.length > 0).map(([group]) => group);
    const epochs = await mapBounded(held, GROUPS_AT_ONCE, (group) => this.epochOf(group));
    return held.filter((_, i) => epochs[i]! < epoch);
  }

  /** The epoch at which the group was last recorded whole; 0 before. */
  async epochOf(group: number): Promise<number> {
    const known = this.#recorded.get(group);
    if (known !== undefined) return known;
    const epoch = await this.#context.references.wholeEpoch(group);
    this.#recorded.set(group, epoch);
    return epoch;
  }
}

function isSame(
  holdings: Holdings,
  places: Places,
  { group, whole }: { group: number; whole: Survey['whole'] },
): boolean {
  const contents = holdings.contentsOf(group, places);
  return contents !== undefined && contentsText(contents) === contentsText(whole.get(group)!);
}

/** The stripes that a slot has stored; `undefined` when some are pending. */
async function wantedContents(
  references: Pick<References, 'stripesOfGroup'>,
  group: number,
): Promise<SchemeContents[] | undefined> {
  const contents = new Map<number, { count: number; digest: bigint }>();
  for await (const { stripe, schemeNumber, isStored } of recordsOf(references, group)) {
    if (!isStored) return undefined;
    const { count, digest } = contents.get(schemeNumber) ?? { count: 0, digest: 0n };
    const sum = BigInt.asUintN(64, digest + xxh64(stripe));
    contents.set(schemeNumber, { count: count + 1, digest: sum });
  }
  return [...contents].map(([schemeNumber, sums]) => ({ schemeNumber, ...sums }));
}

/** All records of a group, page by page. */
export async function* recordsOf(
  references: Pick<References, 'stripesOfGroup'>,
  group: number,
): AsyncIterable<StripeRecord> {
  let after: StripeId | undefined;
  for (;;) {
    const page = await references.stripesOfGroup(group, after);
    yield* page;
    after = page.at(-1)?.stripe;
    if (!after) return;
  }
}
