/** The status of what was made here, as the cell will have it. */
import {
  EMPTY_DIRECTORY_LINKS,
  type Inode,
  type InodeStatus,
  newPosix,
  type NodeRequest,
  type TreeDirectoryRequest,
} from '../../meta/index.ts';

type Owned = Pick<NodeRequest, 'mode' | 'uid' | 'gid'>;

const EMPTY = new Uint8Array();

function statusOf(
  inode: Inode,
  { mode, uid, gid, linkCount = 1 }: Owned & { readonly linkCount?: number },
  atMs: number,
): InodeStatus {
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
    ...newPosix({ mode, uid, gid, linkCount }, atMs),
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
  const status = statusOf(inode, { ...request, linkCount: EMPTY_DIRECTORY_LINKS }, atMs);
  return { ...status, type: 'directory', salt, attributes };
}
