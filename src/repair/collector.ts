/**
 * Lets go of what is not wanted (rulings 13 and 14). References are removed before chunks, and what
 * is condemned stays written down until the stores have deleted it, so a crash at any step leaves
 * work for the next run and never a wanted stripe without chunks.
 */
import { assert, LIMITS, mapBounded, type StripeId } from '../base/index.ts';
import type {
  Condemned,
  Holder,
  Inode,
  Namespace,
  References,
  Release,
} from '../meta/index.ts';
import type { StripeStore } from '../stripes/index.ts';

export interface CollectorContext {
  readonly references: References;
  readonly stripes: StripeStore;
  /** The namespace of a volume; `undefined` when the volume is gone. */
  readonly namespaceOf: (volume: string) => Namespace | undefined;
}

/** Removes the references of a dead inode; the last extent's end the release. */
export async function finishRelease(
  context: CollectorContext,
  volume: string,
  { inode }: Release,
): Promise<number> {
  const namespace = context.namespaceOf(volume);
  assert(namespace, 'a release belongs to an open volume');
  let deleted = 0;
  for (;;) {
    const extents = await namespace.extents(inode);
    const stripes = extents.map(({ stripe }) => stripe);
    deleted += await dropReferences(context, { volume, inode }, stripes);
    const offsets = extents.map(({ offset }) => offset);
    await namespace.finishRelease({ inode }, offsets);
    if (extents.length === 0) return deleted;
  }
}

/** @returns how many stripes lost their last reference and were deleted. */
export async function dropReferences(
  context: CollectorContext,
  holder: Holder,
  stripes: readonly StripeId[],
): Promise<number> {
  if (stripes.length === 0) return 0;
  const condemned = await context.references.release(holder, stripes);
  await deleteCondemned(context, condemned);
  return condemned.length;
}

export async function deleteCondemned(
  { references, stripes }: CollectorContext,
  condemned: readonly Condemned[],
): Promise<void> {
  if (condemned.length === 0) return;
  await mapBounded(condemned, LIMITS.stripesInFlightMax, (item) => stripes.remove(item));
  // A store that is away is not waited for: nobody vouches for its chunks when it returns.
  await references.forget(condemned);
}

/** Settles one reference whose writer is gone. @returns stripes deleted. */
export async function settleStray(
  context: CollectorContext,
  holder: Holder,
  stripe: StripeId,
): Promise<number> {
  const outcome = await settleInode(context, holder.volume, holder.inode);
  if (outcome === 'refused') return await dropReferences(context, holder, [stripe]);
  await context.references.confirm(holder, [stripe]);
  return 0;
}

async function settleInode(
  { namespaceOf }: CollectorContext,
  volume: string,
  inode: Inode,
): Promise<'committed' | 'refused'> {
  return (await namespaceOf(volume)?.refuse(inode)) ?? 'refused';
}
