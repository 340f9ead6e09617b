/** Volumes as the control interface shows them. */

export interface VolumeView {
  readonly id: string;
  readonly name: string;
  readonly scheme: string;
  readonly isDeduplicating: boolean;
  /** Objects are added, never replaced, and kept so long; null: it is no such volume. */
  readonly worm: WormView | null;
  /** Whether older objects are being stored by the scheme, too. */
  readonly isReencoding: boolean;
  readonly objectCount: number;
  readonly contentBytes: number;
}

/** What is kept how long after its creation; null: for ever. */
export interface WormView {
  readonly retentionMs: number | null;
}

/** Of objects that were to be stored by another scheme. */
export interface ReencodeView {
  readonly reencoded: number;
  /** Those that were stored so before. */
  readonly kept: number;
  /** Those that could not be read or stored; they stay as they were. */
  readonly failed: number;
}
