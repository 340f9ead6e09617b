/** The volumes of a cluster: small public records in the registry. */
import {
  ByteReader,
  ByteWriter,
  fromHex,
  hexId,
  HoldfastError,
  type Scheme,
  schemeNumber,
  schemeOfNumber,
  type VolumeId,
} from '../base/index.ts';
import type { Registry } from '../log/index.ts';

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
  /** @throws HF_EXISTS; HF_BAD_ARGUMENT when the name is no name. */
  create(record: VolumeRecord): Promise<void>;
  /** Changes the scheme of what is put from now on. @throws HF_NOT_FOUND. */
  setScheme(name: string, scheme: Scheme): Promise<VolumeRecord>;
}

const KEY_PREFIX = 'volume/';
const RECORD_VERSION = 1;

/** The volumes over a registry, one key each. */
export function openVolumes(registry: Registry): Volumes {
  return {
    async list() {
      return (await registry.list(KEY_PREFIX)).map(({ value }) => decodeVolume(value));
    },
    async get(name) {
      const found = await registry.get(KEY_PREFIX + name);
      return found && decodeVolume(found.value);
    },
    async create(record) {
      checkVolumeName(record.name);
      const version = await registry.compareAndSet(
        KEY_PREFIX + record.name,
        0,
        encodeVolume(record),
      );
      if (version === undefined) {
        throw new HoldfastError('HF_EXISTS', `there is a volume ${record.name} already`);
      }
    },
    async setScheme(name, scheme) {
      for (;;) {
        const found = await registry.get(KEY_PREFIX + name);
        if (!found) throw new HoldfastError('HF_NOT_FOUND', `there is no volume ${name}`);
        const record = { ...decodeVolume(found.value), scheme };
        const { key, version } = found;
        if (await registry.compareAndSet(key, version, encodeVolume(record))) return record;
      }
    },
  };
}

/** @throws HF_BAD_ARGUMENT when no volume can be called so. */
export function checkVolumeName(name: string): void {
  if (/^[a-z0-9][a-z0-9.-]{0,62}$/.test(name)) return;
  throw new HoldfastError(
    'HF_BAD_ARGUMENT',
    `"${name}" names no volume: 1 to 63 of a-z, 0-9, "." and "-", the first a letter or digit`,
  );
}

function encodeVolume(record: VolumeRecord): Uint8Array {
  return new ByteWriter(64)
    .u8(RECORD_VERSION)
    .raw(fromHex(record.id))
    .text(record.name)
    .u16(schemeNumber(record.scheme))
    .u8(record.isDeduplicating ? 1 : 0)
    .u64(record.createdAtMs)
    .finish();
}

/** @throws HF_CORRUPT. */
function decodeVolume(bytes: Uint8Array): VolumeRecord {
  const reader = new ByteReader(bytes, 'volume record');
  const version = reader.u8();
  if (version !== RECORD_VERSION) throw reader.corrupt(`version ${version} is not known`);
  const id = hexId<VolumeId>(reader.raw(16));
  const name = reader.text();
  const scheme = schemeOfNumber(reader.u16());
  const flags = reader.u8();
  if (flags > 1) throw reader.corrupt('a flag is not known');
  const createdAtMs = reader.u64();
  reader.end();
  return { id, name, scheme, isDeduplicating: flags === 1, createdAtMs };
}
