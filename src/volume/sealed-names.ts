/** Names in directories, sealed for the directory that they are in (ruling 8). */
import { concatBytes, fromHex, utf8, type VolumeId } from '../base/index.ts';
import { NameSeals, type VolumeKeys } from '../crypto/index.ts';
import type { Inode, Place } from '../meta/index.ts';
import { nameBytes, nameText } from './keys.ts';

const SLASH = utf8('/');

/** A directory as name sealing needs it. */
export interface Directory {
  readonly inode: Inode;
  readonly salt: Uint8Array;
}

export interface SealedNamesOptions {
  readonly volume: VolumeId;
  readonly keys: VolumeKeys;
}

export class SealedNames {
  readonly #volumeBytes: Uint8Array;
  readonly #seals: NameSeals;

  constructor({ volume, keys }: SealedNamesOptions) {
    this.#volumeBytes = fromHex(volume);
    this.#seals = new NameSeals(keys.nameKey);
  }

  /** The same for the same name in the same directory. */
  sealedName(directory: Directory, name: string): Uint8Array {
    return this.#sealed(directory, nameBytes(name));
  }

  /** @throws HF_FORGED when the name was not sealed for this directory. */
  openedName(directory: Directory, sealed: Uint8Array): string {
    return nameText(this.openedBytes(directory, sealed));
  }

  /** The same in bytes, which need not be UTF-8; those of a directory may have a '/' at the end. */
  openedBytes({ salt }: Directory, sealed: Uint8Array): Uint8Array {
    const context = concatBytes(this.#volumeBytes, salt);
    return this.#seals.open(sealed, context);
  }

  /** @param name bytes, without a '/'. */
  placeIn(directory: Directory, name: Uint8Array): Place {
    return {
      directory: directory.inode,
      name: this.#sealed(directory, name),
      directoryName: this.#sealed(directory, concatBytes(name, SLASH)),
    };
  }

  #sealed({ salt }: Directory, name: Uint8Array): Uint8Array {
    const context = concatBytes(this.#volumeBytes, salt);
    return this.#seals.seal(name, context);
  }
}
