/**
 * What beats in a node that has its stores: the core, and the care for them.
 *
 *   waiting ──open()──▶ beating ──dispose, fence──▶ stopped
 *
 * A node *waits* while it has no stores yet, while stores that its user has detached are needed to
 * go on, or while the home of its cluster does not answer. It serves its control interface
 * meanwhile, and tries again whenever a store is added, and for its home every second.
 */
import { type ErrorCode, errorCode, errorMessage, HoldfastError, Mutex } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { dealWithDamage, startCare } from './care.ts';
import { type Core, whileOpen } from './core.ts';
import { makeDefaultVolume } from './first-run.ts';
import { whileWanted } from './metadata/metadata.ts';
import type { StoreSet } from './stores/store-set.ts';

export interface HeartOptions {
  readonly env: Env;
  readonly stores: StoreSet;
  readonly openCore: () => Promise<Core>;
  /** Whether the core is of no use without any: that of the home. */
  readonly needsStores?: boolean | undefined;
  /** How long a node may be away before the home writes it off. */
  readonly nodeGraceMs?: number | undefined;
  /** Aborted, with an error, when the core must not go on: the heart stops for good. */
  readonly fenced?: AbortSignal | undefined;
}

const HOME_AWAY: readonly ErrorCode[] = ['HF_UNAVAILABLE', 'HF_TIMEOUT', 'HF_UNKNOWN_OUTCOME'];

/** How often a home that did not answer is asked again. */
const RETRY_MS = 1000;

export class Heart implements AsyncDisposable {
  readonly #options: HeartOptions;
  readonly #opening = new Mutex();
  readonly #end = new AbortController();
  #beating = new AsyncDisposableStack();
  #core: Core | undefined;
  #waitsFor = 'it has not been opened';
  #waitCode: ErrorCode = 'HF_TOO_FEW_STORES';
  #retrying: Promise<void> | undefined;

  constructor(options: HeartOptions) {
    this.#options = options;
    const { fenced } = options;
    fenced?.addEventListener('abort', () => void this.#stop(fenced.reason), { once: true });
  }

  /** `undefined` while the node waits. */
  get core(): Core | undefined {
    return this.#core;
  }

  /** What the node waits for; `undefined` when it does not. */
  get waitsFor(): string | undefined {
    return this.#core ? undefined : this.#waitsFor;
  }

  /** @throws HF_TOO_FEW_STORES or HF_UNAVAILABLE while the node waits; HF_FENCED. */
  needCore(): Core {
    return this.#core ?? this.refuse();
  }

  /** @throws HF_TOO_FEW_STORES, HF_UNAVAILABLE, HF_FENCED. */
  refuse(): never {
    throw new HoldfastError(this.#waitCode, `the node waits: ${this.#waitsFor}`);
  }

  /**
   * Opens the core, if the stores for it are here and the home answers.
   * @throws as openCore; HF_TOO_FEW_STORES only when no store is detached; HF_FENCED.
   */
  async open(): Promise<void> {
    await this.#opening.run(async () => {
      this.#options.fenced?.throwIfAborted();
      if (!this.#core && !this.#end.signal.aborted) await this.#open();
    });
  }

  async #open(): Promise<void> {
    const { stores, env, openCore, nodeGraceMs, needsStores = true } = this.#options;
    if (stores.slots.length === 0 && needsStores) {
      this.#waitsFor = 'it has no stores yet; give it one with: holdfast dev add PATH';
      return;
    }
    await using opened = new AsyncDisposableStack();
    try {
      const core = opened.use(await openCore());
      if (core.metadata.isHome) await makeDefaultVolume(core);
      opened.use(startCare({ env, core, stores, repair: core.repair, nodeGraceMs }));
      const { metadata } = core;
      const about = { env, repair: core.repair, stores };
      const isWanted = (): boolean => !metadata.isHome;
      const deal = (signal: AbortSignal) =>
        whileWanted(metadata, { isWanted, signal }, (ended) => dealWithDamage(about, ended));
      opened.use(whileOpen(deal));
      this.#beating = opened.move();
      this.#core = core;
    } catch (error) {
      const isDetached = stores.slots.some((slot) => slot.isDetached);
      const code = errorCode(error);
      const isAway = code !== undefined && HOME_AWAY.includes(code);
      if (!isAway && (code !== 'HF_TOO_FEW_STORES' || !isDetached)) throw error;
      this.#waitsFor = errorMessage(error);
      this.#waitCode = isAway ? 'HF_UNAVAILABLE' : 'HF_TOO_FEW_STORES';
      if (isAway) this.#retrying ??= this.#retry();
    }
  }

  /** Until the core is open. */
  async #retry(): Promise<void> {
    const { env } = this.#options;
    const { signal } = this.#end;
    for await (const _ of env.clock.every(RETRY_MS, { signal })) {
      if (this.#core) break;
      await this.open().catch((error: unknown) => {
        this.#waitsFor = errorMessage(error);
        env.log.warn('the node cannot go on yet', { error });
      });
    }
    this.#retrying = undefined;
  }

  /** What is under way fails; the control interface goes on and says why. */
  async #stop(reason: unknown): Promise<void> {
    const { env } = this.#options;
    env.log.error('the node stops serving', { error: reason });
    this.#core = undefined;
    this.#waitsFor = errorMessage(reason);
    this.#waitCode = errorCode(reason) ?? 'HF_FENCED';
    await this.#opening
      .run(() => this.#close())
      .catch((error: unknown) => env.log.error('the node did not stop in order', { error }));
  }

  async #close(): Promise<void> {
    this.#core = undefined;
    const beating = this.#beating;
    this.#beating = new AsyncDisposableStack();
    await beating.disposeAsync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#retrying;
    await this.#opening.run(() => this.#close());
  }
}
