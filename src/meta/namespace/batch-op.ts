/**
 * Batches of who holds directory leases: steps that are run one after the other on the rows as the
 * one before left them. The answer of each lane's last batch is kept (cells/retry-rows.ts), in the
 * slot of its first directory, for as long as the session.
 */
import { errorCode, HoldfastError, LIMITS } from '../../base/index.ts';
import type { LeaseClaim } from '../handles/handles.ts';
import { grantLease } from '../handles/lease-ops.ts';
import { isLeaseOf, leasedDirectory, leaseKey } from '../handles/lease-rows.ts';
import { checkSession } from '../handles/session-ops.ts';
import * as attributes from './attribute-ops.ts';
import { commitContent } from './content-ops.ts';
import type { Circumstances } from './inode-ops.ts';
import type { Inode } from './namespace.ts';
import { slotOfInode } from './namespace-rows.ts';
import { rename } from './rename-op.ts';
import { retentionOf } from './retention.ts';
import * as operations from './tree-ops.ts';
import type { BatchAnswer, StepResult, Tree, TreeBatch, TreeStep, TreeStepName } from './tree.ts';
import { type Change, Overlay } from '../cells/overlay.ts';
import { runOnce } from '../cells/retry-rows.ts';

type Step<Name extends TreeStepName> = (
  rows: Overlay,
  at: Circumstances,
  ...args: Parameters<Tree[Name]>
) => Awaited<ReturnType<Tree[Name]>>;

/** The changes of a tree that a batch may bring, as operations over rows. */
export const STEPS: { readonly [Name in TreeStepName]: Step<Name> } = {
  makeNode: (rows, at, request) => operations.makeNode(rows, request, at),
  makeDirectory: (rows, at, request) => operations.makeDirectory(rows, request, at),
  link: (rows, at, inode, place) => operations.link(rows, { inode, place }, at),
  unlink: (rows, at, place) => operations.unlink(rows, place, at),
  removeDirectory: (rows, at, place) => operations.removeDirectory(rows, place, at),
  rename: (rows, at, request) => rename(rows, request, at),
  setAttributes: (rows, at, inode, changes) =>
    operations.setAttributes(rows, { inode, changes }, at),
  setXattr: (rows, at, request) => attributes.setXattr(rows, request, at),
  removeXattr: (rows, at, inode, name) => attributes.removeXattr(rows, { inode, name }, at),
  commitExtents: (rows, at, commit) => commitContent(rows, commit, at),
};

/** @throws as {@link Tree.runBatch}. */
export function runBatch(rows: Overlay, batch: TreeBatch, at: Circumstances): BatchAnswer {
  const { session, lane, sequence, leases, steps } = batch;
  const [first] = leases;
  const isBounded = leases.length <= LIMITS.batchLeasesMax && steps.length <= LIMITS.batchStepsMax;
  if (!first || steps.length === 0 || !isBounded) {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'a batch has leases and steps, and not too many');
  }
  checkSession(rows, session); // of one that is over nothing is kept either
  const options = { retry: { session, lane, sequence }, slot: slotOfInode(first.directory) };
  const outcome = runOnce(rows, options, () => runSteps(rows, batch, at));
  if ('error' in outcome) throw outcome.error;
  return outcome.result;
}

function runSteps(rows: Overlay, batch: TreeBatch, at: Circumstances): BatchAnswer {
  const { session, leases, steps } = batch;
  const claims = new Map<Inode, LeaseClaim>();
  rows.need(leases.map(({ directory }) => leaseKey(directory)));
  for (const { directory, fence } of leases) {
    const claim = { session, fence };
    if (isLeaseOf(rows, directory, claim)) claims.set(directory, claim);
    else if (at.fault !== 'no-lease-fence') return { state: 'fenced', directory };
  }
  const results: StepResult[] = [];
  const weight = new Weight();
  for (const step of steps) {
    const run = (scratch: Overlay): StepResult => runStep(scratch, step, { at, claims, session });
    const result = attempted(rows, weight, run);
    if (result.lease) claims.set(result.lease.directory, result.lease);
    results.push(result);
  }
  return { state: 'done', atMs: at.nowMs, results };
}

/** Writes what the step changes, unless it is refused. @throws HF_TOO_LARGE. */
function attempted(
  rows: Overlay,
  weight: Weight,
  run: (scratch: Overlay) => StepResult,
): StepResult {
  const scratch = new StepRows(rows);
  let result: StepResult;
  try {
    result = run(scratch);
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined && rows.mayGoOn(error)) return {};
    if (code === undefined) throw error; // another detour, or a bug
    return { code, leased: leasedDirectory(error) };
  }
  for (const [text, change] of scratch.changes) {
    weight.add(text, change);
    rows.set(change, text);
  }
  return result;
}

/** Of all that a batch changes: no entry holds more, so that it need not run on. */
class Weight {
  readonly #bytesOf = new Map<string, number>();
  #bytes = 0;

  /** @throws HF_TOO_LARGE. */
  add(text: string, { key, value }: Change): void {
    const bytes = key.length + (value?.length ?? 0);
    this.#bytes += bytes - (this.#bytesOf.get(text) ?? 0);
    this.#bytesOf.set(text, bytes);
    if (this.#bytes <= LIMITS.logEntryBytesMax) return;
    throw new HoldfastError('HF_TOO_LARGE', 'the batch is to be asked in parts');
  }
}

interface Holding {
  readonly at: Circumstances;
  readonly claims: ReadonlyMap<Inode, LeaseClaim>;
  readonly session: string;
}

type AnyStep = (rows: Overlay, at: Circumstances, ...args: unknown[]) => unknown;

function runStep(rows: Overlay, step: TreeStep, { at, claims, session }: Holding): StepResult {
  if (step.do === 'leaseDirectory') {
    return { lease: grantLease(rows, { ...step.args[0], session }) };
  }
  const circumstances = { ...at, nowMs: momentOf(rows, step, at), claims };
  const result = (STEPS[step.do] as AnyStep)(rows, circumstances, ...step.args);
  // Of the many shapes of answers.
  const { status, changeCount, wasBase, release } = (result ?? {}) as Told;
  return { changeCount: status?.changeCount ?? changeCount, wasBase, release };
}

/** A writer's clock must not shorten a retention. */
function momentOf(rows: Overlay, { atMs }: TreeStep, { nowMs }: Circumstances): number {
  if (atMs === undefined || retentionOf(rows)) return nowMs;
  return Math.min(nowMs, Math.max(atMs, nowMs - LIMITS.stepAgeMsMax));
}

interface Told extends StepResult {
  readonly status?: { readonly changeCount: bigint };
}

/** What one step has changed; nothing of it is left when it is refused. */
class StepRows extends Overlay {
  override need(keys: readonly Uint8Array[]): void {
    (this.below as Overlay).need(keys);
  }
}
