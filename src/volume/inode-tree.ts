/**
 * The tree of a volume inode by inode, as a mount walks it, with its names, targets and extended
 * attributes opened. Names are bytes, without '/' and NUL, and need not be UTF-8: other doors show
 * what is no UTF-8 with replacement characters, and reach it by id alone.
 *
 * Errors are those of `Tree`, and HF_FORGED for what was not sealed for its place.
 */
import { HoldfastError, LIMITS, type VolumeId } from '../base/index.ts';
import type { VolumeKeys } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import {
  type AttributeChanges,
  type Inode,
  type InodeStatus,
  type Namespace,
  type NodeRequest,
  type Removal,
  ROOT_INODE,
  type Tree,
} from '../meta/index.ts';
import type { Held } from './held/held-tree.ts';
import { InodeSeals } from './inode-seals.ts';
import { type Directory, SealedNames } from './sealed-names.ts';

export interface InodeTreeOptions {
  readonly env: Pick<Env, 'random'>;
  readonly volume: VolumeId;
  readonly keys: VolumeKeys;
  readonly namespace: Pick<Namespace, 'allocateInodes'>;
  readonly tree: Tree;
  /** When left out, nothing is ever told from what was listed. */
  readonly glance?: Held['glance'] | undefined;
}

export interface NamedInode {
  readonly name: Uint8Array;
  readonly status: InodeStatus;
}

export interface ListedPage {
  readonly entries: readonly NamedInode[];
  /** Where the next one begins; `undefined`: there is none. */
  readonly after: Uint8Array | undefined;
}

export interface NamePlace {
  readonly directory: Directory;
  readonly name: Uint8Array;
}

type Owned = Pick<NodeRequest, 'mode' | 'uid' | 'gid'>;
export type NewInode = Owned & Pick<NodeRequest, 'type' | 'deviceNumber'>;

interface NewInodeXattr {
  readonly name: Uint8Array;
  readonly value: Uint8Array;
  readonly mode?: 'create' | 'replace';
  readonly permissions?: number | undefined;
}

const SALT_BYTES = 16;
const SLASH = 0x2f;

export class InodeTree {
  readonly #random: Env['random'];
  readonly #namespace: InodeTreeOptions['namespace'];
  readonly #tree: Tree;
  readonly #glance: Held['glance'];
  readonly #names: SealedNames;
  readonly #seals: InodeSeals;

  constructor(options: InodeTreeOptions) {
    this.#random = options.env.random;
    this.#namespace = options.namespace;
    this.#tree = options.tree;
    this.#glance = options.glance ?? (async () => undefined);
    this.#names = new SealedNames(options);
    this.#seals = new InodeSeals(options);
  }

  async root(): Promise<InodeStatus> {
    const root = await this.status(ROOT_INODE);
    if (!root) throw new HoldfastError('HF_CORRUPT', 'the volume has no root');
    return root;
  }

  /** @throws HF_NOT_FOUND when it is gone. */
  async status(inode: Inode): Promise<InodeStatus> {
    const status = await this.#tree.getAttributes(inode);
    if (!status) throw new HoldfastError('HF_NOT_FOUND', `inode ${inode} is gone`);
    return status;
  }

  async parentOf(directory: Inode): Promise<Inode> {
    return await this.#tree.parentOf(directory);
  }

  async lookup({ directory, name }: NamePlace): Promise<InodeStatus | undefined> {
    return (await this.#tree.lookup(this.#names.placeIn(directory, name)))?.status;
  }

  /** Of what was listed a moment ago: {@link Held.glance}. `undefined`: look it up. */
  async glance({ directory, name }: NamePlace): Promise<InodeStatus | undefined> {
    const placeOf = () => this.#placeOf({ directory, name });
    return (await this.#glance(directory.inode, placeOf))?.status;
  }

  /** In no order that means anything; a name that an object and a directory share comes twice. */
  async list(directory: Directory, after?: Uint8Array): Promise<ListedPage> {
    const page = await this.#tree.listAttributes({ directory: directory.inode, after });
    const entries = page.map(({ name, status }) => {
      const opened = this.#names.openedBytes(directory, name);
      return { name: opened.at(-1) === SLASH ? opened.subarray(0, -1) : opened, status };
    });
    const isLast = page.length < LIMITS.listPageMax;
    return { entries, after: isLast ? undefined : page.at(-1)?.name };
  }

  /** @param place without one: an orphan, which {@link link} may give a place. */
  async makeNode(place: NamePlace | undefined, node: NewInode): Promise<InodeStatus> {
    return (await this.#tree.makeNode({ ...node, place: place && this.#placeOf(place) })).status;
  }

  async makeDirectory(place: NamePlace, owned: Owned): Promise<InodeStatus> {
    const salt = this.#random.bytes(SALT_BYTES);
    const made = await this.#tree.makeDirectory({ ...owned, place: this.#placeOf(place), salt });
    return made.status;
  }

  async makeSymlink(place: NamePlace, target: Uint8Array, owned: Owned): Promise<InodeStatus> {
    // Sealed for this inode, so that nobody can lead it elsewhere.
    const inode = await this.#namespace.allocateInodes(1, { inode: place.directory.inode });
    const sealed = this.#seals.sealedTarget(inode, target);
    const made = await this.#tree.makeNode({
      ...owned,
      place: this.#placeOf(place),
      inode,
      type: 'symlink',
      target: { sealed, sizeBytes: target.length },
    });
    return made.status;
  }

  async readSymlink(inode: Inode): Promise<Uint8Array> {
    return this.#seals.openedTarget(inode, await this.#tree.readLink(inode));
  }

  async link(inode: Inode, place: NamePlace): Promise<InodeStatus> {
    return await this.#tree.link(inode, this.#placeOf(place));
  }

  async unlink(place: NamePlace): Promise<Removal> {
    return await this.#tree.unlink(this.#placeOf(place));
  }

  async removeDirectory(place: NamePlace): Promise<void> {
    await this.#tree.removeDirectory(this.#placeOf(place));
  }

  /** @returns what was replaced. */
  async rename(
    from: NamePlace,
    to: NamePlace,
    flag?: 'noReplace' | 'exchange',
  ): Promise<Removal | undefined> {
    return await this.#tree.rename({ from: this.#placeOf(from), to: this.#placeOf(to), flag });
  }

  async setAttributes(
    inode: Inode,
    changes: Omit<AttributeChanges, 'sizeBytes' | 'attributes'>,
  ): Promise<InodeStatus> {
    return await this.#tree.setAttributes(inode, changes);
  }

  async getXattr(inode: Inode, name: Uint8Array): Promise<Uint8Array | undefined> {
    const sealed = await this.#tree.getXattr(inode, this.#seals.sealedXattrName(inode, name));
    return sealed && this.#seals.openedXattr(inode, name, sealed);
  }

  /**
   * @param xattr.permissions the mode of the inode from then on: an access control list says it.
   */
  async setXattr(
    inode: Inode,
    { name, value, mode, permissions }: NewInodeXattr,
  ): Promise<InodeStatus> {
    return await this.#tree.setXattr({
      inode,
      name: this.#seals.sealedXattrName(inode, name),
      value: this.#seals.sealedXattr(inode, name, value),
      mode,
      permissions,
    });
  }

  async listXattrs(inode: Inode): Promise<readonly Uint8Array[]> {
    const sealed = await this.#tree.listXattrs(inode);
    return sealed.map((name) => this.#seals.openedXattrName(inode, name));
  }

  async removeXattr(inode: Inode, name: Uint8Array): Promise<void> {
    await this.#tree.removeXattr(inode, this.#seals.sealedXattrName(inode, name));
  }

  async usage(): ReturnType<Tree['usage']> {
    return await this.#tree.usage();
  }

  #placeOf({ directory, name }: NamePlace) {
    return this.#names.placeIn(directory, name);
  }
}
