/**
 * What happened in a run, event by event. Its digest covers every event in order: the same seed
 * gives the same digest, else something escaped the simulation. The text is kept when asked for.
 */
import { utf8, xxh64 } from '../src/base/index.ts';

export class Trace {
  readonly #lines: string[] | undefined;
  #digest = 0n;
  #eventCount = 0;

  constructor({ isKept }: { isKept: boolean }) {
    this.#lines = isKept ? [] : undefined;
  }

  add(atMs: number, who: string, what: string): void {
    const line = `${atMs.toFixed(3)} ${who}: ${what}`;
    this.#digest = xxh64(utf8(line), this.#digest);
    this.#eventCount += 1;
    this.#lines?.push(line);
  }

  get eventCount(): number {
    return this.#eventCount;
  }

  get digest(): string {
    return this.#digest.toString(16).padStart(16, '0');
  }

  get lines(): readonly string[] {
    return this.#lines ?? [];
  }
}
