/**
 * Whether a device may still be used, and what is under way on it; shared by all kinds.
 *
 *   open ──fail()──▶ dead        open, dead ──close()──▶ closed
 *
 * Invariants: (1) dead is for good, with the first reason; (2) once `close` has resolved nothing is
 * under way and nothing starts.
 */
import { HoldfastError } from '../base/index.ts';

export class DeviceState {
  readonly #name: string;
  /** The same for all: there are several for each transfer. */
  readonly #underWayUntilDisposed: Disposable;
  #failure: HoldfastError | undefined;
  #isClosed = false;
  #underWay = 0;
  #onIdle: (() => void) | undefined;

  /** @param name of the device, for messages. */
  constructor(name: string) {
    this.#name = name;
    this.#underWayUntilDisposed = { [Symbol.dispose]: () => this.#end() };
  }

  /** @throws HF_CLOSED, HF_DEVICE_FAILED. */
  check(): void {
    if (this.#isClosed) throw new HoldfastError('HF_CLOSED', `${this.#name} has been closed`);
    this.checkAlive();
  }

  /** For what was under way when the device was closed, and may end. @throws HF_DEVICE_FAILED. */
  checkAlive(): void {
    if (this.#failure) throw this.#failure;
  }

  /** Under way until it is disposed; `close` waits for it. @throws HF_CLOSED, HF_DEVICE_FAILED. */
  begin(): Disposable {
    this.check();
    this.#underWay += 1;
    return this.#underWayUntilDisposed;
  }

  /** Declares the device dead. @returns the error that everything fails with from now on. */
  fail(reason: string, cause?: unknown): HoldfastError {
    this.#failure ??= new HoldfastError('HF_DEVICE_FAILED', `${this.#name}: ${reason}`, { cause });
    return this.#failure;
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
