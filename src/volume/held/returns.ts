/**
 * The directories that are being returned. While that takes long their cells are told again and
 * again that it is under way: a lease that others wait for is not taken meanwhile.
 */
import { batchesOf, LIMITS, UnderWay, unlessBug } from '../../base/index.ts';
import { type Clock, within } from '../../env/index.ts';
import type { Handles, HeldLease, SessionId } from '../../meta/index.ts';

export interface ReturnsOptions {
  readonly clock: Clock;
  readonly handles: Pick<Handles, 'awaitRecalls'>;
  readonly session: () => SessionId;
  /** Those of the directories that are being returned. */
  readonly leases: () => readonly HeldLease[];
}

/** Three words in the time after which silence would cost the lease. */
const WORD_MS = LIMITS.leaseRecallMs / 3;

export class Returns implements AsyncDisposable {
  readonly #options: ReturnsOptions;
  readonly #words = new UnderWay();
  #count = 0;
  #ended = Promise.withResolvers<void>();

  constructor(options: ReturnsOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#count;
  }

  /** One more is being returned, until this is disposed. */
  begin(): Disposable {
    this.#count += 1;
    if (this.#count === 1) {
      this.#ended = Promise.withResolvers();
      void this.#tell(this.#ended.promise);
    }
    const end = (): void => {
      this.#count -= 1;
      if (this.#count === 0) this.#ended.resolve();
    };
    return { [Symbol.dispose]: end };
  }

  /** One cell that does not answer must not keep the word from the others. */
  async #tell(ended: Promise<void>): Promise<void> {
    const { clock, handles, session, leases } = this.#options;
    const haveEnded = ended.then(() => true);
    while (!(await within(clock, haveEnded, WORD_MS))) {
      for (const some of batchesOf([...leases()], LIMITS.listPageMax)) {
        const word = this.#words.run(() => handles.awaitRecalls(session(), some, 0));
        void word.catch(unlessBug);
      }
    }
  }

  /** When all has been returned. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#words.settled();
  }
}
