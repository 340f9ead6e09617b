/** {@link FileTree} over the inodes of a volume: paths are walked, name by name. */
import { compareBytes, errorCode, errorMessage, HoldfastError } from '../base/index.ts';
import { type InodeStatus, msOf } from '../meta/index.ts';
import type { FileStatus, FileTree, Ownership } from './file-tree.ts';
import { InodeTree, type InodeTreeOptions, type NamePlace } from './inode-tree.ts';
import { nameBytes, nameText, parseKey } from './keys.ts';
import type { StaleReads } from './stale-reads.ts';

export interface FileTreeOptions extends InodeTreeOptions {
  /** As in `ObjectsOptions`. */
  readonly staleReads?: StaleReads | undefined;
}

const DIRECTORY_MODE = 0o755;
const FILE_MODE = 0o644;
/** A target longer than this opens no path (PATH_MAX of Linux). */
const TARGET_BYTES_MAX = 4095;

export function openFileTree(options: FileTreeOptions): FileTree {
  return new NamedTree(options);
}

class NamedTree implements FileTree {
  readonly #tree: InodeTree;
  /** For what is shown and nothing is decided by: it may be old. */
  readonly #readable: InodeTree;

  constructor({ staleReads, ...options }: FileTreeOptions) {
    this.#tree = new InodeTree(options);
    const readable = staleReads?.tree(options.tree);
    this.#readable = readable ? new InodeTree({ ...options, tree: readable }) : this.#tree;
  }

  async status(path: string): Promise<FileStatus> {
    const names = namesOf(path);
    const found = await this.#find(names, this.#readable);
    const status = statusOf(names.join('/'), found);
    if (found.type !== 'symlink') return status;
    return { ...status, target: nameText(await this.#readable.readSymlink(found.inode)) };
  }

  async *list(path: string): AsyncGenerator<FileStatus> {
    const names = namesOf(path);
    const directory = asDirectory(await this.#find(names, this.#readable), path);
    const found: FileStatus[] = [];
    let after: Uint8Array | undefined;
    do {
      const page = await this.#readable.list(directory, after);
      for (const { name, status } of page.entries) {
        found.push(statusOf([...names, nameText(name)].join('/'), status));
      }
      after = page.after;
    } while (after);
    yield* found.toSorted((a, b) => compareBytes(nameBytes(a.path), nameBytes(b.path)));
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
    const wish = owner(ownership, DIRECTORY_MODE);
    return await at(names, this.#tree.makeDirectory(place, wish));
  }

  async makeFile(path: string, ownership: Ownership = {}): Promise<FileStatus> {
    const names = namesOf(path);
    const place = await this.#placeOf(names);
    const node = { ...owner(ownership, FILE_MODE), type: 'file' as const };
    return statusOf(names.join('/'), await at(names, this.#tree.makeNode(place, node)));
  }

  async makeSymlink(target: string, path: string): Promise<FileStatus> {
    const bytes = nameBytes(target);
    if (bytes.length < 1 || bytes.length > TARGET_BYTES_MAX || target.includes('\0')) {
      throw new HoldfastError('HF_BAD_ARGUMENT', 'a symbolic link leads to 1 to 4095 bytes');
    }
    const names = namesOf(path);
    const place = await this.#placeOf(names);
    const made = await at(names, this.#tree.makeSymlink(place, bytes, owner({}, 0o777)));
    return { ...statusOf(names.join('/'), made), target };
  }

  async link(existing: string, path: string): Promise<FileStatus> {
    const names = namesOf(path);
    const { inode } = await this.#find(namesOf(existing));
    const place = await this.#placeOf(names);
    return statusOf(names.join('/'), await at(names, this.#tree.link(inode, place)));
  }

  async rename(
    from: string,
    to: string,
    { flag }: NonNullable<Parameters<FileTree['rename']>[2]> = {},
  ): Promise<void> {
    const [source, target] = [namesOf(from), namesOf(to)];
    const places = [await this.#placeOf(source), await this.#placeOf(target)] as const;
    await at(source, this.#tree.rename(...places, flag), target);
  }

  async unlink(path: string): Promise<void> {
    const names = namesOf(path);
    await at(names, this.#tree.unlink(await this.#placeOf(names)));
  }

  async removeDirectory(path: string): Promise<void> {
    const names = namesOf(path);
    await at(names, this.#tree.removeDirectory(await this.#placeOf(names)));
  }

  async setOwnership(path: string, ownership: Ownership): Promise<FileStatus> {
    const names = namesOf(path);
    const { inode } = await this.#find(names);
    return statusOf(names.join('/'), await this.#tree.setAttributes(inode, ownership));
  }

  /** @throws HF_NOT_FOUND, HF_NOT_DIRECTORY. */
  async #find(names: readonly string[], tree: InodeTree = this.#tree): Promise<InodeStatus> {
    let found = await tree.root();
    for (const [depth, name] of names.entries()) {
      const directory = asDirectory(found, names.slice(0, depth).join('/'));
      const status = await tree.lookup({ directory, name: nameBytes(name) });
      if (!status) {
        const path = names.slice(0, depth + 1).join('/');
        throw new HoldfastError('HF_NOT_FOUND', `there is no "${path}"`);
      }
      found = status;
    }
    return found;
  }

  async #placeOf(names: readonly string[]): Promise<NamePlace> {
    const name = names.at(-1);
    if (name === undefined) throw new HoldfastError('HF_BAD_ARGUMENT', 'the root stays as it is');
    const above = names.slice(0, -1);
    const directory = asDirectory(await this.#find(above), above.join('/'));
    return { directory, name: nameBytes(name) };
  }
}

/** @throws HF_BAD_ARGUMENT. */
function namesOf(path: string): string[] {
  const bare = path.replace(/^\//u, '').replace(/\/$/u, '');
  if (bare === '') return [];
  const { directories, name } = parseKey(bare);
  return [...directories.map((directory) => directory.slice(0, -1)), name];
}

/** What the tree refuses is said of the paths it was about. */
async function at<Result>(
  names: readonly string[],
  work: Promise<Result>,
  to?: readonly string[],
): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined) throw error;
    const paths = [names, ...(to ? [to] : [])].map((path) => `"${path.join('/')}"`);
    const message = `${paths.join(' to ')}: ${errorMessage(error)}`;
    const { details } = error as HoldfastError;
    throw new HoldfastError(code, message, { cause: error, details });
  }
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
    modifiedAtMs: msOf(modifiedNs),
    changedAtMs: msOf(changedNs),
  };
}
