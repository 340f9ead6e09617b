/** The registry of a whole simulated cluster in one object, reached over a {@link MemoryWire}. */
import { assert } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { Registry, Versioned } from './fenced-log.ts';
import { type MemoryFaults, MemoryWire } from './memory-wire.ts';
import { RegistryState } from './registry-state.ts';

export class MemoryRegistry implements Registry {
  readonly #wire: MemoryWire;
  readonly #state = new RegistryState();

  constructor(options: { env?: Pick<Env, 'clock' | 'random'>; faults?: MemoryFaults } = {}) {
    this.#wire = new MemoryWire(options.env, options.faults);
  }

  async get(key: string): Promise<Versioned | undefined> {
    return await this.#wire.ask(() => this.#state.get(key));
  }

  async list(prefix: string): Promise<readonly Versioned[]> {
    return await this.#wire.ask(() => this.#state.list(prefix));
  }

  async compareAndSet(
    key: string,
    expected: number,
    value: Uint8Array | undefined,
  ): Promise<number | undefined> {
    assert(expected >= 0, 'a version is not negative');
    const change = { key, value: value && new Uint8Array(value) };
    return await this.#wire.change(() => {
      if (this.#state.versionOf(key) !== expected) return undefined;
      return this.#state.apply(change, 0);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
