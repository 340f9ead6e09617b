/** The operations of {@link References} between nodes. */
import * as v from 'valibot';
import { GROUP_COUNT, groupOf } from '../../base/index.ts';
import {
  type CellMethods,
  changes,
  chunkBytes,
  inode,
  nothing,
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

export const REFERENCE_METHODS: CellMethods<References> = {
  openSession: changes(v.tuple([v.string()]), session),
  add: changes(
    v.tuple([v.object({ session, holder, stripes: v.array(wanted) })]),
    v.array(v.object({ generation: whole, isStored: v.boolean() })),
  ),
  confirm: changes(v.tuple([holder, v.array(stripe)]), v.void()),
  release: changes(v.tuple([holder, v.array(stripe)]), v.array(condemned)),
  forget: changes(v.tuple([v.array(condemned)]), v.void()),
  condemned: reads(nothing, v.array(condemned)),
  strays: reads(nothing, v.array(v.object({ stripe, holder, session }))),
  stripe: reads(v.tuple([stripe]), v.undefinedable(record)),
  stripesOfGroup: reads(groupPage, v.array(record)),
  holders: reads(v.tuple([stripe]), v.array(holder)),
  wholeEpoch: reads(v.tuple([group]), whole),
  setWholeEpoch: changes(v.tuple([group, whole]), v.void()),
};
