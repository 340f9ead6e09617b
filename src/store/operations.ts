/** What is under way on a store, so that closing waits for it and nothing starts afterwards. */
import { HoldfastError } from '../base/index.ts';

export class Operations {
  readonly #name: string;
  /** The same for all: an object for each would cost more than many an operation. */
  readonly #underWayUntilDisposed: Disposable;
  #underWay = 0;
  #isClosed = false;
  #onIdle: (() => void) | undefined;

  constructor(name: string) {
    this.#name = name;
    this.#underWayUntilDisposed = { [Symbol.dispose]: () => this.#end() };
  }

  /** @throws HF_CLOSED. */
  check(): void {
    if (this.#isClosed) throw new HoldfastError('HF_CLOSED', `${this.#name} has been closed`);
  }

  /** Under way until it is disposed. @throws HF_CLOSED. */
  begin(): Disposable {
    this.check();
    this.#underWay += 1;
    return this.#underWayUntilDisposed;
  }

  /** Waits for what is under way. @returns false when it was closed before. */
  async close(): Promise<boolean> {
    if (this.#isClosed) return false;
    this.#isClosed = true;
    if (this.#underWay > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    return true;
  }

  #end(): void {
    this.#underWay -= 1;
    if (this.#underWay === 0) this.#onIdle?.();
  }
}
