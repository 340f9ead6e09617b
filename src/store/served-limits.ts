/**
 * How much peers may ask of this node's stores at once. Operations beyond the limits are refused
 * with HF_BUSY, untouched: who asked waits and tries again, and takes the store for no less alive.
 * One peer's operations on one store, which may hang, leave half of its share to the other stores.
 * Memory is waited for, in order, but nobody waits behind a peer that has
 * its share already.
 */
import { assert, HoldfastError, LIMITS, type NodeId, throwIfAborted } from '../base/index.ts';
import { type BufferPool, type LentBuffer } from './buffer-pool.ts';
import { blocksFor } from './geometry.ts';

class Tally {
  readonly #counts = new Map<string, number>();

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  add(key: string, count: number): void {
    const now = this.of(key) + count;
    assert(now >= 0, 'what is given back was taken');
    if (now === 0) this.#counts.delete(key);
    else this.#counts.set(key, now);
  }
}

/** Counts operations under way. */
export class OperationGate {
  readonly #tally = new Tally();

  /** Under way until it is disposed. @throws HF_BUSY. */
  enter(from: NodeId, store: string): Disposable {
    const limits = [
      [`from ${from}`, LIMITS.servedPerPeerMax],
      [`on ${store}`, LIMITS.servedPerStoreMax],
      [`from ${from} on ${store}`, LIMITS.servedPerPeerMax / 2],
    ] as const;
    const isFull = limits.some(([key, max]) => this.#tally.of(key) >= max);
    if (isFull) throw new HoldfastError('HF_BUSY', 'too many operations at once; try again');
    return this.#take(limits.map(([key]) => key));
  }

  /** The one operation of its kind. @throws HF_UNAVAILABLE. */
  enterAlone(what: string): Disposable {
    if (this.#tally.of(what) > 0) throw new HoldfastError('HF_UNAVAILABLE', `${what} is under way`);
    return this.#take([what]);
  }

  #take(keys: readonly string[]): Disposable {
    for (const key of keys) this.#tally.add(key, 1);
    return {
      [Symbol.dispose]: () => {
        for (const key of keys) this.#tally.add(key, -1);
      },
    };
  }
}

interface Waiter {
  readonly from: NodeId;
  readonly bytes: number;
  readonly go: () => void;
}

/** Memory for chunks on their way. */
export class ServedMemory {
  readonly #pool: BufferPool;
  readonly #taken = new Tally();
  #takenBytes = 0;
  readonly #waiting: Waiter[] = [];

  constructor(pool: BufferPool) {
    assert(LIMITS.chunkBytesMax <= LIMITS.servedBytesPerPeerMax, 'a peer may send any chunk');
    this.#pool = pool;
  }

  /** Page-aligned memory for a chunk, until it is disposed. @throws HF_INTERRUPTED. */
  async lend(from: NodeId, lengthBytes: number, signal: AbortSignal): Promise<LentBuffer> {
    const reserved = await this.reserve(from, lengthBytes, signal);
    const lent = this.#pool.lend(blocksFor(lengthBytes));
    return {
      bytes: lent.bytes.subarray(0, lengthBytes),
      [Symbol.dispose]: () => {
        lent[Symbol.dispose]();
        reserved[Symbol.dispose]();
      },
    };
  }

  /** The right to so much memory that somebody else allocates. @throws HF_INTERRUPTED. */
  async reserve(from: NodeId, bytes: number, signal: AbortSignal): Promise<Disposable> {
    assert(bytes <= LIMITS.servedBytesPerPeerMax, 'it fits in the share of a peer');
    throwIfAborted(signal);
    await this.#wait(from, bytes, signal);
    return {
      [Symbol.dispose]: () => {
        this.#count(from, -bytes);
        this.#wakeUp();
      },
    };
  }

  #count(from: NodeId, bytes: number): void {
    this.#taken.add(from, bytes);
    this.#takenBytes += bytes;
  }

  async #wait(from: NodeId, bytes: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const stop = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(new HoldfastError('HF_INTERRUPTED', undefined, { cause: signal.reason }));
      };
      const go = (): void => {
        signal.removeEventListener('abort', stop);
        resolve();
      };
      const waiter = { from, bytes, go };
      this.#waiting.push(waiter);
      signal.addEventListener('abort', stop, { once: true });
      this.#wakeUp();
    });
  }

  #wakeUp(): void {
    for (const waiter of this.#waiting.slice()) {
      const { from, bytes, go } = waiter;
      if (this.#taken.of(from) + bytes > LIMITS.servedBytesPerPeerMax) continue;
      if (this.#takenBytes + bytes > LIMITS.servedBytesMax) return;
      this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
      this.#count(from, bytes);
      go();
    }
  }
}
