/**
 * XXH64, the checksum against accidents on every structure, chunk page and network frame. It says
 * nothing about intent: content is named by digests and sealed under keys (`crypto`).
 * Source: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
 */
import xxhash from 'xxhash-wasm';

const kernel = await xxhash();

/** The checksum of `bytes`; XXH64 of nothing with seed 0 is 0xef46db3751d8e999. */
export function xxh64(bytes: Uint8Array, seed = 0n): bigint {
  return kernel.h64Raw(bytes, seed);
}

/** The checksum of bytes that come one part after the other; each is looked at when it is given. */
export interface Xxh64Sum {
  update(part: Uint8Array): unknown;
  digest(): bigint;
}

export function beginXxh64(seed = 0n): Xxh64Sum {
  return kernel.create64(seed);
}
