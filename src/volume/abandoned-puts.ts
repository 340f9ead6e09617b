/**
 * Undoes puts that failed. The steward may be away just then, which may be why they failed; and
 * what a live writer has named no collector touches. So it is asked again until it has answered, or
 * this node ends, with its session: then the collector does it.
 */
import { errorCode, type StripeId, type VolumeId } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { Inode } from '../meta/index.ts';
import type { Repair } from '../repair/index.ts';

const RETRY_MS = 5000;
/** Each remembers its stripes; those beyond wait for the end of the session. */
const KEPT_MAX = 10_000;

interface AbandonedPut {
  readonly inode: Inode;
  readonly stripes: readonly StripeId[];
}

export interface AbandonedPutsOptions {
  readonly env: Pick<Env, 'clock' | 'log'>;
  readonly volume: VolumeId;
  readonly repair: Pick<Repair, 'abandon'>;
}

export class AbandonedPuts implements AsyncDisposable {
  readonly #options: AbandonedPutsOptions;
  readonly #left: AbandonedPut[] = [];
  readonly #end = new AbortController();
  #retrying: Promise<void> | undefined;

  constructor(options: AbandonedPutsOptions) {
    this.#options = options;
  }

  /** Also where the outcome of the commit is not known: what was committed stays. */
  async undo(inode: Inode, stripes: readonly StripeId[]): Promise<void> {
    const put = { inode, stripes };
    if (await this.#isUndone(put, 'warn')) return;
    if (this.#left.length === KEPT_MAX || this.#end.signal.aborted) return;
    this.#left.push(put);
    this.#retrying ??= this.#retry();
  }

  /** Throws nothing: the caller has another failure to tell of. */
  async #isUndone({ inode, stripes }: AbandonedPut, level: 'warn' | 'debug'): Promise<boolean> {
    const { env, volume, repair } = this.#options;
    try {
      await repair.abandon(volume, inode, stripes);
      return true;
    } catch (error) {
      const code = errorCode(error);
      env.log[level]('a failed put is not undone yet', { error });
      // It is not for us any more.
      return code === undefined || code === 'HF_DENIED';
    }
  }

  async #retry(): Promise<void> {
    const { clock } = this.#options.env;
    for await (const _ of clock.every(RETRY_MS, { signal: this.#end.signal })) {
      while (this.#left[0] && (await this.#isUndone(this.#left[0], 'debug'))) this.#left.shift();
      if (this.#left.length === 0) break;
      // One alone that keeps failing is not in the way of the others.
      this.#left.push(this.#left.shift()!);
    }
    this.#retrying = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#retrying;
  }
}
