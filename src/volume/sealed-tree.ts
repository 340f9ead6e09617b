/**
 * The tree of a volume with its names and attributes opened: everything that crosses from here to a
 * cell is sealed, everything that comes back is authenticated.
 */
import {
  type Address,
  ByteReader,
  ByteWriter,
  concatBytes,
  fromHex,
  policyOfNumbers,
  toHex,
} from '../base/index.ts';
import {
  keyedAddress,
  NONCE_BYTES,
  openRecord,
  sealRecord,
  type VolumeKeys,
} from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import { type Inode, type InodeRecord, type Namespace, ROOT_INODE } from '../meta/index.ts';
import { fileId } from './file-ids.ts';
import { type KeyPath } from './keys.ts';
import type { ObjectInfo } from './object-store.ts';
import { type Directory, SealedNames, type SealedNamesOptions } from './sealed-names.ts';

const ATTRIBUTES_VERSION = 1;

/** Sealed with an object's inode. */
export interface Attributes {
  readonly fileName: string;
  readonly mediaType: string;
  readonly address: Address;
}

/** Of a file that only the tree has made. */
const NO_ATTRIBUTES: Attributes = { fileName: '', mediaType: '', address: '' as Address };

export interface SealedTreeOptions extends SealedNamesOptions {
  readonly env: Env;
  readonly namespace: Namespace;
}

export class SealedTree extends SealedNames {
  readonly #env: Env;
  readonly #volumeBytes: Uint8Array;
  readonly #keys: VolumeKeys;
  readonly #namespace: Namespace;

  constructor({ env, volume, keys, namespace }: SealedTreeOptions) {
    super({ volume, keys });
    this.#env = env;
    this.#volumeBytes = fromHex(volume);
    this.#keys = keys;
    this.#namespace = namespace;
  }

  async root(): Promise<Directory> {
    const record = await this.#namespace.record(ROOT_INODE);
    return { inode: ROOT_INODE, salt: record?.salt ?? new Uint8Array() };
  }

  /** The directory at the end of a path of names; `undefined` when one is missing. */
  async findDirectory(names: readonly string[]): Promise<Directory | undefined> {
    let directory = await this.root();
    for (const name of names) {
      const entry = await this.#namespace.lookup(directory.inode, this.sealedName(directory, name));
      if (!entry) return undefined;
      directory = entry.record;
    }
    return directory;
  }

  /** The deepest directory on a path that is there. */
  async nearestDirectory(names: readonly string[]): Promise<Inode> {
    if (names.length === 0) return ROOT_INODE;
    let directory = await this.root();
    for (const name of names) {
      const entry = await this.#namespace.lookup(directory.inode, this.sealedName(directory, name));
      if (!entry) break;
      directory = entry.record;
    }
    return directory.inode;
  }

  /** The directory at the end of a path; what is missing is made, to vanish with its last entry. */
  async makeDirectories(names: readonly string[]): Promise<Directory> {
    let directory = await this.root();
    for (const name of names) {
      const { record } = await this.#namespace.makeDirectory({
        parent: directory.inode,
        name: this.sealedName(directory, name),
        salt: this.#env.random.bytes(16),
        attributes: new Uint8Array(),
        isImplicit: true,
      });
      directory = record;
    }
    return directory;
  }

  async lookup({ directories, name }: KeyPath): Promise<InodeRecord | undefined> {
    const directory = await this.findDirectory(directories);
    if (!directory) return undefined;
    const sealed = this.sealedName(directory, name);
    return (await this.#namespace.lookup(directory.inode, sealed))?.record;
  }

  /** The key that leads to an object, from its back-link upwards. */
  async keyOf(inode: Inode): Promise<string | undefined> {
    const names: string[] = [];
    for (let child = inode; child !== ROOT_INODE;) {
      const entry = await this.#namespace.entryOf(child);
      if (!entry) return undefined;
      const parent = await this.#namespace.record(entry.directory);
      if (!parent) return undefined;
      names.unshift(this.openedName(parent, entry.name));
      child = entry.directory;
    }
    return names.join('');
  }

  sealedAttributes(inode: Inode, { fileName, mediaType, address }: Attributes): Uint8Array {
    const writer = new ByteWriter().u8(ATTRIBUTES_VERSION).text(fileName).text(mediaType);
    const record = writer.raw(fromHex(address)).finish();
    const nonce = this.#env.random.bytes(NONCE_BYTES);
    return sealRecord({ key: this.#keys.attributeKey, nonce, aad: this.#aadOf(inode), record });
  }

  #openedAttributes({ inode, attributes }: InodeRecord): Attributes {
    const aad = this.#aadOf(inode);
    const opened = openRecord({ key: this.#keys.attributeKey, aad, sealed: attributes });
    const reader = new ByteReader(opened, 'attributes of an object');
    const version = reader.u8();
    if (version !== ATTRIBUTES_VERSION) throw reader.corrupt(`version ${version} is not known`);
    const fileName = reader.text();
    const mediaType = reader.text();
    return { fileName, mediaType, address: toHex(reader.raw(32)) as Address };
  }

  #aadOf(inode: Inode): Uint8Array {
    return concatBytes(this.#volumeBytes, new ByteWriter(8).bigU64be(inode).finish());
  }

  addressKey(address: Address): Uint8Array {
    return keyedAddress(this.#keys.addressKey, address);
  }

  /** @param key when the caller knows it already. */
  async info(record: InodeRecord, key?: string): Promise<ObjectInfo> {
    const isObject = record.objectId !== undefined;
    return {
      id: fileId(record),
      key: key ?? (await this.keyOf(record.inode)),
      ...(isObject ? this.#openedAttributes(record) : NO_ATTRIBUTES),
      sizeBytes: record.sizeBytes,
      policy: policyOfNumbers(record.schemeNumbers),
      createdAtMs: record.createdAtMs,
    };
  }
}
