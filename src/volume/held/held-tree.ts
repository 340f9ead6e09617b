/**
 * The tree of a volume for the mounts of this node. In directories that it holds it answers from
 * memory, notes what was done, and brings it later, many steps at once (docs/design/0010); all else
 * is asked of the cells as it comes.
 *
 * What was brought is durable and seen by everybody. What was not is seen by this node alone:
 * others who come to the directory wait until it is brought. Errors are those of `Tree`; a step
 * that is refused when it is brought, or lost with its directory, is told by `bring`.
 *
 * Invariant, here and in all of this folder: between the look at what is known and the act there is
 * no `await`.
 */
import { LIMITS } from '../../base/index.ts';
import type {
  Inode,
  InodeStatus,
  Place,
  RecordOptions,
  Tree,
  TreeEntry,
} from '../../meta/index.ts';
import type { Glances, ListRequest } from './glances.ts';
import type { HeldDirectory } from './held-directory.ts';
import { Holder, type HolderOptions } from './holder.ts';
import { WEIGHT } from './heats.ts';
import { InodeChanges } from './inode-changes.ts';
import { Moves } from './moves.ts';
import { NameChanges } from './name-changes.ts';
import { Removals } from './removals.ts';

export type HeldTreeOptions = HolderOptions;

/** What a mount needs of it besides the tree. */
export interface Held {
  /** As it is, or was within LIMITS.heldStatusMsMax if nobody else is likely to have changed it. */
  near(inode: Inode): Promise<InodeStatus | undefined>;
  /**
   * What somebody listed at the place a moment ago; `undefined`: look it up. For who only looks:
   * it may be as old as LIMITS.glanceMs, where {@link Tree.lookup} says what is.
   * @param placeOf not asked for where nothing can be told.
   */
  glance(directory: Inode, placeOf: () => Place): Promise<TreeEntry | undefined>;
  /** Something was not as {@link glance} said. */
  forgetGlances(): void;
  /** Whether nobody else can remove the inode without asking this node: it need not be declared. */
  guards(inode: Inode): boolean;
  /** Whether content of the inode may be stored after it was closed. */
  mayDefer(inode: Inode): boolean;
  /** One more mount of this node begins. */
  enter(): Promise<void>;
  leave(): void;
  /** For how long a kernel may remember what has which name in a directory, from now on. */
  rememberNamesMs(directory: Inode): number;
  /** The same for the attributes of an inode. */
  rememberStatusMs(inode: Inode): number;
  /** All that was done to it is durable. @throws what could not be kept. */
  bring(inode: Inode): Promise<void>;
  /** The same of all that was done in the volume. */
  bringAll(): Promise<void>;
  /** Frees what a removed inode holds, as soon as its removal is brought. */
  release(inode: Inode, about: { readonly wasOpen: boolean }): Promise<void>;
}

/** What holding a directory has nothing to do with. */
const PASSED = [
  'runBatch',
  'committedWrites',
  'forgetWrites',
  'looseInodes',
  'looseStripes',
  'finishLooseStripes',
  'orphans',
  'releaseOrphans',
  'setQuota',
  'getQuota',
  'charge',
  'usage',
] as const satisfies (keyof Tree)[];

export class HeldTree implements Held, AsyncDisposable {
  /** As `Tree`, for whoever works on this node. */
  readonly tree: Tree;
  readonly #tree: Tree;
  readonly #holder: Holder;
  readonly #glances: Glances;
  readonly #removals: Removals;
  readonly #names: NameChanges;
  readonly #moves: Moves;
  readonly #inodes: InodeChanges;
  #mountCount = 0;

  constructor(options: HeldTreeOptions) {
    this.#tree = options.tree;
    this.#holder = new Holder(options);
    this.#glances = this.#holder.glances;
    this.#removals = new Removals(this.#holder);
    this.#names = new NameChanges(this.#holder, this.#removals);
    this.#moves = new Moves(this.#holder, this.#removals);
    this.#inodes = new InodeChanges(this.#holder);
    this.tree = this.#asTree();
  }

  #asTree(): Tree {
    const names = this.#names;
    const inodes = this.#inodes;
    return {
      ...passed(this.#tree),
      lookup: (place, claim) => (claim ? this.#tree.lookup(place, claim) : this.#lookup(place)),
      getAttributes: (inode, options) => this.#fresh(inode, options),
      parentOf: (directory) => this.#parentOf(directory),
      listAttributes: (request) =>
        request.claim ? this.#tree.listAttributes(request) : this.#list(request),
      readLink: (inode) => this.#readLink(inode),
      setAttributes: (inode, changes) => inodes.setAttributes(inode, changes),
      getXattr: (inode, name) => inodes.getXattr(inode, name),
      setXattr: (request) => inodes.setXattr(request),
      listXattrs: (inode) => inodes.listXattrs(inode),
      removeXattr: (inode, name) => inodes.removeXattr(inode, name),
      commitExtents: (commit) => inodes.commitExtents(commit),
      makeNode: (request) => names.makeNode(request),
      makeDirectory: (request) => names.makeDirectory(request),
      link: (inode, place) => names.link(inode, place),
      unlink: (place) => names.unlink(place),
      removeDirectory: (place) => names.removeDirectory(place),
      rename: (request) => this.#moves.rename(request),
    };
  }

  // Looking.

  async #lookup(place: Place): Promise<TreeEntry | undefined> {
    const { holdings } = this.#holder;
    for (;;) {
      const held = await holdings.find(place.directory, WEIGHT.look);
      if (!held) return await this.#lookupThere(place);
      const standing = await this.#holder.standing(held, place);
      if (standing === 'unfit' || standing === 'unknown') continue;
      if (standing === undefined) return undefined;
      const known = await this.#holder.current(standing, held.inode);
      if (!holdings.isFit(held) || held.standing(place) !== standing) continue;
      if (known) return entryAt(place, known.status);
      // Whoever removed it needed no name.
      await holdings.giveBack(held);
    }
  }

  async #lookupThere(place: Place): Promise<TreeEntry | undefined> {
    const { known } = this.#holder;
    const asOfMs = this.#holder.options.env.clock.monotonic();
    const entry = await this.#holder.directly([place.directory], () => this.#tree.lookup(place));
    if (!entry) return undefined;
    const found = entryAt(place, known.learn(entry.status, asOfMs));
    this.#glances.lookedUp(place, found, asOfMs);
    return found;
  }

  async glance(directory: Inode, placeOf: () => Place): Promise<TreeEntry | undefined> {
    const isHeld = this.#holder.holdings.get(directory) !== undefined;
    if (isHeld || !this.#glances.hasAny(directory)) return undefined;
    return await this.#glances.entry(placeOf());
  }

  forgetGlances(): void {
    this.#glances.clear();
  }

  /** As it is now: others may have it open. */
  async #fresh(inode: Inode, options: RecordOptions = {}): Promise<InodeStatus | undefined> {
    const { known } = this.#holder;
    const found = known.get(inode);
    const isTold = !options.withContent || !found?.status.isInline;
    if (found && (found.isOurs || found.isNew) && isTold) return found.status;
    while (known.isPending(inode)) await this.#holder.queue.bringAll();
    return await this.#holder.fetch(inode, { ...options, home: found?.home });
  }

  async near(inode: Inode): Promise<InodeStatus | undefined> {
    const { known } = this.#holder;
    const found = known.get(inode);
    if (found && known.isCurrent(found)) return found.status;
    const isOpen = this.#holder.options.opens.isOpen(inode);
    const glanced = isOpen || found ? undefined : this.#glances.status(inode);
    if (glanced) return glanced;
    const asOfMs = this.#holder.options.env.clock.monotonic();
    const status = await this.#holder.fetch(inode);
    if (status && !known.get(inode)) this.#glances.sawAttributes(status, asOfMs);
    return status;
  }

  async #parentOf(directory: Inode): Promise<Inode> {
    const known = this.#holder.known.get(directory);
    const home = known && this.#holder.homeOf(known);
    return home ? home.inode : await this.#tree.parentOf(directory);
  }

  async #readLink(inode: Inode): Promise<Uint8Array> {
    return this.#holder.known.get(inode)?.target ?? (await this.#tree.readLink(inode));
  }

  async #list(request: ListRequest): Promise<readonly TreeEntry[]> {
    const { holdings, queue } = this.#holder;
    const { directory, after, limit = LIMITS.listPageMax } = request;
    for (;;) {
      const held = await holdings.find(directory, WEIGHT.list);
      if (!held) return await this.#glances.list(request);
      await held.listed;
      if (!holdings.isFit(held)) continue;
      if (!held.isComplete) {
        await queue.bringAll();
        const { lease: claim } = held;
        return await this.#tree.listAttributes({ ...request, ...(claim && { claim }) });
      }
      const page = held.page(after, limit);
      await this.#refresh(held, { after, limit }, page);
      if (!holdings.isFit(held)) continue;
      const known = page.map(({ name, inode }) => ({
        name,
        status: this.#holder.known.get(inode)?.status,
      }));
      const gone = known.filter(({ status }) => !status);
      if (gone.length === 0) return known as TreeEntry[];
      // Whoever removed it needed no name.
      for (const { name } of gone) held.set(name, undefined);
    }
  }

  /** Of what is looked at soon, all that is not known well enough, together. */
  async #refresh(
    held: HeldDirectory,
    range: { readonly after: Uint8Array | undefined; readonly limit: number },
    page: readonly { readonly inode: Inode }[],
  ): Promise<void> {
    const { known, options } = this.#holder;
    const isStale = ({ inode }: { readonly inode: Inode }): boolean => {
      const found = known.get(inode);
      return !found || !known.isCurrent(found);
    };
    const { lease: claim, inode: directory } = held;
    if (claim && page.some(isStale)) {
      const asOfMs = options.env.clock.monotonic();
      const entries = await this.#holder.queue.unlessFenced(directory, () =>
        this.#tree.listAttributes({ directory, ...range, claim }),
      );
      if (!entries) return;
      // Of what was removed here meanwhile nothing is known any more.
      const left = new Set(held.page(range.after, range.limit).map(({ inode }) => inode));
      for (const { status } of entries) {
        if (left.has(status.inode)) known.learn(status, asOfMs, directory);
      }
    }
    const unknown = page.filter(({ inode }) => !known.get(inode));
    for (const { inode } of unknown) await this.#holder.fetch(inode, { home: directory });
  }

  // For mounts.

  guards(inode: Inode): boolean {
    return this.#holder.guards(inode);
  }

  mayDefer(inode: Inode): boolean {
    return this.#holder.known.get(inode)?.isOurs === true && this.#holder.guards(inode);
  }

  rememberStatusMs(inode: Inode): number {
    const home = this.#holder.known.get(inode)?.home;
    return this.rememberNamesMs(home ?? inode);
  }

  async enter(): Promise<void> {
    this.#mountCount += 1;
    // What one kernel remembers another mount may change.
    if (this.#mountCount === 2) await this.#holder.options.env.clock.sleep(LIMITS.heldMemoryMs);
  }

  leave(): void {
    this.#mountCount -= 1;
  }

  rememberNamesMs(directory: Inode): number {
    const { holdings, options } = this.#holder;
    const held = holdings.get(directory);
    if (this.#mountCount > 1 || !held || !holdings.isFit(held)) return 0;
    held.rememberedUntilMs = options.env.clock.monotonic() + LIMITS.heldMemoryMs;
    return LIMITS.heldMemoryMs;
  }

  async bring(inode: Inode): Promise<void> {
    await this.#holder.bring(inode);
  }

  async bringAll(): Promise<void> {
    await this.#holder.bringAll();
  }

  async release(inode: Inode, about: { readonly wasOpen: boolean }): Promise<void> {
    await this.#removals.release(inode, about);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#holder[Symbol.asyncDispose]();
  }
}

function entryAt({ name, directoryName }: Place, status: InodeStatus): TreeEntry {
  return { name: status.type === 'directory' ? directoryName : name, status };
}

function passed(tree: Tree): Pick<Tree, (typeof PASSED)[number]> {
  const entries = PASSED.map((name) => [
    name,
    (...args: never[]) => (tree[name] as (...all: never[]) => unknown)(...args),
  ]);
  return Object.fromEntries(entries) as Pick<Tree, (typeof PASSED)[number]>;
}
