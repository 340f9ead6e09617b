/** A registry that tells of each change before it answers, whoever asked for it. */
import type { Registry, Versioned } from '../../log/index.ts';

/** Must not fail for what may be away: the change has been made. */
export type KeyListener = (key: string) => Promise<void>;

export class ObservedRegistry implements Registry {
  readonly #registry: Registry;
  readonly #listeners: KeyListener[] = [];

  /** @param registry is closed with this one. */
  constructor(registry: Registry) {
    this.#registry = registry;
  }

  listen(listener: KeyListener): void {
    this.#listeners.push(listener);
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
    const version = await this.#registry.compareAndSet(key, expected, value);
    if (version !== undefined) for (const listener of this.#listeners) await listener(key);
    return version;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#registry[Symbol.asyncDispose]();
  }
}
