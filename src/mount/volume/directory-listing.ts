/**
 * An open directory: its entries numbered in the order in which they were first seen, so that a
 * cookie means the same place as long as the directory is open. Pages are asked for as the reader
 * comes to them; who goes back to the beginning sees the directory as it is then.
 */
import { HoldfastError, keyText, utf8 } from '../../base/index.ts';
import type { InodeTree, ListedPage } from '../../volume/index.ts';
import type { DirectoryEntry, FileNumber } from '../inode.ts';
import { modeOf } from './attributes-of.ts';
import type { KnownInode } from './inode-table.ts';

/** A reply to the kernel holds about a hundred names; the rest of a longer answer is in vain. */
const ENTRIES_AT_ONCE = 128;

class DirectoryListing {
  readonly #tree: Pick<InodeTree, 'list' | 'parentOf'>;
  readonly #directory: KnownInode;
  #entries: DirectoryEntry[] = [];
  #seen = new Set<string>();
  /** Where the next page begins; `undefined`: there is none. */
  #after: Uint8Array | undefined;
  #isComplete = false;

  constructor(tree: Pick<InodeTree, 'list' | 'parentOf'>, directory: KnownInode) {
    this.#tree = tree;
    this.#directory = directory;
  }

  /** Some entries after a cookie; none at the end. */
  async from(cookie: number): Promise<readonly DirectoryEntry[]> {
    if (cookie === 0) await this.#begin();
    while (this.#entries.length <= cookie && !this.#isComplete) await this.#readPage();
    return this.#entries.slice(cookie, cookie + ENTRIES_AT_ONCE);
  }

  async #begin(): Promise<void> {
    this.#entries = [];
    this.#seen = new Set();
    this.#after = undefined;
    this.#isComplete = false;
    const { inode } = this.#directory;
    const [parent, page] = await Promise.all([
      this.#tree.parentOf(inode),
      this.#tree.list(this.#directory),
    ]);
    this.#add(utf8('.'), inode, 'directory');
    this.#add(utf8('..'), parent, 'directory');
    this.#addPage(page);
  }

  async #readPage(): Promise<void> {
    this.#addPage(await this.#tree.list(this.#directory, this.#after));
  }

  #addPage({ entries, after }: ListedPage): void {
    for (const { name, status } of entries) this.#add(name, status.inode, status.type);
    this.#after = after;
    this.#isComplete = after === undefined;
  }

  /** A name that an object and a directory share is shown once. */
  #add(name: Uint8Array, inode: bigint, type: Parameters<typeof modeOf>[0]['type']): void {
    const key = keyText(name);
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    const mode = modeOf({ type, mode: 0 });
    this.#entries.push({ name, inode, mode, cookie: this.#entries.length + 1 });
  }
}

/** The directories that the kernel has open, by the numbers that it knows these opens by. */
export class DirectoryListings {
  readonly #listings = new Map<FileNumber, DirectoryListing>();
  #last = 0;

  open(...opened: ConstructorParameters<typeof DirectoryListing>): FileNumber {
    this.#last += 1;
    this.#listings.set(this.#last, new DirectoryListing(...opened));
    return this.#last;
  }

  /** @throws HF_BAD_ARGUMENT. */
  get(number: FileNumber): DirectoryListing {
    const listing = this.#listings.get(number);
    if (!listing) throw new HoldfastError('HF_BAD_ARGUMENT', `no directory is open as ${number}`);
    return listing;
  }

  close(number: FileNumber): void {
    this.#listings.delete(number);
  }
}
