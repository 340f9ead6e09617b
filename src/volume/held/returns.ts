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
  readonly #returning = new UnderWay();
  readonly #words = new UnderWay();
  #telling: Promise<void> | undefined;

  constructor(options: ReturnsOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#returning.count;
  }

  /** @param work returns one. */
  async run(work: () => Promise<void>): Promise<void> {
    const returned = this.#returning.run(work);
    this.#telling ??= this.#tell();
    await returned;
  }

  async #tell(): Promise<void> {
    while (this.#returning.count > 0) {
      const allReturned = this.#returning.settled().then(() => true);
      if (!(await within(this.#options.clock, allReturned, WORD_MS))) this.#say();
    }
    this.#telling = undefined;
  }

  /** One cell that does not answer must not keep the word from the others. */
  #say(): void {
    const { handles, session, leases } = this.#options;
    for (const some of batchesOf([...leases()], LIMITS.listPageMax)) {
      const word = this.#words.run(() => handles.awaitRecalls(session(), some, 0));
      void word.catch(unlessBug);
    }
  }

  /** When all has been returned. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#telling;
    await this.#words.settled();
  }
}
