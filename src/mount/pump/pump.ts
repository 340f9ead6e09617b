/**
 * Requests that another thread reads (`pump-worker.ts`), as they come, with the slots that they are
 * in: what a session in this thread serves.
 */
import { LIMITS } from '../../base/index.ts';
import { Slot } from '../protocol/request.ts';
import type { Received, RequestSource } from '../session/slots.ts';
import { SLOT_BYTES } from '../session/slots.ts';
import type { PumpMemory } from './pump-memory.ts';

/** A message of the reader is a number: the slot, and the bytes in it. */
export const LENGTH_MAX = 2 ** 32;

export class Pump implements RequestSource {
  readonly #memory: PumpMemory;
  readonly #slots: readonly Slot[];
  readonly #numbers = new Map<Slot, number>();
  readonly #writtenOff = new Set<Slot>();
  readonly #arrived: Received[] = [];
  #waiting: ((received: Received) => void) | undefined;
  #isGone = false;

  constructor(memory: PumpMemory) {
    this.#memory = memory;
    const { slots } = memory.shared;
    this.#slots = Array.from({ length: memory.slotCount }, (_, number) => {
      const slot = new Slot(SLOT_BYTES, { memory: slots, offset: memory.offsetOf(number) });
      this.#numbers.set(slot, number);
      return slot;
    });
  }

  /** A message of the reader. */
  hear(message: number): void {
    const slot = this.#slots[Math.floor(message / LENGTH_MAX)]!;
    this.#arrive({ slot, length: message % LENGTH_MAX });
  }

  /** The reader has ended: the mount is gone. */
  end(): void {
    this.#isGone = true;
    this.#arrive({ slot: this.#slots[0]!, length: 0 });
  }

  #arrive(received: Received): void {
    const { length } = this.#arrived;
    if (this.#waiting && length === 0) {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      waiting(received);
    } else this.#arrived.push(received);
  }

  next(): Received | Promise<Received> {
    const first = this.#arrived.shift();
    if (first) return first;
    if (this.#isGone) return { slot: this.#slots[0]!, length: 0 };
    return new Promise((resolve) => (this.#waiting = resolve));
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
