/**
 * A gate through which questions to the metadata pass. While it is closed they wait before it: so
 * what answers can be exchanged between one question and the next, and nobody notices but by time.
 */
import { errorCode, UnderWay } from '../../base/index.ts';

/** Asked so often, 0.8 s each, a directory has been given back, or was taken. */
const RECALLS_MAX = 16;

export class Gate {
  readonly #underWay = new UnderWay();
  #closed: Promise<void> | undefined;

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  /** Asks once the gate is open. */
  async pass<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
    while (this.#closed) await this.#closed;
    return await this.#underWay.run(ask);
  }

  /**
   * The same until what was met is not leased any more: the holder's answer must get through, too,
   * when the gate closes in between.
   */
  async passPatiently<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
    for (let left = RECALLS_MAX; ; left -= 1) {
      try {
        return await this.pass(ask);
      } catch (error) {
        if (errorCode(error) !== 'HF_LEASED' || left === 0) throw error;
      }
    }
  }

  /** Does `work` while nothing passes, once all that had passed is answered. One at a time. */
  async closedFor<Result>(work: () => Promise<Result>): Promise<Result> {
    while (this.#closed) await this.#closed;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#closed = promise;
    try {
      await this.#underWay.settled();
      return await work();
    } finally {
      this.#closed = undefined;
      resolve();
    }
  }
}

type Asynchronous = (...args: never[]) => Promise<unknown>;
type Methods = Readonly<Record<string, Asynchronous>>;

/**
 * The methods of `like`, each asked of what `now` gives then, behind the gate. All of them are
 * asynchronous; closing it closes nothing.
 */
export function gated<Api extends object>(
  gate: Pick<Gate, 'pass'>,
  like: Api,
  now: () => Api | Promise<Api>,
): Api {
  return methodsNamed(Object.keys(like), (name, args) =>
    gate.pass(async () => {
      const api = (await now()) as unknown as Methods;
      return await api[name]!(...args);
    }),
  );
}

/** Any asynchronous interface with these methods; closing it closes nothing. */
export function methodsNamed<Api extends object>(
  names: readonly string[],
  ask: (name: string, args: never[]) => Promise<unknown>,
): Api {
  const methods = names.map((name) => [name, (...args: never[]) => ask(name, args)]);
  const all = Object.fromEntries(methods) as object;
  return { ...all, [Symbol.asyncDispose]: async () => {} } as unknown as Api;
}
