/**
 * Makes content of what was written to one file: windows are taken, their runs stored as stripes
 * side by side, and committed one batch after the other (`committer.ts`), then their holes. A batch
 * is a *write* of the tree: whole or not at all. What fails is dirty again. A file that is small is
 * committed whole, without stripes.
 *
 * A run that holds bytes that were read (the rest of a unit of 4 KiB) is committed only if nobody
 * else has changed the file since; else it is made again, at last without them. So two writers on
 * two nodes never undo each other's bytes.
 */
import {
  batchesOf,
  errorCode,
  LIMITS,
  mapBounded,
  type Policy,
  Mutex,
  UnderWay,
} from '../../base/index.ts';
import type { Extent, Inode } from '../../meta/index.ts';
import type { Cut } from '../cut-content.ts';
import type { CommittedReader } from './committed-reader.ts';
import { Committer } from './committer.ts';
import { type ByteRange, copyPieces, DirtyWindow, uncovered } from './dirty-window.ts';
import type { FilesContext } from './files-context.ts';
import type { FileState } from './file-state.ts';
import { makeWay } from './make-way.ts';
import { alignedRuns, compactRuns, exactRuns, holesBeside } from './plan-runs.ts';

/** Tries of a batch that others are in the way of; small files are quickly tried again. */
const TRIES_MAX = 4;
const INLINE_TRIES_MAX = 16;

/** Each may cut off as many extents as a window has, and a commit only so many. */
const HOLES_PER_COMMIT = 16;

interface Run extends ByteRange {
  readonly window: DirtyWindow;
}

/** What becomes of some windows. */
interface Plan {
  readonly runs: readonly Run[];
  readonly holes: readonly ByteRange[];
}

/** Stripes that are stored already, and get one more place. */
export interface Adopted {
  readonly write: Inode;
  readonly extents: readonly Extent[];
}

export class WriteBack {
  readonly #context: FilesContext;
  readonly #state: FileState;
  readonly #reader: CommittedReader;
  readonly #committer: Committer;
  readonly #flights = new UnderWay();
  readonly #ordered = new Mutex();
  /** The last one, of a protected volume. */
  #failure: { readonly error: unknown } | undefined;
  /** By the start of their windows. */
  readonly #compactions = new Map<number, Promise<void>>();
  #isHeld = false;

  constructor(context: FilesContext, state: FileState, reader: CommittedReader) {
    this.#context = context;
    this.#state = state;
    this.#reader = reader;
    this.#committer = new Committer(context, state, reader);
  }

  get flightCount(): number {
    return this.#flights.count;
  }

  /** Nothing is to be taken now: the file is being cut. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  /**
   * Resolves when what is under way now has ended, well or not; what is only being compacted counts
   * where it keeps dirty bytes waiting.
   */
  async settled(): Promise<void> {
    const { dirty } = this.#state;
    const inTheWay = Array.from(this.#compactions).filter(([start]) => dirty.has(start));
    const compacted = inTheWay.map(([, compaction]) => compaction);
    await Promise.allSettled([this.#flights.settled(), ...compacted]);
  }

  /** Runs `work` while nothing is under way. One at a time. */
  async whileStill<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#isHeld = true;
    try {
      await Promise.allSettled([this.#flights.settled(), ...this.#compactions.values()]);
      return await this.#committer.inLine(work);
    } finally {
      this.#isHeld = false;
    }
  }

  /** Takes these windows, none of which is under way. @throws when they are dirty again. */
  async store(windows: readonly DirtyWindow[]): Promise<void> {
    const { dirty, underWay } = this.#state;
    for (const window of windows) {
      dirty.delete(window.start);
      underWay.set(window.start, window);
    }
    await this.#flights.run(() => this.#storeTaken(windows));
    for (const window of windows) this.#compactIfNeeded(window);
  }

  async #storeTaken(windows: readonly DirtyWindow[]): Promise<void> {
    const { dirty, underWay } = this.#state;
    const { memory, fault } = this.#context;
    try {
      await this.#inOrder(() => this.#storeWindows(windows));
    } catch (error) {
      for (const window of windows) this.#putBack(window);
      throw error;
    }
    for (const window of windows) {
      underWay.delete(window.start);
      if (fault === 'loses-late-writes') dirty.delete(window.start);
      memory.giveBack(window.memoryBytes);
    }
  }

  /** In a protected volume content is only added: what was taken first is stored first. */
  async #inOrder(store: () => Promise<void>): Promise<void> {
    if (this.#context.volume().retention === undefined) return await store();
    const known = this.#failure;
    await this.#ordered.run(async () => {
      if (this.#failure && this.#failure !== known) throw this.#failure.error; // it comes before
      try {
        await store();
      } catch (error) {
        this.#failure = { error };
        throw error;
      }
    });
  }

  #putBack(window: DirtyWindow): void {
    const { dirty, underWay } = this.#state;
    underWay.delete(window.start);
    const newer = dirty.get(window.start);
    if (!newer) {
      dirty.set(window.start, window);
      return;
    }
    const isWrong = this.#context.fault === 'older-wins';
    const [kept, beneath] = isWrong ? [window, newer] : [newer, window];
    const before = kept.memoryBytes + beneath.memoryBytes;
    kept.addBeneath(beneath);
    dirty.set(window.start, kept);
    this.#context.memory.giveBack(before - kept.memoryBytes);
  }

  async #storeWindows(windows: readonly DirtyWindow[]): Promise<void> {
    const isProtected = this.#context.volume().retention !== undefined;
    for (let tries = 1; ; tries++) {
      const isExact = isProtected || tries >= TRIES_MAX;
      const isInline = !isProtected && this.#isSmall(windows);
      try {
        if (isInline) await this.#storeInline(windows);
        else await this.#storePlan(await this.#planOf(windows, isExact));
        return;
      } catch (error) {
        const triesMax = isInline ? INLINE_TRIES_MAX : TRIES_MAX;
        if (errorCode(error) !== 'HF_BUSY' || isProtected || tries >= triesMax) throw error;
        await makeWay(this.#context.env, tries);
        await this.#state.refresh();
      }
    }
  }

  /** The whole file goes beside its inode. */
  #isSmall(windows: readonly DirtyWindow[]): boolean {
    const { sizeBytes } = this.#state;
    return sizeBytes <= this.#context.inlineBytesMax && windows.every(({ start }) => start === 0);
  }

  async #storeInline(windows: readonly DirtyWindow[]): Promise<void> {
    for (const window of windows) {
      await this.#committer.inLine(() => this.#committer.commitInline(window));
    }
  }

  async #planOf(windows: readonly DirtyWindow[], isExact: boolean): Promise<Plan> {
    const runs: Run[] = [];
    const holes: ByteRange[] = [];
    for (const window of windows.toSorted((a, b) => a.start - b.start)) {
      const ofWindow = await this.#runsOf(window, isExact);
      runs.push(...ofWindow.map((run) => ({ ...run, window })));
      holes.push(...holesBeside(window, ofWindow));
    }
    const { fault } = this.#context;
    if (fault === 'forgets-holes') return { runs, holes: [] };
    if (fault !== 'stores-holes') return { runs, holes };
    const window = windows[0]!;
    return { runs: [...runs, ...holes.map((hole) => ({ ...hole, window }))], holes: [] };
  }

  async #runsOf(window: DirtyWindow, isExact: boolean): Promise<ByteRange[]> {
    const { map, committed } = this.#state;
    const runs = isExact ? exactRuns(window) : alignedRuns(window, committed.sizeBytes);
    if (isExact || runs.length <= LIMITS.extentsPerWindowMax) return runs;
    await map.look(window);
    return compactRuns(window, runs, map);
  }

  async #storePlan({ runs, holes }: Plan): Promise<void> {
    const { policy } = this.#state;
    const runsMax = Math.floor(LIMITS.stripesPerEntryMax / policy.length);
    for (const batch of batchesOf(runs, runsMax)) {
      await this.#storeBatch({ runs: batch, holes: [] }, policy);
    }
    for (const batch of batchesOf(holes, HOLES_PER_COMMIT)) {
      await this.#storeBatch({ runs: [], holes: batch }, policy);
    }
  }

  async #storeBatch({ runs, holes }: Plan, policy: Policy): Promise<void> {
    const { inodes, abandoned, storing, onDegraded } = this.#context;
    const committer = this.#committer;
    const { inode } = this.#state;
    const write = await inodes.take({ inode });
    const writer = committer.writerFor(write, policy);
    const extents: Extent[] = [];
    const { foreignChanges } = this.#state;
    let readAt: number | undefined;
    try {
      await mapBounded(runs, LIMITS.stripesInFlightMax, (run) =>
        storing.run(async () => {
          const { cut, hasRead } = await this.#cutOf(run, policy);
          if (hasRead) readAt = foreignChanges;
          await writer.store(cut, run.start, (extent) => void extents.push(extent));
        }),
      );
      await committer.inLine(() => committer.commit({ write, extents, holes, readAt }));
    } catch (error) {
      await abandoned.undo(write, writer.named);
      throw error;
    }
    committer.confirm(write, writer.named);
    if (writer.degradedTo !== undefined) onDegraded?.();
  }

  async #cutOf(run: Run, policy: Policy): Promise<{ cut: Cut; hasRead: boolean }> {
    const { stripes } = this.#context;
    const contentBytes = run.end - run.start;
    const pieces = [...run.window.pieces(run)];
    const gaps = uncovered(run, pieces);
    const isLong = contentBytes >= LIMITS.copyContentBytesMax;
    if (isLong && gaps.length === 0 && policy.length === 1) {
      const buffer = await stripes.lease(policy[0]);
      copyPieces(pieces, buffer.content, run.start);
      return { cut: { buffer, contentBytes }, hasRead: false };
    }
    const bytes = new Uint8Array(contentBytes);
    copyPieces(pieces, bytes, run.start);
    const to = { target: bytes, offset: run.start };
    for (const gap of gaps) await this.#reader.fillGap(gap, to);
    return { cut: { bytes }, hasRead: gaps.length > 0 };
  }

  /** While nothing is under way: see {@link whileStill}. */
  async adopt({ write, extents }: Adopted): Promise<void> {
    await this.#committer.commit({ write, extents, holes: [], readAt: undefined });
    this.#committer.confirm(
      write,
      extents.map(({ stripe }) => stripe),
    );
  }

  /** The file was cut. */
  releaseLoose(): void {
    this.#committer.releaseLoose();
  }

  /** Commits what is left when all content is: the size, and the time. */
  async commitAttributes(options: { readonly dataOnly: boolean }): Promise<void> {
    await this.#committer.commitAttributes(options);
  }

  /** Many small extents become few; nobody waits for it, and nobody minds when it fails. */
  #compactIfNeeded({ start, end }: ByteRange): void {
    const { map, dirty, underWay } = this.#state;
    const { volume, background } = this.#context;
    const isDue = map.countWithin({ start, end }) > LIMITS.extentsPerWindowMax;
    const isLeft = this.#isHeld || dirty.has(start) || underWay.has(start);
    if (!isDue || isLeft || volume().retention !== undefined) return;
    const window = new DirtyWindow({ start, end });
    underWay.set(start, window);
    const compacted = this.#compact(window);
    this.#compactions.set(start, compacted);
    background.start('compacting a file', compacted);
  }

  async #compact(window: DirtyWindow): Promise<void> {
    const { map, underWay } = this.#state;
    try {
      await map.look(window);
      const runs = compactRuns(window, [], map).map((run) => ({ ...run, window }));
      const isWorth = runs.length * 2 <= map.countWithin(window);
      if (isWorth) await this.#storePlan({ runs, holes: [] });
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      this.#context.env.log.debug('a file is not compacted yet', { error });
    } finally {
      underWay.delete(window.start);
      this.#compactions.delete(window.start);
    }
  }
}
