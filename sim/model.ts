/**
 * What may be found under a name, given what was asked and answered: a *register* whose values are
 * numbers of contents, or ABSENT. Each operation has taken effect at one moment between its start
 * and its end; one of unknown outcome did so before the crash, or never.
 *
 * A value may be seen when some write of it is not *superseded*: no certain operation, and no look
 * that showed something else, began after that write's end and ended before this look began. That
 * is necessary for linearizability, and finds what is lost, undone or shown too late.
 */
import { assert } from '../src/base/index.ts';

export const ABSENT = -1;

export interface Operation {
  readonly value: number;
  readonly startMs: number;
  /** Infinity while it is under way. */
  endMs: number;
  /** Whether it took effect for certain. */
  isCertain: boolean;
  /** Losses that it promised to bear; of a put. */
  spareCount: number;
}

export interface Look {
  readonly value: number;
  readonly startMs: number;
  readonly endMs: number;
}

export class Register {
  readonly name: string;
  #writes: Operation[] = [
    { value: ABSENT, startMs: -1, endMs: -1, isCertain: true, spareCount: Infinity },
  ];
  #looks: Look[] = [];

  constructor(name: string) {
    this.name = name;
  }

  begin(value: number, startMs: number): Operation {
    const write = { value, startMs, endMs: Infinity, isCertain: false, spareCount: Infinity };
    this.#writes.push(write);
    return write;
  }

  done(write: Operation, endMs: number, spareCount = Infinity): void {
    Object.assign(write, { endMs, isCertain: true, spareCount });
  }

  /** It has had no effect and never will. @returns false when somebody has seen it. */
  failed(write: Operation): boolean {
    assert(!write.isCertain, 'a write that is certain does not fail');
    this.#writes = this.#writes.filter((each) => each !== write);
    const others = this.writesOf(write.value);
    return !this.#looks.some(
      ({ value, endMs }) =>
        value === write.value && !others.some((other) => other.startMs <= endMs),
    );
  }

  /** Whether it has had an effect is not known; it will have none after `endMs`. */
  unknown(write: Operation, endMs: number): void {
    write.endMs = endMs;
  }

  /** Values that may be seen. */
  possible(startMs: number, endMs: number): Set<number> {
    const candidates = this.#writes.filter((write) => write.startMs <= endMs);
    return new Set(
      candidates.filter((write) => !this.#isSuperseded(write, startMs)).map(({ value }) => value),
    );
  }

  /** Records what was seen. @returns whether that is possible. */
  look(look: Look): boolean {
    if (!this.possible(look.startMs, look.endMs).has(look.value)) return false;
    this.#looks.push(look);
    return true;
  }

  /** Writes that a look may still show. */
  writesOf(value: number): readonly Operation[] {
    return this.#writes.filter((write) => write.value === value);
  }

  /** Whether nothing else was asked of this name since the write began. */
  isUndisturbed(write: Operation): boolean {
    return !this.#writes.some((other) => other !== write && other.endMs >= write.startMs);
  }

  #isSuperseded(write: Operation, startMs: number): boolean {
    const isAfter = (other: { startMs: number; endMs: number }): boolean =>
      other.startMs > write.endMs && other.endMs < startMs;
    return (
      this.#writes.some((other) => other !== write && other.isCertain && isAfter(other)) ||
      this.#looks.some((other) => other.value !== write.value && isAfter(other))
    );
  }
}
