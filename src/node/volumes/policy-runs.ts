/**
 * Runs that store the older objects of a volume by its policy. There is one at a time for a volume;
 * it outlives whoever asked for it. The volume's record names the node that is at work, so that its
 * next life goes on: what is stored so already is passed over. It does so until nothing is left: a
 * run that some objects withstood is followed by another one, after a pause.
 */
import { errorCode, HoldfastError, isSamePolicy, type Policy } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { ObjectStore, ReencodeReport, RunOptions } from '../../volume/index.ts';

export interface PolicyWork {
  readonly objects: Pick<ObjectStore, 'reencodeAll'>;
  /** The volume's policy as it is now. */
  readonly policy: () => Policy;
  /** Whether it is still for this node to do. */
  readonly isDue: () => boolean;
  /** Whether all stores are there that objects are to be stored on. */
  readonly hasAllStores: () => boolean;
  /** Writes down that the work is done. */
  readonly finish: () => Promise<void>;
}

type Listener = NonNullable<RunOptions['onProgress']>;

/** Waits between runs, doubled from one to the next. */
const RETRY_MS_MIN = 60_000;
const RETRY_MS_MAX = 60 * RETRY_MS_MIN;
/** Stores that are not there by then are not waited for. */
const STORES_MS_MAX = 60_000;
const STORES_LOOK_MS = 500;

interface Run {
  readonly report: Promise<ReencodeReport>;
  readonly listeners: Set<Listener>;
}

export class PolicyRuns implements AsyncDisposable {
  readonly #env: Pick<Env, 'log' | 'clock'>;
  readonly #runs = new Map<string, Run>();
  /** Pauses before the next runs. */
  readonly #pauses = new Map<string, AbortController>();
  readonly #end = new AbortController();

  constructor(env: Pick<Env, 'log' | 'clock'>) {
    this.#env = env;
  }

  has(volume: string): boolean {
    return this.#runs.has(volume);
  }

  /** Starts the volume's run, unless it is under way. */
  start(volume: string, work: PolicyWork): void {
    this.#start(volume, work, { pauseMs: RETRY_MS_MIN });
  }

  /** The same for what an earlier life began; the stores of other nodes are waited for. */
  resume(volume: string, work: PolicyWork): void {
    this.#start(volume, work, { pauseMs: RETRY_MS_MIN, waitsForStores: true });
  }

  #start(
    volume: string,
    work: PolicyWork,
    { pauseMs, waitsForStores = false }: { pauseMs: number; waitsForStores?: boolean },
  ): void {
    if (this.#runs.has(volume)) return;
    this.#pauses.get(volume)?.abort();
    const listeners = new Set<Listener>();
    const ready = waitsForStores ? this.#meetStores(work) : Promise.resolve();
    const report = ready
      .then(() => this.#work(work, listeners))
      .finally(() => this.#runs.delete(volume));
    this.#runs.set(volume, { report, listeners });
    const again = (): void => void this.#startLater(volume, work, pauseMs);
    report.then(
      ({ failed }) => failed > 0 && again(),
      (error: unknown) => {
        // Whoever follows the run is told.
        if (errorCode(error) === 'HF_INTERRUPTED') return;
        this.#env.log.warn('a policy could not be applied', { volume, error });
        again();
      },
    );
  }

  /** Without them objects would stand closer together than they need to, or not in full. */
  async #meetStores({ hasAllStores }: PolicyWork): Promise<void> {
    const { clock } = this.#env;
    const untilMs = clock.monotonic() + STORES_MS_MAX;
    while (!hasAllStores() && clock.monotonic() < untilMs) {
      await clock.sleep(STORES_LOOK_MS, { signal: this.#end.signal });
    }
  }

  async #startLater(volume: string, work: PolicyWork, pauseMs: number): Promise<void> {
    const pause = new AbortController();
    const signal = AbortSignal.any([pause.signal, this.#end.signal]);
    this.#pauses.set(volume, pause);
    try {
      await this.#env.clock.sleep(pauseMs, { signal });
    } catch {
      return; // somebody has started it, or this node ends
    } finally {
      if (this.#pauses.get(volume) === pause) this.#pauses.delete(volume);
    }
    const next = { pauseMs: Math.min(2 * pauseMs, RETRY_MS_MAX), waitsForStores: true };
    if (work.isDue()) this.#start(volume, work, next);
  }

  async #work(
    { objects, policy, finish }: PolicyWork,
    listeners: ReadonlySet<Listener>,
  ): Promise<ReencodeReport> {
    const { signal } = this.#end;
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
      if (report.failed === 0) await finish();
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
    this.#end.abort();
    await Promise.allSettled([...this.#runs.values()].map(({ report }) => report));
  }
}
