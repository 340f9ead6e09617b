/**
 * The runner: carries out what was planned, the most urgent first and few at once, at its pace. A
 * stripe without spare shards waits for nothing. What it was when it is cut short can be seen from
 * the stores alone, so the next run goes on from there.
 */
import { LIMITS, mapBounded, schemeOfNumber, throwIfAborted } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { StripeStore } from '../stripes/index.ts';
import type { Pacer } from './pace.ts';
import { compareSteps, type Step } from './planner.ts';
import type { Progress } from './repair.ts';
import type { RunMeter, StatusBoard } from './status-board.ts';

export interface StepsContext {
  readonly env: Env;
  readonly stripes: Pick<StripeStore, 'rebuild'>;
  readonly pacer: Pacer;
  readonly board: StatusBoard;
  readonly meter: RunMeter;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

export interface StepsOutcome {
  /** Stripes that have all their shards now. */
  readonly repaired: number;
  readonly writtenBytes: number;
}

export async function runSteps(
  context: StepsContext,
  planned: readonly Step[],
): Promise<StepsOutcome> {
  const { meter, onProgress } = context;
  const steps = planned.toSorted(compareSteps);
  meter.activity = 'repair';
  meter.doneCount = 0;
  meter.totalCount = steps.length;
  meter.totalBytes = steps.reduce((sum, { bytes }) => sum + bytes, 0);
  let repaired = 0;
  let writtenBytes = 0;
  await mapBounded(steps, LIMITS.stripesInFlightMax, async (step) => {
    throwIfAborted(context.signal);
    if (step.spare > 0) await takeTurn(context, step);
    const outcome = await runStep(context, step);
    if (outcome.isWhole) repaired += 1;
    writtenBytes += outcome.writtenBytes;
    meter.addBytes(outcome.writtenBytes);
    // What was expected and not written, or the other way, is not ahead any more.
    meter.totalBytes += outcome.writtenBytes - step.bytes;
    meter.doneCount += 1;
    onProgress?.({ doneCount: meter.doneCount, totalCount: steps.length, bytes: writtenBytes });
  });
  return { repaired, writtenBytes };
}

async function takeTurn({ pacer, meter, signal }: StepsContext, step: Step): Promise<void> {
  meter.waitingCount += 1;
  try {
    await pacer.take(step, signal);
  } finally {
    meter.waitingCount -= 1;
  }
}

async function runStep(
  { env, stripes, board, signal }: StepsContext,
  { record, kind }: Step,
): Promise<{ isWhole: boolean; writtenBytes: number }> {
  try {
    const { writtenBytes, health } = await stripes.rebuild(record, { signal });
    if (health.isWhole && kind === 'rebuild') {
      board.stripesAtRisk -= 1;
      board.bytesAtRisk -= contentBytes(record);
    }
    return { isWhole: health.isWhole, writtenBytes };
  } catch (error) {
    throwIfAborted(signal);
    // One stripe that cannot be repaired now must not keep the others from it.
    env.log.warn('a stripe could not be repaired', { error });
    return { isWhole: false, writtenBytes: 0 };
  }
}

/** Bytes of content, with what rounding and headers add. */
export function contentBytes({ schemeNumber, chunkBytes }: Step['record']): number {
  return schemeOfNumber(schemeNumber).k * chunkBytes;
}
