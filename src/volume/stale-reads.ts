/**
 * Reading names while nobody can say which are the newest. A read is asked *strictly* first; when
 * no majority of the ring is there, or it is not reached, it is answered by rows that some node
 * has: a *stale read*. Only what is handed out to users is read so, never what something is decided
 * by or changed after.
 *
 * *Doubt* begins when a strict question fails for want of anybody who answers, or takes long at a
 * node that is cut off, and ends when one succeeds, whatever it was about. While it lasts one
 * strict question is under way at a time; who asks waits for it a second at the most, and asks the
 * old rows then.
 */
import { errorCode, HoldfastError } from '../base/index.ts';
import { type Env, within } from '../env/index.ts';
import type { Namespace, Tree } from '../meta/index.ts';

const NAMESPACE_READS = [
  'record',
  'lookup',
  'list',
  'entryOf',
  'object',
  'objectsByAddress',
  'listObjects',
  'extents',
] as const satisfies readonly (keyof Namespace)[];
const TREE_READS = [
  'lookup',
  'getAttributes',
  'listAttributes',
  'readLink',
] as const satisfies readonly (keyof Tree)[];

/** The reads that may be stale. */
export type NamespaceReads = Pick<Namespace, (typeof NAMESPACE_READS)[number]>;
export type TreeReads = Pick<Tree, (typeof TREE_READS)[number]>;

/** Rows as some node has them. */
export interface StaleNames {
  readonly namespace: NamespaceReads;
  readonly tree: TreeReads;
  /** Whether there is reason to think, as of the call, that nobody answers strict questions. */
  readonly isCut: () => boolean;
}

/** How long a strict question is waited for in doubt. */
const PATIENCE_MS = 1000;

/** Nobody answered; everything else is an answer. */
const UNANSWERED: readonly (string | undefined)[] = [
  'HF_UNAVAILABLE',
  'HF_UNKNOWN_OUTCOME',
  'HF_TIMEOUT',
];

export interface StaleReadsOptions {
  readonly env: Pick<Env, 'clock' | 'metrics'>;
  /** As of the call; `undefined` where there are none. */
  readonly stale: () => StaleNames | undefined;
  /** For tests, which prove that they would notice. */
  readonly fault?: 'always-stale' | undefined;
}

type Asked = { readonly result: unknown } | { readonly error: unknown };
type Method = (...args: unknown[]) => Promise<unknown>;

export class StaleReads {
  readonly #options: StaleReadsOptions;
  /** Why there is doubt, while there is. */
  #doubt: HoldfastError | undefined;
  #probe: Promise<Asked> | undefined;
  /** When anything was answered last. */
  #answeredAtMs = -Infinity;
  #staleAtMs = -Infinity;
  #count = 0;

  constructor(options: StaleReadsOptions) {
    this.#options = options;
  }

  /** Since the last stale read; Infinity when a strict question was answered after it. */
  get agoMs(): number {
    if (this.#answeredAtMs >= this.#staleAtMs) return Infinity;
    return this.#options.env.clock.monotonic() - this.#staleAtMs;
  }

  /** Stale reads since the start. */
  get count(): number {
    return this.#count;
  }

  /** The same methods; what is heard by them begins and ends doubt. */
  heard<Api extends object>(strict: Api): Api {
    const heard = methods(Object.keys(strict), async (name, args) =>
      settled(await this.#hear(() => methodsOf(strict)[name]!(...args))),
    );
    return { ...strict, ...heard };
  }

  /** The same, with reads that may be stale. */
  namespace(heard: Namespace): Namespace {
    return { ...heard, ...this.#over(heard, NAMESPACE_READS, (names) => names.namespace) };
  }

  /** The same, with reads that may be stale. */
  tree(heard: Tree): Tree {
    return { ...heard, ...this.#over(heard, TREE_READS, (names) => names.tree) };
  }

  #over(
    heard: object,
    names: readonly string[],
    of: (stale: StaleNames) => object,
  ): Record<string, Method> {
    return methods(names, async (name, args) => {
      const strict = () => methodsOf(heard)[name]!(...args);
      const stale = this.#options.stale();
      if (!stale) return await strict();
      const asked = await this.#ask(strict, stale);
      if (asked && !isUnanswered(asked)) return settled(asked);
      return await this.#readOld(() => methodsOf(of(stale))[name]!(...args));
    });
  }

  /** @returns `undefined` when it is not waited for. */
  async #ask(strict: () => Promise<unknown>, { isCut }: StaleNames): Promise<Asked | undefined> {
    if (this.#options.fault === 'always-stale') return undefined;
    if (!this.#doubt) {
      const asking = this.#hear(strict);
      let asked;
      do asked = await this.#soon(asking);
      while (!asked && !isCut());
      if (!asked) this.#doubt = new HoldfastError('HF_UNAVAILABLE', 'nobody answers for the names');
      return asked;
    }
    if (this.#probe) return undefined;
    const probe = this.#hear(strict).finally(() => (this.#probe = undefined));
    this.#probe = probe;
    return await this.#soon(probe);
  }

  async #soon(asked: Promise<Asked>): Promise<Asked | undefined> {
    return await within(this.#options.env.clock, asked, PATIENCE_MS);
  }

  async #hear(strict: () => Promise<unknown>): Promise<Asked> {
    const { clock } = this.#options.env;
    const beganAtMs = clock.monotonic();
    const asked = await strict().then(
      (result) => ({ result }),
      (error: unknown) => ({ error }),
    );
    if (!isUnanswered(asked)) {
      this.#answeredAtMs = clock.monotonic();
      this.#doubt = undefined;
    } else if (beganAtMs >= this.#answeredAtMs) this.#doubt = asked.error as HoldfastError;
    return asked; // one that was asked before another was answered says nothing any more
  }

  /** @throws what the read throws; why there is doubt when nobody has rows either. */
  async #readOld(read: () => Promise<unknown>): Promise<unknown> {
    try {
      const result = await read();
      this.#noteStale();
      return result;
    } catch (error) {
      if (this.#doubt && isUnanswered({ error })) throw this.#doubt;
      this.#noteStale(); // that something is not there is an answer, too
      throw error;
    }
  }

  #noteStale(): void {
    const { clock, metrics } = this.#options.env;
    metrics.add('stale_reads', 1);
    this.#count += 1;
    this.#staleAtMs = clock.monotonic();
  }
}

function methods(
  names: readonly string[],
  ask: (name: string, args: unknown[]) => Promise<unknown>,
): Record<string, Method> {
  return Object.fromEntries(
    names.map((name) => [name, (...args: unknown[]) => ask(name, args)] as const),
  );
}

function methodsOf(api: object): Readonly<Record<string, Method>> {
  return api as Readonly<Record<string, Method>>;
}

function isUnanswered(asked: Asked): asked is { readonly error: unknown } {
  return 'error' in asked && UNANSWERED.includes(errorCode(asked.error));
}

function settled(asked: Asked): unknown {
  if ('error' in asked) throw asked.error;
  return asked.result;
}
