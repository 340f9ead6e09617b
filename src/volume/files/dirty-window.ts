/**
 * What was written to one window of a file and is in no stripe yet. *Window*: a stripe's worth of a
 * file, at a multiple of that. *Piece*: a run of bytes, or of zeros that stand for a hole which was
 * made there; of each byte what was written last counts.
 *
 * Invariants: pieces lie in order and never meet another one's bytes; their memory is their own.
 */
import { assert, firstWhere, KiB, roundUp } from '../../base/index.ts';

export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export interface Piece extends ByteRange {
  /** Without them: zeros. */
  readonly bytes: Uint8Array | undefined;
}

interface OwnPiece {
  start: number;
  end: number;
  /** At least as long as the piece. */
  memory: Uint8Array | undefined;
}

/** Small writes one after the other become one piece, up to this. */
const JOINED_BYTES_MAX = 256 * KiB;
/** Memory is taken in steps of this. */
const STEP_BYTES = 64;
/** What a piece takes besides its bytes. */
const PIECE_OVERHEAD_BYTES = 192;

/** More memory than a write of so many bytes can take. */
export function memoryForWrite(bytes: number): number {
  return 2 * bytes + JOINED_BYTES_MAX;
}

export class DirtyWindow {
  readonly start: number;
  readonly end: number;
  #pieces: OwnPiece[] = [];
  #dirtyBytes = 0;
  #memoryBytes = 0;
  #zeroCount = 0;

  constructor({ start, end }: ByteRange) {
    this.start = start;
    this.end = end;
  }

  get isEmpty(): boolean {
    return this.#pieces.length === 0;
  }

  /** Every byte of the window was written. */
  get isFull(): boolean {
    return this.#dirtyBytes === this.end - this.start;
  }

  get memoryBytes(): number {
    return this.#memoryBytes;
  }

  /** In order; the bytes are valid until the window is changed. */
  *pieces({ start, end }: ByteRange = this): Generator<Piece> {
    for (let index = this.#firstAfter(start); index < this.#pieces.length; index++) {
      const piece = this.#pieces[index]!;
      if (piece.start >= end) return;
      const from = Math.max(start, piece.start);
      const to = Math.min(end, piece.end);
      const bytes = piece.memory?.subarray(from - piece.start, to - piece.start);
      yield { start: from, end: to, bytes };
    }
  }

  /** Copies them. */
  write(offset: number, bytes: Uint8Array): void {
    const end = offset + bytes.length;
    assert(offset >= this.start && end <= this.end, 'the bytes lie in the window');
    if (this.#zeroCount > 0) this.#discard({ start: offset, end }, ({ memory }) => !memory);
    let index = this.#firstAfter(offset);
    for (let position = offset; position < end;) {
      const piece = this.#pieces[index];
      const isCovered = piece !== undefined && piece.start <= position;
      const to = Math.min(end, isCovered ? piece.end : (piece?.start ?? end));
      const part = bytes.subarray(position - offset, to - offset);
      if (isCovered) {
        piece.memory!.set(part, position - piece.start);
        index += 1;
      } else {
        index = this.#fill(index, position, part);
      }
      position = to;
    }
  }

  /** A range becomes zeros. */
  zero({ start, end }: ByteRange): void {
    this.discard({ start, end });
    this.#insert(this.#firstAfter(start), { start, end, memory: undefined });
  }

  /** A range is not dirty any more. */
  discard(range: ByteRange): void {
    this.#discard(range, () => true);
  }

  /** Takes over all of another one that this one does not have; the other is of no use then. */
  addBeneath(other: DirtyWindow): void {
    const newer = this.#pieces;
    this.#clear();
    for (const piece of other.#pieces) this.#insert(this.#pieces.length, piece);
    for (const piece of newer) {
      this.discard(piece);
      this.#insert(this.#firstAfter(piece.start), piece);
    }
  }

  /** Bytes of the dirty run that ends where the window ends. */
  get tailBytes(): number {
    let start = this.end;
    for (let index = this.#pieces.length - 1; index >= 0; index--) {
      const piece = this.#pieces[index]!;
      if (piece.end !== start) break;
      start = piece.start;
    }
    return this.end - start;
  }

  /** The first piece that ends after an offset. */
  #firstAfter(offset: number): number {
    return firstWhere(this.#pieces, ({ end }) => end > offset);
  }

  /** Bytes where nothing is, before the piece at `index`. @returns the index of what follows. */
  #fill(index: number, start: number, bytes: Uint8Array): number {
    const end = start + bytes.length;
    const before = this.#pieces[index - 1];
    const length = before ? end - before.start : 0;
    if (before?.end === start && before.memory && length <= JOINED_BYTES_MAX) {
      this.#grow(before, length);
      before.memory.set(bytes, start - before.start);
      before.end = end;
      this.#dirtyBytes += bytes.length;
      return index;
    }
    const memory = Buffer.allocUnsafeSlow(roundUp(bytes.length, STEP_BYTES));
    memory.set(bytes);
    this.#insert(index, { start, end, memory });
    return index + 1;
  }

  #grow(piece: OwnPiece, length: number): void {
    const old = piece.memory!;
    if (old.length >= length) return;
    const wanted = Math.min(JOINED_BYTES_MAX, Math.max(length, 2 * old.length));
    const memory = Buffer.allocUnsafeSlow(roundUp(wanted, STEP_BYTES));
    memory.set(old.subarray(0, piece.end - piece.start));
    this.#memoryBytes += memory.length - old.length;
    piece.memory = memory;
  }

  #discard(range: ByteRange, isMeant: (piece: OwnPiece) => boolean): void {
    const old = this.#pieces;
    this.#clear();
    for (const piece of old) {
      const isMet = piece.start < range.end && piece.end > range.start && isMeant(piece);
      for (const kept of isMet ? without(piece, range) : [piece]) {
        this.#insert(this.#pieces.length, kept);
      }
    }
  }

  #clear(): void {
    this.#pieces = [];
    this.#dirtyBytes = 0;
    this.#memoryBytes = 0;
    this.#zeroCount = 0;
  }

  #insert(index: number, piece: OwnPiece): void {
    if (index === this.#pieces.length) this.#pieces.push(piece);
    else this.#pieces.splice(index, 0, piece);
    this.#dirtyBytes += piece.end - piece.start;
    this.#memoryBytes += PIECE_OVERHEAD_BYTES + (piece.memory?.length ?? 0);
    if (!piece.memory) this.#zeroCount += 1;
  }
}

/** What of a piece lies outside of a range, in memory of its own. */
function without({ start, end, memory }: OwnPiece, range: ByteRange): OwnPiece[] {
  return uncovered({ start, end }, [range]).map((left) => ({
    ...left,
    memory: memory && new Uint8Array(memory.subarray(left.start - start, left.end - start)),
  }));
}

/** What of a range none of the others covers, in order. */
export function uncovered(range: ByteRange, covers: readonly ByteRange[]): ByteRange[] {
  const left: ByteRange[] = [];
  let position = range.start;
  for (const { start, end } of covers.toSorted((a, b) => a.start - b.start)) {
    if (start > position) left.push({ start: position, end: Math.min(start, range.end) });
    position = Math.max(position, end);
  }
  if (position < range.end) left.push({ start: position, end: range.end });
  return left;
}

/** Pieces, where they belong in a target that begins at an offset of the file. */
export function copyPieces(pieces: Iterable<Piece>, target: Uint8Array, offset: number): void {
  for (const { start, end, bytes } of pieces) {
    if (bytes) target.set(bytes, start - offset);
    else target.fill(0, start - offset, end - offset);
  }
}
