/**
 * What beats in a node that has its stores: the core, and the care for them.
 *
 *   waiting ──open()──▶ beating ──dispose──▶ stopped
 *
 * A node *waits* while it has no stores yet, or while stores that its user has detached are needed
 * to go on. It serves its control interface meanwhile, and tries again whenever a store is added.
 */
import { errorCode, errorMessage, HoldfastError, Mutex } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { startCare } from './care.ts';
import type { Core } from './core.ts';
import { makeDefaultVolume } from './first-run.ts';
import type { StoreSet } from './store-set.ts';

export interface HeartOptions {
  readonly env: Env;
  readonly stores: StoreSet;
  readonly openCore: () => Promise<Core>;
}

export class Heart implements AsyncDisposable {
  readonly #options: HeartOptions;
  readonly #stack = new AsyncDisposableStack();
  readonly #opening = new Mutex();
  #core: Core | undefined;
  #waitsFor = 'it has not been opened';

  constructor(options: HeartOptions) {
    this.#options = options;
  }

  /** `undefined` while the node waits. */
  get core(): Core | undefined {
    return this.#core;
  }

  /** What the node waits for; `undefined` when it does not. */
  get waitsFor(): string | undefined {
    return this.#core ? undefined : this.#waitsFor;
  }

  /** @throws HF_TOO_FEW_STORES while the node waits. */
  needCore(): Core {
    return this.#core ?? this.refuse();
  }

  /** @throws HF_TOO_FEW_STORES. */
  refuse(): never {
    throw new HoldfastError('HF_TOO_FEW_STORES', `the node waits: ${this.#waitsFor}`);
  }

  /**
   * Opens the core, if the stores for it are here.
   * @throws as openCore; HF_TOO_FEW_STORES only when no store is detached.
   */
  async open(): Promise<void> {
    await this.#opening.run(async () => {
      if (!this.#core) await this.#open();
    });
  }

  async #open(): Promise<void> {
    const { stores, env, openCore } = this.#options;
    if (stores.slots.length === 0) {
      this.#waitsFor = 'it has no stores yet; give it one with: holdfast dev add PATH';
      return;
    }
    await using opened = new AsyncDisposableStack();
    try {
      const core = opened.use(await openCore());
      await makeDefaultVolume(core);
      opened.use(startCare({ env, core, stores, repair: core.repair }));
      this.#stack.use(opened.move());
      this.#core = core;
    } catch (error) {
      const isDetached = stores.slots.some((slot) => slot.isDetached);
      if (errorCode(error) !== 'HF_TOO_FEW_STORES' || !isDetached) throw error;
      this.#waitsFor = errorMessage(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
