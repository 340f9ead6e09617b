/**
 * The objects of one volume: immutable named bytes, reached by id, by key or by content address.
 * Files that a mount has made are reached in the same way, but for the address, which they have
 * not. Names, types and keys are sealed here; below this module nobody can read them.
 */
import type { Address, DeviceId, ObjectId, Policy, Scheme, StripeId } from '../base/index.ts';
import type { Content } from './content-source.ts';

export interface ObjectInfo {
  /** Of a file that a mount has made it begins with 16 zeros (`file-ids.ts`). */
  readonly id: ObjectId;
  /** Path-like name in the volume (`keys.ts`); `undefined` when the object has none. */
  readonly key: string | undefined;
  /** File name recorded at `put`; empty when there was none. */
  readonly fileName: string;
  readonly mediaType: string;
  readonly sizeBytes: number;
  /**
   * Names the content: equal content, equal address. Of what was written in place since, that of
   * what was put; empty of a file that a mount has made.
   */
  readonly address: Address;
  /** How it is stored: its encodings. */
  readonly policy: Policy;
  readonly createdAtMs: number;
}

/** As a listing has it. */
export interface ListedFile extends ObjectInfo {
  /** The twelve permission bits. */
  readonly mode: number;
  /** The time of modification that a mount shows. */
  readonly modifiedAtMs: number;
}

/** Part of a listing: what comes after the last one of the part before. */
export interface ListPage {
  /** Its key. */
  readonly after?: string | undefined;
  /** Its id, when it had no key. */
  readonly afterId?: ObjectId | undefined;
  /** At least 1; all that there are when left out. */
  readonly limit?: number | undefined;
}

export interface PutOptions {
  readonly key?: string | undefined;
  /**
   * Whether other content under the same key may be replaced (the default). The same content under
   * the same key is never refused.
   */
  readonly mayReplace?: boolean | undefined;
  /** Fills this object (made by {@link ObjectStore.create}) instead of a new one. */
  readonly id?: ObjectId | undefined;
  readonly fileName?: string | undefined;
  readonly mediaType?: string | undefined;
  /** The volume's policy when left out. */
  readonly policy?: Policy | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface PutReport {
  readonly info: ObjectInfo;
  /** Stripes that were stored already and did not travel. */
  readonly knownStripes: number;
  readonly stripeCount: number;
  /** Shards that the least durable stripe may lose, when fewer than its scheme promises. */
  readonly degradedTo: number | undefined;
}

export interface ObjectContent {
  readonly info: ObjectInfo;
  /** The bytes wanted, in order; the arrays are the caller's. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

/** Of many objects that are stored otherwise. */
export interface ReencodeReport {
  readonly reencoded: number;
  /** Those that were stored so already, or were written in place since, and stay as they are. */
  readonly kept: number;
  /** Those that could not be read or stored; they stay as they were. */
  readonly failed: number;
}

/** Of stripes that one encoding had lost. */
export interface MendReport {
  /** Made again from another encoding. */
  readonly mended: number;
  /** Those that no other encoding could give. */
  readonly lost: number;
}

export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?:
    | ((progress: { doneCount: number; totalCount: number; bytes: number }) => void)
    | undefined;
}

/** Where one stripe of an object lies. */
export interface StripePlaces {
  /** Which of the object's encodings the stripe is of. */
  readonly encoding: number;
  readonly offset: number;
  readonly lengthBytes: number;
  readonly stripe: StripeId;
  readonly scheme: Scheme;
  readonly shards: readonly {
    readonly shardIndex: number;
    readonly wantedAt: DeviceId | undefined;
    readonly foundAt: readonly DeviceId[];
    readonly badAt: readonly DeviceId[];
  }[];
  readonly spareCount: number;
}

export interface ObjectStore extends AsyncDisposable {
  /** An empty object with a fresh id. */
  create(): Promise<ObjectInfo>;

  /**
   * Stores a stream. Acknowledged when all of it is durable; on failure nothing of it stays. What
   * it replaces under its key gives it owner, group and mode, but for the set-id bits.
   * @throws HF_BAD_SCHEME when the scheme has more shards than there are stores; HF_NO_SPACE;
   *   HF_TOO_FEW_STORES; HF_BAD_ARGUMENT for a bad key; HF_EXISTS when the key is taken; HF_WORM
   *   when it is taken in a WORM volume.
   */
  put(content: Content, options?: PutOptions): Promise<PutReport>;

  /**
   * Resolves when the first bytes are there; a key that is replaced meanwhile gives the old object
   * or the new one.
   * @param reference an id, a key or a content address, tried in this order.
   * @throws HF_NOT_FOUND, HF_TOO_FEW_SHARDS, HF_FORGED; while reading on, the same.
   */
  get(
    reference: string,
    options?: {
      readonly range?: { readonly offset: number; readonly lengthBytes: number };
      readonly signal?: AbortSignal | undefined;
    },
  ): Promise<ObjectContent>;

  /** @param reference as of `get`. @throws HF_NOT_FOUND. */
  query(reference: string): Promise<ObjectInfo>;

  /**
   * Files whose key begins with the prefix, in the byte order of the keys, by each of their names;
   * without a prefix also objects without a key, behind the others, in the order of their ids.
   */
  list(prefix?: string, page?: ListPage): AsyncIterable<ListedFile>;

  /**
   * Stores an object by another policy, under the same id, key, time and address; it can be read
   * all the while. It takes the new encodings only in full.
   * @throws HF_NOT_FOUND; HF_BAD_SCHEME; HF_TOO_FEW_STORES; HF_UNSUPPORTED for what was written in
   *   place since it was put; as {@link put}.
   */
  reencode(
    reference: string,
    policy: Policy,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<ObjectInfo>;

  /**
   * The same for all objects that are not stored so yet: begun again it goes on where it was. One
   * that fails does not stop the others. @throws HF_INTERRUPTED; HF_BAD_SCHEME.
   */
  reencodeAll(policy: Policy, options?: RunOptions): Promise<ReencodeReport>;

  /** Makes stripes that one encoding of a hybrid object has lost again from its others. */
  mend(reference: string, options?: Pick<RunOptions, 'signal'>): Promise<MendReport>;
  /** The same for all hybrid objects. */
  mendAll(options?: Pick<RunOptions, 'signal'>): Promise<MendReport>;

  /**
   * Deletes the file with all its names; its space is free when this resolves, or when nobody has
   * it open any more. By key or id also what is no file and no directory.
   * @throws HF_NOT_FOUND; HF_WORM before its retention ends.
   */
  remove(reference: string): Promise<ObjectInfo>;

  where(reference: string): AsyncIterable<StripePlaces>;
}
