/**
 * What was done in held directories and is not brought yet, in order, and how it is brought: one
 * batch after the other, by one lane (docs/design/0010). A batch whose answer was lost is asked
 * again until there is one, so that nothing is done twice and nothing overtakes.
 */
import {
  assert,
  errorCode,
  errorMessage,
  HoldfastError,
  LIMITS,
  MiB,
  UnderWay,
  unlessBug,
} from '../../base/index.ts';
import type { Clock, Log } from '../../env/index.ts';
import type {
  BatchAnswer,
  HeldLease,
  Inode,
  SessionId,
  StepResult,
  TreeBatch,
  TreeStep,
} from '../../meta/index.ts';
import type { HeldFault } from './holder.ts';

export interface QueuedStep {
  readonly step: TreeStep;
  /** The directories that it goes by: held, or made by a step before. */
  readonly directories: readonly Inode[];
  /** All inodes that it changes. */
  readonly inodes: readonly Inode[];
  /** What it makes: steps on that are in vain when this one is. */
  readonly makes?: Inode | undefined;
  /** What loses a name by it. */
  readonly removes?: Inode | undefined;
  /** Its answer, also one that refuses it. */
  readonly done: (result: StepResult) => void;
  /** It never was done, nor will be. */
  readonly lost: (error: HoldfastError) => void;
}

export interface StepQueueOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly session: () => SessionId;
  /** `undefined` of one that no cell has yet. */
  readonly leaseOf: (directory: Inode) => HeldLease | undefined;
  readonly runBatch: (batch: TreeBatch) => Promise<BatchAnswer>;
  /** Told before the steps that depend on it are lost. */
  readonly onFenced: (directory: Inode) => void;
  readonly onSessionOver: (session: SessionId) => Promise<void>;
  /** Sees to it that what is open here stays; @returns how many of these steps may go now. */
  readonly prepare: (steps: readonly QueuedStep[]) => Promise<number>;
  readonly fault?: HeldFault | undefined;
}

interface NumberedStep extends QueuedStep {
  readonly number: number;
}

/** So many wait for no timer. */
const STEPS_DUE = 128;
const BATCH_BYTES = 0.75 * MiB;
/** Bytes of the rows of a step, besides what it carries. */
const STEP_BYTES = 600;
const EXTENT_BYTES = 200;
const PAUSE_MS = 250;

const UNANSWERED: readonly (string | undefined)[] = [
  'HF_UNKNOWN_OUTCOME',
  'HF_UNAVAILABLE',
  'HF_TIMEOUT',
  'HF_CLOSED',
  'HF_FENCED',
  'HF_INTERRUPTED',
];

export class StepQueue implements AsyncDisposable {
  readonly #options: StepQueueOptions;
  /** Not asked for yet; and those of the batch that is under way, which come first. */
  #steps: NumberedStep[] = [];
  #flight: readonly NumberedStep[] = [];
  #sequence = 0;
  /** Of the next step. */
  #number = 0;
  /** Until all steps below a number have ended. */
  readonly #waiting: { readonly number: number; readonly resolve: () => void }[] = [];
  readonly #pumps = new UnderWay();
  #isPumping = false;
  #isUrgent = false;
  #due: AbortController | undefined;
  #stepsMax: number = LIMITS.batchStepsMax;
  #isClosed = false;

  constructor(options: StepQueueOptions) {
    this.#options = options;
  }

  get length(): number {
    return this.#flight.length + this.#steps.length;
  }

  /** Behind all others. */
  add(step: QueuedStep): void {
    assert(!this.#isClosed, 'nothing is done after the end');
    this.#steps.push({ ...step, number: this.#number });
    this.#number += 1;
    if (this.#steps.length >= STEPS_DUE) this.#hurry();
    else this.#wait();
  }

  /** All that was added before is in or lost when it resolves. */
  async bringAll(): Promise<void> {
    this.#isUrgent = true;
    await this.#ended(this.#number);
  }

  /** Resolves when all steps below the number are in, or lost. */
  async #ended(number: number): Promise<void> {
    if (this.#first >= number) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ number, resolve });
    this.#hurry();
    await promise;
  }

  /** All steps below it have ended. */
  get #first(): number {
    return (this.#flight[0] ?? this.#steps[0])?.number ?? this.#number;
  }

  /** Resolves when there is room for more. */
  async room(): Promise<void> {
    while (this.length >= LIMITS.heldStepsMax) await this.#ended(this.#first + 1);
  }

  #wait(): void {
    if (this.#due || this.#isPumping) return;
    const due = new AbortController();
    this.#due = due;
    const slept = this.#options.clock.sleep(LIMITS.heldStepMsMax, due).then(
      () => this.#hurry(),
      () => undefined,
    );
    void this.#pumps.run(() => slept);
  }

  #hurry(): void {
    this.#due?.abort();
    this.#due = undefined;
    if (this.#isPumping) return;
    this.#isPumping = true;
    void this.#pumps.run(() => this.#pump());
  }

  async #pump(): Promise<void> {
    try {
      await this.#options.clock.turn(); // what comes together goes together
      while (this.#steps.length > 0) {
        await this.#bring();
        const isDue = this.#isUrgent || this.#steps.length >= STEPS_DUE;
        if (!isDue) break;
      }
    } finally {
      this.#isPumping = false;
    }
    if (this.#steps.length > 0) this.#wait();
  }

  // One batch.

  async #bring(): Promise<void> {
    const { clock, prepare, session: sessionNow } = this.#options;
    const picked = this.#pick();
    const count = await prepare(picked.steps).catch(unlessBug);
    if (count === undefined) {
      await clock.sleep(PAUSE_MS);
      return;
    }
    // Some of them may have been lost meanwhile.
    const left = new Set(this.#steps);
    const steps = picked.steps.slice(0, count).filter((step) => left.has(step));
    if (steps.length === 0) return;
    if (picked.leases.length === 0) {
      this.#lose(steps, new HoldfastError('HF_FENCED', 'its directory is held no more'));
      return;
    }
    this.#flight = steps;
    this.#steps = this.#steps.filter(({ number }) => number > steps.at(-1)!.number);
    const session = sessionNow();
    this.#sequence += 1;
    const inOrder = steps.map(({ step }) => step);
    const sent = this.#options.fault === 'reorders' ? inOrder.toReversed() : inOrder;
    const { leases } = picked;
    const batch = { session, leases, lane: 0, sequence: this.#sequence, steps: sent };
    await this.#heard(steps, await this.#answerOf(batch), session);
  }

  async #heard(
    steps: readonly NumberedStep[],
    answer: BatchAnswer | 'too large' | 'over',
    session: SessionId,
  ): Promise<void> {
    this.#flight = [];
    if (typeof answer === 'object' && answer.state === 'done') {
      this.#stepsMax = LIMITS.batchStepsMax;
      for (const [at, { done }] of steps.entries()) {
        done(answer.results[at] ?? { code: 'HF_INTERNAL' });
      }
      this.#wake();
      return;
    }
    if (answer === 'over') {
      this.#lose(steps, new HoldfastError('HF_SESSION_OVER', 'what was not brought is lost'));
      await this.#options.onSessionOver(session).catch(unlessBug);
      return;
    }
    this.#steps = [...steps, ...this.#steps];
    if (answer === 'too large') this.#stepsMax = Math.max(1, Math.floor(steps.length / 2));
    else this.fence(answer.directory);
  }

  /** The longest run of steps from the front that fits a batch, with the leases that they go by. */
  #pick(): { steps: NumberedStep[]; leases: HeldLease[] } {
    const leases = new Map<Inode, HeldLease>();
    /** Directories that the batch makes or leases itself. */
    const coming = new Set<Inode>();
    const steps: NumberedStep[] = [];
    let bytes = 0;
    for (const queued of this.#steps) {
      const more = new Map<Inode, HeldLease>();
      for (const directory of queued.directories) {
        const lease = leases.has(directory) ? undefined : this.#options.leaseOf(directory);
        if (lease) more.set(directory, { directory, fence: lease.fence });
      }
      noteComing(coming, queued);
      const isCarried = queued.directories.every(
        (directory) => leases.has(directory) || more.has(directory) || coming.has(directory),
      );
      bytes += bytesOf(queued.step);
      const isFull =
        leases.size + more.size > LIMITS.batchLeasesMax ||
        steps.length >= this.#stepsMax ||
        bytes > BATCH_BYTES;
      if ((isFull || !isCarried) && steps.length > 0) break;
      steps.push(queued);
      if (!isCarried) return { steps, leases: [] };
      for (const [directory, lease] of more) leases.set(directory, lease);
    }
    return { steps, leases: [...leases.values()] };
  }

  /** Asks the same until there is an answer. */
  async #answerOf(batch: TreeBatch): Promise<BatchAnswer | 'too large' | 'over'> {
    const { runBatch, clock, log } = this.#options;
    for (let tries = 1; ; tries++) {
      try {
        return await runBatch(batch);
      } catch (error) {
        const code = errorCode(error);
        if (code === 'HF_SESSION_OVER') return 'over';
        if (code === 'HF_TOO_LARGE' && batch.steps.length > 1) return 'too large';
        if (!UNANSWERED.includes(code) || this.#isClosed) return refusedBy(error, batch);
        if (tries === 2)
          log.warn('what was done in a mount waits', { reason: errorMessage(error) });
        await clock.sleep(PAUSE_MS);
        if (this.#options.fault !== 'asks-anew') continue;
        this.#sequence += 1;
        return await this.#answerOf({ ...batch, sequence: this.#sequence });
      }
    }
  }

  #wake(): void {
    const first = this.#first;
    for (let at = 0; at < this.#waiting.length;) {
      if (this.#waiting[at]!.number > first) at += 1;
      else this.#waiting.splice(at, 1)[0]!.resolve();
    }
    if (this.#waiting.length === 0) this.#isUrgent = false;
  }

  // What is lost.

  /** @returns `undefined` when others have the directory by now: it is looked at anew. */
  async unlessFenced<Result>(
    directory: Inode,
    work: () => Promise<Result>,
  ): Promise<Result | undefined> {
    try {
      return await work();
    } catch (error) {
      if (errorCode(error) !== 'HF_FENCED') throw error;
      this.fence(directory);
      return undefined;
    }
  }

  /**
   * The lease of a directory is gone: what was to go by it is lost, and what depends on that. What
   * is under way hears of it by itself.
   */
  fence(directory: Inode): void {
    this.#options.onFenced(directory);
    const error = new HoldfastError('HF_FENCED', 'the directory was given to others meanwhile');
    const missing = new Set([directory]);
    const lost: NumberedStep[] = [];
    for (const queued of this.#steps) {
      const { directories, inodes, makes } = queued;
      const isLost =
        directories.some((each) => missing.has(each)) ||
        inodes.some((each) => each !== directory && missing.has(each));
      if (!isLost) continue;
      lost.push(queued);
      if (makes !== undefined) missing.add(makes);
    }
    this.#lose(lost, error);
  }

  /** All of it: the session is over. */
  loseAll(error: HoldfastError): void {
    this.#lose([...this.#steps], error);
  }

  #lose(lost: readonly NumberedStep[], error: HoldfastError): void {
    const gone = new Set(lost);
    this.#steps = this.#steps.filter((queued) => !gone.has(queued));
    for (const queued of lost) queued.lost(error);
    this.#wake();
  }

  /** Everything that can be brought is in. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { clock } = this.#options;
    const late = new AbortController();
    await Promise.race([
      this.bringAll(),
      clock.sleep(LIMITS.heldEndMsMax, late).catch(() => undefined),
    ]);
    late.abort();
    this.#isClosed = true;
    this.#due?.abort();
    this.loseAll(new HoldfastError('HF_CLOSED', 'the volume is closed'));
    await this.#pumps.settled();
  }
}

function noteComing(coming: Set<Inode>, { step, makes }: QueuedStep): void {
  if (step.do === 'leaseDirectory') coming.add(step.args[0].directory);
  if (makes !== undefined) coming.add(makes);
}

function bytesOf({ do: name, args }: TreeStep): number {
  if (name === 'commitExtents') {
    const { extents, inline } = args[0];
    return STEP_BYTES + extents.length * EXTENT_BYTES + (inline?.sealed.length ?? 0);
  }
  if (name === 'setXattr') return STEP_BYTES + args[0].value.length;
  return STEP_BYTES;
}

/** One step that no cell can take fails alone; of several each is refused. */
function refusedBy(error: unknown, { steps }: TreeBatch): BatchAnswer {
  const code = errorCode(error);
  if (code === undefined) throw error;
  return { state: 'done', atMs: 0, results: steps.map(() => ({ code })) };
}
