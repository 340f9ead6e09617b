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
/** Behind the states: counts slots that were given back; requests that were read, and taken. */
const GIVEN_BACK = SLOTS;
const READ = SLOTS + 1;
const TAKEN = SLOTS + 2;
/** 1 while the answerer looks by itself; else it sleeps, and is to be woken. */
const IS_LOOKING = SLOTS + 3;
/** Slot and length of what was read, in a ring as long as there are slots. */
const RING = SLOTS + 4;

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
      states: new SharedArrayBuffer((RING + 2 * SLOTS) * Int32Array.BYTES_PER_ELEMENT),
      slots: new SharedArrayBuffer(SLOTS * SLOT_BYTES),
    });
    memory.#states.fill(SPARE, LIMITS.mountSlotsMax, SLOTS); // the rest is 0
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

  /** By the reader. @returns whether the answerer is to be woken. */
  push(slot: number, length: number): boolean {
    const at = RING + 2 * (Atomics.load(this.#states, READ) % SLOTS);
    this.#states[at] = slot;
    this.#states[at + 1] = length;
    Atomics.add(this.#states, READ, 1);
    return Atomics.load(this.#states, IS_LOOKING) === 0;
  }

  /** By the answerer: what was read first. */
  shift(): { slot: number; length: number } | undefined {
    const taken = Atomics.load(this.#states, TAKEN);
    if (taken === Atomics.load(this.#states, READ)) return undefined;
    const at = RING + 2 * (taken % SLOTS);
    Atomics.store(this.#states, TAKEN, taken + 1);
    return { slot: this.#states[at]!, length: this.#states[at + 1]! };
  }

  /** By the answerer; when it stops it has to look once more. */
  setLooking(isLooking: boolean): void {
    Atomics.store(this.#states, IS_LOOKING, isLooking ? 1 : 0);
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
