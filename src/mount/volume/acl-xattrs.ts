/**
 * Extended attributes of a volume as the kernel asks for them. Those that are access control lists
 * are kept beside the mode, which is the truth of what both say (acl.ts): a list that is set sets
 * the mode in the same step, and one that is read is told as the mode is now. The kernel heeds
 * lists, and leaves all else to us: their inheritance, too (fs/fuse/acl.c).
 *
 * Nearly nothing has a list, and the kernel asks for lists wherever it looks at a mode, and for
 * capabilities before it writes; `ls -l` asks for the label of each file. So what has no extended
 * attributes at all, by the status that the kernel was told last, is answered from memory. The
 * kernel asks for attributes first, so an answer is as new as the mode is.
 */
import { errorCode, HoldfastError, keyText, utf8 } from '../../base/index.ts';
import type { InodeStatus, MountableVolume } from '../../volume/index.ts';
import type { NewXattr } from '../file-system.ts';
import type { InodeNumber } from '../inode.ts';
import {
  ACCESS_ACL,
  type Acl,
  DEFAULT_ACL,
  encodeAcl,
  isMinimal,
  modeOfAcl,
  modeUnder,
  modeWithoutList,
  parseAcl,
  withMode,
} from './acl.ts';
import { PERMISSION_BITS, SET_GROUP_ID } from './attributes-of.ts';
import type { InodeTable } from './inode-table.ts';

const SYSTEM_PREFIX = 'system.';
const SECURITY_PREFIX = 'security.';
const ACCESS_NAME = utf8(ACCESS_ACL);
const DEFAULT_NAME = utf8(DEFAULT_ACL);
const MODE_BITS = 0o777;

/** How something is made in a directory. */
export interface Inherited {
  readonly mode: number;
  /** Its list, and of a directory its default list, too. */
  readonly acl?: Acl;
}

export class AclXattrs {
  readonly #tree: MountableVolume['tree'];
  readonly #inodes: InodeTable;
  /** Made once: where it was thrown costs more to find out than to answer. */
  readonly #none = new HoldfastError('HF_NO_DATA');

  constructor({ tree }: Pick<MountableVolume, 'tree'>, inodes: InodeTable) {
    this.#tree = tree;
    this.#inodes = inodes;
  }

  /** Answers at once, without a promise, what is asked with every file that is made. */
  get(number: InodeNumber, name: Uint8Array): Promise<Uint8Array> {
    const { inode, hasXattrs } = this.#inodes.get(number);
    const kind = listKindOf(name);
    const isAskedOften = kind !== undefined || keyText(name).startsWith(SECURITY_PREFIX);
    if (isAskedOften && !hasXattrs) throw this.#none;
    return this.#ask(inode, name, kind);
  }

  async #ask(
    inode: bigint,
    name: Uint8Array,
    kind: ReturnType<typeof listKindOf>,
  ): Promise<Uint8Array> {
    const value = await this.#tree.getXattr(inode, name);
    if (!value) throw this.#none;
    if (kind !== 'access') return value;
    const { mode } = await this.#tree.status(inode);
    return encodeAcl(withMode(parseAcl(value) ?? [], mode));
  }

  async set(number: InodeNumber, xattr: NewXattr): Promise<void> {
    const { name, value, mode, killsSetGroupId = false } = xattr;
    const { inode } = this.#inodes.get(number);
    const kind = listKindOf(name);
    if (!kind) {
      await this.#tree.setXattr(inode, { name, value, ...(mode && { mode }) });
      return this.#inodes.setHasXattrs(inode);
    }
    const acl = parseAcl(value);
    if (!acl) return await this.remove(number, name);
    if (kind === 'access') await this.#setAccess(inode, acl, { killsSetGroupId });
    else await this.#setDefault(inode, acl);
  }

  async #setDefault(inode: bigint, acl: Acl): Promise<void> {
    const { type } = await this.#tree.status(inode);
    if (type !== 'directory') throw new HoldfastError('HF_DENIED', 'only directories have one');
    await this.#put(inode, DEFAULT_NAME, { acl });
  }

  async #setAccess(
    inode: bigint,
    acl: Acl,
    { killsSetGroupId }: { readonly killsSetGroupId: boolean },
  ): Promise<void> {
    const status = await this.#tree.status(inode);
    if (status.type === 'symlink') throw new HoldfastError('HF_UNSUPPORTED');
    const kept = PERMISSION_BITS & ~MODE_BITS & ~(killsSetGroupId ? SET_GROUP_ID : 0);
    const mode = (status.mode & kept) | modeOfAcl(acl);
    if (!isMinimal(acl)) return await this.#put(inode, ACCESS_NAME, { acl, mode });
    // The mode first: without the list it must not say what the mask had said.
    if (mode !== status.mode) await this.#tree.setAttributes(inode, { mode });
    if (status.hasXattrs) await this.#removeIfThere(inode, ACCESS_NAME);
  }

  /** Of a mode, too, in the same step. */
  async #put(
    inode: bigint,
    name: Uint8Array,
    { acl, mode }: { readonly acl: Acl; readonly mode?: number },
  ): Promise<void> {
    await this.#tree.setXattr(inode, { name, value: encodeAcl(acl), permissions: mode });
    this.#inodes.setHasXattrs(inode);
  }

  async list(number: InodeNumber): Promise<readonly Uint8Array[]> {
    return await this.#tree.listXattrs(this.#inodes.get(number).inode);
  }

  /** A list that is not there is removed as well. */
  async remove(number: InodeNumber, name: Uint8Array): Promise<void> {
    const { inode } = this.#inodes.get(number);
    if (listKindOf(name)) await this.#removeIfThere(inode, name);
    else await this.#tree.removeXattr(inode, name);
  }

  async #removeIfThere(inode: bigint, name: Uint8Array): Promise<void> {
    try {
      await this.#tree.removeXattr(inode, name);
    } catch (error) {
      if (errorCode(error) !== 'HF_NO_DATA') throw error;
    }
  }

  /** How what is made in a directory begins; {@link give} gives it the list, if there is one. */
  async inheritedIn(
    directory: InodeStatus,
    { mode, umask = 0 }: { readonly mode: number; readonly umask?: number | undefined },
  ): Promise<Inherited> {
    const acl = directory.hasXattrs ? await this.#defaultOf(directory.inode) : undefined;
    if (!acl) return { mode: mode & ~umask };
    return { acl, mode: modeUnder(acl, mode) };
  }

  async #defaultOf(directory: bigint): Promise<Acl | undefined> {
    const value = await this.#tree.getXattr(directory, DEFAULT_NAME);
    return value && parseAcl(value);
  }

  /** Something that was just made by {@link modeAtFirst}. @returns its status from now on. */
  async give(made: InodeStatus, { acl, mode }: Inherited): Promise<InodeStatus> {
    if (!acl) return made;
    const { inode } = made;
    if (made.type === 'directory') await this.#put(inode, DEFAULT_NAME, { acl });
    if (!isMinimal(acl)) await this.#put(inode, ACCESS_NAME, { acl, mode: mode & PERMISSION_BITS });
    return await this.#tree.status(inode);
  }
}

/** The mode for the time until the list is there: the group may do no more than it says of it. */
export function modeAtFirst({ acl, mode }: Inherited): number {
  return acl ? modeWithoutList(acl, mode) : mode;
}

/** @throws HF_UNSUPPORTED for what else the system would read from extended attributes. */
function listKindOf(name: Uint8Array): 'access' | 'default' | undefined {
  const text = keyText(name);
  if (text === ACCESS_ACL) return 'access';
  if (text === DEFAULT_ACL) return 'default';
  if (!text.startsWith(SYSTEM_PREFIX)) return undefined;
  throw new HoldfastError('HF_UNSUPPORTED', `the attribute ${text} is not kept`);
}
