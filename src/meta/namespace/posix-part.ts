/**
 * What POSIX knows of an inode beside its record. An inode row has this part since the tree changed
 * it (value version 2); one without, as objects are put, has the defaults of its type.
 */
import type { ByteReader, ByteWriter } from '../../base/index.ts';
import type { Inode, InodeRecord, InodeType } from './namespace.ts';
import type { InodeStatus } from './tree.ts';

export type PosixPart = Pick<
  InodeStatus,
  | 'mode'
  | 'uid'
  | 'gid'
  | 'linkCount'
  | 'accessedNs'
  | 'modifiedNs'
  | 'changedNs'
  | 'changeCount'
  | 'deviceNumber'
  | 'storedBytes'
  | 'quotaDirectory'
>;

/** Of a directory whose subdirectories were never counted. */
export const UNCOUNTED_LINKS = 1;
/** Of a directory without directories in it: its entry and its own '.'. */
export const EMPTY_DIRECTORY_LINKS = 2;
export const MODE_MAX = 0o7777;

const NS_PER_MS = 1_000_000n;
const NO_DIRECTORY = 0n;
const DEFAULT_MODES: Partial<Record<InodeType, number>> = { directory: 0o755, symlink: 0o777 };

export function nsOf(ms: number): bigint {
  return BigInt(Math.max(0, ms)) * NS_PER_MS;
}

export function msOf(ns: bigint): number {
  return Number(ns / NS_PER_MS);
}

/** Of a row that has none. */
export function defaultPosix(record: InodeRecord, linkCount: number): PosixPart {
  const { type, sizeBytes, modifiedAtMs } = record;
  const atNs = nsOf(modifiedAtMs);
  return {
    mode: DEFAULT_MODES[type] ?? 0o644,
    uid: 0,
    gid: 0,
    linkCount,
    accessedNs: atNs,
    modifiedNs: atNs,
    changedNs: atNs,
    changeCount: 0n,
    deviceNumber: 0,
    storedBytes: type === 'file' ? sizeBytes : 0,
    quotaDirectory: undefined,
  };
}

/** Of what is made now. */
export function newPosix(
  made: Pick<PosixPart, 'mode' | 'uid' | 'gid' | 'linkCount'> & Partial<PosixPart>,
  nowMs: number,
): PosixPart {
  const atNs = nsOf(nowMs);
  return {
    accessedNs: atNs,
    modifiedNs: atNs,
    changedNs: atNs,
    changeCount: 0n,
    deviceNumber: 0,
    storedBytes: 0,
    quotaDirectory: undefined,
    ...made,
  };
}

export function writePosix(writer: ByteWriter, posix: PosixPart): ByteWriter {
  return writer
    .u16(posix.mode)
    .u32(posix.uid)
    .u32(posix.gid)
    .u32(posix.linkCount)
    .u32(posix.deviceNumber)
    .bigU64(posix.accessedNs)
    .bigU64(posix.modifiedNs)
    .bigU64(posix.changedNs)
    .bigU64(posix.changeCount)
    .u64(posix.storedBytes)
    .bigU64(posix.quotaDirectory ?? NO_DIRECTORY);
}

/** @throws HF_CORRUPT. */
export function readPosix(reader: ByteReader): PosixPart {
  const mode = reader.u16();
  if (mode > MODE_MAX) throw reader.corrupt('its mode is none');
  return {
    mode,
    uid: reader.u32(),
    gid: reader.u32(),
    linkCount: reader.u32(),
    deviceNumber: reader.u32(),
    accessedNs: reader.bigU64(),
    modifiedNs: reader.bigU64(),
    changedNs: reader.bigU64(),
    changeCount: reader.bigU64(),
    storedBytes: reader.u64(),
    quotaDirectory: optionalInode(reader.bigU64()),
  };
}

function optionalInode(number: bigint): Inode | undefined {
  return number === NO_DIRECTORY ? undefined : number;
}
