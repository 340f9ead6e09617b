/** Names in directories, sealed for the directory that they are in (ruling 8). */
import { concatBytes, fromHex, fromUtf8, utf8, type VolumeId } from '../base/index.ts';
import { openName, sealName, type VolumeKeys } from '../crypto/index.ts';
import type { Inode } from '../meta/index.ts';

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
  readonly #key: Uint8Array;

  constructor({ volume, keys }: SealedNamesOptions) {
    this.#volumeBytes = fromHex(volume);
    this.#key = keys.nameKey;
  }

  /** The same for the same name in the same directory. */
  sealedName({ salt }: Directory, name: string): Uint8Array {
    const context = concatBytes(this.#volumeBytes, salt);
    return sealName({ key: this.#key, name: utf8(name), context });
  }

  /** @throws HF_FORGED when the name was not sealed for this directory. */
  openedName({ salt }: Directory, sealed: Uint8Array): string {
    const context = concatBytes(this.#volumeBytes, salt);
    return fromUtf8(openName({ key: this.#key, sealed, context }));
  }
}
