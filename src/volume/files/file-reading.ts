/** Reads of one file on this node: what is dirty over what is committed. */
import { LIMITS } from '../../base/index.ts';
import { isFinal } from '../read-content.ts';
import type { CommittedReader } from './committed-reader.ts';
import { type ByteRange, copyPieces } from './dirty-window.ts';
import { areSame, type Part } from './extent-map.ts';
import type { FileState } from './file-state.ts';
import { firstData, firstHole } from './seek.ts';

/** Tries of a read whose stripes go because the file is written to elsewhere. */
const READ_TRIES = 4;

export class FileReading {
  readonly #state: FileState;
  readonly #reader: CommittedReader;

  constructor(state: FileState, reader: CommittedReader) {
    this.#state = state;
    this.#reader = reader;
  }

  /** Fills the target as far as the file goes. @returns how far. */
  async read(offset: number, target: Uint8Array, isSequential: boolean): Promise<number> {
    for (let tries = 1; ; tries++) {
      const { range, parts } = await this.#prepareRead(offset, target);
      try {
        await this.#reader.fill(parts, { target, offset, isSequential });
        return Math.max(0, range.end - offset);
      } catch (error) {
        if (isFinal(error) || tries === READ_TRIES) throw error;
        await this.#state.refresh();
        this.#state.distrust();
        await this.#state.map.look(range);
        const isSame = areSame(parts, this.#state.committedParts(range));
        if (isSame) throw error;
      }
    }
  }

  /** Has read what comes after an offset, as far as it is known where it is. */
  async readAhead(offset: number): Promise<void> {
    const { map, sizeBytes } = this.#state;
    const range = { start: offset, end: Math.min(sizeBytes, offset + LIMITS.readAheadBytesMax) };
    if (range.start >= range.end) return;
    await map.look(range);
    if (map.isKnown(range)) this.#reader.prefetch(this.#state.committedParts(range));
  }

  /** What is not committed is in the target when it resolves; the parts are for the rest. */
  async #prepareRead(
    offset: number,
    target: Uint8Array,
  ): Promise<{ range: ByteRange; parts: readonly Part[] }> {
    const state = this.#state;
    for (;;) {
      const end = Math.min(offset + target.length, state.sizeBytes);
      const range = { start: offset, end };
      if (offset >= end) return { range, parts: [] };
      const unknown = state.unknownWithin(range);
      if (!unknown) {
        copyPieces(state.pieces(range), target, offset);
        return { range, parts: state.committedParts(range) };
      }
      await state.map.look(unknown);
    }
  }

  async seekData(offset: number): Promise<number | undefined> {
    return await firstData(this.#state, offset);
  }

  async seekHole(offset: number): Promise<number | undefined> {
    return await firstHole(this.#state, offset);
  }
}
