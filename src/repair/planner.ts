/**
 * What there is to do about a stripe, and in which order: pure functions of what was found. What
 * lacks shards comes first, the fewest spare before all; then *hand-offs*, shards that stand
 * elsewhere because their device did not answer when they were put; then *moves*, shards whose
 * place changed with the layout; then *surplus*, chunks beyond the good one of each shard.
 */
import { type DeviceId, schemeOfNumber } from '../base/index.ts';
import type { StripeRecord } from '../meta/index.ts';
import { hasSurplus, holdersOf, spareCount, stateOf, type StripeCensus } from './census.ts';

export type StepKind = 'rebuild' | 'hand-off' | 'move' | 'surplus';

const ORDER: readonly StepKind[] = ['rebuild', 'hand-off', 'move', 'surplus'];

/** One stripe that is to be brought in order. */
export interface Step {
  readonly record: StripeRecord;
  readonly kind: StepKind;
  /** Devices that may still be lost; below 0 when one of them has several shards. */
  readonly spare: number;
  /** Bytes that are expected to be written, and where: a device for each chunk. */
  readonly bytes: number;
  readonly targets: readonly DeviceId[];
}

export interface PlanContext {
  readonly isAlive: (device: DeviceId) => boolean;
  /** Devices that are to be emptied. */
  readonly leaving: ReadonlySet<DeviceId>;
  /** The layout has changed since the group was last whole. */
  readonly hasLayoutMoved: boolean;
  /** Devices that are away, and not yet written off, may come back: what waits for them can. */
  readonly waitsForAway: boolean;
}

/** `wait`: it lacks only what devices hold that may be back soon, and can lose another. */
export type Plan = Step | 'nothing' | 'lost' | 'wait';

export function planFor(census: StripeCensus, context: PlanContext): Plan {
  const { record, held, wanted } = census;
  if (spareCount(census) < 0) return 'lost';
  const { n, k } = schemeOfNumber(record.schemeNumber);
  const spare = census.apartCount - k;
  const isReachable = (device: DeviceId | undefined): device is DeviceId =>
    device !== undefined && context.isAlive(device);
  const shards = Array.from({ length: n }, (_, index) => ({
    device: wanted[index],
    holders: holdersOf(held, index),
  }));
  const empty = shards.filter(({ device, holders }) => !device || !holders.includes(device));
  const targets = empty.map(({ device }) => device).filter(isReachable);
  // Shards that no store has, and whose device is away or not to be had at all.
  const homeless = empty.filter(
    ({ device, holders }) => !isReachable(device) && holders.length === 0,
  );
  const bytes = (targets.length + homeless.length) * record.chunkBytes;
  const step = (kind: StepKind): Step => ({ record, kind, spare, bytes, targets });
  if (stateOf(census) !== 'ok') {
    const isAwaited = targets.length === 0 && homeless.every(({ device }) => device !== undefined);
    const canWait = context.waitsForAway && spare >= 1 && isAwaited && !hasSurplus(census);
    return canWait ? 'wait' : step('rebuild');
  }
  if (targets.length > 0) return step(context.hasLayoutMoved ? 'move' : 'hand-off');
  return hasSurplus(census) || isOnlyLeaving(census, context) ? step('surplus') : 'nothing';
}

/** Whether a copy for which there is no place is where things are to leave: then it may go. */
function isOnlyLeaving({ record, held, wanted }: StripeCensus, { leaving }: PlanContext): boolean {
  const { kind } = schemeOfNumber(record.schemeNumber);
  return (
    kind === 'copy' &&
    held.some(({ store, shardIndex }) => wanted[shardIndex] === undefined && leaving.has(store.id))
  );
}

/** The most urgent first. */
export function compareSteps(a: Step, b: Step): number {
  const byKind = ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind);
  return byKind || a.spare - b.spare;
}
