/**
 * What a cell no longer needs of a mirror. What cannot be removed now goes with the next removal; a
 * process forgets it when it ends.
 */
import { errorMessage } from '../base/index.ts';
import type { Log } from '../env/index.ts';
import type { CellId } from './fenced-log.ts';
import type { Mirror, MirrorRef } from './mirror.ts';

export interface GarbageOptions {
  readonly cell: CellId;
  readonly mirror: Pick<Mirror, 'remove'>;
  readonly report: Pick<Log, 'warn'>;
}

export class Garbage {
  readonly #options: GarbageOptions;
  #left: MirrorRef[];

  /** @param left removed with the first that is collected. */
  constructor(options: GarbageOptions, left: readonly MirrorRef[] = []) {
    this.#options = options;
    this.#left = [...left];
  }

  /** To be removed later. */
  add(ref: MirrorRef): void {
    this.#left.push(ref);
  }

  /** Removes these, and those that are left from before. Never fails. */
  async collect(more: readonly MirrorRef[]): Promise<void> {
    const { cell, mirror, report } = this.#options;
    const refs = [...this.#left, ...more];
    this.#left = [];
    if (refs.length === 0) return;
    try {
      await mirror.remove(refs);
    } catch (error) {
      this.#left.push(...refs);
      const fields = { cell, count: refs.length, reason: errorMessage(error) };
      report.warn('old records of the log could not be removed yet', fields);
    }
  }
}
