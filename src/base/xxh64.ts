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

/** The checksum of the parts in order, as if they were one array. */
export function xxh64Parts(parts: readonly Uint8Array[], seed = 0n): bigint {
  if (parts.length <= 1) return xxh64(parts[0] ?? new Uint8Array(0), seed);
  const state = kernel.create64(seed);
  for (const part of parts) state.update(part);
  return state.digest();
}
