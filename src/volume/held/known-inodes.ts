/**
 * What a holder knows of inodes.
 *
 * *New*: no cell has it yet. *Ours*: made here, and in held directories since, so that nobody else
 * has ever seen it. *Home*: the held directory that has its only name.
 *
 * Invariant: while a step that changes an inode is not brought, its status here is the newest.
 */
import { assert, LIMITS } from '../../base/index.ts';
import type { Clock } from '../../env/index.ts';
import { type Inode, type InodeStatus, nsOf } from '../../meta/index.ts';

export interface KnownInode {
  status: InodeStatus;
  /** Its change count when all that was done here is brought. */
  cellCount: bigint;
  /** Monotonic: when it was asked for. */
  asOfMs: number;
  isNew: boolean;
  isOurs: boolean;
  home: Inode | undefined;
  /** Of a new symlink, sealed. */
  readonly target?: Uint8Array | undefined;
  /** All that it has, by name, sealed; of what was made here. */
  readonly xattrs?: Map<string, Uint8Array> | undefined;
}

export class KnownInodes {
  readonly #clock: Pick<Clock, 'now' | 'monotonic'>;
  readonly #isHeld: (directory: Inode) => boolean;
  readonly #known = new Map<Inode, KnownInode>();
  /** Steps that change an inode and are not brought. */
  readonly #pending = new Map<Inode, number>();

  /** @param isHeld of a directory: then all that is done in it is done here. */
  constructor(clock: Pick<Clock, 'now' | 'monotonic'>, isHeld: (directory: Inode) => boolean) {
    this.#clock = clock;
    this.#isHeld = isHeld;
  }

  get(inode: Inode): KnownInode | undefined {
    return this.#known.get(inode);
  }

  /** Whether what is known of it can be said without asking. */
  isCurrent(known: KnownInode): boolean {
    if (known.isOurs || this.isPending(known.status.inode)) return true;
    const isNear = known.home !== undefined || this.#isHeld(known.status.inode);
    return isNear && this.#clock.monotonic() - known.asOfMs <= LIMITS.heldStatusMsMax;
  }

  /** Whether something was done to it that is not brought. */
  isPending(inode: Inode): boolean {
    return this.#pending.has(inode);
  }

  /** As it is since `asOfMs`. */
  add(
    status: InodeStatus,
    parts: Omit<KnownInode, 'status' | 'cellCount' | 'asOfMs'>,
    asOfMs: number = this.#clock.monotonic(),
  ): void {
    const { changeCount: cellCount } = status;
    this.#known.set(status.inode, { ...parts, status, cellCount, asOfMs });
  }

  /**
   * As a cell says that it is.
   * @param asOfMs when it was asked: what changed here since is newer.
   * @returns what is known now.
   */
  learn(status: InodeStatus, asOfMs: number, home?: Inode): InodeStatus {
    const known = this.#known.get(status.inode);
    if (!known) {
      if (home === undefined) return status;
      const parts = { isNew: false, isOurs: false, home: homeFor(status, home) };
      this.add(status, parts, asOfMs);
      return status;
    }
    if (known.home === undefined && !known.isNew) known.home = homeFor(status, home);
    const isNewer = known.isNew || known.asOfMs > asOfMs || this.isPending(status.inode);
    if (isNewer) return known.status;
    const { inline: _inline, ...kept } = status;
    known.status = kept;
    known.cellCount = status.changeCount;
    known.asOfMs = asOfMs;
    if (status.linkCount > 1 && status.type !== 'directory') known.home = undefined;
    return status;
  }

  /** A change of now, with the marks that each change leaves. */
  change(known: KnownInode, changes: Partial<InodeStatus>, atMs: number): InodeStatus {
    const { status } = known;
    known.status = {
      ...status,
      changedNs: nsOf(atMs),
      changeCount: status.changeCount + 1n,
      ...changes,
    };
    known.cellCount += 1n;
    known.asOfMs = this.#clock.monotonic();
    return known.status;
  }

  /** It was changed by another way than this: it is asked for before it is told next. */
  distrust(inode: Inode): void {
    const known = this.#known.get(inode);
    if (known) Object.assign(known, { isOurs: false, asOfMs: -Infinity });
  }

  /** It has names that others may change. */
  share(inode: Inode): void {
    const known = this.#known.get(inode);
    if (known) Object.assign(known, NOBODYS);
  }

  begin(inode: Inode): void {
    this.#pending.set(inode, (this.#pending.get(inode) ?? 0) + 1);
  }

  /** A step is in, or never will be. */
  end(inode: Inode): void {
    const left = (this.#pending.get(inode) ?? 0) - 1;
    assert(left >= 0, 'a step ends once');
    if (left > 0) this.#pending.set(inode, left);
    else this.#pending.delete(inode);
    const known = this.#known.get(inode);
    if (!known) return;
    known.asOfMs = this.#clock.monotonic();
    const isGone = known.status.linkCount === 0 && !this.isPending(inode);
    if (isGone) this.#known.delete(inode);
  }

  forget(inode: Inode): void {
    this.#known.delete(inode);
  }

  /**
   * The directory is held no more: others may change what is in it.
   * @param isHeld of directories in it: what was done in them is known here still.
   */
  release(home: Inode, inodes: Iterable<Inode>, isHeld: (inode: Inode) => boolean): void {
    for (const inode of inodes) {
      const known = this.#known.get(inode);
      const isElsewhere = known?.home !== undefined && known.home !== home;
      if (!known || isElsewhere) continue;
      if (isHeld(inode) || this.isPending(inode)) Object.assign(known, NOBODYS);
      else this.#known.delete(inode);
    }
  }
}

const NOBODYS = { home: undefined, isOurs: false, asOfMs: -Infinity };

/** What has other names can be changed by way of those. */
function homeFor({ type, linkCount }: InodeStatus, home: Inode | undefined): Inode | undefined {
  return type === 'directory' || linkCount === 1 ? home : undefined;
}
