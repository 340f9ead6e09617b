/** Listings: directories opened and sorted one at a time, depth first, which is key order. */
import { compareBytes, errorCode, mapBounded, type ObjectId } from '../base/index.ts';
import {
  type InodeRecord,
  type InodeStatus,
  msOf,
  type Namespace,
  type Tree,
  type VolumeRecord,
} from '../meta/index.ts';
import { withContent } from './find-object.ts';
import { nameBytes, nameText } from './keys.ts';
import type { ListedFile, ListPage } from './object-store.ts';
import type { Directory } from './sealed-names.ts';
import type { SealedTree } from './sealed-tree.ts';

/** Where objects are looked for. */
export interface Names {
  readonly namespace: Namespace;
  readonly tree: SealedTree;
  readonly inodes: Pick<Tree, 'listAttributes'>;
}

/** Of an object without a key, which no mount shows. */
const FILE_MODE = 0o644;

interface Walk {
  readonly prefix: string;
  readonly after: string;
  readonly volume: VolumeRecord;
}

/** As `ObjectStore.list`. */
export async function* listFiles(
  names: Names,
  { after = '', afterId, limit = Infinity, ...wanted }: ListPage & Omit<Walk, 'after'>,
): AsyncGenerator<ListedFile> {
  let left = limit;
  const pages = [
    ...(afterId === undefined ? [listKeys(names, { ...wanted, after })] : []),
    ...(wanted.prefix === '' ? [listKeyless(names, afterId)] : []),
  ];
  for (const page of pages) {
    for await (const file of page) {
      yield file;
      left -= 1;
      if (left <= 0) return;
    }
  }
}

/** Files whose key begins with `prefix`, and comes after `after`, in the byte order of the keys. */
async function* listKeys(names: Names, walked: Walk): AsyncGenerator<ListedFile> {
  const path = walked.prefix.slice(0, walked.prefix.lastIndexOf('/') + 1);
  const directory = await names.tree.findDirectory(path.match(/[^/]*\//g) ?? []);
  if (directory) yield* walk(names, directory, { ...walked, path });
}

async function* walk(
  names: Names,
  directory: Directory,
  { path, ...walked }: Walk & { readonly path: string },
): AsyncGenerator<ListedFile> {
  const { prefix, after, volume } = walked;
  for (const { name, status } of await entriesOf(names, directory)) {
    const key = path + name;
    if (!key.startsWith(prefix)) continue;
    const isBehind = after === '' || compareBytes(nameBytes(key), nameBytes(after)) > 0;
    if (status.type === 'directory') {
      if (!isBehind && !after.startsWith(key)) continue;
      yield* walk(names, status, { ...walked, path: key });
    } else if (status.type === 'file' && isBehind) {
      yield await listed(names, withContent(status, volume), key);
    }
  }
}

/** In the byte order of their names; none of a directory that is gone by now. */
async function entriesOf({ inodes, tree }: Names, directory: Directory) {
  const opened: { bytes: Uint8Array; name: string; status: InodeStatus }[] = [];
  try {
    for (let after: Uint8Array | undefined; ;) {
      const page = await inodes.listAttributes({ directory: directory.inode, after });
      for (const { name, status } of page) {
        const bytes = tree.openedBytes(directory, name);
        opened.push({ bytes, name: nameText(bytes), status });
      }
      after = page.at(-1)?.name;
      if (!after) break;
    }
  } catch (error) {
    if (errorCode(error) !== 'HF_NOT_FOUND') throw error;
  }
  return opened.toSorted((a, b) => compareBytes(a.bytes, b.bytes));
}

async function listed(
  { tree }: Names,
  record: InodeRecord & Partial<Pick<InodeStatus, 'mode' | 'modifiedNs'>>,
  key?: string,
): Promise<ListedFile> {
  const { mode = FILE_MODE, modifiedNs, modifiedAtMs } = record;
  const atMs = modifiedNs === undefined ? modifiedAtMs : msOf(modifiedNs);
  return { ...(await tree.info(record, key)), mode, modifiedAtMs: atMs };
}

/** Entries that are looked for at once: each may be in another cell. */
const LOOKS_AT_ONCE = 32;

/** Objects without a key, in the order of their ids. */
async function* listKeyless(
  names: Names,
  afterId: ObjectId | undefined,
): AsyncGenerator<ListedFile> {
  const { namespace } = names;
  for (let after = afterId; ;) {
    const page = await namespace.listObjects({ after });
    const entries = await mapBounded(page, LOOKS_AT_ONCE, ({ inode }) => namespace.entryOf(inode));
    for (const [index, record] of page.entries()) {
      if (!entries[index]) yield await listed(names, record);
    }
    after = page.at(-1)?.objectId;
    if (!after) return;
  }
}
