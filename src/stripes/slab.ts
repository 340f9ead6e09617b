/**
 * Memory in which stripes are coded: slots of one WebAssembly memory that the calling thread, the
 * codec's workers and the devices share, so that content is copied in once and chunks are written
 * to disk from where the kernel left them.
 *
 * A slot is a *content area*, with a gap in front so that content can be sealed in place although
 * sealing adds a tag to each segment, and a *chunk area*, each chunk at a page (O_DIRECT).
 */
import { assert, LIMITS, roundUp, Semaphore, type Scheme } from '../base/index.ts';
import { SCRATCH_BYTES } from '../codec/index.ts';
import { chunkMemoryBytes } from '../store/index.ts';

const PAGE_BYTES = 4096;
const WASM_PAGE_BYTES = 65_536;

/** Room for the tags of a full stripe's segments and for the fill of k pieces. */
export const GAP_BYTES = 65_536;
const CONTENT_AREA_BYTES = GAP_BYTES + LIMITS.stripeBytesMax;

/** Shards, and for the widest scheme a header and a page of fill for each chunk. */
const CHUNK_AREA_BYTES = LIMITS.stripeShardBytesMax + 255 * (12 * 1024 + PAGE_BYTES);

const SLOT_BYTES = roundUp(CONTENT_AREA_BYTES + CHUNK_AREA_BYTES, WASM_PAGE_BYTES);

export interface SlabPlan {
  readonly memory: WebAssembly.Memory;
  readonly slotCount: number;
  readonly threadCount: number;
}

/**
 * Memory for `slotCount` slots and the scratch of `threadCount` threads (pages are mapped on use).
 */
export function createSlab(slotCount: number, threadCount: number): SlabPlan {
  const bytes = slotCount * SLOT_BYTES + threadCount * SCRATCH_BYTES;
  const pages = Math.ceil(bytes / WASM_PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  return { memory, slotCount, threadCount };
}

export function scratchOffset({ slotCount }: SlabPlan, threadIndex: number): number {
  return slotCount * SLOT_BYTES + threadIndex * SCRATCH_BYTES;
}

/**
 * The whole content area of a slot: opened content begins at 0, content to be sealed at the gap.
 */
export function contentArea({ memory }: SlabPlan, slot: number): Uint8Array {
  return new Uint8Array(memory.buffer, slot * SLOT_BYTES, CONTENT_AREA_BYTES);
}

/** Where one chunk lies. */
export interface ChunkRoom {
  readonly chunk: Uint8Array;
  /** The chunk's memory with what a store may use behind it. */
  readonly memory: Uint8Array;
}

interface ChunkSizes {
  readonly scheme: Scheme;
  readonly chunkBytes: number;
}

/** Copies are equal, so one chunk stands for all. */
function roomCount({ kind, n }: Scheme): number {
  return kind === 'copy' ? 1 : n;
}

/**
 * Whole pages from one chunk to the next, with room for the footer that a store reads behind it.
 */
function strideOf(chunkBytes: number): number {
  return roundUp(chunkMemoryBytes(chunkBytes), PAGE_BYTES);
}

/** Whether the chunks of a stripe fit a slot; those that this program makes do. */
export function fitsSlot({ scheme, chunkBytes }: ChunkSizes): boolean {
  return roomCount(scheme) * strideOf(chunkBytes) <= CHUNK_AREA_BYTES;
}

/** Where the n chunks of a stripe lie in a slot, in index order. */
export function chunkRooms({ memory }: SlabPlan, slot: number, sizes: ChunkSizes): ChunkRoom[] {
  assert(fitsSlot(sizes), 'the chunks of a stripe fit a slot');
  const { scheme, chunkBytes } = sizes;
  const stride = strideOf(chunkBytes);
  const start = slot * SLOT_BYTES + CONTENT_AREA_BYTES;
  const rooms = Array.from({ length: roomCount(scheme) }, (_, index) => {
    const room = new Uint8Array(memory.buffer, start + index * stride, stride);
    return { chunk: room.subarray(0, chunkBytes), memory: room };
  });
  return Array.from({ length: scheme.n }, (_, index) => rooms[index] ?? rooms[0]!);
}

/** As {@link chunkRooms}, the chunks alone. */
export function chunkViews(plan: SlabPlan, slot: number, sizes: ChunkSizes): Uint8Array[] {
  return chunkRooms(plan, slot, sizes).map(({ chunk }) => chunk);
}

/**
 * Lends slots; who waits is served in order. A slot whose lease ended while a store still used its
 * memory is *stuck* until that store is done, and a spare one takes its place.
 *
 * Invariant: no more slots than there are spares are ever stuck, however long stores hang: while
 * one is, `isStuck` says so, and stores are given memory of their own.
 */
export class SlotPool {
  readonly plan: SlabPlan;
  readonly #semaphore: Semaphore;
  /** One slot less: a slot to fill is held for as long as its source takes. */
  readonly #filling: Semaphore;
  /** The one used last is lent first: memory of spare slots is not touched without need. */
  readonly #free: number[];
  #stuckCount = 0;

  constructor(plan: SlabPlan) {
    const permits = plan.slotCount / 2;
    this.plan = plan;
    this.#semaphore = new Semaphore(permits);
    this.#filling = new Semaphore(permits - 1);
    this.#free = Array.from({ length: plan.slotCount }, (_, index) => index);
  }

  get isStuck(): boolean {
    return this.#stuckCount > 0;
  }

  /** A slot to be filled from outside. What waits for nobody but the stores always gets one. */
  async leaseToFill(): Promise<SlotLease> {
    const release = await this.#filling.acquire();
    return await this.lease(release);
  }

  async lease(afterwards?: () => void): Promise<SlotLease> {
    const release = await this.#semaphore.acquire();
    const slot = this.#free.pop();
    assert(slot !== undefined, 'a permit stands for a free slot');
    return new SlotLease(this, slot, (calls) => {
      if (calls.size === 0) this.#free.push(slot);
      else void this.#keep(slot, calls);
      release();
      afterwards?.();
    });
  }

  async #keep(slot: number, calls: ReadonlySet<Promise<unknown>>): Promise<void> {
    this.#stuckCount += 1;
    await Promise.allSettled(calls);
    this.#stuckCount -= 1;
    this.#free.push(slot);
  }
}

/** What a store gets of a chunk's memory. */
export interface LentChunk {
  readonly bytes: Uint8Array;
  /** To be told of the call that uses the bytes, when nobody may write there until it has ended. */
  readonly onCall?: (call: Promise<unknown>) => void;
}

export class SlotLease implements Disposable {
  readonly slot: number;
  readonly #pool: SlotPool;
  readonly #calls = new Set<Promise<unknown>>();
  #giveBack: ((calls: ReadonlySet<Promise<unknown>>) => void) | undefined;

  constructor(
    pool: SlotPool,
    slot: number,
    giveBack: (calls: ReadonlySet<Promise<unknown>>) => void,
  ) {
    this.#pool = pool;
    this.slot = slot;
    this.#giveBack = giveBack;
  }

  /** Whether a store may be given this memory: else a copy. */
  get mayLend(): boolean {
    return !this.#pool.isStuck;
  }

  /** A chunk of this slot, or of no slot, as a store may get it; see {@link keepFor}. */
  lend(chunk: Uint8Array): LentChunk {
    if (!this.mayLend) return { bytes: new Uint8Array(chunk) };
    return { bytes: chunk, onCall: (call) => this.keepFor(call) };
  }

  get area(): Uint8Array {
    assert(this.#giveBack, 'the slot is still lent');
    return contentArea(this.#pool.plan, this.slot);
  }

  rooms(sizes: ChunkSizes): ChunkRoom[] {
    assert(this.#giveBack, 'the slot is still lent');
    return chunkRooms(this.#pool.plan, this.slot, sizes);
  }

  /** Nobody else gets the slot before this call of a store has ended. */
  keepFor(call: Promise<unknown>): void {
    assert(this.#giveBack, 'the slot is still lent');
    this.#calls.add(call);
    const end = (): unknown => this.#calls.delete(call);
    call.then(end, end);
  }

  /** Gives the slot back; a second call does nothing, as owners hand the lease on. */
  [Symbol.dispose](): void {
    this.#giveBack?.(new Set(this.#calls));
    this.#giveBack = undefined;
  }
}
