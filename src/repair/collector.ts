/**
 * Lets go of what is not wanted (rulings 13 and 14). References are removed before chunks, and what
 * is condemned stays written down until the stores have deleted it, so a crash at any step leaves
 * work for the next run and never a wanted stripe without chunks.
 */
import {
  assert,
  batchesOf,
  HoldfastError,
  LIMITS,
  mapBounded,
  type StripeId,
  throwIfAborted,
} from '../base/index.ts';
import { releaseOrphans, releaseParts } from '../meta/index.ts';
import type {
  Condemned,
  Holder,
  Inode,
  Namespace,
  PendingReference,
  References,
  Release,
  Tree,
  Uploads,
  WantedStripe,
} from '../meta/index.ts';
import type { StripeStore } from '../stripes/index.ts';

/** What collection asks of the tree of a volume. */
export type CollectedTree = Pick<
  Tree,
  | 'committedWrites'
  | 'looseInodes'
  | 'looseStripes'
  | 'finishLooseStripes'
  | 'orphans'
  | 'releaseOrphans'
>;
export type CollectedUploads = Pick<Uploads, 'endedUploads' | 'releaseParts'>;

export interface CollectorContext {
  readonly references: References;
  readonly stripes: StripeStore;
  /** The namespace of a volume; `undefined` when it is not open here. */
  readonly namespaceOf: (volume: string) => Namespace | undefined;
  /** Likewise. */
  readonly treeOf: (volume: string) => CollectedTree | undefined;
  readonly uploadsOf: (volume: string) => CollectedUploads | undefined;
  /**
   * Told when references of a stripe may have gone, however that ended; and of one that was
   * deleted, whether every device could be asked that is not out.
   */
  readonly onReleased: (stripe: StripeId) => void;
  readonly onDeleted: (stripe: StripeId, isEverywhere: boolean) => void;
}

/**
 * Removes the references of a dead inode; the last one ends the release.
 * @returns the stripes that were deleted.
 */
export async function finishRelease(
  context: CollectorContext,
  volume: string,
  { inode }: Release,
): Promise<StripeId[]> {
  const namespace = context.namespaceOf(volume);
  assert(namespace, 'a release belongs to an open volume');
  const deleted: StripeId[] = [];
  for (;;) {
    const extents = await namespace.extents(inode);
    const stripes = extents.map(({ stripe }) => stripe);
    deleted.push(...(await dropReferences(context, { volume, inode }, stripes)));
    const places = extents.map(({ encoding, offset }) => ({ encoding, offset }));
    await namespace.finishRelease({ inode }, places);
    if (extents.length === 0) return deleted;
  }
}

/** Turns what nobody has open any more, and parts that no upload needs, into releases. */
export async function releaseForgotten(
  { treeOf, uploadsOf }: CollectorContext,
  volume: string,
): Promise<void> {
  const tree = treeOf(volume);
  const uploads = uploadsOf(volume);
  if (tree) await releaseOrphans(tree);
  if (uploads) await releaseParts(uploads);
}

/**
 * Removes the references of stripes that files which were written in place name no more.
 * @returns the stripes that were deleted.
 */
export async function finishLoose(
  context: CollectorContext,
  volume: string,
  signal: AbortSignal | undefined,
): Promise<StripeId[]> {
  const tree = context.treeOf(volume);
  const deleted: StripeId[] = [];
  for (let after: Inode | undefined; tree;) {
    const page = await tree.looseInodes({ after });
    for (const inode of page) {
      throwIfAborted(signal);
      deleted.push(...(await finishLooseOf(context, volume, inode)));
    }
    after = page.at(-1);
    if (after === undefined) break;
  }
  return deleted;
}

/**
 * The same of one file. Where it is cut short they are still loose, and a reference that is gone is
 * removed once more; so it may also be done twice at once.
 */
export async function finishLooseOf(
  context: CollectorContext,
  volume: string,
  inode: Inode,
): Promise<StripeId[]> {
  const tree = context.treeOf(volume);
  if (!tree) throw new HoldfastError('HF_NOT_FOUND', 'the volume is not open here');
  const deleted: StripeId[] = [];
  for (let found; (found = await tree.looseStripes(inode)).length > 0;) {
    for (const loose of found) {
      const holder = { volume, inode: loose.holder };
      deleted.push(...(await dropReferences(context, holder, loose.stripes)));
      await tree.finishLooseStripes(loose);
    }
  }
  return deleted;
}

/** @returns the stripes that lost their last reference and were deleted. */
export async function dropReferences(
  context: CollectorContext,
  holder: Holder,
  stripes: readonly StripeId[],
): Promise<StripeId[]> {
  const deleted: StripeId[] = [];
  for (const batch of batchesOf(stripes, LIMITS.stripesPerEntryMax)) {
    try {
      const condemned = await context.references.release(holder, batch);
      await deleteCondemned(context, condemned);
      deleted.push(...condemned.map(({ stripe }) => stripe));
    } finally {
      for (const stripe of batch) context.onReleased(stripe);
    }
  }
  return deleted;
}

export async function deleteCondemned(
  { references, stripes, onDeleted }: CollectorContext,
  condemned: readonly Condemned[],
): Promise<void> {
  for (const batch of batchesOf(condemned, LIMITS.stripesPerEntryMax)) {
    await mapBounded(batch, LIMITS.stripesInFlightMax, async (item) => {
      onDeleted(item.stripe, await stripes.remove(item));
    });
    // A store that is away is not waited for: nobody vouches for its chunks when it returns.
    await references.forget(batch);
  }
}

/**
 * Ends deletes that were cut short, perhaps long ago. A stripe that is named again by now is left
 * alone: a store that was away when it was put again may have come back with the old chunk, which
 * is as good as the new one and may be relied on.
 * @returns how many were deleted.
 */
export async function deleteLeftovers(context: CollectorContext): Promise<number> {
  const { references } = context;
  let deleted = 0;
  for (const batch of batchesOf(await references.condemned(), LIMITS.stripesPerEntryMax)) {
    const records = await mapBounded(batch, LIMITS.stripesInFlightMax, ({ stripe }) =>
      references.stripe(stripe),
    );
    const unwanted = batch.filter((_, index) => !records[index]);
    await deleteCondemned(context, unwanted);
    await references.forget(batch);
    deleted += unwanted.length;
  }
  return deleted;
}

/** Who names stripes that nothing named, to condemn them. No volume has this name. */
const COLLECTOR = { volume: 'collector', inode: 0n };

/**
 * Deletes stripes that nothing names. A writer may name one at any moment, and its stores would
 * then take the old chunks for the new ones: so each is named, too, and condemned with that name,
 * unless somebody else names it by then (ruling 13).
 * @returns those that were deleted.
 */
export async function deleteUnnamed(
  context: CollectorContext,
  unnamed: readonly WantedStripe[],
): Promise<StripeId[]> {
  if (unnamed.length === 0) return [];
  const session = await context.references.openSession(COLLECTOR.volume);
  const deleted: StripeId[] = [];
  for (const stripes of batchesOf(unnamed, LIMITS.stripesPerEntryMax)) {
    await context.references.add({ session, holder: COLLECTOR, stripes });
    const ids = stripes.map(({ stripe }) => stripe);
    deleted.push(...(await dropReferences(context, COLLECTOR, ids)));
  }
  return deleted;
}

/** References of one holder whose writer is gone. */
export interface Strays {
  readonly holder: Holder;
  readonly stripes: readonly StripeId[];
}

export function byHolder(strays: readonly PendingReference[]): Strays[] {
  const found = Map.groupBy(strays, ({ holder }) => `${holder.volume} ${holder.inode}`);
  return Array.from(found.values(), (ofHolder) => ({
    holder: (ofHolder[0] as PendingReference).holder,
    stripes: ofHolder.map(({ stripe }) => stripe),
  }));
}

/**
 * Settles them. A write that was committed stays known: that nothing of it is pending in any cell
 * of the references cannot be seen from here.
 * @returns stripes deleted.
 */
export async function settleStrays(
  context: CollectorContext,
  { holder, stripes }: Strays,
): Promise<StripeId[]> {
  const outcome = await outcomeOf(context, holder);
  if (outcome === 'refused') return await dropReferences(context, holder, stripes);
  if (outcome === 'unknown') return [];
  for (const batch of batchesOf(stripes, LIMITS.stripesPerEntryMax)) {
    await context.references.confirm(holder, batch);
  }
  return [];
}

/** Only the volume's cell knows; while the volume is not open here the reference stays. */
async function outcomeOf(
  { namespaceOf }: CollectorContext,
  { volume, inode }: Holder,
): Promise<'committed' | 'refused' | 'unknown'> {
  if (volume === COLLECTOR.volume) return 'refused';
  return (await namespaceOf(volume)?.refuse(inode)) ?? 'unknown';
}
