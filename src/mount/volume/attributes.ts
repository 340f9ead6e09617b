/** Attributes of inodes, as the kernel asks for them and changes them. */
import type { InodeStatus, MountableVolume } from '../../volume/index.ts';
import type { AttributeChanges } from '../file-system.ts';
import type { Entry, InodeNumber, KnownAttributes } from '../inode.ts';
import { attributesOf, type Owner, treeChangesOf, withoutPrivileges } from './attributes-of.ts';
import type { InodeTable } from './inode-table.ts';
import type { OpenedFiles } from './opened-files.ts';

export interface AttributesOptions {
  readonly volume: MountableVolume;
  readonly inodes: InodeTable;
  readonly files: OpenedFiles;
  /** Who stands for root, in what is shown. */
  readonly root: Owner | undefined;
}

export class Attributes {
  readonly #options: AttributesOptions;

  constructor(options: AttributesOptions) {
    this.#options = options;
  }

  async get(number: InodeNumber): Promise<KnownAttributes> {
    return this.#knownOf(await this.#statusOf(number));
  }

  async set(number: InodeNumber, changes: AttributeChanges): Promise<KnownAttributes> {
    const { volume, inodes, files } = this.#options;
    const { inode } = inodes.get(number);
    const { sizeBytes } = changes;
    if (sizeBytes !== undefined) {
      await files.with(inode, async (file) => await file.truncate(sizeBytes));
    }
    const losesPrivileges = changes.killsPrivileges && changes.mode === undefined;
    const mode = losesPrivileges ? await this.#unprivileged(number) : changes.mode;
    const wanted = treeChangesOf({ ...changes, mode });
    if (Object.keys(wanted).length === 0) return this.#knownOf(await this.#statusOf(number));
    const status = await volume.tree.setAttributes(inode, wanted);
    if (wanted.modifiedNs !== undefined) volume.files.setModified(inode, status.modifiedNs);
    return this.#knownOf(status);
  }

  async killPrivileges(number: InodeNumber): Promise<void> {
    const mode = await this.#unprivileged(number);
    const { volume, inodes } = this.#options;
    const { inode } = inodes.get(number);
    if (mode !== undefined) await volume.tree.setAttributes(inode, { mode });
  }

  /** The mode without privileges; `undefined` when it has none. */
  async #unprivileged(number: InodeNumber): Promise<number | undefined> {
    const { mode } = await this.#statusOf(number);
    const left = withoutPrivileges(mode);
    return left === mode ? undefined : left;
  }

  /** @throws HF_NOT_FOUND. */
  async #statusOf(number: InodeNumber): Promise<InodeStatus> {
    const { volume, inodes } = this.#options;
    return await volume.tree.status(inodes.get(number).inode);
  }

  #knownOf(status: InodeStatus): KnownAttributes {
    const { volume, inodes, root } = this.#options;
    const merged = volume.files.merged(status);
    inodes.tell(merged);
    const attributes = attributesOf(merged, root);
    return { attributes, attributesMs: volume.held.rememberStatusMs(status.inode) };
  }

  /** Nothing may be awaited between this and the answer: the kernel may forget the number. */
  entryOf(status: InodeStatus, parent: InodeNumber): Entry {
    const { volume, inodes } = this.#options;
    const inode = inodes.numberOf(status);
    const entryMs = volume.held.rememberNamesMs(inodes.directory(parent).inode);
    return { ...this.#knownOf(status), inode, entryMs };
  }
}
