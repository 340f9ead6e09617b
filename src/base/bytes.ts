/** Small helpers over byte arrays; none of them keeps or frees memory of the caller. */
import { assert } from './assert.ts';

export const KiB = 1024;
export const MiB: number = 1024 * KiB;
export const GiB: number = 1024 * MiB;

/** A view of `bytes` as a Buffer, without a copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function toHex(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('hex');
}

/** @throws AssertionError when `hex` is not an even number of hexadecimal digits. */
export function fromHex(hex: string): Uint8Array {
  assert(/^([0-9a-f]{2})*$/i.test(hex), 'the text is hexadecimal');
  return new Uint8Array(Buffer.from(hex, 'hex'));
}

/** A key as text of one character a byte; such texts order as their bytes do. */
export function keyText(key: Uint8Array): string {
  return asBuffer(key).toString('latin1');
}

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function fromUtf8(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && asBuffer(a).equals(b);
}

/** Order of unsigned bytes, shorter first on a common prefix: the order of every key space. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}

/** One new array with the parts in order. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/** The smallest multiple of `step` that is at least `value`. Exact up to 2^53. */
export function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
