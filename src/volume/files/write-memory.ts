/**
 * The memory for what was written to the open files of a volume and is in no stripe yet. Who finds
 * it full waits, in order, until something became content, or until nothing can.
 */
import { assert } from '../../base/index.ts';

interface Waiter {
  readonly bytes: number;
  readonly admit: () => void;
  readonly refuse: (error: unknown) => void;
}

export class WriteMemory {
  readonly #bytesMax: number;
  #usedBytes = 0;
  #peakBytes = 0;
  #takenCount = 0;
  #waiting: Waiter[] = [];

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** The most that was ever used. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** How often somebody got some. */
  get takenCount(): number {
    return this.#takenCount;
  }

  get isWaitedFor(): boolean {
    return this.#waiting.length > 0;
  }

  /** Whether there is room at once; then it is taken. */
  tryTake(bytes: number): boolean {
    if (this.isWaitedFor || !this.#fits(bytes)) return false;
    this.#take(bytes);
    return true;
  }

  /** Takes it as soon as there is room. @throws what {@link refuse} says. */
  async take(bytes: number): Promise<void> {
    assert(bytes <= this.#bytesMax, 'nobody waits for more than there is');
    if (this.tryTake(bytes)) return;
    await new Promise<void>((admit, refuse) => {
      this.#waiting.push({ bytes, admit, refuse });
    });
  }

  giveBack(bytes: number): void {
    this.#usedBytes -= bytes;
    assert(this.#usedBytes >= 0, 'no more is given back than was taken');
    for (let next = this.#waiting[0]; next && this.#fits(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#take(next.bytes);
      next.admit();
    }
  }

  /** All that wait are told that there will be no room. */
  refuse(error: unknown): void {
    const refused = this.#waiting;
    this.#waiting = [];
    for (const waiter of refused) waiter.refuse(error);
  }

  #fits(bytes: number): boolean {
    return this.#usedBytes + bytes <= this.#bytesMax;
  }

  #take(bytes: number): void {
    this.#takenCount += 1;
    this.#usedBytes += bytes;
    this.#peakBytes = Math.max(this.#peakBytes, this.#usedBytes);
  }
}
