/**
 * The way to the node that carries the metadata, whichever node that is: who asks through it asks
 * `HOME`. An answer takes a few seconds at most; while there is none further questions are given up
 * sooner, so a node without its home says so soon, and goes on as soon as one is answered.
 */
import { errorCode, HoldfastError, type NodeId } from '../base/index.ts';
import type { CallOptions, LinkView, Network, OpenedStream } from '../net/index.ts';

/** Stands for the node of the moment. */
export const HOME = 'home' as NodeId;

/** Time for an answer, and while the last question had none: two tries stay below five seconds. */
const ANSWER_MS = 3500;
const DOUBT_MS = 1000;

const SILENCES: readonly (string | undefined)[] = ['HF_TIMEOUT', 'HF_UNAVAILABLE', 'HF_CLOSED'];

type Ways = Pick<Network, 'call' | 'open' | 'links'>;

export class HomeLink implements Ways {
  readonly #network: Ways;
  readonly #home: () => NodeId | undefined;
  #isInDoubt = false;

  constructor(network: Ways, home: () => NodeId | undefined) {
    this.#network = network;
    this.#home = home;
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
    const links = this.#network.links().filter(({ node }) => node === this.#home());
    return links.map((link) => ({ ...link, node: HOME }));
  }

  async #ask<Result>(
    options: CallOptions,
    ask: (home: NodeId, options: CallOptions) => Promise<Result>,
  ): Promise<Result> {
    const home = this.#home();
    if (home === undefined) {
      throw new HoldfastError('HF_UNAVAILABLE', 'it is not known which node carries the metadata');
    }
    const msMax = this.#isInDoubt ? DOUBT_MS : ANSWER_MS;
    const deadlineMs = Math.min(options.deadlineMs, msMax);
    try {
      const result = await ask(home, { ...options, deadlineMs });
      this.#isInDoubt = false;
      return result;
    } catch (error) {
      const code = errorCode(error);
      this.#isInDoubt = SILENCES.includes(code);
      if (!this.#isInDoubt) throw error;
      const text = `node ${home}, which carries the metadata, does not answer; is it running?`;
      throw new HoldfastError('HF_UNAVAILABLE', text, { cause: error });
    }
  }
}
