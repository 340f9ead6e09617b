/** The volumes of a cluster: small public records in the registry. */
import {
  ByteReader,
  ByteWriter,
  fromHex,
  hexId,
  HoldfastError,
  type NodeId,
  type Policy,
  policyNumbers,
  policyOfNumbers,
  type VolumeId,
} from '../base/index.ts';
import type { Registry } from '../log/index.ts';
import type { Retention } from './namespace/namespace.ts';
import { longerRetention } from './namespace/retention.ts';

export interface VolumeRecord {
  readonly id: VolumeId;
  readonly name: string;
  /** How objects are stored that are put from now on. */
  readonly policy: Policy;
  /** Convergent keys: the same content stored twice in the volume is stored once. */
  readonly isDeduplicating: boolean;
  /** Of a WORM volume: objects are added, never replaced, and kept so long. */
  readonly retention: Retention | undefined;
  /** The node that is at work to store older objects by the policy, too. */
  readonly reencodedBy: NodeId | undefined;
  readonly createdAtMs: number;
}

/** What is left out stays as it is. */
export type VolumeChange = Partial<Pick<VolumeRecord, 'policy' | 'retention' | 'reencodedBy'>>;

export interface Volumes {
  list(): Promise<readonly VolumeRecord[]>;
  get(name: string): Promise<VolumeRecord | undefined>;
  /** @throws HF_EXISTS; HF_BAD_ARGUMENT when the name is no name. */
  create(record: VolumeRecord): Promise<void>;
  /** @throws HF_NOT_FOUND; HF_WORM when a retention would get shorter; HF_BAD_ARGUMENT. */
  change(name: string, change: VolumeChange): Promise<VolumeRecord>;
}

const KEY_PREFIX = 'volume/';
/** Version 1 had one scheme and no more than deduplication to say. */
const RECORD_VERSION = 2;

const FLAGS = { isDeduplicating: 1, isWorm: 2, hasRetention: 4, isReencoded: 8 } as const;
const FLAGS_MAX = 15;

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
    async change(name, change) {
      for (;;) {
        const found = await registry.get(KEY_PREFIX + name);
        if (!found) throw new HoldfastError('HF_NOT_FOUND', `there is no volume ${name}`);
        const before = decodeVolume(found.value);
        checkRetention(before, change);
        const record = { ...before, ...change };
        const { key, version } = found;
        if (await registry.compareAndSet(key, version, encodeVolume(record))) return record;
      }
    },
  };
}

function checkRetention({ name, retention }: VolumeRecord, change: VolumeChange): void {
  const wanted = change.retention;
  if (!wanted) return;
  if (!retention) {
    throw new HoldfastError(
      'HF_BAD_ARGUMENT',
      `volume ${name} is not WORM: make one with volume create --worm`,
    );
  }
  if (longerRetention(retention, wanted).retentionMs === wanted.retentionMs) return;
  throw new HoldfastError('HF_WORM', `the retention of volume ${name} can only get longer`);
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
  const { policy, isDeduplicating, retention, reencodedBy } = record;
  const numbers = policyNumbers(policy);
  const writer = new ByteWriter(64)
    .u8(RECORD_VERSION)
    .raw(fromHex(record.id))
    .text(record.name)
    .u8(numbers.length);
  for (const number of numbers) writer.u16(number);
  const flags =
    (isDeduplicating ? FLAGS.isDeduplicating : 0) |
    (retention ? FLAGS.isWorm : 0) |
    (retention?.retentionMs === undefined ? 0 : FLAGS.hasRetention) |
    (reencodedBy === undefined ? 0 : FLAGS.isReencoded);
  writer.u8(flags).u64(record.createdAtMs);
  if (retention?.retentionMs !== undefined) writer.u64(retention.retentionMs);
  if (reencodedBy !== undefined) writer.raw(fromHex(reencodedBy));
  return writer.finish();
}

/** A record as the registry has it. @throws HF_CORRUPT. */
export function decodeVolume(bytes: Uint8Array): VolumeRecord {
  const reader = new ByteReader(bytes, 'volume record');
  const version = reader.u8();
  if (version !== 1 && version !== RECORD_VERSION) {
    throw reader.corrupt(`version ${version} is not known`);
  }
  const id = hexId<VolumeId>(reader.raw(16));
  const name = reader.text();
  const count = version === 1 ? 1 : reader.u8();
  const policy = policyOfNumbers(Array.from({ length: count }, () => reader.u16()));
  const flags = reader.u8();
  const has = (flag: number): boolean => (flags & flag) !== 0;
  if (flags > (version === 1 ? FLAGS.isDeduplicating : FLAGS_MAX)) {
    throw reader.corrupt('a flag is not known');
  }
  if (has(FLAGS.hasRetention) && !has(FLAGS.isWorm)) throw reader.corrupt('nothing is retained');
  const createdAtMs = reader.u64();
  const retentionMs = has(FLAGS.hasRetention) ? reader.u64() : undefined;
  const reencodedBy = has(FLAGS.isReencoded) ? hexId<NodeId>(reader.raw(16)) : undefined;
  reader.end();
  return {
    id,
    name,
    policy,
    isDeduplicating: has(FLAGS.isDeduplicating),
    retention: has(FLAGS.isWorm) ? { retentionMs } : undefined,
    reencodedBy,
    createdAtMs,
  };
}
