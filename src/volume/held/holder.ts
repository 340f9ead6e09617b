/**
 * What the operations of a held tree have in common: what is known, what is held, and the steps
 * that are to be brought.
 */
import { assert, errorCode, HoldfastError, LIMITS, remember } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import {
  type Handles,
  type Inode,
  type InodeStatus,
  nsOf,
  type Place,
  type RecordOptions,
  type StepResult,
  type Tree,
  type TreeEntry,
  type TreeStep,
} from '../../meta/index.ts';
import { Background } from '../background.ts';
import type { InodeSource } from '../inode-source.ts';
import type { OpenInodes } from '../open-inodes.ts';
import { Glances } from './glances.ts';
import { HeldDirectory, type Standing } from './held-directory.ts';
import { Holdings } from './holdings.ts';
import { type KnownInode, KnownInodes } from './known-inodes.ts';
import { type QueuedStep, StepQueue } from './step-queue.ts';

export interface HolderOptions {
  readonly env: Env;
  readonly handles: Handles;
  readonly tree: Tree;
  readonly opens: OpenInodes;
  readonly inodes: Pick<InodeSource, 'take' | 'newId'>;
  readonly mayHold: () => boolean;
  /** Frees what a removed inode holds. */
  readonly release: (inode: Inode) => Promise<void>;
  /** Stores what of these was closed and is not content yet. */
  readonly storeContent: (inodes: Iterable<Inode>) => Promise<void>;
  readonly fault?: HeldFault | undefined;
}

/**
 * Bugs that tests plant to see that they would be found. `returns-unbrought`: a directory is given
 * back before what was done in it is brought. `never-unsure`: it is worked in though nobody has
 * said for long that it is held. `asks-anew`: a batch without an answer is asked as another one.
 * `reorders`: what was done last is brought first.
 */
export type HeldFault = 'returns-unbrought' | 'never-unsure' | 'asks-anew' | 'reorders';

/** A step, and what it is about. */
export interface Noted extends Pick<QueuedStep, 'directories' | 'inodes' | 'makes' | 'removes'> {
  readonly step: TreeStep;
  /** Told of its answer, when it was not refused. */
  readonly onDone?: (result: StepResult) => void;
}

/** Steps that failed though somebody was told that they were done, until somebody asks. */
const FAILURES_MAX = 1024;

export class Holder implements AsyncDisposable {
  readonly options: HolderOptions;
  readonly background: Background;
  readonly known: KnownInodes;
  readonly queue: StepQueue;
  readonly holdings: Holdings;
  readonly glances: Glances;
  readonly #failures = new Map<Inode, HoldfastError>();
  /** The last of them that nobody was told of who asked for everything. */
  #untold: HoldfastError | undefined;

  constructor(options: HolderOptions) {
    const { env, handles, tree, opens, mayHold, fault } = options;
    const { clock, log } = env;
    this.options = options;
    this.background = new Background(log);
    this.glances = new Glances({
      clock,
      ask: (request) => this.directly([request.directory], () => tree.listAttributes(request)),
    });
    this.known = new KnownInodes(clock, (directory) => this.isFit(directory));
    const session = () => opens.session;
    this.queue = new StepQueue({
      clock,
      log,
      session,
      leaseOf: (directory) => this.holdings.leaseOf(directory),
      runBatch: (batch) => tree.runBatch(batch),
      onFenced: (directory) => this.#fenced(directory),
      onSessionOver: (over) => opens.renewed(over),
      prepare: (steps) => this.#prepare(steps),
      fault,
    });
    this.holdings = new Holdings({
      clock,
      log,
      handles,
      tree,
      session,
      isSessionSure: () => opens.isSure,
      fault,
      renew: (over) => opens.renewed(over),
      mayHold,
      onHeld: (held) => this.#begin(held),
      onReturn: (held) => this.#settle(held),
      bringAll: () => this.bringBack(),
      onGone: (held) => {
        const isHeld = (inode: Inode): boolean => this.holdings.get(inode) !== undefined;
        this.known.release(held.inode, held.inodes(), isHeld);
        const known = this.known.get(held.inode);
        const isAlone = known && known.home === undefined && !this.known.isPending(held.inode);
        if (isAlone) this.known.forget(held.inode);
        this.background.start('keeping what is open', opens.declare(held.inodes()));
      },
    });
    opens.watch({
      sessionOver: () => {
        this.queue.loseAll(new HoldfastError('HF_SESSION_OVER', 'what was not brought is lost'));
        this.holdings.loseAll();
      },
    });
  }

  // What is known.

  /** @returns what is known now. */
  async fetch(
    inode: Inode,
    { withContent, home }: RecordOptions & { readonly home?: Inode | undefined } = {},
  ): Promise<InodeStatus | undefined> {
    for (;;) {
      const asOfMs = this.options.env.clock.monotonic();
      const status = await this.options.tree.getAttributes(inode, { withContent });
      if (!status) {
        if (!this.known.isPending(inode)) this.known.forget(inode);
        return undefined;
      }
      const learnt = this.known.learn(status, asOfMs, home);
      // Content comes as of the moment that its count tells.
      if (learnt.changeCount === status.changeCount) return { ...learnt, inline: status.inline };
      if (!withContent || !learnt.isInline) return learnt;
      await this.queue.bringAll();
    }
  }

  /** Looks up what has a place, as its holder. */
  async learnPlace(held: HeldDirectory, place: Place): Promise<void> {
    const { lease } = held;
    assert(lease, 'all names of a new directory are known');
    const asOfMs = this.options.env.clock.monotonic();
    const found = await this.queue.unlessFenced(held.inode, async () => {
      return { entry: await this.options.tree.lookup(place, lease) };
    });
    if (!found) return;
    const { entry } = found;
    const isDirectory = entry?.status.type === 'directory';
    if (entry) this.known.learn(entry.status, asOfMs, held.inode);
    held.learn(place.directoryName, isDirectory ? entry?.status.inode : undefined);
    // What a directory hides is not known.
    if (!isDirectory) held.learn(place.name, entry?.status.inode);
  }

  /** What stands at a place of a held directory; `'unfit'`: look again for who holds it. */
  async standing(held: HeldDirectory, place: Place): Promise<Standing | 'unfit'> {
    for (let tries = 1; ; tries++) {
      const standing = held.standing(place);
      if (standing !== 'unknown') return standing;
      // A directory that was removed here hides what has its name, until that is brought.
      if (tries > 1) await this.queue.bringAll();
      await this.learnPlace(held, place);
      if (!this.holdings.isFit(held)) return 'unfit';
    }
  }

  /** Known, and not too old to go by. */
  async current(inode: Inode, home: Inode): Promise<KnownInode | undefined> {
    const known = this.known.get(inode);
    if (known && this.known.isCurrent(known)) return known;
    await this.fetch(inode, { home });
    return this.known.get(inode);
  }

  /** Whether nobody else can remove it, or give it another name, without asking this node. */
  guards(inode: Inode): boolean {
    const home = this.known.get(inode)?.home;
    return home !== undefined && this.isFit(home);
  }

  /** Whether the directory is held, and may be worked in now. */
  isFit(directory: Inode): boolean {
    const held = this.holdings.get(directory);
    return held !== undefined && this.holdings.isFit(held);
  }

  /** Where steps on it go by; `undefined`: there is nothing that they could go by. */
  homeOf({ home }: KnownInode): HeldDirectory | undefined {
    const held = home === undefined ? undefined : this.holdings.get(home);
    return held && !held.isClosed ? held : undefined;
  }

  /** Asks the cells about directories that are not held: they know nothing yet of what is new. */
  async directly<Result>(
    directories: readonly Inode[],
    work: () => Promise<Result>,
  ): Promise<Result> {
    if (directories.some((each) => this.known.isPending(each))) await this.queue.bringAll();
    try {
      return await this.holdings.directly(directories, work);
    } finally {
      // Their times and counts are others now, whoever holds what they are in.
      for (const directory of directories) this.known.distrust(directory);
    }
  }

  /** The same of what changes names. */
  async changeDirectly<Result>(
    places: readonly Place[],
    work: () => Promise<Result>,
  ): Promise<Result> {
    const directories = places.map(({ directory }) => directory);
    try {
      return await this.directly(directories, work);
    } finally {
      for (const place of places) this.glances.changedAt(place);
    }
  }

  // What is done.

  /** An entry of the directory has come, gone or become another one. */
  touch(directory: Inode, atMs: number, directories = 0): void {
    const known = this.known.get(directory);
    if (!known) return;
    const { linkCount } = known.status;
    const modifiedNs = nsOf(atMs);
    // 1: its directories were never counted.
    const links = linkCount === 1 ? linkCount : linkCount + directories;
    this.known.change(known, { modifiedNs, linkCount: links }, atMs);
  }

  /** To be brought some time; what becomes of it is told by {@link bring}. */
  note(noted: Noted): void {
    this.#add(noted, {
      done: ({ code }) => {
        const { do: name } = noted.step;
        if (code) this.#failed(noted, new HoldfastError(code, `${name} was refused`));
      },
      lost: (error) => this.#failed(noted, error),
    });
  }

  /** To be brought now. @throws what is lost; what it is refused with is in the result. */
  async run(noted: Noted): Promise<StepResult> {
    const { promise, resolve, reject } = Promise.withResolvers<StepResult>();
    this.#add(noted, { done: resolve, lost: reject });
    void this.queue.bringAll();
    return await promise;
  }

  #add({ onDone, ...noted }: Noted, { done, lost }: Pick<QueuedStep, 'done' | 'lost'>): void {
    for (const inode of noted.inodes) this.known.begin(inode);
    this.glances.isNoted(noted);
    this.queue.add({
      ...noted,
      done: (result) => {
        this.#ended(noted);
        if (result.code === undefined) onDone?.(result);
        done(result);
      },
      lost: (error) => {
        this.#ended(noted);
        lost(error);
      },
    });
  }

  #ended({ inodes }: Pick<Noted, 'inodes'>): void {
    for (const inode of inodes) this.known.end(inode);
  }

  /** Nothing that is known of what it was about is right any more. */
  #failed({ step, directories, inodes, makes }: Noted, error: HoldfastError): void {
    const { log } = this.options.env;
    log.warn('what was done in a mount could not be kept', { step: step.do, error });
    this.#untold = error;
    for (const inode of inodes) {
      remember(this.#failures, inode, error, FAILURES_MAX);
      if (!this.known.isPending(inode)) this.known.forget(inode);
    }
    const made = makes === undefined ? undefined : this.holdings.get(makes);
    if (made) this.queue.fence(made.inode);
    for (const directory of directories) {
      const held = this.holdings.get(directory);
      if (held) void this.holdings.giveBack(held);
    }
  }

  /**
   * All that was done to an inode, or in a directory, is durable and seen by everybody.
   * @throws what could not be kept of it, once.
   */
  async bring(inode: Inode): Promise<void> {
    const known = this.known.get(inode);
    if (known?.isNew || this.known.isPending(inode)) await this.queue.bringAll();
    const failure = this.#failures.get(inode);
    this.#failures.delete(inode);
    if (failure) throw failure;
  }

  /** The same of everything. */
  async bringAll(): Promise<void> {
    await this.queue.bringAll();
    const failure = this.#untold;
    this.#untold = undefined;
    if (failure) throw failure;
  }

  // What becomes of holdings.

  async #begin(held: HeldDirectory): Promise<void> {
    const { tree } = this.options;
    const asOfMs = this.options.env.clock.monotonic();
    const status = await tree.getAttributes(held.inode);
    if (!status) throw new HoldfastError('HF_NOT_FOUND', 'the directory is gone');
    if (this.known.get(held.inode)) this.known.learn(status, asOfMs);
    else this.known.add(status, { isNew: false, isOurs: false, home: undefined });
    held.listed = this.#list(held);
    this.background.start('listing a directory', held.listed);
  }

  /** Learns all names, unless there are too many. */
  async #list(held: HeldDirectory): Promise<void> {
    const { lease } = held;
    assert(lease, 'it is leased');
    let after: Uint8Array | undefined;
    for (;;) {
      const asOfMs = this.options.env.clock.monotonic();
      const page = { directory: held.inode, after, claim: lease };
      let entries: readonly TreeEntry[];
      try {
        entries = await this.options.tree.listAttributes(page);
      } catch (error) {
        if (errorCode(error) === undefined) throw error;
        return; // asked for name by name
      }
      if (held.isClosed) return;
      for (const { name, status } of entries) {
        held.learn(name, status.inode);
        this.known.learn(status, asOfMs, held.inode);
      }
      after = entries.at(-1)?.name;
      if (after === undefined) break;
      if (this.#entryCount() > LIMITS.heldEntriesMax) return;
    }
    held.complete();
  }

  #entryCount(): number {
    let count = 0;
    for (const { size } of this.holdings.all) count += size;
    return count;
  }

  /** What others are to find when they come. */
  async #settle(held: HeldDirectory): Promise<void> {
    await this.options.storeContent(held.inodes());
    await this.bringBack();
    await this.options.opens.declare(held.inodes());
  }

  /** All that was noted is in before a directory is given back. */
  async bringBack(): Promise<void> {
    if (this.options.fault !== 'returns-unbrought') await this.queue.bringAll();
  }

  #fenced(directory: Inode): void {
    const held = this.holdings.get(directory);
    if (held) this.holdings.lose(held);
  }

  /** What is open and loses its name has to be known to be open; what is new has to be there. */
  async #prepare(steps: readonly QueuedStep[]): Promise<number> {
    const { opens } = this.options;
    for (const [at, { removes }] of steps.entries()) {
      if (removes === undefined || !opens.isUndeclared(removes)) continue;
      if (at > 0) return at;
      await opens.declare([removes]);
    }
    return steps.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.queue[Symbol.asyncDispose]();
    await this.holdings[Symbol.asyncDispose]();
    await this.background.settle();
  }
}
