/** Listings: directories opened and sorted one at a time, depth first, which is key order. */
import { mapBounded, type ObjectId } from '../base/index.ts';
import type { Namespace } from '../meta/index.ts';
import type { ObjectInfo } from './object-store.ts';
import type { Directory } from './sealed-names.ts';
import type { SealedTree } from './sealed-tree.ts';

/** Where objects are looked for. */
export interface Names {
  readonly namespace: Namespace;
  readonly tree: SealedTree;
}

/** Objects whose key begins with `prefix`, in the byte order of their keys. */
export async function* listKeys({ tree }: Names, prefix: string): AsyncGenerator<ObjectInfo> {
  const cut = prefix.lastIndexOf('/') + 1;
  const path = prefix.slice(0, cut);
  const directory = await tree.findDirectory(path.match(/[^/]*\//g) ?? []);
  if (directory) yield* walk(tree, directory, { path, prefix });
}

async function* walk(
  tree: SealedTree,
  directory: Directory,
  { path, prefix }: { path: string; prefix: string },
): AsyncGenerator<ObjectInfo> {
  for (const { name, record } of await tree.entries(directory)) {
    const key = path + name;
    if (!key.startsWith(prefix)) continue;
    if (record.type === 'directory') yield* walk(tree, record, { path: key, prefix });
    else if (record.objectId !== undefined) yield await tree.info(record, key);
  }
}

/** Entries that are looked for at once: each may be in another cell. */
const LOOKS_AT_ONCE = 32;

/** Objects without a key, in the order of their ids. */
export async function* listKeyless({ namespace, tree }: Names): AsyncGenerator<ObjectInfo> {
  let after: ObjectId | undefined;
  for (;;) {
    const page = await namespace.listObjects({ after });
    const entries = await mapBounded(page, LOOKS_AT_ONCE, ({ inode }) => namespace.entryOf(inode));
    for (const [index, record] of page.entries()) {
      if (!entries[index]) yield await tree.info(record);
    }
    after = page.at(-1)?.objectId;
    if (!after) return;
  }
}
