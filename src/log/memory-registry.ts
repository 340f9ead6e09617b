/** The registry of a whole simulated cluster in one object, reached over a {@link MemoryWire}. */
import type { Env } from '../env/index.ts';
import type { SealableLog, Versioned } from './fenced-log.ts';
import type { NextGeneration, RegistryCopy, SealableRegistry } from './generations.ts';
import { REGISTRY_CELL } from './log-registry.ts';
import { type MemoryFaults, MemoryWire } from './memory-wire.ts';
import { RegistryState } from './registry-state.ts';

export interface MemoryRegistryOptions {
  readonly env?: Pick<Env, 'clock' | 'random'>;
  readonly faults?: MemoryFaults;
  /** Is sealed with it. */
  readonly log?: SealableLog;
}

export class MemoryRegistry implements SealableRegistry {
  readonly #wire: MemoryWire;
  readonly #log: SealableLog | undefined;
  #state = new RegistryState();

  constructor({ env, faults, log }: MemoryRegistryOptions = {}) {
    this.#wire = new MemoryWire(env, faults);
    this.#log = log;
  }

  /** All that it has from now on. */
  fill(copy: RegistryCopy): void {
    this.#state = RegistryState.of(copy);
  }

  async seal(next: NextGeneration): Promise<void> {
    await this.#log?.stopAllBut(REGISTRY_CELL);
    await this.#wire.change(() => {
      const change = this.#state.proposedSeal(next);
      if (change) this.#state.apply(change, 0);
    });
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
    return await this.#wire.change(() => {
      const change = this.#state.proposed({ key, value }, expected);
      return change && this.#state.apply(change, 0);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
