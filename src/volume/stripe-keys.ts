/**
 * Wraps stripe keys into extents: a wrapped key fits one range of one inode of one volume only. Of
 * what is written in place that is the write's number, and the range that was written.
 */
import { ByteWriter, concatBytes, fromHex, type VolumeId } from '../base/index.ts';
import { NONCE_BYTES, unwrapKey, type VolumeKeys, wrapKey } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import type { Extent, Inode } from '../meta/index.ts';

type Place = Omit<Extent, 'wrappedKey'>;

export class StripeKeys {
  readonly #env: Env;
  readonly #volumeBytes: Uint8Array;
  readonly #wrapKey: Uint8Array;

  constructor(options: { env: Env; volume: VolumeId; keys: VolumeKeys }) {
    this.#env = options.env;
    this.#volumeBytes = fromHex(options.volume);
    this.#wrapKey = options.keys.wrapKey;
  }

  /** The extent with its stripe's key. */
  wrap(inode: Inode, place: Place, key: Uint8Array): Extent {
    const nonce = this.#env.random.bytes(NONCE_BYTES);
    const aad = this.#aad(inode, place);
    return { ...place, wrappedKey: wrapKey({ wrapKey: this.#wrapKey, nonce, aad, key }) };
  }

  /** @throws HF_FORGED when the extent was made for another place, or under another secret. */
  unwrap(inode: Inode, extent: Extent): Uint8Array {
    const aad = this.#aad(extent.holder ?? inode, { ...extent, ...extent.whole });
    return unwrapKey({ wrapKey: this.#wrapKey, aad, wrapped: extent.wrappedKey });
  }

  #aad(inode: Inode, { offset, lengthBytes, stripe }: Place): Uint8Array {
    const place = new ByteWriter(24).bigU64be(inode).u64(offset).u64(lengthBytes).finish();
    return concatBytes(this.#volumeBytes, place, stripe);
  }
}
