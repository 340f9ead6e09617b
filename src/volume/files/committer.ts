/**
 * Commits what was stored of one file, one thing after the other, and settles what became of it: a
 * commit of which nobody knows whether it was executed is found out about before the next one, so
 * that none comes late and undoes a later one.
 *
 * Small files are committed whole, beside their inode and without a stripe. Such a commit needs no
 * number of its own: it goes only on the base that it was made from, so it is done once or never.
 * Two writers on two nodes then take turns, each with the bytes of the other beneath its own.
 */
import {
  bytesEqual,
  errorCode,
  HoldfastError,
  LIMITS,
  Mutex,
  type StripeId,
} from '../../base/index.ts';
import type { ContentCommit, Extent, InlineContent, Inode, InodeStatus } from '../../meta/index.ts';
import { confirmStripes, StripeWriter } from '../store-cut.ts';
import type { CommittedReader } from './committed-reader.ts';
import { type ByteRange, copyPieces, type DirtyWindow, uncovered } from './dirty-window.ts';
import type { FilesContext } from './files-context.ts';
import type { FileState } from './file-state.ts';
import { makeWay } from './make-way.ts';

/** Tries of what others are in the way of; each time one of them has come further. */
const TRIES_MAX = 16;

/** Whether the commit was executed is not known. */
const UNANSWERED: readonly (string | undefined)[] = [
  'HF_UNKNOWN_OUTCOME',
  'HF_UNAVAILABLE',
  'HF_TIMEOUT',
  'HF_INTERRUPTED',
];

/** Extents that a look for loose stripes goes through in vain, at most. */
const LOOSE_EXTENTS_MAX = 4096;

/** What was stored and becomes content at once. */
export interface Batch {
  readonly write: Inode;
  readonly extents: readonly Extent[];
  readonly holes: readonly ByteRange[];
  /** Of the state, when the first byte was read that is stored again; `undefined`: none was. */
  readonly readAt: number | undefined;
}

export class Committer {
  readonly #context: FilesContext;
  readonly #state: FileState;
  readonly #reader: CommittedReader;
  readonly #line = new Mutex();
  /** A commit of which is not known whether it was executed; or still will be. */
  #unsettled: Inode | undefined;
  #isLooseDue = false;
  #isReleasing = false;

  constructor(context: FilesContext, state: FileState, reader: CommittedReader) {
    this.#context = context;
    this.#state = state;
    this.#reader = reader;
  }

  /** Everything of the state that is committed stays as it is meanwhile, but for what others do. */
  async inLine<Result>(work: () => Promise<Result>): Promise<Result> {
    return await this.#line.run(work);
  }

  /**
   * In line. What was made from nothing that was read goes on top of whatever others have done.
   * @throws HF_BUSY when somebody else has changed what was read.
   */
  async commit(batch: Batch): Promise<void> {
    const mayTryAgain = batch.readAt === undefined;
    await this.#overOthers(() => this.#commitOnce(batch), mayTryAgain);
  }

  async #overOthers(work: () => Promise<void>, mayTryAgain = true): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        return await work();
      } catch (error) {
        if (errorCode(error) !== 'HF_BUSY' || !mayTryAgain || tries === TRIES_MAX) throw error;
        await makeWay(this.#context.env, tries);
        await this.#state.refresh();
      }
    }
  }

  async #commitOnce(batch: Batch): Promise<void> {
    const state = this.#state;
    const { tree, namespace, fault } = this.#context;
    await this.#settle();
    const { write, extents, holes, readAt } = batch;
    const isOnlyOnBase = readAt !== undefined && fault !== 'trusts-edges';
    if (isOnlyOnBase && readAt !== state.foreignChanges) {
      throw new HoldfastError('HF_BUSY', 'somebody else has changed the file');
    }
    await this.#moveInlineOut(batch);
    const { inode, modifiedNs, committed, schemeNumbers } = state;
    const { changeCount: base, sizeBytes: before } = committed;
    const commit = {
      inode,
      write,
      extents,
      holes: holes.map(({ start, end }) => ({ offset: start, lengthBytes: end - start })),
      schemeNumbers,
      sizeBytes: 0,
      modifiedNs: modifiedNs ?? committed.modifiedNs,
    };
    try {
      const done = await tree.commitExtents({ ...commit, baseChange: base, isOnlyOnBase });
      const held = extents.map((extent) => ({ ...extent, holder: write }));
      state.commit(done, { base, extents: held, holes });
    } catch (error) {
      if (!UNANSWERED.includes(errorCode(error))) throw error;
      this.#unsettled = write;
      if ((await namespace.refuse(write)) === 'refused') {
        this.#unsettled = undefined;
        throw error;
      }
      await this.#settle();
    }
    this.#settleTime(modifiedNs);
    const isOver = extents.some(({ offset }) => offset < before) || holes.length > 0;
    if (isOver) this.releaseLoose();
  }

  /** A commit that may come late would undo a later one: first it is executed, or never will be. */
  async #settle(): Promise<void> {
    if (this.#unsettled === undefined) return;
    await this.#context.namespace.refuse(this.#unsettled);
    await this.#state.refresh();
    this.#state.distrust();
    this.#unsettled = undefined;
  }

  #settleTime(modifiedNs: bigint | undefined): void {
    if (this.#state.modifiedNs === modifiedNs) this.#state.modifiedNs = undefined;
  }

  /** Extents take the place of inline content only together with it. @throws HF_BUSY. */
  async #moveInlineOut({ extents, holes }: Batch): Promise<void> {
    const { committed, inode, policy } = this.#state;
    const { inodes, abandoned, fault } = this.#context;
    const inline = { start: 0, end: committed.storedBytes };
    const brought = [...extents.map(rangeOf), ...holes];
    if (!committed.isInline || uncovered(inline, brought).length === 0) return;
    const readAt = this.#state.foreignChanges;
    const bytes = new Uint8Array(inline.end);
    if (fault !== 'leaves-inline') {
      await this.#reader.fillGap(inline, { target: bytes, offset: 0 });
    }
    const write = await inodes.take({ inode });
    const writer = this.writerFor(write, policy);
    const moved: Extent[] = [];
    try {
      await writer.store({ bytes }, 0, (extent) => void moved.push(extent));
      await this.#commitOnce({ write, extents: moved, holes: [], readAt });
    } catch (error) {
      await abandoned.undo(write, writer.named);
      throw error;
    }
    this.confirm(write, writer.named);
  }

  writerFor(write: Inode, policy: FileState['policy']): StripeWriter {
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

  // What needs no stripes.

  /** The file with what was written to its only window. In line. @throws HF_BUSY. */
  async commitInline(window: DirtyWindow): Promise<void> {
    await this.#settle();
    const state = this.#state;
    const { committed, foreignChanges, modifiedNs } = state;
    const content = new Uint8Array(this.#sizeWith(window));
    const range = { start: 0, end: content.length };
    const pieces = [...window.pieces(range)];
    for (const gap of uncovered(range, pieces)) {
      await this.#reader.fillGap(gap, { target: content, offset: 0 });
    }
    copyPieces(pieces, content, 0);
    if (foreignChanges !== state.foreignChanges) {
      throw new HoldfastError('HF_BUSY', 'somebody else has changed the file');
    }
    const sealed = this.#context.seals.sealedContent(state.inode, content);
    await this.#putInline({ sealed, lengthBytes: content.length }, modifiedNs);
    this.#settleTime(modifiedNs);
    if (!committed.isInline && committed.storedBytes > 0) this.releaseLoose();
  }

  /** What is written to the window while it is under way is committed later, with its size. */
  #sizeWith(window: DirtyWindow): number {
    const { dirty, committed, sizeBytes } = this.#state;
    if (dirty.size === 0) return sizeBytes;
    const end = Math.max(0, ...Array.from(window.pieces(), (piece) => piece.end));
    return Math.max(committed.sizeBytes, end);
  }

  async #putInline(inline: InlineContent, modifiedNs: bigint | undefined): Promise<void> {
    const { inode, schemeNumbers, committed } = this.#state;
    const commit = {
      inode,
      inline,
      extents: [],
      schemeNumbers,
      sizeBytes: inline.lengthBytes,
      modifiedNs: modifiedNs ?? committed.modifiedNs,
      baseChange: committed.changeCount,
    };
    await this.#commitOnBase(
      commit,
      ({ inline: found }) => found !== undefined && bytesEqual(found.sealed, inline.sealed),
    );
  }

  /** @param isDone told from the inode, where nobody has answered. @throws HF_BUSY. */
  async #commitOnBase(
    commit: ContentCommit,
    isDone: (found: InodeStatus) => boolean,
  ): Promise<void> {
    const { baseChange: base, inline } = commit;
    try {
      const done = await this.#context.tree.commitExtents({ ...commit, isOnlyOnBase: true });
      this.#state.commit(done, { base, inline });
    } catch (error) {
      if (!UNANSWERED.includes(errorCode(error))) throw error;
      if (!isDone(await this.#state.refresh())) throw error;
    }
  }

  /** Commits what is left when all content is: the size, and the time. */
  async commitAttributes({ dataOnly }: { readonly dataOnly: boolean }): Promise<void> {
    await this.inLine(() => this.#overOthers(() => this.#commitLeft(dataOnly)));
  }

  async #commitLeft(dataOnly: boolean): Promise<void> {
    const state = this.#state;
    const { fault } = this.#context;
    const { grownTo, committed, modifiedNs, inode, schemeNumbers } = state;
    const isGrown = grownTo > committed.sizeBytes && fault !== 'forgets-size';
    const isDue = isGrown || (modifiedNs !== undefined && !dataOnly);
    if (!isDue) return;
    await this.#settle();
    const time = modifiedNs ?? committed.modifiedNs;
    const baseChange = state.committed.changeCount;
    const commit = { inode, extents: [], schemeNumbers, modifiedNs: time, baseChange };
    const isDone = (found: InodeStatus): boolean =>
      found.sizeBytes >= grownTo && found.modifiedNs === time;
    await this.#commitOnBase({ ...commit, sizeBytes: grownTo }, isDone);
    this.#settleTime(modifiedNs);
  }

  // Afterwards.

  confirm(write: Inode, named: readonly StripeId[]): void {
    const { references, tree, volume, background } = this.#context;
    const holder = { volume: volume().id, inode: write };
    const confirm = async (): Promise<void> => {
      await confirmStripes(references, holder, named);
      await tree.forgetWrites([write]);
    };
    background.start('confirming references', confirm());
  }

  /** Soon; in files of many extents, where looking for it costs much, when the collector comes. */
  releaseLoose(): void {
    const { releaseLoose, background } = this.#context;
    if (!releaseLoose || this.#state.map.extentCount > LOOSE_EXTENTS_MAX) return;
    this.#isLooseDue = true;
    if (this.#isReleasing) return;
    this.#isReleasing = true;
    background.start('freeing what was overwritten', this.#releaseAll(releaseLoose));
  }

  async #releaseAll(release: (inode: Inode) => Promise<void>): Promise<void> {
    const { env, end } = this.#context;
    try {
      while (this.#isLooseDue) {
        this.#isLooseDue = false;
        await release(this.#state.inode);
        // What many commits leave meanwhile goes at once.
        const pause = env.clock.sleep(LIMITS.looseReleaseMs, { signal: end });
        await Promise.allSettled([pause]);
      }
    } finally {
      this.#isReleasing = false;
    }
  }
}

function rangeOf({ offset, lengthBytes }: Extent): ByteRange {
  return { start: offset, end: offset + lengthBytes };
}
