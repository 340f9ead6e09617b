/**
 * The content work of clients that is under way on this node: what its own users put and get, and
 * chunks that other nodes put and get here for theirs. Repair without hurry makes way for it. The
 * home does all repair and never calls itself, so what others ask of its stores is work of clients.
 */
import type { Network } from '../../net/index.ts';
import { answeringWithin } from './answering.ts';

/** Methods of stores that carry content. */
const CARRYING = ['store/put', 'store/put-stream', 'store/get', 'store/get-stream'];

export class ClientWork {
  #count = 0;

  get isUnderWay(): boolean {
    return this.#count > 0;
  }

  /** Something is under way until the result is disposed. */
  begin(): Disposable {
    this.#count += 1;
    let isOver = false;
    return {
      [Symbol.dispose]: () => {
        if (!isOver) this.#count -= 1;
        isOver = true;
      },
    };
  }

  /** The same network; content that others ask for by methods handled there counts. */
  counting(network: Pick<Network, 'handle'>): Pick<Network, 'handle'> {
    return answeringWithin(network, CARRYING, async (answer) => {
      using _work = this.begin();
      return await answer();
    });
  }
}
