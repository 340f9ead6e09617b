/**
 * One look at the registry, again and again: whether cell maps were changed, and whether this node
 * reaches the registry at all. The logs of cells are where the registry is: who has not reached the
 * one for {@link CUT_MS} is *cut* from the others, too, and says so.
 */
import { errorCode, errorMessage } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { CellMaps } from './cell-maps.ts';

const LOOK_MS = 500;
const CUT_MS = 2000;

export interface MapWatchOptions {
  readonly env: Env;
  readonly maps: Pick<CellMaps, 'changes' | 'refreshTo'>;
}

export class MapWatch {
  readonly #options: MapWatchOptions;
  #beganAtMs = -Infinity;
  /** When the last look began that was answered. */
  #reachedAtMs = -Infinity;
  /** Since then no gap was long. */
  #reachedSinceMs = Infinity;
  /** Why the last look was not answered. */
  #reason: string | undefined;
  #looking: Promise<void> | undefined;
  /** There may be many maps: who reads them is not cut meanwhile. */
  #refreshing: Promise<void> | undefined;

  constructor(options: MapWatchOptions) {
    this.#options = options;
  }

  get isCut(): boolean {
    return this.#now() - this.#reachedAtMs >= CUT_MS;
  }

  /** Why, for people; `undefined` while that is not known. */
  get cutReason(): string | undefined {
    return this.isCut ? this.#reason : undefined;
  }

  /** For how long it has not been cut. */
  get reachedMs(): number {
    return this.isCut ? 0 : this.#now() - this.#reachedSinceMs;
  }

  /** Looks when it is time to. Does not wait. */
  look(): void {
    if (this.#looking || this.#now() - this.#beganAtMs < LOOK_MS) return;
    this.#looking = this.#look().finally(() => (this.#looking = undefined));
  }

  async settled(): Promise<void> {
    await this.#looking;
    await this.#refreshing;
  }

  /** While the registry does not answer, what is known of the maps holds. */
  async #look(): Promise<void> {
    const { maps } = this.#options;
    const beganAtMs = this.#now();
    this.#beganAtMs = beganAtMs;
    const changes = await maps.changes().catch((error: unknown) => {
      this.#reason = errorMessage(error);
      return this.#note(error);
    });
    if (changes === undefined) return;
    if (this.isCut) this.#reachedSinceMs = this.#now();
    this.#reachedAtMs = beganAtMs;
    this.#reason = undefined;
    this.#refreshing ??= maps
      .refreshTo(changes)
      .catch((error: unknown) => this.#note(error))
      .finally(() => (this.#refreshing = undefined));
  }

  #note(error: unknown): undefined {
    if (errorCode(error) === undefined) throw error;
    const reason = errorMessage(error);
    this.#options.env.log.debug('the cell maps cannot be read', { reason });
    return undefined;
  }

  #now(): number {
    return this.#options.env.clock.monotonic();
  }
}
