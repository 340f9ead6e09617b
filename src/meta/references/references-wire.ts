/** The operations of {@link References} between nodes. */
import * as v from 'valibot';
import { GROUP_COUNT, groupOf, type StripeId } from '../../base/index.ts';
import {
  type CellMethods,
  changes,
  chunkBytes,
  concatenated,
  inode,
  nothing,
  noArgs,
  partsConcatenated,
  partsInOrder,
  picked,
  reads,
  schemeNumber,
  stripe,
  whole,
  wholeUpTo,
} from '../remote/cell-methods.ts';
import type { References } from './references.ts';

const session = v.object({ id: v.string(), fence: whole });
const holder = v.object({ volume: v.string(), inode });
const wanted = v.object({ stripe, schemeNumber, chunkBytes });
const condemned = v.object({ stripe, schemeNumber, generation: whole });
const group = wholeUpTo(GROUP_COUNT - 1);
const record = v.object({
  stripe,
  schemeNumber,
  chunkBytes,
  generation: whole,
  isStored: v.boolean(),
  referenceCount: whole,
});
const groupPage = v.pipe(
  v.tuple([group, v.optional(stripe)]),
  v.check(([of, after]) => !after || groupOf(after) === of, 'a page begins within its group'),
);

/** Groups are slots. */
const slotsOf = (stripes: readonly StripeId[]): number[] => stripes.map(groupOf);

export const REFERENCE_METHODS: CellMethods<References> = {
  /** Of many cells it is put together otherwise: hosting/session-fences.ts. */
  openSession: changes(v.tuple([v.string()]), session, () => 0),
  add: changes(
    v.tuple([v.object({ session, holder, stripes: v.array(wanted) })]),
    v.array(v.object({ generation: whole, isStored: v.boolean() })),
    {
      slots: ([{ stripes }]) => stripes.map(({ stripe: id }) => groupOf(id)),
      pick: ([request], indexes) => [{ ...request, stripes: picked(request.stripes, indexes) }],
      join: partsInOrder,
    },
  ),
  confirm: changes(v.tuple([holder, v.array(stripe)]), v.void(), {
    slots: ([, stripes]) => slotsOf(stripes),
    pick: ([of, stripes], indexes) => [of, picked(stripes, indexes)],
    join: nothing,
  }),
  release: changes(v.tuple([holder, v.array(stripe)]), v.array(condemned), {
    slots: ([, stripes]) => slotsOf(stripes),
    pick: ([of, stripes], indexes) => [of, picked(stripes, indexes)],
    join: partsConcatenated,
  }),
  forget: changes(v.tuple([v.array(condemned)]), v.void(), {
    slots: ([all]) => all.map(({ stripe: id }) => groupOf(id)),
    pick: ([all], indexes) => [picked(all, indexes)],
    join: nothing,
  }),
  condemned: reads(noArgs, v.array(condemned), { merge: concatenated }),
  strays: reads(noArgs, v.array(v.object({ stripe, holder, session })), { merge: concatenated }),
  stripe: reads(v.tuple([stripe]), v.undefinedable(record), ([id]) => groupOf(id)),
  stripesOfGroup: reads(groupPage, v.array(record), ([of]) => of),
  holders: reads(v.tuple([stripe]), v.array(holder), ([id]) => groupOf(id)),
  wholeEpoch: reads(v.tuple([group]), whole, ([of]) => of),
  setWholeEpoch: changes(v.tuple([group, whole]), v.void(), ([of]) => of),
};
