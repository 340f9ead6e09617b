/** What the volume says of an inode, in the kernel's words, and the other way round. */
import { constants } from 'node:fs';
import { HoldfastError } from '../../base/index.ts';
import type { InodeStatus, InodeType } from '../../volume/index.ts';
import type { AttributeChanges, NewTime } from '../file-system.ts';
import type { Attributes, Timestamp } from '../inode.ts';

const TYPE_BITS: Readonly<Record<InodeType, number>> = {
  file: constants.S_IFREG,
  directory: constants.S_IFDIR,
  symlink: constants.S_IFLNK,
  fifo: constants.S_IFIFO,
  socket: constants.S_IFSOCK,
  characterDevice: constants.S_IFCHR,
  blockDevice: constants.S_IFBLK,
};

export const PERMISSION_BITS = 0o7777;
const SET_USER_ID = 0o4000;
export const SET_GROUP_ID = 0o2000;
const GROUP_EXECUTES = 0o010;
const NS_PER_S = 1_000_000_000n;
/** Times of the volume are 64 bits without a sign. */
const LAST_NS = 2n ** 64n - 1n;

export type Owner = Pick<Attributes, 'uid' | 'gid'>;

const ROOT: Owner = { uid: 0, gid: 0 };

/** @param root shown where user and group are root's: on a node of a user they are nobody's. */
export function attributesOf(status: InodeStatus, root = ROOT): Attributes {
  return {
    inode: status.inode,
    mode: modeOf(status),
    uid: status.uid === ROOT.uid ? root.uid : status.uid,
    gid: status.gid === ROOT.gid ? root.gid : status.gid,
    linkCount: status.linkCount,
    sizeBytes: status.sizeBytes,
    storedBytes: status.storedBytes,
    accessed: timestampOf(status.accessedNs),
    modified: timestampOf(status.modifiedNs),
    changed: timestampOf(status.changedNs),
    deviceNumber: status.deviceNumber,
  };
}

/** With the bits of the type. */
export function modeOf({ type, mode }: Pick<InodeStatus, 'type' | 'mode'>): number {
  return TYPE_BITS[type] | mode;
}

/** @throws HF_BAD_ARGUMENT for bits that no inode made by mknod(2) has. */
export function nodeTypeOf(mode: number): Exclude<InodeType, 'directory' | 'symlink'> {
  switch (mode & constants.S_IFMT) {
    case 0:
    case constants.S_IFREG:
      return 'file';
    case constants.S_IFIFO:
      return 'fifo';
    case constants.S_IFSOCK:
      return 'socket';
    case constants.S_IFCHR:
      return 'characterDevice';
    case constants.S_IFBLK:
      return 'blockDevice';
    default:
      throw new HoldfastError('HF_BAD_ARGUMENT', `mode ${mode} is of no file that can be made`);
  }
}

/** The permission bits that are left after a write or a change of owner. */
export function withoutPrivileges(mode: number): number {
  const groupBit = (mode & GROUP_EXECUTES) === 0 ? 0 : SET_GROUP_ID;
  return mode & ~(SET_USER_ID | groupBit);
}

function timestampOf(ns: bigint): Timestamp {
  return { seconds: Number(ns / NS_PER_S), nanoseconds: Number(ns % NS_PER_S) };
}

/** What of changes is for the tree: all but the size. */
export function treeChangesOf(
  changes: Omit<AttributeChanges, 'mode'> & { mode?: number | undefined },
) {
  const { mode, uid, gid, accessed, modified } = changes;
  return {
    ...(mode !== undefined && { mode: mode & PERMISSION_BITS }),
    ...(uid !== undefined && { uid }),
    ...(gid !== undefined && { gid }),
    ...(accessed !== undefined && { accessedNs: timeOf(accessed) }),
    ...(modified !== undefined && { modifiedNs: timeOf(modified) }),
  };
}

/** What the volume cannot say becomes the nearest that it can. */
function timeOf(time: NewTime): bigint | 'now' {
  if (time === 'now') return time;
  const ns = BigInt(time.seconds) * NS_PER_S + BigInt(time.nanoseconds);
  if (ns < 0n) return 0n;
  return ns > LAST_NS ? LAST_NS : ns;
}
