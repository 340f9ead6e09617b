/** The volumes of a cluster: small public records in the registry. */
import type { Scheme, VolumeId } from '../base/index.ts';

export interface VolumeRecord {
  readonly id: VolumeId;
  readonly name: string;
  readonly scheme: Scheme;
  /** Convergent keys: the same content stored twice in the volume is stored once. */
  readonly isDeduplicating: boolean;
  readonly createdAtMs: number;
}

export interface Volumes {
  list(): Promise<readonly VolumeRecord[]>;
  get(name: string): Promise<VolumeRecord | undefined>;
  /** @throws HF_EXISTS. */
  create(record: VolumeRecord): Promise<void>;
  /** Changes the scheme of what is put from now on. @throws HF_NOT_FOUND. */
  setScheme(name: string, scheme: Scheme): Promise<VolumeRecord>;
}
