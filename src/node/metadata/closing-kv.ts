/**
 * The way to the ring, for one who may have to go while the ring does not answer: once it is
 * closing, the first attempt that fails is the last one. So a node stops in a moment, also without
 * a ring.
 */
import { errorCode, HoldfastError } from '../../base/index.ts';
import type { EtcdKv } from '../../log/index.ts';

type Transact = EtcdKv['transact'];

export class ClosingKv implements EtcdKv {
  readonly #kv: EtcdKv;
  readonly #closing = new AbortController();
  #isOver = false;

  /** @param kv stays the caller's. */
  constructor(kv: EtcdKv) {
    this.#kv = kv;
  }

  close(): void {
    this.#closing.abort();
  }

  async transact(transaction: Parameters<Transact>[0]): ReturnType<Transact> {
    if (this.#isOver) throw new HoldfastError('HF_CLOSED', 'the way to the ring is closed');
    try {
      return await this.#kv.transact(transaction);
    } catch (error) {
      if (errorCode(error) !== undefined && this.#closing.signal.aborted) this.#isOver = true;
      throw error;
    }
  }

  async change(...[range, since, signal]: Parameters<EtcdKv['change']>): Promise<void> {
    await this.#kv.change(range, since, AbortSignal.any([signal, this.#closing.signal]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}
