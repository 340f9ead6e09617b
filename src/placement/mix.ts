/**
 * A small hash for decisions between equals: well mixed, the same on every machine, no secret. The
 * last steps are the 32-bit finalizer of MurmurHash3 (A. Appleby, public domain).
 */

/** 32 bits that depend on each bit of three whole numbers. */
export function mix(a: number, b: number, c: number): number {
  let hash = Math.imul(a, 0x9e3779b1) ^ Math.imul(b + 1, 0x85ebca77) ^ Math.imul(c + 2, 0xc2b2ae3d);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
