/** Extended attributes of an inode, sealed again for the one that takes its place. */
import type { Inode, KeptXattrs, Tree } from '../meta/index.ts';
import type { InodeSeals } from './inode-seals.ts';

/** Inode numbers: from the one that has them to the one that is to have them. */
export interface Successor {
  readonly from: Inode;
  readonly to: Inode;
}

/** @returns `undefined` when it is gone. */
export async function resealedXattrs(
  { inodes, seals }: { readonly inodes: Tree; readonly seals: InodeSeals },
  { from, to }: Successor,
): Promise<KeptXattrs | undefined> {
  const status = await inodes.getAttributes(from);
  if (!status) return undefined;
  const sealed: { name: Uint8Array; value: Uint8Array }[] = [];
  for (const sealedName of await inodes.listXattrs(from)) {
    const name = seals.openedXattrName(from, sealedName);
    const before = await inodes.getXattr(from, sealedName);
    if (!before) continue; // it was removed, and the change count tells
    const value = seals.openedXattr(from, name, before);
    sealed.push({
      name: seals.sealedXattrName(to, name),
      value: seals.sealedXattr(to, name, value),
    });
  }
  return { sealed, baseChange: status.changeCount };
}
