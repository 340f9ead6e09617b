/**
 * Makes content of what was written to one file: windows are taken, their runs stored as stripes
 * side by side, and committed one batch after the other. A batch is a *write* of the tree: whole or
 * not at all. What fails is dirty again.
 *
 * A run that holds bytes that were read (the rest of a unit of 4 KiB) is committed only if nobody
 * else has changed the file since; else it is made again, at last without them. So two writers on
 * two nodes never undo each other's bytes.
 */
import {
  batchesOf,
  errorCode,
  HoldfastError,
  LIMITS,
  mapBounded,
  Mutex,
  type Policy,
  type StripeId,
  UnderWay,
} from '../../base/index.ts';
import type { Extent, Inode } from '../../meta/index.ts';
import type { Cut } from '../cut-content.ts';
import { isFinal } from '../read-content.ts';
import { confirmStripes, StripeWriter } from '../store-cut.ts';
import type { CommittedReader } from './committed-reader.ts';
import { type ByteRange, copyPieces, DirtyWindow, uncovered } from './dirty-window.ts';
import type { FilesContext } from './files-context.ts';
import type { FileState } from './file-state.ts';
import { alignedRuns, compactRuns, exactRuns } from './plan-runs.ts';

/** Tries of a batch that others are in the way of. */
const TRIES_MAX = 4;

/** Whether the commit was executed is not known. */
const UNANSWERED: readonly (string | undefined)[] = [
  'HF_UNKNOWN_OUTCOME',
  'HF_UNAVAILABLE',
  'HF_TIMEOUT',
  'HF_INTERRUPTED',
];

interface Run extends ByteRange {
  readonly window: DirtyWindow;
}

/** Stripes that are stored already, and get one more place. */
export interface Adopted {
  readonly write: Inode;
  readonly extents: readonly Extent[];
}

interface Batch {
  readonly write: Inode;
  readonly extents: readonly Extent[];
  /** Of the state, when the first byte was read that is stored again; `undefined`: none was. */
  readonly readAt: number | undefined;
}

export class WriteBack {
  readonly #context: FilesContext;
  readonly #state: FileState;
  readonly #reader: CommittedReader;
  readonly #flights = new UnderWay();
  /** By the start of their windows. */
  readonly #compactions = new Map<number, Promise<void>>();
  readonly #committing = new Mutex();
  /** A commit of which is not known whether it was executed; or still will be. */
  #unsettled: Inode | undefined;
  #isHeld = false;
  #isReleasing = false;

  constructor(context: FilesContext, state: FileState, reader: CommittedReader) {
    this.#context = context;
    this.#state = state;
    this.#reader = reader;
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
      return await this.#committing.run(work);
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
      await this.#storeWindows(windows);
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
      const isExact = isProtected || tries === TRIES_MAX;
      try {
        const runs: Run[] = [];
        for (const window of windows) runs.push(...(await this.#runsOf(window, isExact)));
        await this.#storeRuns(runs);
        return;
      } catch (error) {
        if (errorCode(error) !== 'HF_BUSY' || isExact) throw error;
        await this.refresh();
      }
    }
  }

  async #runsOf(window: DirtyWindow, isExact: boolean): Promise<Run[]> {
    const { map, committed } = this.#state;
    let runs = isExact ? exactRuns(window) : alignedRuns(window, committed.sizeBytes);
    if (!isExact && runs.length > LIMITS.extentsPerWindowMax) {
      await map.look(window);
      runs = compactRuns(window, runs, map);
    }
    return runs.map((run) => ({ ...run, window }));
  }

  /** What others have made of the file. @throws HF_NOT_FOUND. */
  async refresh(): Promise<void> {
    const { tree } = this.#context;
    const { inode } = this.#state;
    const status = await tree.getAttributes(inode);
    if (!status) throw new HoldfastError('HF_NOT_FOUND', `the file ${inode} is gone`);
    this.#state.learn(status);
  }

  async #storeRuns(runs: readonly Run[]): Promise<void> {
    const { policy } = this.#state;
    const runsMax = Math.floor(LIMITS.stripesPerEntryMax / policy.length);
    for (const batch of batchesOf(runs, runsMax)) await this.#storeBatch(batch, policy);
  }

  async #storeBatch(runs: readonly Run[], policy: Policy): Promise<void> {
    const { inodes, abandoned, storing, onDegraded } = this.#context;
    const { inode } = this.#state;
    const write = await inodes.take({ inode });
    const writer = this.#writerFor(write, policy);
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
      await this.#committing.run(() => this.#commit({ write, extents, readAt }));
    } catch (error) {
      await abandoned.undo(write, writer.named);
      throw error;
    }
    this.#confirm(write, writer.named);
    if (writer.degradedTo !== undefined) onDegraded?.();
  }

  #writerFor(write: Inode, policy: Policy): StripeWriter {
    const { volume, session, keys, references, stripes, stripeKeys } = this.#context;
    const { id, isDeduplicating } = volume();
    return new StripeWriter({
      references,
      stripes,
      stripeKeys,
      session: session(),
      holder: { volume: id, inode: write },
      policy,
      mayDegrade: true,
      secret: isDeduplicating ? keys.contentSecret : undefined,
      signal: undefined,
    });
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
    for (const gap of gaps) await this.#readGap(gap, bytes, run.start);
    return { cut: { bytes }, hasRead: gaps.length > 0 };
  }

  /** @throws HF_BUSY when it cannot be read: it may have moved. */
  async #readGap(gap: ByteRange, target: Uint8Array, offset: number): Promise<void> {
    const { map } = this.#state;
    if (this.#context.fault === 'drops-edges') return;
    try {
      await this.#reader.fill(await map.partsOf(gap), { target, offset });
    } catch (error) {
      if (isFinal(error)) throw error;
      this.#state.distrust();
      throw new HoldfastError('HF_BUSY', 'what is beside it cannot be read', { cause: error });
    }
  }

  /** Only one at a time. Everything of the state that is committed is as it is now. */
  async #commit({ write, extents, readAt }: Batch): Promise<void> {
    const state = this.#state;
    const { tree, namespace, fault } = this.#context;
    await this.#settle();
    const isOnlyOnBase = readAt !== undefined && fault !== 'trusts-edges';
    if (isOnlyOnBase && readAt !== state.foreignChanges) {
      throw new HoldfastError('HF_BUSY', 'somebody else has changed the file');
    }
    const { inode, modifiedNs, grownTo } = state;
    const base = state.committed.changeCount;
    const sizeBytes = extents.length === 0 ? grownTo : 0;
    const { schemeNumbers } = state;
    const { sizeBytes: before, modifiedNs: unchanged } = state.committed;
    const time = modifiedNs ?? unchanged;
    const commit = { inode, write, extents, schemeNumbers, sizeBytes, modifiedNs: time };
    try {
      const done = await tree.commitExtents({ ...commit, baseChange: base, isOnlyOnBase });
      state.commit(done, { base, extents: extents.map((each) => ({ ...each, holder: write })) });
    } catch (error) {
      if (!UNANSWERED.includes(errorCode(error))) throw error;
      this.#unsettled = write;
      if ((await namespace.refuse(write)) === 'refused') {
        this.#unsettled = undefined;
        throw error;
      }
      await this.#settle();
    }
    if (state.modifiedNs === modifiedNs) state.modifiedNs = undefined;
    if (extents.some(({ offset }) => offset < before)) this.#releaseLoose();
  }

  /** A commit that may come late would undo a later one: first it is executed, or never will be. */
  async #settle(): Promise<void> {
    if (this.#unsettled === undefined) return;
    await this.#context.namespace.refuse(this.#unsettled);
    await this.refresh();
    this.#state.distrust();
    this.#unsettled = undefined;
  }

  /** While nothing is under way: see {@link whileStill}. */
  async adopt({ write, extents }: Adopted): Promise<void> {
    await this.#commit({ write, extents, readAt: undefined });
    this.#confirm(
      write,
      extents.map(({ stripe }) => stripe),
    );
  }

  /** Commits what is left when all content is: the size, and the time. */
  async commitAttributes({ dataOnly }: { readonly dataOnly: boolean }): Promise<void> {
    const { fault } = this.#context;
    await this.#committing.run(async () => {
      const { grownTo, committed, modifiedNs, inode } = this.#state;
      const isGrown = grownTo > committed.sizeBytes && fault !== 'forgets-size';
      const isDue = isGrown || (modifiedNs !== undefined && !dataOnly);
      if (!isDue) return;
      const write = await this.#context.inodes.take({ inode });
      await this.#commit({ write, extents: [], readAt: undefined });
      this.#confirm(write, []);
    });
  }

  #confirm(write: Inode, named: readonly StripeId[]): void {
    const { references, tree, volume, background } = this.#context;
    const holder = { volume: volume().id, inode: write };
    const confirm = async (): Promise<void> => {
      await confirmStripes(references, holder, named);
      await tree.forgetWrites([write]);
    };
    background.start('confirming references', confirm());
  }

  /** At most one is under way: it takes all that there is at its time, the collector the rest. */
  #releaseLoose(): void {
    const { releaseLoose, background } = this.#context;
    if (!releaseLoose || this.#isReleasing) return;
    this.#isReleasing = true;
    const released = releaseLoose(this.#state.inode).finally(() => (this.#isReleasing = false));
    background.start('freeing what was overwritten', released);
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
      if (runs.length * 2 <= map.countWithin(window)) await this.#storeRuns(runs);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      this.#context.env.log.debug('a file is not compacted yet', { error });
    } finally {
      underWay.delete(window.start);
      this.#compactions.delete(window.start);
    }
  }
}
