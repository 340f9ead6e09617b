/**
 * A device over files of the system: one linear address space over the blocks of one or more
 * *pieces*, each an open file. Images have one piece, directories one per segment.
 *
 * A running store checks that its files are still the ones it opened: somebody may have removed the
 * folder, or mounted something over it, and open files would go on taking data that nobody can
 * reach. Files are watched by path, and compared by device and inode; all are held open, so that an
 * inode number cannot come back for another file. The pace is LIMITS.storeCheckMs for all files; a
 * flush looks for its *anchors* (those that stand for the whole) and for what was synced, unless
 * one has looked LOOK_MS ago or less; a flush that has nothing to sync always looks.
 *
 * Why a flush need not look each time: nothing that we write makes such an accident, so one that is
 * noticed a moment late leaves what the same accident a moment later would have left. Removed files
 * take with them what was acknowledged before and after alike, as a disk that dies does; files that
 * were moved or mounted over keep both. So a late look loses nothing that a store could promise.
 *
 * Invariants: (1) a flush syncs each piece that has a completed write since the sync before; at the
 * start that is every piece, for what a process before us left in the caches; (2) flushes run one
 * after the other, so that a flush never resolves while another still syncs what it covers.
 */
import fs from 'node:fs/promises';
import { assert, HoldfastError, LIMITS, mapBounded, Mutex, Semaphore } from '../base/index.ts';
import type { Clock, Env } from '../env/index.ts';
import type { BlockDevice, DeviceKind, DeviceNumber } from './block-device.ts';
import { BlockFile, fileError, identityOf } from './block-file.ts';
import { DeviceState } from './device-state.ts';
import { allocatePages, checkTransfer, isBlockMultiple } from './pages.ts';

/** How long a look vouches for the flushes after it. */
export const LOOK_MS = 50;

export interface Piece {
  readonly file: BlockFile;
  readonly startOffset: number;
  readonly sizeBytes: number;
}

/** A file that must stay where it is; whoever opened it keeps it open. */
export interface Anchor {
  readonly path: string;
  readonly identity: string;
}

export interface FileDeviceParts {
  readonly env: Env;
  readonly kind: DeviceKind;
  readonly name: string;
  /** What is gone when a check fails: "the folder /a/b". */
  readonly what: string;
  readonly capacityBytes: number;
  readonly pieces: readonly Piece[];
  readonly anchors: readonly Anchor[];
  readonly permits: Semaphore;
  /** Everything open, the lock too; belongs to the device. */
  readonly resources: AsyncDisposableStack;
}

/** The permits of one device's transfers. */
export function devicePermits(): Semaphore {
  return new Semaphore(LIMITS.deviceOperationsMax);
}

/** Keeps a path open, so that its inode number stays its own. */
export async function holdOpen(path: string, resources: AsyncDisposableStack): Promise<Anchor> {
  try {
    const handle = resources.use(await fs.open(path, 'r'));
    return { path, identity: identityOf(await handle.stat({ bigint: true })) };
  } catch (error) {
    throw fileError(error, 'open', path);
  }
}

export class FileDevice implements BlockDevice {
  readonly kind: DeviceKind;
  readonly name: string;
  readonly capacityBytes: number;
  protected readonly state: DeviceState;
  protected readonly permits: Semaphore;
  protected readonly resources: AsyncDisposableStack;
  readonly #what: string;
  readonly #pieces: Piece[];
  readonly #anchors: readonly Anchor[];
  readonly #dirty: Set<BlockFile>;
  readonly #clock: Pick<Clock, 'monotonic'>;
  /** Synced since a flush looked last. */
  readonly #unseen = new Set<BlockFile>();
  #lookDueMs = -Infinity;
  readonly #flushing = new Mutex();
  readonly #closing = new AbortController();
  readonly #watching: Promise<void>;

  /** Takes over what is open, and starts to watch it. */
  protected constructor(parts: FileDeviceParts) {
    this.kind = parts.kind;
    this.name = parts.name;
    this.#what = parts.what;
    this.#pieces = [...parts.pieces];
    this.#anchors = parts.anchors;
    this.permits = parts.permits;
    this.resources = parts.resources;
    this.state = new DeviceState(parts.name);
    this.#dirty = new Set(this.#pieces.map((piece) => piece.file));
    this.#clock = parts.env.clock;
    assert(this.sizeBytes > 0, 'a device has room');
    this.capacityBytes = Math.max(parts.capacityBytes, this.sizeBytes);
    this.#watching = this.#watch(parts.env);
  }

  get sizeBytes(): number {
    const last = this.#lastPiece();
    return last.startOffset + last.sizeBytes;
  }

  get isDirect(): boolean {
    return this.#lastPiece().file.isDirect;
  }

  get deviceNumber(): DeviceNumber {
    return this.#lastPiece().file.deviceNumber;
  }

  protected get pieces(): readonly Piece[] {
    return this.#pieces;
  }

  async read(target: Uint8Array, offset: number): Promise<void> {
    const lengthBytes = checkTransfer([target], offset, this.sizeBytes);
    using _ = this.state.begin();
    for (const { file, at, from, bytes } of this.#split(offset, lengthBytes)) {
      await file.read(target.subarray(from, from + bytes), at);
    }
  }

  async write(sources: readonly Uint8Array[], offset: number): Promise<void> {
    const lengthBytes = checkTransfer(sources, offset, this.sizeBytes);
    using _ = this.state.begin();
    for (const { file, at, from, bytes } of this.#split(offset, lengthBytes)) {
      await file.write(bytes === lengthBytes ? sources : cut(sources, from, bytes), at);
      this.#dirty.add(file);
    }
  }

  async flush(): Promise<void> {
    using _ = this.state.begin();
    await this.#flushing.run(async () => {
      this.state.checkAlive();
      const files = [...this.#dirty];
      this.#dirty.clear();
      // It looks while it syncs: that costs no time, and a folder gone before is noticed.
      const [presence, ...syncs] = await Promise.allSettled([
        this.#isLookDue(files) ? this.#look() : undefined,
        ...files.map((file) => file.sync()), // as many at once as there are permits
      ]);
      for (const sync of syncs) {
        if (sync.status === 'rejected') throw this.state.fail('a flush failed', sync.reason);
      }
      if (presence.status === 'rejected') throw presence.reason;
    });
  }

  async grow(bytes: number): Promise<void> {
    this.state.check();
    throw new HoldfastError('HF_NO_SPACE', `${this.name} cannot grow by ${bytes} bytes`);
  }

  async shrink(sizeBytes: number): Promise<void> {
    assert(isBlockMultiple(sizeBytes), 'a device is whole blocks');
    this.state.check();
  }

  allocate(bytes: number): Uint8Array {
    return allocatePages(bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!(await this.state.close())) return;
    this.#closing.abort();
    await this.#watching;
    await this.resources.disposeAsync();
  }

  /** Adds room at the end: one more piece, or the last one at its new size. */
  protected addPiece(piece: Piece): void {
    assert(isBlockMultiple(piece.sizeBytes), 'a piece is whole blocks');
    const last = this.#lastPiece();
    if (piece.file === last.file) this.#pieces.pop();
    else assert(piece.startOffset === this.sizeBytes, 'a piece starts where the one before ends');
    this.#pieces.push(piece);
    this.#dirty.add(piece.file);
  }

  /**
   * Takes the last piece out: it is neither watched nor synced from now on, and no flush is under
   * way on it. Its file stays open, for the caller to close or to add again.
   */
  protected async removeLastPiece(): Promise<Piece> {
    assert(this.#pieces.length > 1, 'a device keeps its first piece');
    return await this.#flushing.run(async () => {
      const piece = this.#lastPiece();
      this.#pieces.pop();
      this.#dirty.delete(piece.file);
      this.#unseen.delete(piece.file);
      return piece;
    });
  }

  /** Kills the device unless every file is still what its path leads to. */
  protected async checkFolder(): Promise<void> {
    await this.#checkPresence([...this.#anchors, ...this.#pieces.map((piece) => piece.file)]);
  }

  /** Whether a flush that syncs these has to look. */
  #isLookDue(synced: readonly BlockFile[]): boolean {
    for (const file of synced) this.#unseen.add(file);
    const nowMs = this.#clock.monotonic();
    if (synced.length > 0 && nowMs < this.#lookDueMs) return false;
    this.#lookDueMs = nowMs + LOOK_MS;
    return true;
  }

  async #look(): Promise<void> {
    const files = [...this.#anchors, ...this.#unseen];
    this.#unseen.clear();
    await this.#checkPresence(files);
  }

  /** Kills the device unless all of `files` are still what their paths lead to. */
  async #checkPresence(files: readonly Anchor[]): Promise<void> {
    // All at once: a flush waits for them no longer than for one.
    await mapBounded(files, LIMITS.deviceOperationsMax, async (file) => {
      if (await isPresent(file)) return;
      if (!this.#isWatched(file)) return; // the device has let go of it while we looked
      throw this.state.fail(`${this.#what} is gone or was replaced (looked for ${file.path})`);
    });
  }

  #isWatched(file: Anchor): boolean {
    return this.#anchors.includes(file) || this.#pieces.some((piece) => piece.file === file);
  }

  async #watch(env: Env): Promise<void> {
    const { signal } = this.#closing;
    for await (const _ of env.clock.every(LIMITS.storeCheckMs, { signal })) {
      try {
        await this.checkFolder();
      } catch (error) {
        env.log.error('a device stopped', { device: this.name, error });
        return; // dead for good; whoever uses it next is told
      }
    }
  }

  #lastPiece(): Piece {
    const last = this.#pieces.at(-1);
    assert(last, 'a device has a piece');
    return last;
  }

  /** A transfer by pieces: `bytes` of it, starting `from`, go `at` in the file. */
  *#split(
    offset: number,
    lengthBytes: number,
  ): Generator<{ file: BlockFile; at: number; from: number; bytes: number }> {
    let index = this.#pieceIndexAt(offset);
    for (let from = 0; from < lengthBytes; index++) {
      const piece = this.#pieces[index];
      assert(piece, 'the pieces cover the device');
      const at = offset + from - piece.startOffset;
      const bytes = Math.min(lengthBytes - from, piece.sizeBytes - at);
      yield { file: piece.file, at, from, bytes };
      from += bytes;
    }
  }

  #pieceIndexAt(offset: number): number {
    let low = 0;
    let high = this.#pieces.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#pieces[middle]!.startOffset <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** Any failure to look counts as gone: what cannot be seen cannot be vouched for. */
async function isPresent({ path, identity }: Anchor): Promise<boolean> {
  try {
    return identityOf(await fs.stat(path, { bigint: true })) === identity;
  } catch {
    return false;
  }
}

/** Views of `bytes` bytes of the joined sources, starting `from`. */
function cut(sources: readonly Uint8Array[], from: number, bytes: number): readonly Uint8Array[] {
  const parts: Uint8Array[] = [];
  let start = 0;
  for (const source of sources) {
    const part = source.subarray(Math.max(0, from - start), Math.max(0, from + bytes - start));
    if (part.length > 0) parts.push(part);
    start += source.length;
  }
  return parts;
}
