/**
 * The content of one file on this node, for all who have it open: reads over what is dirty, takes
 * writes, and says when what is stored.
 *
 * Invariants: what changes the dirty windows in more than one step (`truncate`, `deallocate`) and
 * `write` exclude each other; the memory of every dirty byte was taken from the volume's.
 */
import {
  assert,
  errorCode,
  errorMessage,
  HoldfastError,
  LIMITS,
  MiB,
  Mutex,
} from '../../base/index.ts';
import { type InodeStatus, nsOf } from '../../meta/index.ts';
import { CommittedReader } from './committed-reader.ts';
import { type ByteRange, type DirtyWindow, memoryForWrite } from './dirty-window.ts';
import type { FilesContext } from './files-context.ts';
import { FileReading } from './file-reading.ts';
import { FileState } from './file-state.ts';
import { isHole } from './extent-map.ts';
import { checkAdds, checkOffset, isAway, isRefusal } from './refusals.ts';
import { type Adopted, WriteBack } from './write-back.ts';

/** Content goes over to dirty windows in steps of this. */
const STEP_BYTES_MAX = 1 * MiB;
/** A dirty run of so many bytes up to the end of its window is one that was written in order. */
const TAIL_BYTES_MIN = 1 * MiB;

/** Nobody waits for what is stored in the background, and it is tried again. */
interface StoreOptions {
  readonly isBackground: boolean;
  /** It is tried again when too many stores are away. */
  readonly isPatient?: boolean;
}

interface SyncOptions extends Partial<StoreOptions> {
  readonly dataOnly: boolean;
}

interface Failure {
  readonly error: unknown;
  readonly atMs: number;
}

export class FileContent {
  readonly state: FileState;
  /** Who has it open. */
  handleCount = 0;
  readonly #context: FilesContext;
  readonly reading: FileReading;
  readonly #writeBack: WriteBack;
  readonly #changing = new Mutex();
  /** The newest failure to store, and how many there were: see {@link failureSince}. */
  #failure: Failure | undefined;
  #failureCount = 0;
  /** Tries to store that failed, and the error of the last one. */
  #failedStores = 0;
  #lastError: unknown;
  /** The last try failed. */
  #isFailing = false;
  #touchedNs: bigint | undefined;

  constructor(context: FilesContext, status: InodeStatus) {
    this.#context = context;
    this.state = new FileState(context, status);
    const reader = new CommittedReader(context, this.state);
    this.reading = new FileReading(this.state, reader);
    this.#writeBack = new WriteBack(context, this.state, reader);
  }

  get isDirty(): boolean {
    return this.state.dirty.size > 0;
  }

  /** In memory. */
  get dirtyBytes(): number {
    let bytes = 0;
    for (const { memoryBytes } of this.state.dirty.values()) bytes += memoryBytes;
    return bytes;
  }

  get isUnderWay(): boolean {
    return this.state.underWay.size > 0;
  }

  get failureCount(): number {
    return this.#failureCount;
  }

  // Writing.

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#checkRoom(offset, bytes.length);
    for (let at = 0; at < bytes.length;) {
      const windowEnd = this.#windowEndAt(offset + at);
      const to = Math.min(bytes.length, at + STEP_BYTES_MAX, windowEnd - offset);
      await this.#writeStep(offset + at, bytes.subarray(at, to));
      at = to;
    }
  }

  #windowEndAt(offset: number): number {
    return this.state.windowStart(offset) + this.state.windowBytes;
  }

  async #writeStep(offset: number, bytes: Uint8Array): Promise<void> {
    const { memory, takeMemory } = this.#context;
    const reserved = memoryForWrite(bytes.length);
    await takeMemory(reserved);
    const release = await this.#changing.acquire();
    const window = this.state.windowAt(offset);
    const before = window.memoryBytes;
    window.write(offset, bytes);
    const taken = window.memoryBytes - before;
    assert(taken <= reserved, 'a write takes no more memory than was set aside');
    memory.giveBack(reserved - taken);
    this.state.grow(offset + bytes.length);
    this.#touch();
    release();
    if (isReady(window)) this.#storeReady();
  }

  /** @throws what a write is known to fail with. */
  async #checkRoom(offset: number, lengthBytes: number): Promise<void> {
    const { volume, roomBytes, memory, env } = this.#context;
    const { committed } = this.state;
    checkOffset(offset + lengthBytes);
    if (volume().retention) checkAdds(committed, offset);
    const room = roomBytes?.();
    if (room !== undefined && room < memory.usedBytes + lengthBytes) {
      throw new HoldfastError('HF_NO_SPACE');
    }
    const failure = this.#isFailing ? this.#failure : undefined;
    if (!failure || !isRefusal(failure.error)) return;
    const isRecent = env.clock.monotonic() - failure.atMs < LIMITS.refusedWriteMs;
    if (isRecent) throw failure.error;
    const error = await this.storeAll();
    if (error !== undefined) throw error;
  }

  #touch(): void {
    this.state.modifiedNs = this.#nowNs();
    this.#touchedNs = this.state.modifiedNs;
  }

  /** When it was changed last, if that is not committed. */
  get touchedNs(): bigint | undefined {
    return this.state.modifiedNs === undefined ? undefined : this.#touchedNs;
  }

  #nowNs(): bigint {
    return nsOf(this.#context.env.clock.now());
  }

  async truncate(sizeBytes: number): Promise<void> {
    checkOffset(sizeBytes);
    const { state } = this;
    await this.#changing.run(async () => {
      if (sizeBytes > state.sizeBytes) {
        state.grow(sizeBytes);
        this.#touch();
        return;
      }
      await this.#writeBack.whileStill(async () => {
        const { isInline, storedBytes } = state.committed;
        await this.#cut(sizeBytes);
        if (!isInline && state.committed.storedBytes < storedBytes) this.#writeBack.releaseLoose();
        this.#discard({ start: sizeBytes, end: Infinity });
        state.grownTo = 0;
        if (this.isDirty) this.#touch();
        else state.modifiedNs = undefined;
      });
    });
    this.#storeReady();
  }

  /** In steps, when more is to go than one step can take. */
  async #cut(sizeBytes: number): Promise<void> {
    const { state } = this;
    const modifiedNs = this.#nowNs();
    for (let wanted = sizeBytes; ;) {
      const base = state.committed.changeCount;
      try {
        const changes = { sizeBytes: wanted, modifiedNs };
        state.cut(await this.#context.tree.setAttributes(state.inode, changes), base);
        if (wanted === sizeBytes) return;
        wanted = sizeBytes;
      } catch (error) {
        const next = Math.ceil((wanted + state.committed.sizeBytes) / 2);
        if (errorCode(error) !== 'HF_TOO_LARGE' || next === wanted) throw error;
        wanted = next;
      }
    }
  }

  async deallocate(wanted: ByteRange): Promise<void> {
    const { state } = this;
    const { fault } = this.#context;
    await this.#checkRoom(wanted.start, 0);
    await this.#changing.run(async () => {
      const range = { start: wanted.start, end: Math.min(wanted.end, state.sizeBytes) };
      if (range.start >= range.end) return;
      await this.#writeBack.whileStill(async () => {
        // Where nothing is stored there is nothing to take away.
        const parts = await state.map.partsOf(range);
        this.#discard(range);
        for (const part of parts) {
          if (!isHole(part) && fault !== 'keeps-hole') this.#zero(part);
        }
        this.#touch();
      });
    });
    this.#storeReady();
  }

  /** Stripes become content to which a write holds references; what is dirty there is gone. */
  async adopt(adopted: Adopted): Promise<void> {
    await this.#checkRoom(Math.min(...adopted.extents.map(({ offset }) => offset)), 0);
    await this.#changing.run(async () => {
      await this.#writeBack.whileStill(async () => {
        this.#touch();
        await this.#writeBack.adopt(adopted);
        for (const { offset, lengthBytes } of adopted.extents) {
          this.#discard({ start: offset, end: offset + lengthBytes });
        }
      });
    });
    this.#storeReady();
  }

  #discard(range: ByteRange): void {
    for (const window of this.state.dirty.values()) {
      if (window.start >= range.end || window.end <= range.start) continue;
      this.#counted(window, () => window.discard(range));
      if (window.isEmpty) this.state.dirty.delete(window.start);
    }
  }

  #zero({ start, end }: ByteRange): void {
    for (let from = start; from < end;) {
      const to = Math.min(end, this.#windowEndAt(from));
      const window = this.state.windowAt(from);
      const range = { start: from, end: to };
      this.#counted(window, () => window.zero(range));
      from = to;
    }
  }

  #counted(window: DirtyWindow, change: () => void): void {
    const before = window.memoryBytes;
    change();
    this.#context.memory.giveBack(before - window.memoryBytes);
  }

  setModified(modifiedNs: bigint): void {
    if (this.isDirty || this.#writeBack.flightCount > 0) this.state.modifiedNs = modifiedNs;
    else this.state.modifiedNs = undefined;
  }

  // Storing.

  /** In the background. */
  #storeReady(): void {
    if (this.#isFailing || this.#writeBack.isHeld) return;
    if (this.#writeBack.flightCount >= LIMITS.fileCommitsMax) return;
    const ready = this.#idle().filter(isReady);
    if (ready.length === 0) return;
    const stored = this.#store(ready, { isBackground: true });
    void stored.then((isStored) => isStored && this.#storeReady());
  }

  /** Dirty, and not under way. */
  #idle(): DirtyWindow[] {
    const { dirty, underWay } = this.state;
    return [...dirty.values()].filter(({ start }) => !underWay.has(start));
  }

  /** @returns whether it could be stored. */
  async #store(windows: readonly DirtyWindow[], options: StoreOptions): Promise<boolean> {
    try {
      await this.#writeBack.store(windows);
      if (this.#isFailing) this.#context.onWaiting?.();
      this.#isFailing = false;
      return true;
    } catch (error) {
      this.#failedStores += 1;
      this.#isFailing = true;
      // What may pass is met again by who waits for it.
      const { isBackground, isPatient } = options;
      const isMet = isBackground && errorCode(error) !== undefined && !isRefusal(error);
      const mayPass = isMet || (isPatient === true && isAway(error));
      this.#lastError = error;
      if (!mayPass) this.#fail(error);
      else if (isAway(error)) this.#context.onWaiting?.(error);
      return false;
    }
  }

  /** Each handle is told. */
  #fail(error: unknown): void {
    this.#failure = { error, atMs: this.#context.env.clock.monotonic() };
    this.#failureCount += 1;
  }

  /**
   * All that is dirty now.
   * @returns what it failed with, if it did.
   */
  async storeAll(options: StoreOptions = { isBackground: false }): Promise<unknown> {
    for (;;) {
      const failedBefore = this.#failedStores;
      await this.#writeBack.settled();
      // What was dirty is dirty still, or has been under way since.
      let stored: Promise<boolean> | undefined;
      await this.#changing.run(async () => {
        const windows = this.#idle();
        if (windows.length > 0) stored = this.#store(windows, options);
      });
      if ((await stored) === false) return this.#lastError;
      await this.#writeBack.settled();
      // Others may have failed with some of it, and told nobody.
      if (this.#failedStores === failedBefore || options.isBackground) return undefined;
    }
  }

  async sync({ dataOnly, isBackground = false }: SyncOptions): Promise<void> {
    const error = isBackground
      ? await this.storeAll({ isBackground })
      : await this.storePatiently();
    if (error !== undefined) return;
    try {
      await this.#writeBack.commitAttributes({ dataOnly });
    } catch (error) {
      if (!isBackground) this.#fail(error);
    }
  }

  /** In the background. @returns what it failed with. */
  async trySync(): Promise<unknown> {
    const error = await this.storeAll({ isBackground: true });
    if (error !== undefined) return error;
    try {
      await this.#writeBack.commitAttributes({ dataOnly: false });
      return undefined;
    } catch (failure) {
      return failure;
    }
  }

  /** Somebody waits: while stores are away he does so for a while before he hears of it. */
  async storePatiently(): Promise<unknown> {
    const { clock } = this.#context.env;
    const untilMs = clock.monotonic() + LIMITS.syncPatienceMs;
    for (;;) {
      const isPatient = clock.monotonic() < untilMs;
      const error = await this.storeAll({ isBackground: false, isPatient });
      if (!isPatient || !isAway(error)) return error;
      await clock.sleep(LIMITS.stuckWritePauseMs);
    }
  }

  /** The failure that who has seen so many was not told of. */
  failureSince(failureCount: number): unknown {
    return failureCount < this.#failureCount ? this.#failure!.error : undefined;
  }

  /** Nobody misses what was written to a file that was removed meanwhile. */
  #tellGivenUp(): void {
    const error = this.#failure?.error;
    if (error === undefined || errorCode(error) === 'HF_NOT_FOUND') return;
    const { inode } = this.state;
    const reason = errorMessage(error);
    this.#context.env.log.warn('what was written to a file could not be stored', { inode, reason });
  }

  /** What could not be stored is given up: nobody has the file open. */
  async giveUp(): Promise<void> {
    await this.#writeBack.settled();
    if (this.handleCount > 0) return;
    if (this.isDirty) this.#tellGivenUp();
    this.#discard({ start: 0, end: Infinity });
    this.state.grownTo = 0;
    this.state.modifiedNs = undefined;
    this.#isFailing = false;
  }
}

/** Nobody is likely to add to it. */
function isReady(window: DirtyWindow): boolean {
  return window.isFull || window.tailBytes >= TAIL_BYTES_MIN;
}
