/**
 * A directory that this node holds, or has made and not brought yet: its entries as far as they are
 * known, with all that was done here and is not brought yet.
 *
 * Invariant: a name that is known stays right as long as the directory is held, because nobody else
 * may change it.
 */
import { firstWhere, keyText } from '../../base/index.ts';
import type { DirectoryLease, HeldLease, Inode, Place } from '../../meta/index.ts';

/** What has a place. `unknown`: it has to be asked for; `undefined`: nothing has it. */
export type Standing = Inode | 'unknown' | undefined;

export class HeldDirectory {
  readonly inode: Inode;
  /** `undefined` until the batch that makes the directory is in. */
  lease: DirectoryLease | undefined;
  /** All its names are known. */
  isComplete: boolean;
  /** Resolves when they are, or there are too many. */
  listed: Promise<void> | undefined;
  /** It is on its way back: whoever comes waits until it is returned. */
  returning: Promise<void> | undefined;
  /** Nothing goes by its lease any more. */
  isClosed = false;
  /** It is held no more. */
  isLost = false;
  /** Monotonic: when the newest answer that says it is held was asked for. */
  sureFromMs: number;
  /** Monotonic: of the last operation, and until when the kernel may remember what it was told. */
  usedAtMs: number;
  rememberedUntilMs = 0;
  /** By sealed name. */
  readonly #entries = new Map<string, Inode | undefined>();
  /** All names that something has, in order; `undefined` when that has changed. */
  #sorted: string[] | undefined;

  constructor({
    inode,
    lease,
    atMs,
  }: {
    readonly inode: Inode;
    readonly lease: DirectoryLease | undefined;
    readonly atMs: number;
  }) {
    this.inode = inode;
    this.lease = lease;
    this.isComplete = lease === undefined;
    this.sureFromMs = atMs;
    this.usedAtMs = atMs;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** A directory hides what is none. */
  standing({ name, directoryName }: Place): Standing {
    const asDirectory = this.#standingOf(directoryName);
    if (asDirectory !== undefined) return asDirectory;
    return this.#standingOf(name);
  }

  /** Of one form of a name. */
  #standingOf(name: Uint8Array): Standing {
    const key = keyText(name);
    const found = this.#entries.get(key);
    if (found !== undefined) return found;
    return this.isComplete || this.#entries.has(key) ? undefined : 'unknown';
  }

  /** Whether nothing is in it; `undefined` when that is not known. */
  get isEmpty(): boolean | undefined {
    for (const inode of this.#entries.values()) if (inode !== undefined) return false;
    return this.isComplete ? true : undefined;
  }

  /** As it is from now on. */
  set(name: Uint8Array, inode: Inode | undefined): void {
    const key = keyText(name);
    const before = this.#entries.get(key);
    if (this.isComplete && inode === undefined) this.#entries.delete(key);
    else this.#entries.set(key, inode);
    if ((before === undefined) !== (inode === undefined)) this.#sorted = undefined;
  }

  /** As a cell says that it was at some time since it is held: what is known here is newer. */
  learn(name: Uint8Array, inode: Inode | undefined): void {
    if (this.#standingOf(name) === 'unknown') this.set(name, inode);
  }

  /** All names were learnt. */
  complete(): void {
    this.isComplete = true;
    for (const [key, inode] of this.#entries) if (inode === undefined) this.#entries.delete(key);
  }

  /** Of all entries. */
  *inodes(): Generator<Inode> {
    for (const inode of this.#entries.values()) if (inode !== undefined) yield inode;
  }

  /** One page in the order of the sealed names. */
  page(after: Uint8Array | undefined, limit: number): { name: Uint8Array; inode: Inode }[] {
    this.#sorted ??= Array.from(this.#entries.keys())
      .filter((key) => this.#entries.get(key) !== undefined)
      .toSorted((a, b) => (a < b ? -1 : 1));
    const from = after && keyText(after);
    const start = from === undefined ? 0 : firstWhere(this.#sorted, (key) => key > from);
    return this.#sorted.slice(start, start + limit).map((key) => ({
      name: Buffer.from(key, 'latin1'),
      inode: this.#entries.get(key)!,
    }));
  }
}

/** What these go by; those that no cell has yet go by none. */
export function leasesOf(directories: Iterable<HeldDirectory>): HeldLease[] {
  return Array.from(directories).flatMap(({ inode: directory, lease }) =>
    lease ? [{ directory, fence: lease.fence }] : [],
  );
}
