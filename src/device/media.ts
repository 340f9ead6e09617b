/**
 * Content of a simulated device as an overlay, so that a crash test can make thousands of images of
 * a large device: blocks by number, a block that is absent is zeros. A *fork* shares all blocks
 * with its origin.
 *
 * Invariant: the bytes of a block never change; a write puts other bytes in its place. Only so may
 * forks and the writes themselves share them.
 */
import { assert, LIMITS } from '../base/index.ts';
import { checkTransfer, isBlockMultiple } from './pages.ts';

const { blockBytes } = LIMITS;

/** Own blocks before a fork moves them into the shared layer; a fork copies at most these. */
const OWN_BLOCKS_MAX = 256;

export class Media {
  #sizeBytes: number;
  /** Shared with forks, never changed. */
  #shared: ReadonlyMap<number, Uint8Array> = new Map();
  #own = new Map<number, Uint8Array>();

  /** Zeros. */
  constructor(sizeBytes: number) {
    assert(isBlockMultiple(sizeBytes), 'media are whole blocks');
    this.#sizeBytes = sizeBytes;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** The same content, independent from now on; costs no copy of content. */
  fork(): Media {
    if (this.#own.size > OWN_BLOCKS_MAX) {
      this.#shared = new Map([...this.#shared, ...this.#own]);
      this.#own = new Map();
    }
    const fork = new Media(this.#sizeBytes);
    fork.#shared = this.#shared;
    fork.#own = new Map(this.#own);
    return fork;
  }

  read(target: Uint8Array, offset: number): void {
    checkTransfer([target], offset, this.#sizeBytes);
    for (let at = 0; at < target.length; at += blockBytes) {
      const block = this.#block((offset + at) / blockBytes);
      if (block) target.set(block, at);
      else target.fill(0, at, at + blockBytes);
    }
  }

  /** @param bytes belong to the media from now on: nobody changes them any more. */
  write(bytes: Uint8Array, offset: number): void {
    checkTransfer([bytes], offset, this.#sizeBytes);
    for (let at = 0; at < bytes.length; at += blockBytes) {
      this.#own.set((offset + at) / blockBytes, bytes.subarray(at, at + blockBytes));
    }
  }

  /** @param bit 0–7, of the byte at `offset`. */
  flipBit(offset: number, bit: number): void {
    assert(offset < this.#sizeBytes, 'the bit is inside the media');
    const number = Math.floor(offset / blockBytes);
    const block = new Uint8Array(blockBytes);
    this.read(block, number * blockBytes);
    block[offset % blockBytes]! ^= 1 << bit;
    this.write(block, number * blockBytes);
  }

  /** The room that is added is zeros. */
  grow(sizeBytes: number): void {
    assert(isBlockMultiple(sizeBytes), 'media are whole blocks');
    assert(sizeBytes >= this.#sizeBytes, 'growing takes no room away');
    this.#sizeBytes = sizeBytes;
  }

  /** What is cut off is gone: should they grow again, it is zeros. */
  shrink(sizeBytes: number): void {
    assert(isBlockMultiple(sizeBytes), 'media are whole blocks');
    assert(sizeBytes <= this.#sizeBytes, 'shrinking adds no room');
    const kept = ([number]: [number, Uint8Array]): boolean => number * blockBytes < sizeBytes;
    this.#shared = new Map([...this.#shared].filter(kept));
    this.#own = new Map([...this.#own].filter(kept));
    this.#sizeBytes = sizeBytes;
  }

  #block(number: number): Uint8Array | undefined {
    return this.#own.get(number) ?? this.#shared.get(number);
  }
}
