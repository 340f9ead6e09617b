/**
 * The session in which this node names stripes (meta/references.ts). Whoever opens another one in
 * the name of the same node ends it: a copy of the data directory, started elsewhere. This node
 * then opens one anew, once for each that was ended, and what was begun in the old one fails. Where
 * two go on so, each of them ends the other's again and again: the identity is *contested*.
 */
import { errorCode, HoldfastError, Mutex, type NodeId } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { References, Session } from '../../meta/index.ts';

/** Sessions ended by others within this time, after which it is more than a mishap. */
const LOSSES_MAX = 1;
const LOSSES_WITHIN_MS = 3_600_000;

export interface OwnSessionOptions {
  readonly env: Env;
  readonly nodeId: NodeId;
  readonly references: References;
}

export class OwnSession {
  readonly #options: OwnSessionOptions;
  readonly #opening = new Mutex();
  #current: Session;
  /** When sessions of this node were found ended. */
  #lostAtMs: readonly number[] = [];

  private constructor(options: OwnSessionOptions, session: Session) {
    this.#options = options;
    this.#current = session;
  }

  /** @throws HF_UNAVAILABLE while the home does not answer. */
  static async open(options: OwnSessionOptions): Promise<OwnSession> {
    return new OwnSession(options, await options.references.openSession(options.nodeId));
  }

  readonly current = (): Session => this.#current;

  /** Whether another node runs with this node's identity, as far as can be told. */
  get isContested(): boolean {
    return this.#recentLosses().length > LOSSES_MAX;
  }

  /** The same references; who finds there that the session was ended has it opened anew. */
  get references(): References {
    const { references } = this.#options;
    return {
      ...references,
      add: async (request) => {
        try {
          return await references.add(request);
        } catch (error) {
          if (errorCode(error) !== 'HF_FENCED') throw error;
          await this.#reopen(request.session);
          const message =
            "another node took this node's place, with a copy of its data directory; this node " +
            'has taken it back: try again';
          throw new HoldfastError('HF_FENCED', message, { cause: error });
        }
      },
    };
  }

  async #reopen(ended: Session): Promise<void> {
    await this.#opening.run(async () => {
      // Others that were under way in it have had it opened anew.
      if (this.#current.fence !== ended.fence) return;
      const { env, nodeId, references } = this.#options;
      this.#current = await references.openSession(nodeId);
      this.#lostAtMs = [...this.#recentLosses(), env.clock.monotonic()];
      env.metrics.add('node_sessions_lost', 1);
      env.log.warn('another node runs, or ran, with the identity of this one', { nodeId });
    });
  }

  #recentLosses(): readonly number[] {
    const sinceMs = this.#options.env.clock.monotonic() - LOSSES_WITHIN_MS;
    return this.#lostAtMs.filter((atMs) => atMs >= sinceMs);
  }
}
