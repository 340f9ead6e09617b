/**
 * Memory for requests. One is always being read into; others are lent to file systems that have
 * promised an answer. When all are lent, reading waits, and the kernel keeps its requests.
 */
import { LIMITS } from '../../base/index.ts';
import { Slot } from '../protocol/request.ts';

/** Header, struct and names of a request with data; the kernel asks for 4 KiB of room at least. */
const OVERHEAD_BYTES = 8192;

export class Slots {
  readonly #free: Slot[] = [];
  readonly #waiting: ((slot: Slot) => void)[] = [];
  #count = 0;

  /** Without a promise while there is one. */
  take(): Slot | Promise<Slot> {
    const free = this.#free.pop();
    if (free) return free;
    if (this.#count < LIMITS.mountSlotsMax) {
      this.#count += 1;
      return new Slot(LIMITS.mountDataBytesMax + OVERHEAD_BYTES);
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  giveBack(slot: Slot): void {
    const next = this.#waiting.shift();
    if (next) next(slot);
    else this.#free.push(slot);
  }
}
