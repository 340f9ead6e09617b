/**
 * Memory that the thread which reads a mount shares with the one that answers: slots for requests,
 * and the state of each. The reader takes free ones, the answerer gives them back; when there is
 * none the reader sleeps, and the kernel keeps its requests.
 *
 * As many again are *spare*: one becomes free for each that is written off (session/slots.ts).
 */
import { assert, LIMITS } from '../../base/index.ts';
import { SLOT_BYTES } from '../session/slots.ts';

const FREE = 0;
const LENT = 1;
const SPARE = 2;
const SLOTS = 2 * LIMITS.mountSlotsMax;
/** Behind the states: counts slots that were given back. */
const GIVEN_BACK = SLOTS;

export class PumpMemory {
  readonly #states: Int32Array<SharedArrayBuffer>;
  /** As it goes to another thread. Pages are only taken from the machine as they are used. */
  readonly shared: { readonly states: SharedArrayBuffer; readonly slots: SharedArrayBuffer };

  private constructor(shared: PumpMemory['shared']) {
    this.shared = shared;
    this.#states = new Int32Array(shared.states);
  }

  static make(): PumpMemory {
    const memory = new PumpMemory({
      states: new SharedArrayBuffer((SLOTS + 1) * Int32Array.BYTES_PER_ELEMENT),
      slots: new SharedArrayBuffer(SLOTS * SLOT_BYTES),
    });
    memory.#states.fill(SPARE, LIMITS.mountSlotsMax, SLOTS);
    return memory;
  }

  static of(shared: PumpMemory['shared']): PumpMemory {
    return new PumpMemory(shared);
  }

  get slotCount(): number {
    return SLOTS;
  }

  offsetOf(slot: number): number {
    return slot * SLOT_BYTES;
  }

  /** By the reader: the first free slot, lent from now on; sleeps until there is one. */
  takeNow(): number {
    for (;;) {
      const givenBack = Atomics.load(this.#states, GIVEN_BACK);
      for (let slot = 0; slot < SLOTS; slot++) {
        if (Atomics.compareExchange(this.#states, slot, FREE, LENT) === FREE) return slot;
      }
      Atomics.wait(this.#states, GIVEN_BACK, givenBack);
    }
  }

  /** By the answerer. */
  get isExhausted(): boolean {
    return !this.#states.subarray(0, SLOTS).includes(FREE);
  }

  giveBack(slot: number): void {
    assert(Atomics.load(this.#states, slot) === LENT, 'a slot is given back once');
    this.#free(slot, FREE);
  }

  /** The slot stays lent, and will be spare when it is given back; another one is free. */
  addSpare(): boolean {
    const slot = this.#states.subarray(0, SLOTS).indexOf(SPARE);
    if (slot >= 0) this.#free(slot, FREE);
    return slot >= 0;
  }

  giveBackSpare(slot: number): void {
    this.#free(slot, SPARE);
  }

  #free(slot: number, state: number): void {
    Atomics.store(this.#states, slot, state);
    Atomics.add(this.#states, GIVEN_BACK, 1);
    Atomics.notify(this.#states, GIVEN_BACK);
  }
}
