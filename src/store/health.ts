/**
 * Whether a store works, and whether a chunk is to blame for a read that failed.
 *
 * A store stops for good at the first write or flush of its metadata that fails, since nothing can
 * be promised after that. Peers repair what it held.
 */
import { type ChunkId, errorCode, errorMessage, HoldfastError, toHex } from '../base/index.ts';
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

/** So many chunks in a row that cannot be read are no bad spot: the rest would go the same way. */
export const UNREADABLE_IN_A_ROW_MAX = 16;

/**
 * Tells a bad spot from a bad device. A chunk whose blocks cannot be read is bad, and is made again
 * elsewhere; but when many different ones in a row fail, it is the device, and nothing is held
 * against the chunks until something can be read again.
 */
export class ReadFailures {
  /** Chunks that could not be read since the last good read. */
  readonly #inARow = new Set<string>();

  /** The device has given what was asked for. */
  succeeded(): void {
    if (this.#inARow.size > 0) this.#inARow.clear();
  }

  /** Whether a read of a chunk that ended with this error shows that the chunk is bad. */
  isChunkBad(id: ChunkId, error: unknown): boolean {
    const code = errorCode(error);
    if (code === 'HF_CORRUPT') this.succeeded();
    if (code !== 'HF_IO') return code === 'HF_CORRUPT';
    if (this.#inARow.size < UNREADABLE_IN_A_ROW_MAX) this.#inARow.add(toHex(id));
    return this.#inARow.size < UNREADABLE_IN_A_ROW_MAX;
  }
}
