/**
 * Asks all the time which of the directories that this node holds it is to return.
 *
 * All questions end at the same moments, `LIMITS.handleWaitMsMax` apart, and what is new is asked
 * about alone until then: so that, with many directories held, there is mostly one question under
 * way, and each is asked about once in that time however fast others are added.
 */
import { batchesOf, errorCode, errorMessage, LIMITS, unlessBug } from '../../base/index.ts';
import type { Clock, Log } from '../../env/index.ts';
import type { Handles, Inode, SessionId } from '../../meta/index.ts';
import { type HeldDirectory, leasesOf } from './held-directory.ts';

export interface RecallWatchOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly handles: Pick<Handles, 'awaitRecalls'>;
  readonly session: () => SessionId;
  /** Asks for another session when this one is over. */
  readonly renew: (over: SessionId) => Promise<void>;
  /** All that are to be asked about, each leased. */
  readonly held: () => readonly HeldDirectory[];
  /** Who of those asked about is due; asked at this monotonic time. */
  readonly onHeard: (asked: readonly HeldDirectory[], heard: Heard) => void;
  /** A question has ended, with an answer or without. */
  readonly onEnd: () => void;
}

export interface Heard {
  readonly due: ReadonlySet<Inode>;
  readonly atMs: number;
}

/** What comes together is asked together. */
const GATHER_MS = 50;
const PAUSE_MS = 250;

export class RecallWatch {
  readonly #options: RecallWatchOptions;
  readonly #asked = new Set<HeldDirectory>();
  #news = Promise.withResolvers<void>();
  #running: Promise<void> | undefined;
  #isOver = false;

  constructor(options: RecallWatchOptions) {
    this.#options = options;
  }

  /** Directories are held that were not. */
  arrived(): void {
    this.#running ??= this.#run();
    this.#news.resolve();
  }

  async #run(): Promise<void> {
    for (;;) {
      await this.#news.promise;
      if (!this.#isOver) await this.#options.clock.sleep(GATHER_MS);
      if (this.#isOver) return;
      this.#news = Promise.withResolvers();
      const fresh = this.#options.held().filter((held) => !this.#asked.has(held));
      for (const some of batchesOf(fresh, LIMITS.listPageMax)) void this.#ask(some);
    }
  }

  async #ask(about: readonly HeldDirectory[]): Promise<void> {
    const { clock, log, handles, session, renew, onHeard, onEnd } = this.#options;
    const asking = session();
    for (const held of about) this.#asked.add(held);
    try {
      const atMs = clock.monotonic();
      const waitMs = LIMITS.handleWaitMsMax - (atMs % LIMITS.handleWaitMsMax);
      const due = await handles.awaitRecalls(asking, leasesOf(about), Math.ceil(waitMs));
      onHeard(about, { due: new Set(due), atMs });
    } catch (error) {
      const code = errorCode(error);
      if (code === undefined) throw error;
      log.debug('nobody says whether directories are held', { reason: errorMessage(error) });
      if (code === 'HF_SESSION_OVER') await renew(asking).catch(unlessBug);
      if (!this.#isOver) await clock.sleep(PAUSE_MS);
    } finally {
      for (const held of about) this.#asked.delete(held);
      onEnd();
      this.#news.resolve();
    }
  }

  /** Asks no more. */
  async end(): Promise<void> {
    this.#isOver = true;
    this.#news.resolve();
    await this.#running;
  }
}
