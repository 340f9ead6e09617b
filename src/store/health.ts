/**
 * Whether a store works: it stops for good at the first write or flush of its metadata that fails,
 * since nothing can be promised after that. Peers repair what it held.
 */
import { errorMessage, HoldfastError } from '../base/index.ts';
import type { Log } from '../env/index.ts';

export class Health {
  readonly #name: string;
  readonly #log: Log;
  #failure: HoldfastError | undefined;

  /** @param name of the device, for messages. */
  constructor(name: string, log: Log) {
    this.#name = name;
    this.#log = log;
  }

  get hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  /** @throws HF_DEVICE_FAILED once the store has stopped. */
  check(): void {
    if (this.#failure) throw this.#failure;
  }

  /** Stops the store. @returns the error that everything fails with from now on. */
  stop(cause: unknown): HoldfastError {
    if (this.#failure) return this.#failure;
    const reason = errorMessage(cause);
    this.#failure = new HoldfastError('HF_DEVICE_FAILED', `${this.#name} has stopped: ${reason}`, {
      cause,
    });
    this.#log.error('a store has stopped', { device: this.#name, reason });
    return this.#failure;
  }
}
