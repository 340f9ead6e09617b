/**
 * What changes names in held directories: done here at once where all of it is known, else brought
 * at once, as the cell sees it.
 */
import { errorCode, HoldfastError } from '../../base/index.ts';
import {
  type Inode,
  type InodeStatus,
  type NodeRequest,
  type Place,
  type Removal,
  ROOT_INODE,
  type StepResult,
  type Tree,
  type TreeDirectoryRequest,
  type TreeEntry,
  type TreeStep,
} from '../../meta/index.ts';
import { HeldDirectory } from './held-directory.ts';
import type { Holder, Noted } from './holder.ts';
import { WEIGHT } from './heats.ts';
import { LEASE_ROOM } from './holdings.ts';
import type { KnownInode } from './known-inodes.ts';
import { newDirectoryStatus, newNodeStatus } from './new-status.ts';
import type { Removals } from './removals.ts';

/**
 * Directories that lie near their parents, for one that lies elsewhere: a tree spreads over cells.
 */
const NEAR_DIRECTORIES = 63;

export class NameChanges {
  readonly #holder: Holder;
  readonly #tree: Tree;
  readonly #removals: Removals;
  #madeNear = 0;

  constructor(holder: Holder, removals: Removals) {
    this.#holder = holder;
    this.#removals = removals;
    this.#tree = holder.options.tree;
  }

  // Making.

  async makeNode(request: NodeRequest): Promise<TreeEntry> {
    const { place } = request;
    if (!place) return await this.#tree.makeNode(request);
    const { inodes } = this.#holder.options;
    return await this.#at(place, {
      there: () => this.#tree.makeNode(request),
      here: async (held, standing) => {
        if (standing !== undefined) throw new HoldfastError('HF_EXISTS');
        const inode = request.inode ?? (await inodes.take({ inode: place.directory }));
        return () => this.#madeNode(held, { ...request, place, inode });
      },
    });
  }

  #madeNode(
    held: HeldDirectory,
    request: NodeRequest & { readonly place: Place; readonly inode: Inode },
  ): TreeEntry {
    const { place, inode, target } = request;
    const atMs = this.#nowMs();
    const status = newNodeStatus(inode, request, atMs);
    const xattrs = new Map<string, Uint8Array>();
    const parts = { isNew: true, isOurs: true, home: held.inode, target: target?.sealed, xattrs };
    this.#holder.known.add(status, parts);
    held.set(place.name, inode);
    this.#holder.touch(held.inode, atMs);
    this.#holder.note({
      step: { do: 'makeNode', args: [request], atMs },
      directories: [held.inode],
      inodes: [inode, held.inode],
      makes: inode,
      onDone: () => this.#isMade(inode),
    });
    return { name: place.name, status };
  }

  #isMade(inode: Inode): void {
    const known = this.#holder.known.get(inode);
    if (known) known.isNew = false;
  }

  async makeDirectory(request: TreeDirectoryRequest): Promise<TreeEntry> {
    const { place } = request;
    await this.#holder.holdings.room();
    return await this.#at(place, {
      there: () => this.#tree.makeDirectory(request),
      here: async (held, standing) => {
        if (standing !== undefined) throw new HoldfastError('HF_EXISTS');
        const inode = request.inode ?? (await this.#directoryNumber(held.inode));
        return () => this.#madeDirectory(held, { ...request, inode });
      },
    });
  }

  async #directoryNumber(parent: Inode): Promise<Inode> {
    const { inodes } = this.#holder.options;
    this.#madeNear += 1;
    const isNear = parent !== ROOT_INODE && this.#madeNear % (NEAR_DIRECTORIES + 1) !== 0;
    return await inodes.take(isNear ? { inode: parent } : { objectId: inodes.newId() });
  }

  #madeDirectory(
    held: HeldDirectory,
    request: TreeDirectoryRequest & { readonly inode: Inode },
  ): TreeEntry {
    const { place, inode: directory } = request;
    const { known, holdings } = this.#holder;
    const { clock } = this.#holder.options.env;
    const atMs = this.#nowMs();
    const status = newDirectoryStatus(directory, request, atMs);
    const xattrs = new Map<string, Uint8Array>();
    known.add(status, { isNew: true, isOurs: true, home: held.inode, xattrs });
    held.set(place.directoryName, directory);
    this.#holder.touch(held.inode, atMs, 1);
    const made = new HeldDirectory({
      inode: directory,
      lease: undefined,
      atMs: clock.monotonic(),
    });
    this.#holder.note({
      step: { do: 'makeDirectory', args: [request], atMs },
      directories: [held.inode],
      inodes: [directory, held.inode],
      makes: directory,
      onDone: () => this.#isMade(directory),
    });
    this.#holder.note({
      step: { do: 'leaseDirectory', args: [{ directory, ...LEASE_ROOM }] },
      directories: [held.inode, directory],
      inodes: [],
      onDone: ({ lease }) => holdings.settle(directory, lease, made.sureFromMs),
    });
    holdings.add(made);
    return { name: place.directoryName, status };
  }

  async link(inode: Inode, place: Place): Promise<InodeStatus> {
    return await this.#at(place, {
      there: async () => {
        await this.#holder.bring(inode);
        const status = await this.#tree.link(inode, place);
        this.#holder.known.share(inode);
        this.#holder.glances.changed(inode);
        return status;
      },
      here: async (held, standing) => {
        if (this.#holder.known.get(inode)?.status.type === 'directory') {
          throw new HoldfastError('HF_DENIED', 'a directory has one name');
        }
        if (standing !== undefined) throw new HoldfastError('HF_EXISTS');
        return () => this.#linked(held, inode, place);
      },
    });
  }

  /** What it is elsewhere is for the cell to say, so it is asked at once. */
  async #linked(held: HeldDirectory, inode: Inode, place: Place): Promise<InodeStatus> {
    const { known } = this.#holder;
    const atMs = this.#nowMs();
    held.set(place.name, inode);
    this.#holder.touch(held.inode, atMs);
    const home = known.get(inode)?.home;
    const step: TreeStep = { do: 'link', args: [inode, place], atMs };
    const directories = home === undefined ? [held.inode] : [held.inode, home];
    await this.#ran({
      step,
      directories: fitOf(this.#holder, directories),
      inodes: [inode, held.inode],
    });
    known.share(inode);
    const status = await this.#holder.fetch(inode);
    if (!status) throw new HoldfastError('HF_NOT_FOUND');
    return status;
  }

  // Removing.

  async unlink(place: Place): Promise<Removal> {
    return await this.#at(place, {
      there: async () => {
        const removal = await this.#tree.unlink(place);
        this.#holder.known.distrust(removal.status.inode);
        this.#holder.glances.changed(removal.status.inode);
        return removal;
      },
      here: async (held, standing) => {
        if (typeof standing !== 'bigint') throw new HoldfastError('HF_NOT_FOUND');
        const known = await this.#holder.current(standing, held.inode);
        return () => {
          if (!known) throw new HoldfastError('HF_NOT_FOUND');
          if (known.status.type === 'directory') throw new HoldfastError('HF_IS_DIRECTORY');
          return this.#unlinked(held, known, place);
        };
      },
    });
  }

  #unlinked(held: HeldDirectory, known: KnownInode, place: Place): Removal {
    const { inode } = known.status;
    const atMs = this.#nowMs();
    held.set(place.name, undefined);
    this.#holder.touch(held.inode, atMs);
    this.#holder.note({
      step: { do: 'unlink', args: [place], atMs },
      directories: [held.inode],
      inodes: [inode, held.inode],
      removes: inode,
      onDone: (result) => this.#removals.isBrought(inode, result, held.inode),
    });
    return { status: this.#removals.without(known, atMs), release: undefined };
  }

  async removeDirectory(place: Place): Promise<InodeStatus> {
    return await this.#at(place, {
      there: () => this.#tree.removeDirectory(place),
      here: async (held, standing) => {
        if (typeof standing !== 'bigint') throw new HoldfastError('HF_NOT_FOUND');
        const known = await this.#holder.current(standing, held.inode);
        return () => {
          if (!known) throw new HoldfastError('HF_NOT_FOUND');
          if (known.status.type !== 'directory') throw new HoldfastError('HF_NOT_DIRECTORY');
          return this.#removedDirectory(held, known, place);
        };
      },
    });
  }

  async #removedDirectory(
    held: HeldDirectory,
    known: KnownInode,
    place: Place,
  ): Promise<InodeStatus> {
    const { inode } = known.status;
    const { holdings } = this.#holder;
    const removed = holdings.get(inode);
    const isHere = removed && holdings.isFit(removed);
    if (isHere && removed.isEmpty === false) throw new HoldfastError('HF_NOT_EMPTY');
    const atMs = this.#nowMs();
    const step: TreeStep = { do: 'removeDirectory', args: [place], atMs };
    const noted = { step, inodes: [inode, held.inode], removes: inode };
    if (!isHere || !removed.isEmpty) {
      await this.#ran({ ...noted, directories: fitOf(this.#holder, [held.inode, inode]) });
      held.set(place.directoryName, undefined);
      this.#holder.touch(held.inode, this.#nowMs(), -1);
      if (removed) holdings.lose(removed);
      this.#holder.known.forget(inode);
      return { ...known.status, linkCount: 0 };
    }
    held.set(place.directoryName, undefined);
    this.#holder.touch(held.inode, atMs, -1);
    this.#holder.note({
      ...noted,
      directories: [held.inode, inode],
      onDone: () => holdings.lose(removed),
    });
    return this.#holder.known.change(known, { linkCount: 0 }, atMs);
  }

  // What they have in common.

  /**
   * Does it here when the directory is held, else there.
   * @param work.here finds out all that is needed; what it returns runs without waiting, if the
   *   place is still as it was.
   */
  async #at<Result>(
    place: Place,
    work: {
      readonly there: () => Promise<Result>;
      readonly here: (
        held: HeldDirectory,
        standing: Inode | undefined,
      ) => Promise<() => Result | Promise<Result>>;
    },
  ): Promise<Result> {
    const { holdings, queue } = this.#holder;
    const { directory } = place;
    for (;;) {
      await queue.room();
      const held = await holdings.find(directory, WEIGHT.change);
      if (!held) return await this.#holder.changeDirectly([place], work.there);
      const standing = await this.#holder.standing(held, place);
      if (standing === 'unfit' || standing === 'unknown') continue;
      const act = await work.here(held, standing);
      if (!holdings.isFit(held) || held.standing(place) !== standing) continue;
      try {
        return await act();
      } catch (error) {
        // Somebody else holds what is to go: the cell asks for it.
        if (errorCode(error) !== 'HF_LEASED') throw error;
        return await this.#holder.changeDirectly([place], work.there);
      }
    }
  }

  /** Brought at once. @throws what it is refused with; then nothing is known of its directories. */
  async #ran(noted: Noted): Promise<StepResult> {
    const { holdings } = this.#holder;
    const result = await this.#holder.run(noted);
    if (result.code === undefined) return result;
    for (const directory of noted.directories) {
      const held = holdings.get(directory);
      if (held) await holdings.giveBack(held);
    }
    throw new HoldfastError(result.code);
  }

  #nowMs(): number {
    return this.#holder.options.env.clock.now();
  }
}

/** Those that steps can go by. */
function fitOf({ holdings }: Holder, directories: readonly Inode[]): Inode[] {
  return [...new Set(directories)].filter((directory) => holdings.get(directory));
}
