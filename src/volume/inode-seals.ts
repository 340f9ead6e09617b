/**
 * Seals of what belongs to one inode: the target of a symbolic link, extended attributes, and the
 * content of a small file. Each is bound to its inode, so that nobody can give it to another one.
 * Names of extended attributes are the same for the same name on the same inode, for they are
 * looked up.
 */
import { concatBytes, fromHex, HoldfastError, utf8, type VolumeId } from '../base/index.ts';
import {
  deriveKey,
  NameSeals,
  NONCE_BYTES,
  openRecord,
  sealRecord,
  type VolumeKeys,
} from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import type { InlineContent, Inode } from '../meta/index.ts';

export interface InodeSealsOptions {
  readonly env: Pick<Env, 'random'>;
  readonly volume: VolumeId;
  readonly keys: VolumeKeys;
}

/** All methods that open throw HF_FORGED for what was not sealed for this inode. */
export class InodeSeals {
  readonly #random: Env['random'];
  readonly #keys: VolumeKeys;
  readonly #names: NameSeals;
  readonly #volumeBytes: Uint8Array;

  constructor({ env, volume, keys }: InodeSealsOptions) {
    this.#random = env.random;
    this.#keys = keys;
    this.#names = new NameSeals(keys.nameKey);
    this.#volumeBytes = fromHex(volume);
  }

  sealedTarget(inode: Inode, target: Uint8Array): Uint8Array {
    return this.#sealed(this.#context(`symlink ${inode}`), target);
  }

  openedTarget(inode: Inode, sealed: Uint8Array): Uint8Array {
    return this.#opened(this.#context(`symlink ${inode}`), sealed);
  }

  sealedXattrName(inode: Inode, name: Uint8Array): Uint8Array {
    const context = this.#context(`xattr ${inode}`);
    return this.#names.seal(name, context);
  }

  openedXattrName(inode: Inode, sealed: Uint8Array): Uint8Array {
    const context = this.#context(`xattr ${inode}`);
    return this.#names.open(sealed, context);
  }

  sealedXattr(inode: Inode, name: Uint8Array, value: Uint8Array): Uint8Array {
    return this.#sealed(concatBytes(this.#context(`xattr ${inode} `), name), value);
  }

  openedXattr(inode: Inode, name: Uint8Array, sealed: Uint8Array): Uint8Array {
    return this.#opened(concatBytes(this.#context(`xattr ${inode} `), name), sealed);
  }

  /** All that a file has, where it is small. */
  sealedContent(inode: Inode, content: Uint8Array): Uint8Array {
    const aad = this.#context(`content ${inode}`);
    const nonce = this.#random.bytes(NONCE_BYTES);
    return sealRecord({ key: this.#contentKey(inode), nonce, aad, record: content });
  }

  /** What of it is still seen. @throws HF_CORRUPT when there is less. */
  openedContent(inode: Inode, { sealed, lengthBytes }: InlineContent): Uint8Array {
    const aad = this.#context(`content ${inode}`);
    const content = openRecord({ key: this.#contentKey(inode), aad, sealed });
    if (content.length >= lengthBytes) return content.subarray(0, lengthBytes);
    throw new HoldfastError('HF_CORRUPT', 'a file has less inline content than its inode says');
  }

  /** Of this inode alone: files are written more often than one key may be used. */
  #contentKey(inode: Inode): Uint8Array {
    return deriveKey(this.#keys.attributeKey, `holdfast/1 inline content ${inode}`);
  }

  #sealed(aad: Uint8Array, record: Uint8Array): Uint8Array {
    const nonce = this.#random.bytes(NONCE_BYTES);
    return sealRecord({ key: this.#keys.attributeKey, nonce, aad, record });
  }

  #opened(aad: Uint8Array, sealed: Uint8Array): Uint8Array {
    return openRecord({ key: this.#keys.attributeKey, aad, sealed });
  }

  #context(what: string): Uint8Array {
    return concatBytes(this.#volumeBytes, utf8(what));
  }
}
