/**
 * What was listed a moment ago in directories that this node does not hold, and directories that
 * were looked up. Who lists a directory mostly looks at all that is in it, each time by its whole
 * path: asked name by name, a long listing takes more answers of a cell than it has lines.
 *
 * What is told from here may be `LIMITS.glanceMs` old, while somebody looks at one name after the
 * other. So it is for those who only look; who opens or changes anything has the name looked up
 * again (mount/volume/seen-names.ts). Of a name that is not here nothing is said.
 */
import { keyText, LIMITS, remember } from '../../base/index.ts';
import type { Clock } from '../../env/index.ts';
import type { Inode, InodeStatus, Place, Tree, TreeEntry } from '../../meta/index.ts';
import type { QueuedStep } from './step-queue.ts';

export type ListRequest = Parameters<Tree['listAttributes']>[0];

/** What is known of a directory. */
interface Glanced {
  readonly names: Map<string, Seen>;
  /** Monotonic: of the last answer that came from here, or to here. */
  usedAtMs: number;
}

/** What was listed together, or looked up alone. */
interface Page {
  readonly of: Glanced;
  /** `undefined`: it was looked up, and is not worth more than that. */
  readonly request: ListRequest | undefined;
  readonly asOfMs: number;
  /** Answers that were got from it. */
  used: number;
}

interface Seen {
  readonly entry: TreeEntry;
  readonly page: Page;
}

export interface GlancesOptions {
  readonly clock: Pick<Clock, 'monotonic'>;
  /** Lists a directory as it is now. */
  readonly ask: (request: ListRequest) => Promise<readonly TreeEntry[]>;
}

/** Answers that a page must have given to be asked for again when it is too old. */
const WORTH_AGAIN = 8;
const DIRECTORIES_MAX = 1024;
const ENTRIES_MAX = 100_000;
const CHANGES_MAX = 4096;

export class Glances {
  readonly #options: GlancesOptions;
  readonly #directories = new Map<Inode, Glanced>();
  readonly #byInode = new Map<Inode, Seen>();
  /** Monotonic: when something was last changed by this node, which no older answer may hide. */
  readonly #changedAtMs = new Map<Inode, number>();
  readonly #asked = new Map<Page, Promise<unknown>>();

  constructor(options: GlancesOptions) {
    this.#options = options;
  }

  /** As a cell lists it now. */
  async list(request: ListRequest): Promise<readonly TreeEntry[]> {
    const asOfMs = this.#options.clock.monotonic();
    const entries = await this.#options.ask(request);
    this.#note(entries, { directory: request.directory, request, asOfMs });
    return entries;
  }

  /** A directory was looked up: whoever goes into it by its path comes through here often. */
  lookedUp({ directory }: Place, entry: TreeEntry, asOfMs: number): void {
    if (entry.status.type !== 'directory') return;
    this.#note([entry], { directory, request: undefined, asOfMs });
  }

  /** The kernel asks for those of each directory that a path goes through. */
  sawAttributes(status: InodeStatus, asOfMs: number): void {
    const { inode, type } = status;
    if (type !== 'directory' || this.#isChangedSince(inode, asOfMs)) return;
    const of = { names: new Map<string, Seen>(), usedAtMs: this.#options.clock.monotonic() };
    const page = { of, request: undefined, asOfMs, used: 0 };
    this.#byInode.set(inode, { entry: { name: new Uint8Array(), status }, page });
    this.#makeWay();
  }

  #note(
    entries: readonly TreeEntry[],
    { directory, ...about }: Pick<Page, 'request' | 'asOfMs'> & { readonly directory: Inode },
  ): void {
    const { asOfMs } = about;
    if (this.#isChangedSince(directory, asOfMs)) return;
    const of = this.#directories.get(directory) ?? { names: new Map(), usedAtMs: 0 };
    of.usedAtMs = this.#options.clock.monotonic();
    this.#directories.delete(directory);
    this.#directories.set(directory, of);
    const page: Page = { ...about, of, used: 0 };
    for (const entry of entries) {
      const { inode } = entry.status;
      if (this.#isChangedSince(inode, asOfMs)) continue;
      const seen = { entry, page };
      of.names.set(keyText(entry.name), seen);
      this.#byInode.set(inode, seen);
    }
    this.#makeWay();
  }

  #isChangedSince(inode: Inode, asOfMs: number): boolean {
    return asOfMs <= (this.#changedAtMs.get(inode) ?? -Infinity);
  }

  #makeWay(): void {
    for (const oldest of this.#directories.keys()) {
      const isMuch = this.#directories.size > DIRECTORIES_MAX || this.#byInode.size > ENTRIES_MAX;
      if (!isMuch) return;
      this.forget(oldest);
    }
    // Those of directories that were only passed through.
    if (this.#byInode.size > ENTRIES_MAX) this.#byInode.clear();
  }

  /** Of the names in it nothing is told. */
  forget(directory: Inode): void {
    const known = this.#directories.get(directory);
    this.#directories.delete(directory);
    for (const seen of known?.names.values() ?? []) {
      const { inode } = seen.entry.status;
      if (this.#byInode.get(inode) === seen) this.#byInode.delete(inode);
    }
  }

  /** Whether anything can be told of names in it; most have none, and names are dear to seal. */
  hasAny(directory: Inode): boolean {
    const of = this.#directories.get(directory);
    return of !== undefined && this.#isInUse(of);
  }

  /** What has the name, or had it a moment ago; `undefined`: it has to be asked for. */
  async entry(place: Place): Promise<TreeEntry | undefined> {
    const seen = this.#find(place);
    if (!seen) return undefined;
    if (this.#isFresh(seen)) return this.#used(seen);
    const { request } = seen.page;
    const isLookedThrough = seen.page.used >= WORTH_AGAIN && this.#isInUse(seen.page.of);
    if (!request || !isLookedThrough) return undefined;
    await this.#askAgain(seen.page, request);
    const again = this.#find(place);
    if (again && this.#isFresh(again)) return this.#used(again);
    this.#directories.get(place.directory)?.names.delete(keyText(seen.entry.name));
    return undefined;
  }

  /** A directory hides what is none. */
  #find({ directory, name, directoryName }: Place): Seen | undefined {
    const names = this.#directories.get(directory)?.names;
    return names?.get(keyText(directoryName)) ?? names?.get(keyText(name));
  }

  #isFresh({ page, entry }: Seen): boolean {
    const nowMs = this.#options.clock.monotonic();
    const isNear = nowMs - page.asOfMs <= LIMITS.glanceMs;
    return isNear && this.#isInUse(page.of) && this.#byInode.get(entry.status.inode)?.page === page;
  }

  #isInUse({ usedAtMs }: Glanced): boolean {
    return this.#options.clock.monotonic() - usedAtMs <= LIMITS.glancePauseMs;
  }

  /** Once for all who wait for it. */
  async #askAgain(page: Page, request: ListRequest): Promise<void> {
    const asked = this.#asked.get(page) ?? this.list(request);
    this.#asked.set(page, asked);
    try {
      await asked;
    } finally {
      this.#asked.delete(page);
    }
  }

  /** Of what was seen by its name a moment ago. */
  status(inode: Inode): InodeStatus | undefined {
    const seen = this.#byInode.get(inode);
    return seen && this.#isFresh(seen) ? this.#used(seen).status : undefined;
  }

  #used({ entry, page }: Seen): TreeEntry {
    page.used += 1;
    page.of.usedAtMs = this.#options.clock.monotonic();
    return entry;
  }

  /** It was changed by this node. */
  changed(inode: Inode): void {
    remember(this.#changedAtMs, inode, this.#options.clock.monotonic(), CHANGES_MAX);
    this.#byInode.delete(inode);
  }

  /** It is done here, and will be brought. */
  isNoted({ inodes, directories }: Pick<QueuedStep, 'inodes' | 'directories'>): void {
    for (const inode of inodes) this.changed(inode);
    for (const directory of directories) this.forget(directory);
  }

  /** This node has changed what has the name. */
  changedAt(place: Place): void {
    const seen = this.#find(place);
    if (seen) this.changed(seen.entry.status.inode);
    const names = this.#directories.get(place.directory)?.names;
    for (const name of [place.name, place.directoryName]) names?.delete(keyText(name));
    this.changed(place.directory);
  }

  /** Something has another name than was said. */
  clear(): void {
    this.#directories.clear();
    this.#byInode.clear();
  }
}
