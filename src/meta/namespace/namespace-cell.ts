/**
 * {@link Namespace} over a steward: each method is one operation of `namespace-ops.ts`. A volume
 * has one cell for now; its key layout is ready for more (docs/formats/rows.md).
 */
import { assert, isHexId, LIMITS } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import { extentsFrom, stageExtents } from './extent-ops.ts';
import type { Namespace } from './namespace.ts';
import * as operations from './namespace-ops.ts';
import { allocateInodes, findInode, recordsOf, slotNear } from './inode-ops.ts';
import { inlineOf } from './inline-ops.ts';
import { finishRelease, isToRelease, refuse, releases } from './release-ops.ts';
import { protect } from './retention.ts';
import { ADDRESS_KEY_BYTES, recordOf } from './namespace-rows.ts';
import type { Executor } from '../cells/executor.ts';
import { SLOT_COUNT } from '../cells/rows.ts';
import { type CellParts, Steward } from '../cells/steward.ts';

/** Bytes of a directory's salt. */
const SALT_BYTES = 16;
/** Inode numbers that one call may take. */
export const ALLOCATION_MAX = 2 ** 20;

/**
 * Opens a volume's cell as its steward, and makes the root directory of a new one.
 *
 * @param parts.plantedFault only for tests, which prove that they would notice it.
 */
export async function openNamespace(
  parts: CellParts & { readonly plantedFault?: operations.NamespaceFault | undefined },
): Promise<Namespace> {
  const { env } = parts;
  const steward = await Steward.open(parts);
  const salt = env.random.bytes(SALT_BYTES);
  await steward.execute((rows) => operations.makeRoot(rows, { salt, nowMs: env.clock.now() }));
  const now = (): operations.Circumstances => ({
    ...circumstancesOf(env),
    fault: parts.plantedFault,
  });
  return {
    ...namespaceOf(steward, now),
    [Symbol.asyncDispose]: () => steward[Symbol.asyncDispose](),
  };
}

/** What operations go by now, where nobody has inodes open. Asked once for each. */
export function circumstancesOf({ clock, random }: Env): operations.Circumstances {
  return { nowMs: clock.now(), randomSlot: random.below(SLOT_COUNT) };
}

/** A namespace over whoever runs its operations; that is closed by its owner. */
export function namespaceOf(
  steward: Executor,
  now: () => operations.Circumstances,
): Omit<Namespace, typeof Symbol.asyncDispose> {
  return { ...namesOf(steward, now), ...objectsOf(steward, now), ...releasesOf(steward) };
}

/** Inodes, and the entries that name them. */
function namesOf(
  steward: Executor,
  now: () => operations.Circumstances,
): Pick<
  Namespace,
  'allocateInodes' | 'record' | 'records' | 'lookup' | 'makeDirectory' | 'list' | 'entryOf'
> {
  return {
    async allocateInodes(count, near) {
      assert(count >= 1 && count <= ALLOCATION_MAX, 'a call takes a bounded count of numbers');
      return await steward.execute((rows) => allocateInodes(rows, count, slotNear(near)));
    },
    record: (inode, { withContent = false } = {}) =>
      steward.execute((rows) => {
        const row = findInode(rows, inode);
        if (!row || !row.isInline || !withContent) return row && recordOf(row);
        return { ...recordOf(row), inline: inlineOf(rows, row) };
      }),
    async records(inodes) {
      assert(inodes.length <= LIMITS.listPageMax, 'a call asks for a page of records');
      return await steward.execute((rows) => recordsOf(rows, inodes));
    },
    async lookup(directory, name) {
      const at = now(); // once: an operation may run several times
      return await steward.execute((rows) => operations.lookup(rows, { directory, name }, at));
    },
    async makeDirectory(request) {
      const at = now();
      return await steward.execute((rows) => operations.makeDirectory(rows, request, at));
    },
    async list({ directory, after, limit }) {
      const at = now();
      const page = { directory, after, limit: pageLimit(limit) };
      return await steward.execute((rows) => operations.list(rows, page, at));
    },
    entryOf: (inode) => steward.execute((rows) => operations.entryOf(rows, inode)),
  };
}

/** Objects and their content. */
function objectsOf(
  steward: Executor,
  now: () => operations.Circumstances,
): Pick<
  Namespace,
  | 'object'
  | 'objectsByAddress'
  | 'listObjects'
  | 'extents'
  | 'stageExtents'
  | 'commitObject'
  | 'reencodeObject'
  | 'removeObject'
  | 'removeFile'
  | 'protect'
  | 'usage'
> {
  return {
    async object(id) {
      assert(isHexId(id), 'an object id is 32 hexadecimal digits');
      return await steward.execute((rows) => operations.object(rows, id));
    },
    async objectsByAddress(addressKey) {
      assert(addressKey.length === ADDRESS_KEY_BYTES, 'an address key is 32 bytes');
      return await steward.execute((rows) => operations.objectsByAddress(rows, addressKey));
    },
    listObjects: ({ after, limit }) =>
      steward.execute((rows) => operations.listObjects(rows, { after, limit: pageLimit(limit) })),
    extents: (inode, from = { encoding: 0, offset: 0 }) =>
      steward.execute((rows) => extentsFrom(rows, { inode, from, limit: LIMITS.listPageMax })),
    stageExtents: (inode, extents) => steward.execute((rows) => stageExtents(rows, inode, extents)),
    async commitObject(commit) {
      assert(isHexId(commit.objectId), 'an object id is 32 hexadecimal digits');
      assert(commit.addressKey.length === ADDRESS_KEY_BYTES, 'an address key is 32 bytes');
      const at = now();
      return await steward.execute((rows) => operations.commitObject(rows, commit, at));
    },
    async reencodeObject(request) {
      assert(request.addressKey.length === ADDRESS_KEY_BYTES, 'an address key is 32 bytes');
      const at = now();
      return await steward.execute((rows) => operations.reencodeObject(rows, request, at));
    },
    async removeObject(id) {
      assert(isHexId(id), 'an object id is 32 hexadecimal digits');
      const at = now();
      return await steward.execute((rows) => operations.removeObject(rows, id, at));
    },
    async removeFile(inode) {
      const at = now();
      return await steward.execute((rows) => operations.removeFile(rows, inode, at));
    },
    protect: (retention) => steward.execute((rows) => protect(rows, retention)),
    usage: () =>
      steward.execute((rows) => {
        const { objectCount, contentBytes } = operations.usage(rows);
        return { objectCount, contentBytes };
      }),
  };
}

/** What is left of inodes that are gone, or will never be. */
function releasesOf(
  steward: Executor,
): Pick<Namespace, 'refuse' | 'isToRelease' | 'releases' | 'finishRelease'> {
  return {
    refuse: (inode) => steward.execute((rows) => refuse(rows, inode)),
    isToRelease: (inode) => steward.execute((rows) => isToRelease(rows, inode)),
    releases: () => steward.execute(releases),
    finishRelease: (release, places) =>
      steward.execute((rows) => finishRelease(rows, release, places)),
  };
}

export function pageLimit(limit: number = LIMITS.listPageMax): number {
  assert(limit >= 1, 'a page has room for one');
  return Math.min(limit, LIMITS.listPageMax);
}
