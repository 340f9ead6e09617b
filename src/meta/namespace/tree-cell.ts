/** {@link Tree} over whoever runs its operations: each method is one operation over rows. */
import { assert, LIMITS } from '../../base/index.ts';
import * as attributes from './attribute-ops.ts';
import * as content from './content-ops.ts';
import type { Circumstances } from './inode-ops.ts';
import { pageLimit } from './namespace-cell.ts';
import { usage } from './namespace-ops.ts';
import { rename } from './rename-op.ts';
import * as operations from './tree-ops.ts';
import type { ScanPage, Tree } from './tree.ts';
import type { Executor } from '../cells/executor.ts';
import type { Overlay } from '../cells/overlay.ts';

/** @param now asked once for each operation; `circumstancesOf` where nobody has inodes open. */
export function treeOf(executor: Executor, now: () => Circumstances): Tree {
  const read = <Result>(operation: (rows: Overlay) => Result): Promise<Result> =>
    executor.execute(operation);
  const change = async <Result>(
    operation: (rows: Overlay, at: Circumstances) => Result,
  ): Promise<Result> => {
    const at = now(); // once: an operation may run several times
    return await executor.execute((rows) => operation(rows, at));
  };
  return {
    lookup: (place) => read((rows) => operations.lookup(rows, place)),
    getAttributes: (inode) => read((rows) => operations.getAttributes(rows, inode)),
    parentOf: (directory) => read((rows) => operations.parentOf(rows, directory)),
    listAttributes: ({ directory, after, limit }) =>
      read((rows) =>
        operations.listAttributes(rows, { directory, after, limit: pageLimit(limit) }),
      ),
    setAttributes: (inode, changes) =>
      change((rows, at) => operations.setAttributes(rows, { inode, changes }, at)),
    makeNode: (request) => change((rows, at) => operations.makeNode(rows, request, at)),
    makeDirectory: (request) => change((rows, at) => operations.makeDirectory(rows, request, at)),
    link: (inode, place) => change((rows, at) => operations.link(rows, { inode, place }, at)),
    unlink: (place) => change((rows, at) => operations.unlink(rows, place, at)),
    removeDirectory: (place) => change((rows, at) => operations.removeDirectory(rows, place, at)),
    rename: (request) => change((rows, at) => rename(rows, request, at)),
    readLink: (inode) => read((rows) => operations.readLink(rows, inode)),
    getXattr: (inode, name) => read((rows) => attributes.getXattr(rows, inode, name)),
    setXattr: (request) => change((rows, at) => attributes.setXattr(rows, request, at)),
    listXattrs: (inode) => read((rows) => attributes.listXattrs(rows, inode)),
    removeXattr: (inode, name) =>
      change((rows, at) => attributes.removeXattr(rows, { inode, name }, at)),
    commitExtents: (commit) => change((rows, at) => content.commitContent(rows, commit, at)),
    async forgetWrites(writes) {
      assert(writes.length <= LIMITS.listPageMax, 'a call forgets a page of writes');
      await read((rows) => content.forgetWrites(rows, writes));
    },
    looseInodes: (page) => read((rows) => operations.inodesOfTag(rows, 'F', whole(page))),
    looseStripes: (inode) => read((rows) => content.looseStripes(rows, inode)),
    finishLooseStripes: (loose) => read((rows) => content.finishLooseStripes(rows, loose)),
    orphans: (page) => read((rows) => operations.inodesOfTag(rows, 'O', whole(page))),
    async releaseOrphans(inodes) {
      assert(inodes.length <= LIMITS.listPageMax, 'a call releases a page of orphans');
      return await change((rows, at) => operations.releaseOrphans(rows, inodes, at));
    },
    setQuota: (directory, quota) => read((rows) => attributes.setQuota(rows, directory, quota)),
    getQuota: (directory) => read((rows) => attributes.getQuota(rows, directory)),
    charge: (inode) => read((rows) => attributes.charge(rows, inode)),
    usage: () =>
      read((rows) => {
        const { contentBytes, inodeCount } = usage(rows);
        return { contentBytes, inodeCount };
      }),
  };
}

function whole({ after, limit }: ScanPage = {}): ScanPage & { limit: number } {
  return { after, limit: pageLimit(limit) };
}
