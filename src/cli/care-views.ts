/** What repair and scrub do now, in words. */
import type { DeviceView, RepairStatusView } from '../api/index.ts';
import { isoDate, plural } from './output.ts';
import { formatSize } from './sizes.ts';

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Lines of `status` and `health`: name → words. Null: the home does not answer. */
export function repairFields(
  status: RepairStatusView | null,
): Readonly<Record<string, string | undefined>> {
  if (!status) return { repair: 'not known: the home does not answer' };
  const { isWaiting, stripesAtRisk, bytesAtRisk, lastRepairAtMs } = status;
  const waiting = isWaiting ? '; it makes way for clients or keeps to its rate' : '';
  const last = lastRepairAtMs === null ? '' : `; last run ended ${isoDate(lastRepairAtMs)}`;
  const atRisk = `${formatSize(bytesAtRisk)} in ${plural('stripe', stripesAtRisk)} lacking shards`;
  return {
    repair: `${activityOf(status)}${waiting}${last}`,
    'at risk': stripesAtRisk > 0 ? atRisk : lastRepairAtMs === null ? undefined : 'nothing',
  };
}

function activityOf(status: RepairStatusView): string {
  const { activity, doneCount, totalCount } = status;
  const groups = totalCount === 0 ? '' : `: ${doneCount} of ${totalCount} groups`;
  switch (activity) {
    case 'rest':
      return 'at rest';
    case 'look':
      return `looking for what lacks shards${groups}`;
    case 'health':
      return `looking at the health of all stripes${groups}`;
    case 'collect':
      return `letting go of what nothing wants${groups}`;
    case 'scrub':
      return `reading everything: ${formatSize(doneCount)} of ${formatSize(totalCount)}`;
    case 'repair':
      return repairOf(status);
    default:
      return activity; // of a later version of the node
  }
}

function repairOf(status: RepairStatusView): string {
  const { doneCount, totalCount, doneBytes, totalBytes, bytesPerSecond, leftMs } = status;
  const left = leftMs === null ? '' : `, ${roughly(leftMs)} left`;
  return (
    `making shards again: ${doneCount} of ${plural('stripe', totalCount)}, ` +
    `${formatSize(doneBytes)} of ${formatSize(totalBytes)}, ${formatSize(bytesPerSecond)}/s${left}`
  );
}

/** A time that nobody knows to the second. */
export function roughly(ms: number): string {
  if (ms < 2 * MINUTE_MS) return `${Math.ceil(ms / SECOND_MS)} s`;
  if (ms < 2 * HOUR_MS) return `${Math.round(ms / MINUTE_MS)} min`;
  if (ms < 2 * DAY_MS) return `${Math.round(ms / HOUR_MS)} h`;
  return `${Math.round(ms / DAY_MS)} days`;
}

/** How far the background has read the stores that are here; `undefined` when none is. */
export function scrubText(devices: readonly DeviceView[]): string | undefined {
  const scrubs = devices.flatMap(({ scrub }) => (scrub ? [scrub] : []));
  if (scrubs.length === 0) return undefined;
  const percent = (100 * scrubs.reduce((sum, { part }) => sum + part, 0)) / scrubs.length;
  const oldestMs = Math.min(...scrubs.map(({ endedAtMs }) => endedAtMs));
  const before =
    oldestMs > 0 ? `each was read whole at ${isoDate(oldestMs)} or later` : 'not all read yet';
  return `${percent.toFixed(0)} % of this pass read in the background; ${before}`;
}
