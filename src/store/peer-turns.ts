/**
 * How much this node asks of the stores of another one at once, so that it is never refused for
 * asking too much: who comes when that many operations are under way waits for a *turn*. One store
 * that hangs leaves turns to the others of its node.
 */
import {
  assert,
  type DeviceId,
  HoldfastError,
  LIMITS,
  Semaphore,
  throwIfAborted,
} from '../base/index.ts';

export class PeerTurns {
  readonly #all = new Semaphore(LIMITS.callsPerPeerMax);
  readonly #stores = new Map<DeviceId, Semaphore>();

  constructor() {
    const most = Math.min(LIMITS.servedPerPeerMax, LIMITS.streamsPerConnectionMax);
    assert(LIMITS.callsPerPeerMax < most, 'turns stay below what is served, lists included');
    assert(LIMITS.callsPerStoreMax < LIMITS.callsPerPeerMax, 'one store does not take all turns');
  }

  /** Served in order; a turn until it is disposed. @throws HF_INTERRUPTED. */
  async take(store: DeviceId, signal?: AbortSignal): Promise<Disposable> {
    const ofStore = this.#stores.get(store) ?? new Semaphore(LIMITS.callsPerStoreMax);
    this.#stores.set(store, ofStore);
    const release = await acquired(ofStore, signal);
    try {
      const releaseAll = await acquired(this.#all, signal);
      return {
        [Symbol.dispose]: () => {
          releaseAll();
          release();
        },
      };
    } catch (error) {
      release();
      throw error;
    }
  }
}

/** A permit that comes when nobody waits for it any more is given back. */
async function acquired(semaphore: Semaphore, signal?: AbortSignal): Promise<() => void> {
  throwIfAborted(signal);
  const permit = semaphore.acquire();
  if (!signal) return await permit;
  const aborted = Promise.withResolvers<undefined>();
  const stop = (): void => aborted.resolve(undefined);
  signal.addEventListener('abort', stop, { once: true });
  const release = await Promise.race([permit, aborted.promise]);
  signal.removeEventListener('abort', stop);
  if (release) return release;
  void permit.then((late) => late());
  throw new HoldfastError('HF_INTERRUPTED', undefined, { cause: signal.reason });
}
