/**
 * The way to the node that carries the metadata, whichever node that is: who asks through it asks
 * `HOME`. A home that answers nothing at all for a few seconds is given up, and as long as that
 * lasts further questions sooner: so a node without its home says so soon, and goes on as soon as
 * one is answered. One that answers others meanwhile has much to do, and is waited for.
 */
import { errorCode, HoldfastError, type NodeId, NOT_NEEDED } from '../../base/index.ts';
import type { Clock } from '../../env/index.ts';
import type { CallOptions, LinkView, Network, OpenedStream } from '../../net/index.ts';

/** Stands for the node of the moment. */
export const HOME = 'home' as NodeId;

/** How long it may say nothing, at first and in doubt: two tries stay below five seconds. */
const SILENCE_MS = 3500;
const DOUBT_MS = 1000;
/** How long a move of the metadata may keep askers waiting, and between two questions. */
const MOVE_MS = 60_000;
const AGAIN_MS = 200;

const SILENCES: readonly (string | undefined)[] = ['HF_TIMEOUT', 'HF_UNAVAILABLE', 'HF_CLOSED'];

type Ways = Pick<Network, 'call' | 'open' | 'links'>;

export interface HomeLinkOptions {
  readonly clock: Clock;
  /** Who is home, as of the call. */
  readonly home: () => NodeId | undefined;
  /** How a node is called in lines for people; its id when left out. */
  readonly tell?: ((node: NodeId) => string) | undefined;
}

export class HomeLink implements Ways {
  readonly #network: Ways;
  readonly #options: HomeLinkOptions;
  #isInDoubt = false;
  #answerCount = 0;
  #answeredAtMs = -Infinity;

  constructor(network: Ways, options: HomeLinkOptions) {
    this.#network = network;
    this.#options = options;
  }

  async call<Result = unknown>(
    _home: NodeId,
    method: string,
    arg: unknown,
    options: CallOptions,
  ): Promise<Result> {
    return await this.#ask(options, (home, soon) =>
      this.#network.call<Result>(home, method, arg, soon),
    );
  }

  async open<Result = unknown>(
    _home: NodeId,
    method: string,
    arg: unknown,
    options: CallOptions,
  ): Promise<OpenedStream<Result>> {
    return await this.#ask(options, (home, soon) =>
      this.#network.open<Result>(home, method, arg, soon),
    );
  }

  /** A link over which nothing was answered is none: a change would be left in doubt. */
  links(): LinkView[] {
    if (this.#isInDoubt) return [];
    const links = this.#network.links().filter(({ node }) => node === this.#options.home());
    return links.map((link) => ({ ...link, node: HOME }));
  }

  /** While the metadata moves, the home has everybody ask again. */
  async #ask<Result>(
    options: CallOptions,
    ask: (home: NodeId, options: CallOptions) => Promise<Result>,
  ): Promise<Result> {
    const { clock } = this.#options;
    const endMs = clock.monotonic() + MOVE_MS;
    for (;;) {
      try {
        return await this.#askOnce(options, ask);
      } catch (error) {
        if (errorCode(error) !== 'HF_MOVED' || clock.monotonic() > endMs) throw error;
      }
      await clock.sleep(AGAIN_MS, options.signal ? { signal: options.signal } : {});
    }
  }

  async #askOnce<Result>(
    options: CallOptions,
    ask: (home: NodeId, options: CallOptions) => Promise<Result>,
  ): Promise<Result> {
    const home = this.#options.home();
    if (home === undefined) {
      throw new HoldfastError('HF_UNAVAILABLE', 'it is not known which node carries the metadata');
    }
    const answersBefore = this.#answerCount;
    const silent = new AbortController();
    const answered = new AbortController();
    const listening = this.#listen(silent, answered.signal);
    const signals = [silent.signal, ...(options.signal ? [options.signal] : [])];
    try {
      const result = await ask(home, { ...options, signal: AbortSignal.any(signals) });
      this.#noteAnswer();
      return result;
    } catch (error) {
      if (options.signal?.aborted) throw error;
      if (!silent.signal.aborted && !SILENCES.includes(errorCode(error))) {
        this.#noteAnswer();
        throw error;
      }
      this.#isInDoubt = this.#answerCount === answersBefore;
      throw this.#unanswered(home, error);
    } finally {
      answered.abort(NOT_NEEDED);
      await listening;
    }
  }

  #noteAnswer(): void {
    this.#isInDoubt = false;
    this.#answerCount += 1;
    this.#answeredAtMs = this.#options.clock.monotonic();
  }

  /** Aborts `silent` when nothing at all is answered for too long, until `signal` is aborted. */
  async #listen(silent: AbortController, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const beganAtMs = clock.monotonic();
    const silenceMs = this.#isInDoubt ? DOUBT_MS : SILENCE_MS;
    while (!signal.aborted) {
      const leftMs = Math.max(beganAtMs, this.#answeredAtMs) + silenceMs - clock.monotonic();
      if (leftMs <= 0) return silent.abort();
      await clock.sleep(leftMs, { signal }).catch(() => undefined);
    }
  }

  #unanswered(home: NodeId, cause: unknown): HoldfastError {
    const { tell = (node) => node } = this.#options;
    const who = `node ${tell(home)}, which carries the metadata,`;
    let text = `${who} does not answer; is it running?`;
    if (wasRefused(cause)) {
      text = `${who} refuses this node: it was removed; it can join anew, in a new data directory`;
    } else if (!this.#isInDoubt) text = `${who} has too much to do; try again`;
    return new HoldfastError('HF_UNAVAILABLE', text, { cause });
  }
}

/** Whether the other end was reached, and would not talk with this node. */
export function wasRefused(error: unknown): boolean {
  for (let each = error; each instanceof Error; each = each.cause) {
    const { details } = each as Partial<HoldfastError>;
    if (details?.['isRefused'] === true) return true;
  }
  return false;
}
