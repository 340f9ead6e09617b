/**
 * What the operations of the references do to their rows: synchronous functions that a steward
 * executes (rulings 12 to 14).
 *
 *   absent ── add ──→ pending ── confirm ──→ stored          rows 'S' and, for each holder, 'R'
 *                        └────── release, the last one ──────┴─→ condemned ('K') ── forget → absent
 *
 * Invariants:
 * 1. A stripe row counts its reference rows, and is there as long as there is one.
 * 2. The group's generation is above every one that was ever condemned in it, also after `forget`,
 *    and a stripe takes it when it is named: a delete of the old one never hits the new one.
 * 3. Stored means that a reference was confirmed since the stripe was named; nothing else does.
 * 4. A condemned row may stand beside a stripe row, whose generation is then higher.
 */
import { assert, groupOf, HoldfastError, type StripeId } from '../../base/index.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';
import * as keys from './reference-rows.ts';
import type {
  Condemned,
  Holder,
  PendingReference,
  References,
  Session,
  WantedStripe,
} from './references.ts';
import {
  decodeNumber,
  EMPTY_VALUE,
  encodeNumber,
  keyAfter,
  prefixRange,
  rowsOfTag,
} from '../cells/rows.ts';

/**
 * Bugs that tests plant to see that they would be found. `known-while-pending`: a stripe counts as
 * stored before a manifest names it. `same-generation`: a stripe named again keeps the generation
 * that was condemned. `forget-newer`: forgetting an old generation forgets the newer stripe.
 */
export type PlantedFault = 'known-while-pending' | 'same-generation' | 'forget-newer';

type Added = Awaited<ReturnType<References['add']>>[number];

export function openSession(rows: Overlay, node: string): Session {
  const key = keys.sessionKey(node);
  const fence = decodeNumber(rows.get(key), 'session row') + 1;
  rows.put(key, encodeNumber(fence));
  return { id: node, fence };
}

function isOpen(rows: Rows, { id, fence }: Session): boolean {
  return decodeNumber(rows.get(keys.sessionKey(id)), 'session row') === fence;
}

export function findStripe(rows: Rows, stripe: StripeId): keys.StripeRow | undefined {
  const key = keys.stripeKey(stripe);
  const value = rows.get(key);
  return value && keys.decodeStripe({ key, value });
}

function writeStripe(rows: Overlay, row: keys.StripeRow): void {
  assert(row.generation < keys.GENERATION_LIMIT, 'a generation fits 24 bits');
  rows.put(keys.stripeKey(row.stripe), keys.encodeStripe(row));
}

/** What a stripe that is named now is put with; 1 to begin with. */
function groupGeneration(rows: Rows, group: number): number {
  return decodeNumber(rows.get(keys.generationKey(group)), 'group generation') || 1;
}

export function add(
  rows: Overlay,
  request: Parameters<References['add']>[0],
  fault?: PlantedFault,
): readonly Added[] {
  if (!isOpen(rows, request.session)) {
    throw new HoldfastError('HF_FENCED', `a newer session of ${request.session.id} is open`);
  }
  return request.stripes.map((wanted) => addOne(rows, { ...request, wanted }, fault));
}

function addOne(
  rows: Overlay,
  request: { session: Session; holder: Holder; wanted: WantedStripe },
  fault: PlantedFault | undefined,
): Added {
  const { session, holder, wanted } = request;
  const { stripe } = wanted;
  const known = findStripe(rows, stripe);
  const record = known ?? firstNamed(rows, wanted, fault);
  const key = keys.referenceKey(stripe, holder);
  const pendingKey = keys.pendingKey(stripe, holder);
  const isNew = !rows.get(key);
  if (isNew) {
    rows.put(key, EMPTY_VALUE);
    writeStripe(rows, { ...record, referenceCount: record.referenceCount + 1 });
  }
  // A reference that was confirmed stays so; a pending one now waits for this session.
  if (isNew || rows.get(pendingKey)) rows.put(pendingKey, keys.encodeSession(session));
  const isStored = fault === 'known-while-pending' ? known !== undefined : record.isStored;
  return { generation: record.generation, isStored };
}

function firstNamed(
  rows: Rows,
  wanted: WantedStripe,
  fault: PlantedFault | undefined,
): keys.StripeRow {
  const { stripe, schemeNumber, chunkBytes } = wanted;
  const condemned = findCondemned(rows, stripe);
  const generation =
    fault === 'same-generation' && condemned
      ? condemned.generation
      : groupGeneration(rows, groupOf(stripe));
  assert(fault || (condemned?.generation ?? 0) < generation, 'a stripe is named anew');
  return { stripe, schemeNumber, chunkBytes, generation, isStored: false, referenceCount: 0 };
}

export function confirm(rows: Overlay, holder: Holder, stripes: readonly StripeId[]): void {
  for (const stripe of stripes) {
    // One that was released meanwhile is not made again.
    if (!rows.get(keys.referenceKey(stripe, holder))) continue;
    const record = findStripe(rows, stripe);
    if (!record) throw new HoldfastError('HF_CORRUPT', 'a reference names a stripe without a row');
    const pendingKey = keys.pendingKey(stripe, holder);
    if (rows.get(pendingKey)) rows.delete(pendingKey);
    if (!record.isStored) writeStripe(rows, { ...record, isStored: true });
  }
}

export function release(
  rows: Overlay,
  holder: Holder,
  stripes: readonly StripeId[],
): readonly Condemned[] {
  const condemned: Condemned[] = [];
  for (const stripe of stripes) {
    const key = keys.referenceKey(stripe, holder);
    if (!rows.get(key)) continue; // it was released before
    const record = findStripe(rows, stripe);
    if (!record) throw new HoldfastError('HF_CORRUPT', 'a reference names a stripe without a row');
    rows.delete(key);
    const pendingKey = keys.pendingKey(stripe, holder);
    if (rows.get(pendingKey)) rows.delete(pendingKey);
    const referenceCount = record.referenceCount - 1;
    if (referenceCount > 0) writeStripe(rows, { ...record, referenceCount });
    else condemned.push(condemn(rows, record));
  }
  return condemned;
}

function condemn(rows: Overlay, record: keys.StripeRow): Condemned {
  const { stripe, schemeNumber, generation } = record;
  const group = groupOf(stripe);
  rows.delete(keys.stripeKey(stripe));
  rows.put(keys.condemnedKey(stripe), keys.encodeCondemned({ stripe, schemeNumber, generation }));
  if (groupGeneration(rows, group) === generation) {
    assert(generation + 1 < keys.GENERATION_LIMIT, 'the group has a generation left');
    rows.put(keys.generationKey(group), encodeNumber(generation + 1));
  }
  return { stripe, schemeNumber, generation };
}

function findCondemned(rows: Rows, stripe: StripeId): Condemned | undefined {
  const key = keys.condemnedKey(stripe);
  const value = rows.get(key);
  return value && keys.decodeCondemned({ key, value });
}

export function forget(rows: Overlay, condemned: readonly Condemned[], fault?: PlantedFault): void {
  for (const { stripe, generation } of condemned) {
    if (fault === 'forget-newer') rows.delete(keys.stripeKey(stripe));
    const present = findCondemned(rows, stripe);
    // One that was condemned again since has more to delete.
    if (present && present.generation <= generation) rows.delete(keys.condemnedKey(stripe));
  }
}

export function condemnedWithin(rows: Rows, slots: [number, number]): readonly Condemned[] {
  return Array.from(rowsOfTag(rows, 'K', { slots }), keys.decodeCondemned);
}

export function straysWithin(rows: Rows, slots: [number, number]): readonly PendingReference[] {
  return Array.from(rowsOfTag(rows, 'Q', { slots }), ({ key, value }) => ({
    ...keys.decodeReferenceKey(key),
    session: keys.decodeSession(value),
  })).filter(({ session }) => !isOpen(rows, session));
}

export function stripesOfGroup(
  rows: Rows,
  { group, after, limit }: { group: number; after?: StripeId | undefined; limit: number },
): readonly keys.StripeRow[] {
  const range = prefixRange(keys.stripesKey(group));
  const from = after ? keyAfter(keys.stripeKey(after)) : range.from;
  return rows.range({ from, to: range.to, limit }).map(keys.decodeStripe);
}

export function holders(rows: Rows, stripe: StripeId): readonly Holder[] {
  return rows
    .range(prefixRange(keys.referenceKey(stripe)))
    .map(({ key }) => keys.decodeReferenceKey(key).holder);
}

export function wholeEpoch(rows: Rows, group: number): number {
  return decodeNumber(rows.get(keys.wholeEpochKey(group)), 'whole epoch');
}

/** Never goes back: a coordinator that is behind tells nothing new. */
export function setWholeEpoch(rows: Overlay, group: number, epoch: number): void {
  if (epoch > wholeEpoch(rows, group)) rows.put(keys.wholeEpochKey(group), encodeNumber(epoch));
}
