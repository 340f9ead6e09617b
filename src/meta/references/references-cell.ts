/**
 * {@link References} over a steward: each method is one operation of `reference-ops.ts`. The two
 * that look through every group do so a few groups at a time, so that others are served meanwhile:
 * what is condemned, or stray, stays so until the collector that asked has dealt with it.
 */
import { assert, GROUP_COUNT, groupOf, LIMITS } from '../../base/index.ts';
import * as operations from './reference-ops.ts';
import type { References } from './references.ts';
import { SLOT_COUNT } from '../cells/rows.ts';
import type { Rows } from '../cells/overlay.ts';
import type { Executor } from '../cells/executor.ts';
import { type CellParts, Steward } from '../cells/steward.ts';

/** Groups looked through in one operation. */
const GROUPS_PER_SCAN = 256;

/**
 * Opens the cell of the reference slots as its steward.
 *
 * @param parts.plantedFault only for tests, which prove that they would notice it.
 */
export async function openReferences(
  parts: CellParts & { readonly plantedFault?: operations.PlantedFault },
): Promise<References> {
  assert(GROUP_COUNT <= SLOT_COUNT, 'each group has a slot');
  const steward = await Steward.open(parts);
  return {
    ...referencesOf(steward, parts.plantedFault),
    [Symbol.asyncDispose]: () => steward[Symbol.asyncDispose](),
  };
}

export function referencesOf(
  steward: Executor,
  plantedFault?: operations.PlantedFault,
): Omit<References, typeof Symbol.asyncDispose> {
  return {
    openSession: (node) => steward.execute((rows) => operations.openSession(rows, node)),
    add: (request) => steward.execute((rows) => operations.add(rows, request, plantedFault)),
    confirm: (holder, stripes) =>
      steward.execute((rows) => operations.confirm(rows, holder, stripes)),
    release: (holder, stripes) =>
      steward.execute((rows) => operations.release(rows, holder, stripes)),
    forget: (condemned) =>
      steward.execute((rows) => operations.forget(rows, condemned, plantedFault)),
    condemned: () => overAllGroups(steward, operations.condemnedWithin),
    strays: () => overAllGroups(steward, operations.straysWithin),
    stripe: (stripe) => steward.execute((rows) => operations.findStripe(rows, stripe)),
    async stripesOfGroup(group, after) {
      checkGroup(group);
      assert(!after || groupOf(after) === group, 'a page begins within its group');
      const page = { group, after, limit: LIMITS.listPageMax };
      return await steward.execute((rows) => operations.stripesOfGroup(rows, page));
    },
    holders: (stripe) => steward.execute((rows) => operations.holders(rows, stripe)),
    async wholeEpoch(group) {
      checkGroup(group);
      return await steward.execute((rows) => operations.wholeEpoch(rows, group));
    },
    async setWholeEpoch(group, epoch) {
      checkGroup(group);
      await steward.execute((rows) => operations.setWholeEpoch(rows, group, epoch));
    },
  };
}

async function overAllGroups<Item>(
  steward: Executor,
  find: (rows: Rows, slots: [number, number]) => readonly Item[],
): Promise<readonly Item[]> {
  const found: Item[] = [];
  for (let group = 0; group < GROUP_COUNT; group += GROUPS_PER_SCAN) {
    const part = await steward.execute((rows) => find(rows, [group, group + GROUPS_PER_SCAN]));
    for (const item of part) found.push(item);
  }
  return found;
}

function checkGroup(group: number): void {
  assert(group >= 0 && group < GROUP_COUNT && Number.isInteger(group), 'the group exists');
}
