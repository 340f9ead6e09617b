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

/** Memory for `slotCount` slots and the scratch of `threadCount` threads (pages are mapped on use). */
export function createSlab(slotCount: number, threadCount: number): SlabPlan {
  const bytes = slotCount * SLOT_BYTES + threadCount * SCRATCH_BYTES;
  const pages = Math.ceil(bytes / WASM_PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  return { memory, slotCount, threadCount };
}

export function scratchOffset({ slotCount }: SlabPlan, threadIndex: number): number {
  return slotCount * SLOT_BYTES + threadIndex * SCRATCH_BYTES;
}

/** The whole content area of a slot: opened content begins at 0, content to be sealed at the gap. */
export function contentArea({ memory }: SlabPlan, slot: number): Uint8Array {
  return new Uint8Array(memory.buffer, slot * SLOT_BYTES, CONTENT_AREA_BYTES);
}

/** Where the n chunks of a stripe lie in a slot. */
export function chunkViews(
  { memory }: SlabPlan,
  slot: number,
  { scheme, chunkBytes }: { scheme: Scheme; chunkBytes: number },
): Uint8Array[] {
  const stride = roundUp(chunkBytes, PAGE_BYTES);
  // Copies are equal, so one chunk stands for all.
  const count = scheme.kind === 'copy' ? 1 : scheme.n;
  assert(count * stride <= CHUNK_AREA_BYTES, 'the chunks of a stripe fit a slot');
  const start = slot * SLOT_BYTES + CONTENT_AREA_BYTES;
  const views = Array.from(
    { length: count },
    (_, index) => new Uint8Array(memory.buffer, start + index * stride, chunkBytes),
  );
  return scheme.kind === 'copy' ? Array.from({ length: scheme.n }, () => views[0]!) : views;
}

/** Lends slots; who waits is served in order. */
export class SlotPool {
  readonly plan: SlabPlan;
  readonly #semaphore: Semaphore;
  readonly #free: number[];

  constructor(plan: SlabPlan) {
    this.plan = plan;
    this.#semaphore = new Semaphore(plan.slotCount);
    this.#free = Array.from({ length: plan.slotCount }, (_, index) => index);
  }

  async lease(): Promise<SlotLease> {
    const release = await this.#semaphore.acquire();
    const slot = this.#free.pop();
    assert(slot !== undefined, 'a permit stands for a free slot');
    return new SlotLease(this.plan, slot, () => {
      this.#free.push(slot);
      release();
    });
  }
}

export class SlotLease implements Disposable {
  readonly plan: SlabPlan;
  readonly slot: number;
  #giveBack: (() => void) | undefined;

  constructor(plan: SlabPlan, slot: number, giveBack: () => void) {
    this.plan = plan;
    this.slot = slot;
    this.#giveBack = giveBack;
  }

  get area(): Uint8Array {
    assert(this.#giveBack, 'the slot is still lent');
    return contentArea(this.plan, this.slot);
  }

  chunks(shape: { scheme: Scheme; chunkBytes: number }): Uint8Array[] {
    assert(this.#giveBack, 'the slot is still lent');
    return chunkViews(this.plan, this.slot, shape);
  }

  /** Gives the slot back; a second call does nothing, as owners hand the lease on. */
  [Symbol.dispose](): void {
    this.#giveBack?.();
    this.#giveBack = undefined;
  }
}
