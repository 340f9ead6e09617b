/**
 * Who takes a seat in the ring: nodes with etcd, whose disks are quick to make an append durable,
 * and that do not fail together. Pure.
 *
 * etcd asks for 10 ms at the 99th percentile; a ring on slower disks works and is slow with them,
 * which is more than one node alone offers. Beyond FSYNC_MS_MAX its elections are in danger.
 */
import type { NodeId } from '../../base/index.ts';
import type { Labels } from '../../net/index.ts';
import { LABEL_LEVELS } from '../node-config.ts';

/** What etcd asks for. */
const FSYNC_MS_GOOD = 10;
/** A tenth of the time after which others stand for election. */
export const FSYNC_MS_MAX = 100;

export interface RingCandidate {
  readonly node: NodeId;
  readonly labels: Labels;
  readonly hasEtcd: boolean;
  readonly fsyncMs: number;
}

/** Why a node cannot take a seat, for people; `undefined` when it can. */
export function unfitReason({ hasEtcd, fsyncMs }: RingCandidate): string | undefined {
  if (!hasEtcd) return 'has no etcd (install etcd-server)';
  if (isQuickEnough(fsyncMs)) return undefined;
  const ms = Number.isFinite(fsyncMs) ? `${Math.round(fsyncMs)} ms` : 'an unknown time';
  return `takes ${ms} to make a write durable; at most ${FSYNC_MS_MAX} ms will do`;
}

export function isQuickEnough(fsyncMs: number): boolean {
  return fsyncMs <= FSYNC_MS_MAX;
}

function isSlow({ fsyncMs }: Pick<RingCandidate, 'fsyncMs'>): boolean {
  return fsyncMs > FSYNC_MS_GOOD;
}

/**
 * The candidates that can take a seat, the best first: each next one shares as few domains as it
 * can with those before it and with `seated`, the widest level counting most; then quick disks.
 */
export function rankCandidates(
  candidates: readonly RingCandidate[],
  seated: readonly RingCandidate[] = [],
): RingCandidate[] {
  const left = candidates.filter((one) => unfitReason(one) === undefined);
  const ranked: RingCandidate[] = [];
  while (left.length > 0) {
    const chosen = [...seated, ...ranked];
    left.sort((a, b) => compare(a, b, chosen));
    ranked.push(left.shift()!);
  }
  return ranked;
}

function compare(a: RingCandidate, b: RingCandidate, chosen: readonly RingCandidate[]): number {
  const [near, far] = [crowds(a, chosen), crowds(b, chosen)];
  const level = near.findIndex((count, index) => count !== far[index]);
  if (level >= 0) return near[level]! - far[level]!;
  const bySpeed = Number(isSlow(a)) - Number(isSlow(b));
  return bySpeed || a.fsyncMs - b.fsyncMs || (a.node < b.node ? -1 : 1);
}

/** For each level, widest first: how many of the chosen are in the same domain. */
function crowds(candidate: RingCandidate, chosen: readonly RingCandidate[]): number[] {
  const path = domainsOf(candidate);
  return path.map((domain, level) => {
    return chosen.filter((other) => domainsOf(other)[level] === domain).length;
  });
}

/** A domain is named by all that it lies in. What was not named is one domain, but each server. */
function domainsOf({ labels, node }: RingCandidate): string[] {
  const names = LABEL_LEVELS.map((level) => labels[level] ?? (level === 'server' ? node : ''));
  return names.map((_, level) => names.slice(0, level + 1).join('/'));
}

/** Whether all of them are in one domain of a level that was named. */
export function sharedDomain(seats: readonly RingCandidate[]): string | undefined {
  const [first] = seats;
  if (!first || seats.length < 2) return undefined;
  const narrowestFirst = LABEL_LEVELS.map((level, index) => ({ level, index })).toReversed();
  const shared = narrowestFirst.find(
    ({ level, index }) =>
      first.labels[level] !== undefined &&
      seats.every((seat) => domainsOf(seat)[index] === domainsOf(first)[index]),
  );
  return shared && `${shared.level} ${first.labels[shared.level]}`;
}
