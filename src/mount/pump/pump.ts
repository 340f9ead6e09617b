/**
 * Requests that another thread reads (`pump-worker.ts`), as they come, with the slots that they are
 * in: what a session in this thread serves.
 *
 * To wake a thread that sleeps takes longer than most requests. So while requests come this thread
 * does not sleep: between two turns of its event loop it looks by itself whether there is one more,
 * and only when there was none for a while it lets the reader wake it.
 */
import { assert, LIMITS } from '../../base/index.ts';
import type { Clock } from '../../env/index.ts';
import { Slot } from '../protocol/request.ts';
import { type Received, type RequestSource, SLOT_BYTES } from '../session/slots.ts';
import type { PumpMemory } from './pump-memory.ts';

export class Pump implements RequestSource {
  readonly #clock: Pick<Clock, 'turn' | 'monotonic'>;
  readonly #memory: PumpMemory;
  readonly #slots: readonly Slot[];
  readonly #numbers = new Map<Slot, number>();
  readonly #writtenOff = new Set<Slot>();
  #waiting: ((received: Received) => void) | undefined;
  #isLooking = false;
  #isGone = false;

  constructor(memory: PumpMemory, clock: Pick<Clock, 'turn' | 'monotonic'>) {
    this.#clock = clock;
    this.#memory = memory;
    const { slots } = memory.shared;
    this.#slots = Array.from({ length: memory.slotCount }, (_, number) => {
      const slot = new Slot(SLOT_BYTES, { memory: slots, offset: memory.offsetOf(number) });
      this.#numbers.set(slot, number);
      return slot;
    });
  }

  /** The reader has something, and nobody looked. Fails for bugs alone. */
  async wake(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    this.#memory.setLooking(true);
    let untilMs = this.#clock.monotonic() + LIMITS.mountLookMs;
    for (;;) {
      if (this.#deliver()) untilMs = this.#clock.monotonic() + LIMITS.mountLookMs;
      else if (this.#isGone || this.#clock.monotonic() >= untilMs) break;
      await this.#clock.turn();
    }
    this.#isLooking = false;
    this.#memory.setLooking(false);
    // What came since the last look woke nobody.
    if (this.#deliver()) void this.wake();
  }

  /** The reader has ended: the mount is gone. */
  end(): void {
    this.#isGone = true;
    this.#deliver();
  }

  /** @returns whether somebody waited, and there was something for him. */
  #deliver(): boolean {
    if (!this.#waiting) return false;
    const received = this.#shift();
    if (!received) return false;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting(received);
    return true;
  }

  #shift(): Received | undefined {
    const read = this.#memory.shift();
    if (read) {
      const slot = this.#slots[read.slot];
      assert(slot, 'the reader names a slot');
      return { slot, length: read.length };
    }
    return this.#isGone ? { slot: this.#slots[0]!, length: 0 } : undefined;
  }

  next(): Received | Promise<Received> {
    return this.#shift() ?? new Promise((resolve) => (this.#waiting = resolve));
  }

  get isExhausted(): boolean {
    return this.#memory.isExhausted;
  }

  giveBack(slot: Slot): void {
    const number = this.#numbers.get(slot)!;
    if (this.#writtenOff.delete(slot)) this.#memory.giveBackSpare(number);
    else this.#memory.giveBack(number);
  }

  writeOff(slot: Slot): void {
    if (this.#writtenOff.size >= LIMITS.mountSlotsMax) return;
    if (this.#memory.addSpare()) this.#writtenOff.add(slot);
  }
}
