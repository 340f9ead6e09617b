/**
 * Memory for requests. One is always being read into; others are lent to file systems that have
 * promised an answer. When all are lent, reading waits, and the kernel keeps its requests.
 *
 * Memory whose caller was given up is *written off*: it stays with the file system until the
 * promise settles, and new memory takes its place, so that answers which never come do not stop the
 * mount. As many as there are slots may be written off.
 */
import { LIMITS } from '../../base/index.ts';
import { Slot } from '../protocol/request.ts';

/** Header, struct and names of a request with data; the kernel asks for 4 KiB of room at least. */
const OVERHEAD_BYTES = 8192;
export const SLOT_BYTES: number = LIMITS.mountDataBytesMax + OVERHEAD_BYTES;

/** A request as it was read. */
export interface Received {
  readonly slot: Slot;
  /** 0: the mount is gone. */
  readonly length: number;
}

/** Where a session has its requests from, when another thread reads them. */
export interface RequestSource extends Pick<Slots, 'giveBack' | 'writeOff' | 'isExhausted'> {
  next(): Received | Promise<Received>;
}

export class Slots {
  readonly #free: Slot[] = [];
  readonly #waiting: ((slot: Slot) => void)[] = [];
  readonly #writtenOff = new Set<Slot>();
  /** But for those that are written off. */
  #count = 0;

  /** Nothing can be read: all are lent. */
  get isExhausted(): boolean {
    return this.#waiting.length > 0;
  }

  /** Without a promise while there is one. */
  take(): Slot | Promise<Slot> {
    const free = this.#free.pop();
    if (free) return free;
    if (this.#count < LIMITS.mountSlotsMax) return this.#make();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #make(): Slot {
    this.#count += 1;
    return new Slot(SLOT_BYTES);
  }

  /** Of a slot that is lent, and will still be given back. */
  writeOff(slot: Slot): void {
    if (this.#writtenOff.size >= LIMITS.mountSlotsMax) return;
    this.#writtenOff.add(slot);
    this.#count -= 1;
    this.#waiting.shift()?.(this.#make());
  }

  giveBack(slot: Slot): void {
    if (this.#writtenOff.delete(slot)) return;
    const next = this.#waiting.shift();
    if (next) next(slot);
    else this.#free.push(slot);
  }
}
