/** The status of what was made here, as the cell will have it. */
import type { Inode, InodeStatus, NodeRequest, TreeDirectoryRequest } from '../../meta/index.ts';

const NS_PER_MS = 1_000_000n;
const EMPTY = new Uint8Array();
/** Its entry, and its own '.'. */
const EMPTY_DIRECTORY_LINKS = 2;

function statusOf(
  inode: Inode,
  { mode, uid, gid }: Pick<NodeRequest, 'mode' | 'uid' | 'gid'>,
  atMs: number,
): InodeStatus {
  const atNs = BigInt(atMs) * NS_PER_MS;
  return {
    inode,
    type: 'file',
    sizeBytes: 0,
    createdAtMs: atMs,
    modifiedAtMs: atMs,
    salt: EMPTY,
    attributes: EMPTY,
    objectId: undefined,
    schemeNumbers: [],
    mode,
    uid,
    gid,
    linkCount: 1,
    accessedNs: atNs,
    modifiedNs: atNs,
    changedNs: atNs,
    changeCount: 0n,
    deviceNumber: 0,
    storedBytes: 0,
    quotaDirectory: undefined,
  };
}

export function newNodeStatus(inode: Inode, request: NodeRequest, atMs: number): InodeStatus {
  const { type, target, deviceNumber = 0, attributes = EMPTY } = request;
  const sizeBytes = target?.sizeBytes ?? 0;
  return { ...statusOf(inode, request, atMs), type, sizeBytes, deviceNumber, attributes };
}

export function newDirectoryStatus(
  inode: Inode,
  request: TreeDirectoryRequest,
  atMs: number,
): InodeStatus {
  const { salt, attributes = EMPTY } = request;
  const linkCount = EMPTY_DIRECTORY_LINKS;
  return { ...statusOf(inode, request, atMs), type: 'directory', linkCount, salt, attributes };
}
