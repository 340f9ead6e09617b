/** Objects as the control interface shows them, and where their bytes are. */

export interface ObjectView {
  /** 32 hexadecimal digits; of a file that a mount has made its inode number behind 16 zeros. */
  readonly id: string;
  /** A byte that is no UTF-8 is a lone surrogate, U+DC80 to U+DCFF. */
  readonly key: string | null;
  readonly fileName: string;
  readonly mediaType: string;
  readonly sizeBytes: number;
  /** Empty of a file that a mount has made. */
  readonly address: string;
  readonly scheme: string;
  readonly createdAtMs: number;
}

/** As a listing has it. */
export interface ListedView extends ObjectView {
  /** The twelve permission bits. */
  readonly mode: number;
  readonly modifiedAtMs: number;
}

export interface PutAnswer {
  readonly object: ObjectView;
  readonly stripeCount: number;
  /** Stripes that were stored already. */
  readonly knownStripes: number;
  /** How many more stores may be lost, when that is fewer than the scheme promises. */
  readonly degradedTo: number | null;
}

export interface PlaceView {
  /** Which of the object's encodings the stripe is of. */
  readonly encoding: number;
  readonly offset: number;
  readonly lengthBytes: number;
  readonly scheme: string;
  readonly spareCount: number;
  readonly shards: readonly {
    readonly shardIndex: number;
    readonly wantedAt: string | null;
    readonly foundAt: readonly string[];
    readonly badAt: readonly string[];
  }[];
  /** The stores that are named above, as far as they are known. */
  readonly stores: Readonly<Record<string, StorePlaceView>>;
  /** One line for each rule of placement that could not be kept. */
  readonly relaxed: readonly string[];
}

/** Where a store stands. */
export interface StorePlaceView {
  /** Name of its node; null when the cluster does not know it. */
  readonly node: string | null;
  /** Level → domain, widest first. */
  readonly domains: Readonly<Record<string, string>>;
}

/** The first block of an object on one device; nulls when it has none, or none is here. */
export interface LocationView {
  readonly object: ObjectView;
  readonly device: string | null;
  readonly storeId: string | null;
  readonly block: number | null;
  readonly blockBytes: number;
}
