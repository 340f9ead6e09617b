/**
 * Memory and transfers of all devices: page-aligned memory, and the rules that every transfer
 * keeps. A transfer that breaks them is our own bug, hence assertions.
 */
import { assert, LIMITS } from '../base/index.ts';

/**
 * Zeroed memory that starts on a page. A resizable buffer gets pages of its own from the engine,
 * where the memory of an ordinary one starts anywhere (measured on Node 20 and 24); the kernel
 * refuses direct transfers of memory that is not aligned.
 */
export function allocatePages(bytes: number): Uint8Array {
  assert(isBlockMultiple(bytes), 'memory for transfers is whole blocks');
  return new Uint8Array(new ArrayBuffer(bytes, { maxByteLength: bytes + 1 }), 0, bytes);
}

export function isBlockMultiple(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value % LIMITS.blockBytes === 0;
}

/**
 * States that a transfer is whole blocks inside the device.
 *
 * @returns its bytes.
 */
export function checkTransfer(
  parts: readonly Uint8Array[],
  offset: number,
  sizeBytes: number,
): number {
  assert(isBlockMultiple(offset), 'a transfer starts on a block');
  let lengthBytes = 0;
  for (const part of parts) {
    assert(isBlockMultiple(part.length), 'a transfer is whole blocks');
    lengthBytes += part.length;
  }
  assert(offset + lengthBytes <= sizeBytes, 'a transfer stays inside the device');
  return lengthBytes;
}
