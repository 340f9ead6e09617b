/**
 * Runs that store the older objects of a volume by its policy. There is one at a time for a volume;
 * it outlives whoever asked for it. The volume's record names the node that is at work, so that its
 * next life goes on: what is stored so already is passed over.
 */
import { errorCode, HoldfastError, isSamePolicy, type Policy } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { ObjectStore, ReencodeReport, RunOptions } from '../volume/index.ts';

export interface PolicyWork {
  readonly objects: Pick<ObjectStore, 'reencodeAll'>;
  /** The volume's policy as it is now. */
  readonly policy: () => Policy;
  /** Writes down that the work is done. */
  readonly finish: () => Promise<void>;
}

type Listener = NonNullable<RunOptions['onProgress']>;

interface Run {
  readonly end: AbortController;
  readonly report: Promise<ReencodeReport>;
  readonly listeners: Set<Listener>;
}

export class PolicyRuns implements AsyncDisposable {
  readonly #env: Pick<Env, 'log'>;
  readonly #runs = new Map<string, Run>();

  constructor(env: Pick<Env, 'log'>) {
    this.#env = env;
  }

  has(volume: string): boolean {
    return this.#runs.has(volume);
  }

  /** Starts the volume's run, unless it is under way. */
  start(volume: string, work: PolicyWork): void {
    if (this.#runs.has(volume)) return;
    const end = new AbortController();
    const listeners = new Set<Listener>();
    const report = this.#work(work, { signal: end.signal, listeners }).finally(() =>
      this.#runs.delete(volume),
    );
    // Whoever follows the run is told.
    report.catch((error: unknown) => {
      if (errorCode(error) === 'HF_INTERRUPTED') return;
      this.#env.log.warn('a policy could not be applied', { volume, error });
    });
    this.#runs.set(volume, { end, report, listeners });
  }

  async #work(
    { objects, policy, finish }: PolicyWork,
    { signal, listeners }: { signal: AbortSignal; listeners: ReadonlySet<Listener> },
  ): Promise<ReencodeReport> {
    for (;;) {
      const wanted = policy();
      const report = await objects.reencodeAll(wanted, {
        signal,
        onProgress: (progress) => {
          for (const listener of listeners) listener(progress);
        },
      });
      // It may have been changed again meanwhile.
      if (!isSamePolicy(policy(), wanted)) continue;
      await finish();
      return report;
    }
  }

  /** Waits for the end of the volume's run. @throws HF_INTERRUPTED; the run goes on. */
  async follow(volume: string, { signal, onProgress }: RunOptions): Promise<ReencodeReport> {
    const run = this.#runs.get(volume);
    if (!run) throw new HoldfastError('HF_NOT_FOUND', 'no run is under way');
    if (onProgress) run.listeners.add(onProgress);
    const { promise: gone, reject } = Promise.withResolvers<never>();
    const leave = (): void => reject(new HoldfastError('HF_INTERRUPTED', 'the work goes on'));
    signal?.addEventListener('abort', leave);
    try {
      if (signal?.aborted) leave();
      return await Promise.race([run.report, gone]);
    } finally {
      signal?.removeEventListener('abort', leave);
      if (onProgress) run.listeners.delete(onProgress);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const runs = [...this.#runs.values()];
    for (const { end } of runs) end.abort();
    await Promise.allSettled(runs.map(({ report }) => report));
  }
}
