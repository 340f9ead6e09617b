/**
 * What this node knows of the content of one file: the inode and extents as they were seen last,
 * what was written here since and is not committed, and how these fit together.
 *
 * *Under way*: a window that is being stored; what is written to it meanwhile is dirty again. Of
 * each byte what is dirty counts before what is under way, and that before what is committed.
 * Invariants: a window is under way once at a time; `changeCount` never goes back.
 */
import {
  assert,
  HoldfastError,
  policyNumbers,
  type Policy,
  policyOfNumbers,
} from '../../base/index.ts';
import type {
  CommittedContent,
  Extent,
  InlineContent,
  Inode,
  InodeStatus,
} from '../../meta/index.ts';
import { type ByteRange, DirtyWindow, type Piece, uncovered } from './dirty-window.ts';
import { ExtentMap, type Part } from './extent-map.ts';
import type { FilesContext } from './files-context.ts';

const ALL: ByteRange = { start: 0, end: Infinity };

/** What was committed, and on what. */
interface Committed {
  readonly base: bigint;
  readonly extents?: readonly Extent[];
  readonly holes?: readonly ByteRange[];
  readonly inline?: InlineContent | undefined;
}

export class FileState {
  readonly inode: Inode;
  readonly map: ExtentMap;
  readonly dirty = new Map<number, DirtyWindow>();
  readonly underWay = new Map<number, DirtyWindow>();
  /** The size that is not committed yet; less than the committed one when there is none. */
  grownTo = 0;
  /** Of the last change here, until it is committed. */
  modifiedNs: bigint | undefined;
  readonly policy: Policy;
  /** Of each encoding a window fits one stripe. */
  readonly windowBytes: number;
  readonly #tree: FilesContext['tree'];
  readonly #fault: FilesContext['fault'];
  #status: InodeStatus;
  #foreignChanges = 0;

  constructor(context: FilesContext, status: InodeStatus) {
    this.#fault = context.fault;
    this.#status = withoutContent(status);
    this.policy = policyOf(context, status);
    const { stripes } = context;
    this.windowBytes = Math.min(...this.policy.map((scheme) => stripes.contentBytesFor(scheme)));
    this.inode = status.inode;
    this.#tree = context.tree;
    this.map = new ExtentMap({
      extents: async (from) => await context.namespace.extents(status.inode, from),
      isInline: () => this.#status.isInline ?? false,
      refresh: () => this.refresh(),
    });
    this.#learnContent(status);
  }

  /** As it is committed, as far as is known. */
  get committed(): InodeStatus {
    return this.#status;
  }

  /** Rises when somebody else may have changed the content. */
  get foreignChanges(): number {
    return this.#foreignChanges;
  }

  get sizeBytes(): number {
    return Math.max(this.#status.sizeBytes, this.grownTo);
  }

  /** With what is not committed. */
  get status(): InodeStatus {
    const { sizeBytes, modifiedNs = this.#status.modifiedNs } = this;
    return { ...this.#status, sizeBytes, modifiedNs };
  }

  get schemeNumbers(): readonly number[] {
    return policyNumbers(this.policy);
  }

  /** It ends no earlier than this. */
  grow(sizeBytes: number): void {
    if (sizeBytes > this.sizeBytes) this.grownTo = sizeBytes;
  }

  /** Takes over what somebody has just been told; what is older than what is known is nothing. */
  learn(status: InodeStatus): void {
    assert(status.inode === this.inode, 'it is the same file');
    if (status.changeCount < this.#status.changeCount) return;
    if (status.changeCount > this.#status.changeCount) {
      this.#status = withoutContent(status);
      this.#settleSize();
      this.distrust();
    }
    this.#learnContent(status);
  }

  /** It may say where the content is, and be the content. */
  #learnContent({ inline, isInline, storedBytes }: InodeStatus): void {
    const isTold = inline !== undefined || (!isInline && storedBytes === 0);
    if (isTold && !this.map.isKnown(ALL)) this.map.learnInline(inline);
  }

  /** What others have made of the file. @throws HF_NOT_FOUND. */
  async refresh(): Promise<InodeStatus> {
    const status = await this.#tree.getAttributes(this.inode, { withContent: true });
    if (!status) throw new HoldfastError('HF_NOT_FOUND', `the file ${this.inode} is gone`);
    this.learn(status);
    if (!status.isInline || status.inline) return status;
    throw new HoldfastError('HF_UNAVAILABLE', 'a file came without its inline content');
  }

  #settleSize(): void {
    if (this.grownTo <= this.#status.sizeBytes) this.grownTo = 0;
  }

  /** The extents may be others by now. */
  distrust(): void {
    if (this.#fault === 'trusts-extents') return;
    this.#foreignChanges += 1;
    this.map.drop();
  }

  /** Takes over the outcome of a commit of its own. */
  commit(
    { status, wasBase }: CommittedContent,
    { base, extents = [], holes = [], inline }: Committed,
  ): void {
    if (wasBase && this.#status.changeCount === base) {
      this.#status = status;
      if (inline) this.map.learnInline(inline);
      else this.map.commit(extents, holes);
    } else {
      if (status.changeCount > this.#status.changeCount) this.#status = status;
      this.distrust();
    }
    this.#settleSize();
  }

  /** Takes over that the file was cut. */
  cut(status: InodeStatus, base: bigint): void {
    const isNext = status.changeCount === base + 1n && this.#status.changeCount === base;
    if (status.changeCount > this.#status.changeCount) this.#status = status;
    if (!isNext) this.distrust();
    else if (this.#fault !== 'shows-cut') this.map.truncate(status.sizeBytes);
  }

  /** The dirty window that an offset is in. */
  windowAt(offset: number): DirtyWindow {
    const start = this.windowStart(offset);
    const found = this.dirty.get(start);
    if (found) return found;
    const made = new DirtyWindow({ start, end: start + this.windowBytes });
    this.dirty.set(start, made);
    return made;
  }

  windowStart(offset: number): number {
    return Math.floor(offset / this.windowBytes) * this.windowBytes;
  }

  /** Windows with something that is not committed and meets the range, older ones first. */
  *#windows({ start, end }: ByteRange): Generator<DirtyWindow> {
    for (const windows of [this.underWay, this.dirty]) {
      if ((end - start) / this.windowBytes > windows.size) {
        for (const window of windows.values()) {
          if (window.start < end && window.end > start) yield window;
        }
        continue;
      }
      for (let at = this.windowStart(start); at < end; at += this.windowBytes) {
        const window = windows.get(at);
        if (window) yield window;
      }
    }
  }

  /** Pieces within the range that are not committed; of those that meet the later one counts. */
  *pieces(range: ByteRange): Generator<Piece> {
    for (const window of this.#windows(range)) yield* window.pieces(range);
  }

  /** A part of the range where nothing is dirty and of which the extents are not known. */
  unknownWithin(range: ByteRange): ByteRange | undefined {
    const left = uncovered(range, [...this.pieces(range)]);
    return left.find((each) => !this.map.isKnown(each));
  }

  /** What of a known range is to be read from stripes. */
  committedParts(range: ByteRange): Part[] {
    return uncovered(range, [...this.pieces(range)]).flatMap((left) => [...this.map.parts(left)]);
  }
}

/** The content is the map's to keep. */
function withoutContent({ inline: _inline, ...status }: InodeStatus): InodeStatus {
  return status;
}

/** How a file is stored: as it was, else as the volume says. */
export function policyOf(
  { volume }: Pick<FilesContext, 'volume'>,
  { schemeNumbers }: InodeStatus,
): Policy {
  return schemeNumbers.length > 0 ? policyOfNumbers(schemeNumbers) : volume().policy;
}
