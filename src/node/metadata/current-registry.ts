/**
 * The registry as the parts of a node that outlive its core see it: that of the core of the moment.
 * While there is none, everything that is asked of it is refused and can be asked again.
 */
import { HoldfastError } from '../../base/index.ts';
import type { Registry, Versioned } from '../../log/index.ts';

export class CurrentRegistry implements Registry {
  readonly #now: () => Registry | undefined;

  constructor(now: () => Registry | undefined) {
    this.#now = now;
  }

  /** @throws HF_UNAVAILABLE. */
  get #registry(): Registry {
    const registry = this.#now();
    if (registry) return registry;
    throw new HoldfastError('HF_UNAVAILABLE', 'this node waits, and does not know the registry');
  }

  async get(key: string): Promise<Versioned | undefined> {
    return await this.#registry.get(key);
  }

  async list(prefix: string): Promise<readonly Versioned[]> {
    return await this.#registry.list(prefix);
  }

  async compareAndSet(
    key: string,
    expected: number,
    value: Uint8Array | undefined,
  ): Promise<number | undefined> {
    return await this.#registry.compareAndSet(key, expected, value);
  }

  /** It belongs to the core. */
  async [Symbol.asyncDispose](): Promise<void> {}
}
