/**
 * Looks at the groups: digests first, then, stripe by stripe, at those that are not known to be
 * whole.
 */
import {
  type DeviceId,
  errorCode,
  GROUP_COUNT,
  groupOf,
  LIMITS,
  mapBounded,
  throwIfAborted,
} from '../base/index.ts';
import { type CensusContext, type GroupCensus, takeCensus } from './census.ts';
import type { RunOptions } from './repair.ts';
import type { RunMeter, StatusBoard } from './status-board.ts';
import { type Survey, WholeGroups, type WholeGroupsContext } from './whole-groups.ts';

/** Groups that are looked at stripe by stripe at once. */
const GROUPS_AT_ONCE = 4;

/** What is known of each group that is looked at, beside what is in it. */
export interface LookedAt {
  readonly group: number;
  /** Of the layout when the look began. */
  readonly epoch: number;
  /** Stores that have not answered. */
  readonly silent: ReadonlySet<DeviceId>;
}

export type Visit = (census: GroupCensus, at: LookedAt) => void | Promise<void>;

/** Whole groups, and the epoch at which they are. */
export type Found = Pick<Survey, 'epoch' | 'whole'>;

export class Looker {
  readonly #context: CensusContext & WholeGroupsContext;
  readonly #whole: WholeGroups;
  readonly #board: StatusBoard;

  constructor(context: CensusContext & WholeGroupsContext, board: StatusBoard) {
    this.#context = context;
    this.#whole = new WholeGroups(context);
    this.#board = board;
  }

  /** References of the group may have gone. */
  doubt(group: number): void {
    this.#whole.doubt(group);
  }

  /** The epoch at which the group was last recorded whole; 0 before. */
  epochOf(group: number): Promise<number> {
    return this.#whole.epochOf(group);
  }

  /** @returns the groups that are whole, and what they contain; the others were visited. */
  async look(
    { signal, onProgress, meter }: RunOptions & { readonly meter: RunMeter },
    visit: Visit,
  ): Promise<Found> {
    throwIfAborted(signal);
    const survey = await this.#whole.survey();
    const { epoch } = survey;
    const whole = new Map(survey.whole);
    const silent = new Set(survey.silent);
    const badSeen = new Map<DeviceId, number>();
    meter.totalCount = GROUP_COUNT;
    meter.doneCount = whole.size;
    const visitGroup = async (group: number): Promise<void> => {
      throwIfAborted(signal);
      const census = await takeCensus(this.#context, group, silent);
      for (const [id, count] of census.badByStore) badSeen.set(id, (badSeen.get(id) ?? 0) + count);
      await visit(census, { group, epoch, silent });
      meter.doneCount += 1;
      onProgress?.({ doneCount: meter.doneCount, totalCount: GROUP_COUNT, bytes: 0 });
    };
    await mapBounded(survey.others, GROUPS_AT_ONCE, visitGroup);
    const withBad = [...(await this.#groupsWithBad(badSeen, silent))];
    const more = withBad.filter((group) => whole.delete(group));
    meter.doneCount -= more.length;
    await mapBounded(more, GROUPS_AT_ONCE, visitGroup);
    onProgress?.({ doneCount: GROUP_COUNT, totalCount: GROUP_COUNT, bytes: 0 });
    this.#board.wholeGroups = whole.size;
    return { epoch, whole };
  }

  /** Looks at digests only: what is in order may have become so just now. */
  async lookAgain(): Promise<Found> {
    const survey = await this.#whole.survey();
    this.#board.wholeGroups = survey.whole.size;
    return survey;
  }

  /** Has it recorded, and the stores told, that groups are whole. */
  async record(found: Found): Promise<void> {
    await this.#whole.record(found);
  }

  /** Bad chunks are in no digest: stores that have more of them than were seen are asked where. */
  async #groupsWithBad(
    seen: ReadonlyMap<DeviceId, number>,
    silent: ReadonlySet<DeviceId>,
  ): Promise<Set<number>> {
    const groups = new Set<number>();
    const stores = this.#context.stores().filter(({ id }) => !silent.has(id));
    await mapBounded(stores, LIMITS.deviceOperationsMax, async (store) => {
      try {
        const { badChunkCount } = await store.usage();
        if (badChunkCount <= (seen.get(store.id) ?? 0)) return;
        for await (const { id, isGood } of store.list()) if (!isGood) groups.add(groupOf(id));
      } catch (error) {
        if (errorCode(error) === undefined) throw error;
      }
    });
    return groups;
  }
}
