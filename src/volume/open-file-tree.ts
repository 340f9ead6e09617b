/** {@link FileTree} over the sealed tree of a volume: paths are walked, names sealed and opened. */
import { errorCode, fromUtf8, HoldfastError, utf8, type VolumeId } from '../base/index.ts';
import type { VolumeKeys } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import {
  type InodeStatus,
  type Namespace,
  type Place,
  ROOT_INODE,
  type Tree,
} from '../meta/index.ts';
import type { FileStatus, FileTree, Ownership } from './file-tree.ts';
import { InodeSeals } from './inode-seals.ts';
import { parseKey } from './keys.ts';
import { SealedNames } from './sealed-names.ts';
import type { StaleReads } from './stale-reads.ts';

export interface FileTreeOptions {
  readonly env: Env;
  readonly volume: VolumeId;
  readonly keys: VolumeKeys;
  readonly namespace: Pick<Namespace, 'allocateInodes'>;
  readonly tree: Tree;
  /** As in `ObjectsOptions`. */
  readonly staleReads?: StaleReads | undefined;
}

const DIRECTORY_MODE = 0o755;
const FILE_MODE = 0o644;
const SALT_BYTES = 16;
/** A target longer than this opens no path (PATH_MAX of Linux). */
const TARGET_BYTES_MAX = 4095;
const NS_PER_MS = 1_000_000n;

export function openFileTree(options: FileTreeOptions): FileTree {
  return new NamedTree(options);
}

class NamedTree implements FileTree {
  readonly #env: Env;
  readonly #tree: Tree;
  /** For what is shown and nothing is decided by: it may be old. */
  readonly #readable: Tree;
  readonly #namespace: FileTreeOptions['namespace'];
  readonly #names: SealedNames;
  readonly #seals: InodeSeals;

  constructor(options: FileTreeOptions) {
    this.#env = options.env;
    this.#tree = options.tree;
    this.#readable = options.staleReads?.tree(options.tree) ?? options.tree;
    this.#namespace = options.namespace;
    this.#names = new SealedNames(options);
    this.#seals = new InodeSeals(options);
  }

  async status(path: string): Promise<FileStatus> {
    const names = namesOf(path);
    const found = await this.#find(names, this.#readable);
    const status = statusOf(names.join('/'), found);
    return found.type === 'symlink' ? { ...status, target: await this.#targetOf(found) } : status;
  }

  async *list(path: string): AsyncGenerator<FileStatus> {
    const names = namesOf(path);
    const directory = asDirectory(await this.#find(names, this.#readable), path);
    const entries: FileStatus[] = [];
    let after: Uint8Array | undefined;
    do {
      const page = await this.#readable.listAttributes({ directory: directory.inode, after });
      for (const { name, status } of page) {
        const opened = this.#names.openedName(directory, name).replace(/\/$/u, '');
        entries.push(statusOf([...names, opened].join('/'), status));
      }
      after = page.at(-1)?.name;
    } while (after);
    yield* entries.toSorted((a, b) => Buffer.compare(utf8(a.path), utf8(b.path)));
  }

  async makeDirectory(
    path: string,
    { makesParents = false, ...ownership }: Parameters<FileTree['makeDirectory']>[1] = {},
  ): Promise<FileStatus> {
    const names = namesOf(path);
    if (!makesParents) {
      return statusOf(names.join('/'), await this.#makeDirectory(names, ownership));
    }
    let made = await this.#find([]);
    for (let depth = 1; depth <= names.length; depth++) {
      made = await this.#makeOrFind(names.slice(0, depth), ownership);
    }
    return statusOf(names.join('/'), asDirectory(made, path));
  }

  async #makeOrFind(names: readonly string[], ownership: Ownership): Promise<InodeStatus> {
    try {
      return await this.#makeDirectory(names, ownership);
    } catch (error) {
      if (errorCode(error) !== 'HF_EXISTS') throw error;
      return await this.#find(names);
    }
  }

  async #makeDirectory(names: readonly string[], ownership: Ownership): Promise<InodeStatus> {
    const place = await this.#placeOf(names);
    const salt = this.#env.random.bytes(SALT_BYTES);
    const owned = { ...owner(ownership, DIRECTORY_MODE), place, salt };
    return (await this.#tree.makeDirectory(owned)).status;
  }

  async makeFile(path: string, ownership: Ownership = {}): Promise<FileStatus> {
    const names = namesOf(path);
    const place = await this.#placeOf(names);
    const made = { ...owner(ownership, FILE_MODE), place, type: 'file' as const };
    return statusOf(names.join('/'), (await this.#tree.makeNode(made)).status);
  }

  async makeSymlink(target: string, path: string): Promise<FileStatus> {
    const bytes = utf8(target);
    if (bytes.length < 1 || bytes.length > TARGET_BYTES_MAX || target.includes('\0')) {
      throw new HoldfastError('HF_BAD_ARGUMENT', 'a symbolic link leads to 1 to 4095 bytes');
    }
    const names = namesOf(path);
    const place = await this.#placeOf(names);
    // Sealed for this inode, so that nobody can lead it elsewhere.
    const inode = await this.#namespace.allocateInodes(1, { inode: place.directory });
    const sealed = this.#seals.sealedTarget(inode, bytes);
    const { status } = await this.#tree.makeNode({
      ...owner({}, 0o777),
      place,
      inode,
      type: 'symlink',
      target: { sealed, sizeBytes: bytes.length },
    });
    return { ...statusOf(names.join('/'), status), target };
  }

  async #targetOf({ inode }: InodeStatus): Promise<string> {
    return fromUtf8(this.#seals.openedTarget(inode, await this.#readable.readLink(inode)));
  }

  async link(existing: string, path: string): Promise<FileStatus> {
    const names = namesOf(path);
    const { inode } = await this.#find(namesOf(existing));
    return statusOf(names.join('/'), await this.#tree.link(inode, await this.#placeOf(names)));
  }

  async rename(
    from: string,
    to: string,
    { flag }: NonNullable<Parameters<FileTree['rename']>[2]> = {},
  ): Promise<void> {
    const [source, target] = [namesOf(from), namesOf(to)];
    const places = { from: await this.#placeOf(source), to: await this.#placeOf(target) };
    await this.#tree.rename({ ...places, flag });
  }

  async unlink(path: string): Promise<void> {
    await this.#tree.unlink(await this.#placeOf(namesOf(path)));
  }

  async removeDirectory(path: string): Promise<void> {
    await this.#tree.removeDirectory(await this.#placeOf(namesOf(path)));
  }

  async setOwnership(path: string, ownership: Ownership): Promise<FileStatus> {
    const names = namesOf(path);
    const { inode } = await this.#find(names);
    return statusOf(names.join('/'), await this.#tree.setAttributes(inode, ownership));
  }

  /** @throws HF_NOT_FOUND, HF_NOT_DIRECTORY. */
  async #find(names: readonly string[], tree: Tree = this.#tree): Promise<InodeStatus> {
    const root = await tree.getAttributes(ROOT_INODE);
    if (!root) throw new HoldfastError('HF_CORRUPT', 'the volume has no root');
    let found = root;
    for (const [depth, name] of names.entries()) {
      const directory = asDirectory(found, names.slice(0, depth).join('/'));
      const entry = await tree.lookup(this.#names.placeIn(directory, utf8(name)));
      if (!entry) {
        const path = names.slice(0, depth + 1).join('/');
        throw new HoldfastError('HF_NOT_FOUND', `there is no "${path}"`);
      }
      found = entry.status;
    }
    return found;
  }

  async #placeOf(names: readonly string[]): Promise<Place> {
    const name = names.at(-1);
    if (name === undefined) throw new HoldfastError('HF_BAD_ARGUMENT', 'the root stays as it is');
    const above = names.slice(0, -1);
    const directory = asDirectory(await this.#find(above), above.join('/'));
    return this.#names.placeIn(directory, utf8(name));
  }
}

/** @throws HF_BAD_ARGUMENT. */
function namesOf(path: string): string[] {
  const bare = path.replace(/^\//u, '').replace(/\/$/u, '');
  if (bare === '') return [];
  const { directories, name } = parseKey(bare);
  return [...directories.map((directory) => directory.slice(0, -1)), name];
}

function asDirectory(status: InodeStatus, path: string): InodeStatus {
  if (status.type === 'directory') return status;
  throw new HoldfastError('HF_NOT_DIRECTORY', `"${path}" is no directory`);
}

function owner({ mode, uid = 0, gid = 0 }: Ownership, defaultMode: number) {
  return { mode: mode ?? defaultMode, uid, gid };
}

function statusOf(path: string, status: InodeStatus): FileStatus {
  const { inode, type, mode, uid, gid, linkCount, sizeBytes, modifiedNs, changedNs } = status;
  return {
    path,
    inode: String(inode),
    type,
    mode,
    uid,
    gid,
    linkCount,
    sizeBytes,
    modifiedAtMs: Number(modifiedNs / NS_PER_MS),
    changedAtMs: Number(changedNs / NS_PER_MS),
  };
}
