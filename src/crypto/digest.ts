/**
 * Digests: BLAKE3 with 32 bytes, the names of content, shards and nodes.
 *
 * Two engines compute the same function: a native one (prebuilt; absent on some platforms) and
 * one in WebAssembly that is always there. A call into the native one costs about 2.5 µs, so
 * short input goes to the other (bench/crypto.ts). Which engines there are is settled once, when
 * this file is loaded.
 * Source: https://github.com/BLAKE3-team/BLAKE3-specs
 */
import { hash } from 'blake3-jit';
import { asBuffer, concatBytes } from '../base/index.ts';

export const DIGEST_BYTES = 32;

/** From this length on the native engine is faster than the other, call included (measured). */
const NATIVE_BYTES_MIN = 2048;

/** The digest of `bytes`, in a new array. `bytes` may be a view of shared memory. */
export type DigestOnce = (bytes: Uint8Array) => Uint8Array;

async function loadNative(): Promise<DigestOnce | undefined> {
  try {
    const { blake3 } = await import('@napi-rs/blake-hash');
    return (bytes) => {
      const result = blake3(asBuffer(bytes));
      return new Uint8Array(result.buffer, result.byteOffset, result.length);
    };
  } catch {
    return undefined; // no binary for this platform: the other engine does all the work
  }
}

/** Both engines, for those who compare them; everyone else calls {@link digest}. */
export const DIGEST_ENGINES: {
  readonly native: DigestOnce | undefined;
  readonly wasm: DigestOnce;
} = { native: await loadNative(), wasm: (bytes) => hash(bytes) };

/** The engine that long input goes to. */
export const DIGEST_ENGINE: 'native' | 'wasm' = DIGEST_ENGINES.native ? 'native' : 'wasm';

/**
 * The BLAKE3 digest of the parts in order, 32 bytes owned by the caller. Several parts are joined
 * first, so long content is best given as one. Parts are not told apart: callers whose parts vary
 * in length write their lengths.
 */
export function digest(...parts: readonly Uint8Array[]): Uint8Array {
  const [first] = parts;
  const bytes = first && parts.length === 1 ? first : concatBytes(...parts);
  const { native, wasm } = DIGEST_ENGINES;
  return native && bytes.length >= NATIVE_BYTES_MIN ? native(bytes) : wasm(bytes);
}
