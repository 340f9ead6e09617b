/**
 * A device in memory: for tests and for stores that need not outlive the process. Each transfer is
 * done when the call returns; a flush does nothing.
 */
import { assert, HoldfastError, LIMITS, roundUp } from '../base/index.ts';
import type { BlockDevice } from './block-device.ts';
import { DeviceState } from './device-state.ts';
import { allocatePages, checkTransfer, isBlockMultiple } from './pages.ts';

export interface MemoryDeviceOptions {
  readonly sizeBytes: number;
  /** What it may grow to; `sizeBytes` when absent. Only address space is taken in advance. */
  readonly capacityBytes?: number;
  readonly name?: string;
}

export class MemoryDevice implements BlockDevice {
  readonly kind = 'memory';
  readonly name: string;
  readonly capacityBytes: number;
  readonly isDirect = true;
  readonly deviceNumber = { major: 0, minor: 0 };
  readonly #memory: ArrayBuffer;
  readonly #state: DeviceState;

  constructor({ sizeBytes, capacityBytes = sizeBytes, name = 'memory' }: MemoryDeviceOptions) {
    assert(isBlockMultiple(sizeBytes), 'a device is whole blocks');
    assert(isBlockMultiple(capacityBytes), 'a capacity is whole blocks');
    assert(sizeBytes <= capacityBytes, 'a device is within its capacity');
    this.name = name;
    this.capacityBytes = capacityBytes;
    this.#memory = new ArrayBuffer(sizeBytes, { maxByteLength: capacityBytes });
    this.#state = new DeviceState(name);
  }

  get sizeBytes(): number {
    return this.#memory.byteLength;
  }

  async read(target: Uint8Array, offset: number): Promise<void> {
    const lengthBytes = checkTransfer([target], offset, this.sizeBytes);
    this.#state.check();
    target.set(new Uint8Array(this.#memory, offset, lengthBytes));
  }

  async write(sources: readonly Uint8Array[], offset: number): Promise<void> {
    const lengthBytes = checkTransfer(sources, offset, this.sizeBytes);
    this.#state.check();
    const target = new Uint8Array(this.#memory, offset, lengthBytes);
    let written = 0;
    for (const source of sources) {
      target.set(source, written);
      written += source.length;
    }
  }

  async flush(): Promise<void> {
    this.#state.check();
  }

  async grow(bytes: number): Promise<void> {
    this.#state.check();
    const sizeBytes = this.sizeBytes + roundUp(bytes, LIMITS.blockBytes);
    if (sizeBytes > this.capacityBytes) {
      throw new HoldfastError('HF_NO_SPACE', `${this.name} cannot grow by ${bytes} bytes`);
    }
    this.#memory.resize(sizeBytes);
  }

  async shrink(sizeBytes: number): Promise<void> {
    assert(isBlockMultiple(sizeBytes), 'a device is whole blocks');
    this.#state.check();
    this.#memory.resize(Math.min(sizeBytes, this.sizeBytes));
  }

  allocate(bytes: number): Uint8Array {
    return allocatePages(bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#state.close();
  }
}
