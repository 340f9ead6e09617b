/** {@link Tree} over whoever runs its operations: each method is one operation over rows. */
import { assert, LIMITS } from '../../base/index.ts';
import type { LeaseClaim } from '../handles/handles.ts';
import * as attributes from './attribute-ops.ts';
import { runBatch, STEPS } from './batch-op.ts';
import * as content from './content-ops.ts';
import type { Circumstances } from './inode-ops.ts';
import { pageLimit } from './namespace-cell.ts';
import { usage } from './namespace-ops.ts';
import * as operations from './tree-ops.ts';
import type { Inode } from './namespace.ts';
import type { ScanPage, Tree, TreeStepName } from './tree.ts';
import type { Executor } from '../cells/executor.ts';
import type { Overlay } from '../cells/overlay.ts';

/** @param now asked once for each operation; `circumstancesOf` where nobody has inodes open. */
export function treeOf(executor: Executor, now: () => Circumstances): Tree {
  const plain = <Result>(operation: (rows: Overlay) => Result): Promise<Result> =>
    executor.execute(operation);
  const circumspect = async <Result>(
    operation: (rows: Overlay, at: Circumstances) => Result,
  ): Promise<Result> => {
    const at = now(); // once: an operation may run several times
    return await executor.execute((rows) => operation(rows, at));
  };
  const steps = Object.entries(STEPS).map(([name, step]) => [
    name,
    (...args: never[]) =>
      circumspect((rows, at) => (step as (...all: unknown[]) => unknown)(rows, at, ...args)),
  ]);
  return {
    ...(Object.fromEntries(steps) as Pick<Tree, TreeStepName>),
    runBatch: (batch) => circumspect((rows, at) => runBatch(rows, batch, at)),
    lookup: (place, claim) =>
      circumspect((rows, at) =>
        operations.lookup(rows, place, claiming(at, place.directory, claim)),
      ),
    getAttributes: (inode, options) =>
      plain((rows) => attributes.getAttributes(rows, inode, options)),
    parentOf: (directory) => plain((rows) => operations.parentOf(rows, directory)),
    async listAttributes({ directory, after, limit, claim }) {
      const page = { directory, after, limit: pageLimit(limit) };
      return await circumspect((rows, at) =>
        operations.listAttributes(rows, page, claiming(at, directory, claim)),
      );
    },
    readLink: (inode) => plain((rows) => operations.readLink(rows, inode)),
    getXattr: (inode, name) => plain((rows) => attributes.getXattr(rows, inode, name)),
    listXattrs: (inode) => plain((rows) => attributes.listXattrs(rows, inode)),
    async committedWrites(writes) {
      assert(writes.length <= LIMITS.listPageMax, 'a call asks for a page of writes');
      return await plain((rows) => content.committedWrites(rows, writes));
    },
    async forgetWrites(writes) {
      assert(writes.length <= LIMITS.listPageMax, 'a call forgets a page of writes');
      await plain((rows) => content.forgetWrites(rows, writes));
    },
    looseInodes: (page) => plain((rows) => operations.inodesOfTag(rows, 'F', whole(page))),
    looseStripes: (inode) => plain((rows) => content.looseStripes(rows, inode)),
    finishLooseStripes: (loose) => plain((rows) => content.finishLooseStripes(rows, loose)),
    orphans: (page) => plain((rows) => operations.inodesOfTag(rows, 'O', whole(page))),
    async releaseOrphans(inodes) {
      assert(inodes.length <= LIMITS.listPageMax, 'a call releases a page of orphans');
      return await circumspect((rows, at) => operations.releaseOrphans(rows, inodes, at));
    },
    setQuota: (directory, quota) => plain((rows) => attributes.setQuota(rows, directory, quota)),
    getQuota: (directory) => plain((rows) => attributes.getQuota(rows, directory)),
    charge: (inode) => plain((rows) => attributes.charge(rows, inode)),
    usage: () =>
      plain((rows) => {
        const { contentBytes, inodeCount } = usage(rows);
        return { contentBytes, inodeCount };
      }),
  };
}

function claiming(
  at: Circumstances,
  directory: Inode,
  claim: LeaseClaim | undefined,
): Circumstances {
  return claim ? { ...at, claims: new Map([[directory, claim]]) } : at;
}

function whole({ after, limit }: ScanPage = {}): ScanPage & { limit: number } {
  return { after, limit: pageLimit(limit) };
}
