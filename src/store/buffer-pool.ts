/**
 * Page-aligned memory for transfers, used again: to get pages from the system and to clear them
 * costs more than a small transfer. What is lent never leaves the store.
 */
import { MiB } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import { BLOCK_BYTES } from './geometry.ts';

const KEPT_BYTES_MAX = 16 * MiB;

export interface LentBuffer extends Disposable {
  readonly bytes: Uint8Array;
}

export class BufferPool {
  readonly #device: Pick<BlockDevice, 'allocate'>;
  /** By size, powers of two. */
  readonly #kept = new Map<number, Uint8Array[]>();
  #keptBytes = 0;

  constructor(device: Pick<BlockDevice, 'allocate'>) {
    this.#device = device;
  }

  /** Memory of so many blocks, content undefined, until it is disposed. */
  lend(blocks: number): LentBuffer {
    const size = 2 ** Math.ceil(Math.log2(blocks * BLOCK_BYTES));
    let memory = this.#kept.get(size)?.pop();
    if (memory) this.#keptBytes -= size;
    else memory = this.#device.allocate(size);
    return new Lent(this, memory, blocks * BLOCK_BYTES);
  }

  /** For {@link Lent}. */
  takeBack(memory: Uint8Array): void {
    if (this.#keptBytes + memory.length > KEPT_BYTES_MAX) return;
    this.#keptBytes += memory.length;
    const kept = this.#kept.get(memory.length);
    if (kept) kept.push(memory);
    else this.#kept.set(memory.length, [memory]);
  }
}

class Lent implements LentBuffer {
  readonly bytes: Uint8Array;
  readonly #pool: BufferPool;
  readonly #memory: Uint8Array;

  constructor(pool: BufferPool, memory: Uint8Array, usedBytes: number) {
    this.bytes = memory.subarray(0, usedBytes);
    this.#pool = pool;
    this.#memory = memory;
  }

  [Symbol.dispose](): void {
    this.#pool.takeBack(this.#memory);
  }
}
