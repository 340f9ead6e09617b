/**
 * The objects of one volume: immutable named bytes, reached by id, by key or by content address.
 * Names, types and keys are sealed here; below this module nobody can read them.
 */
import type { Address, DeviceId, ObjectId, Scheme, StripeId } from '../base/index.ts';
import type { Content } from './content-source.ts';

export interface ObjectInfo {
  readonly id: ObjectId;
  /** Path-like name in the volume; `undefined` when the object has none. */
  readonly key: string | undefined;
  /** File name recorded at `put`; empty when there was none. */
  readonly fileName: string;
  readonly mediaType: string;
  readonly sizeBytes: number;
  /** Names the content: equal content, equal address. */
  readonly address: Address;
  readonly scheme: Scheme;
  readonly createdAtMs: number;
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
  /** The volume's scheme when left out. */
  readonly scheme?: Scheme | undefined;
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

/** Where one stripe of an object lies. */
export interface StripePlaces {
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
   * Stores a stream. Acknowledged when all of it is durable; on failure nothing of it stays.
   * @throws HF_BAD_SCHEME when the scheme has more shards than there are stores; HF_NO_SPACE;
   *   HF_TOO_FEW_STORES; HF_BAD_ARGUMENT for a bad key; HF_EXISTS when the key is taken.
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

  /** @throws HF_NOT_FOUND. */
  query(reference: string): Promise<ObjectInfo>;

  /**
   * Objects whose key begins with the prefix, in key order; without one also those without a key.
   */
  list(prefix?: string): AsyncIterable<ObjectInfo>;

  /** Deletes the object; its space is free when this resolves. @throws HF_NOT_FOUND. */
  remove(reference: string): Promise<ObjectInfo>;

  where(reference: string): AsyncIterable<StripePlaces>;
}
