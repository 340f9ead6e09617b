/** Reads what is committed of a file: parts of stripes through the cache, holes as zeros. */
import { LIMITS, mapBounded } from '../../base/index.ts';
import type { Extent } from '../../meta/index.ts';
import type { StripeRef } from '../../stripes/index.ts';
import { isFinal, readElsewhere } from '../read-content.ts';
import type { Part } from './extent-map.ts';
import type { FilesContext } from './files-context.ts';
import type { FileState } from './file-state.ts';

export interface Target {
  readonly target: Uint8Array;
  /** Where in the file the target begins. */
  readonly offset: number;
  /** More will be asked for behind it: whole stripes are read where that pays. */
  readonly isSequential?: boolean | undefined;
}

export class CommittedReader {
  readonly #context: FilesContext;
  readonly #state: FileState;
  /** By the wrapped ones. */
  readonly #keys = new WeakMap<Uint8Array, Uint8Array>();

  constructor(context: FilesContext, state: FileState) {
    this.#context = context;
    this.#state = state;
  }

  /** @throws as stripes are read. */
  async fill(parts: readonly Part[], to: Target): Promise<void> {
    const stored = parts.filter(({ extent }) => extent);
    for (const { start, end, extent } of parts) {
      if (!extent) to.target.fill(0, start - to.offset, end - to.offset);
    }
    await mapBounded(stored, LIMITS.stripesInFlightMax, (part) => this.#fillPart(part, to));
  }

  /** Has stripes read that are wanted whole soon. */
  prefetch(parts: readonly Part[]): void {
    for (const { extent } of parts) {
      if (extent && isMostlySeen(extent)) this.#context.cache.prefetch(this.#refOf(extent));
    }
  }

  async #fillPart(part: Part, { target, offset, isSequential = false }: Target): Promise<void> {
    const { start, end } = part;
    const extent = part.extent!;
    const within = target.subarray(start - offset, end - offset);
    const whole = extent.whole ?? extent;
    const range = { start: start - whole.offset, end: end - whole.offset };
    try {
      const isWhole = isSequential && isMostlySeen(extent);
      await this.#context.cache.copy(this.#refOf(extent), range, { target: within, isWhole });
    } catch (error) {
      const bytes = isFinal(error) ? undefined : await this.#readElsewhere(part);
      if (!bytes) throw error;
      within.set(bytes);
    }
  }

  /** From another encoding. */
  async #readElsewhere({ start, end }: Part): Promise<Uint8Array | undefined> {
    const { inode, committed } = this.#state;
    const encodings = [...committed.schemeNumbers.keys()].slice(1);
    const range = { offset: start, lengthBytes: end - start };
    return await readElsewhere(this.#context, inode, range, { encodings, signal: undefined });
  }

  #refOf(extent: Extent): StripeRef {
    const { stripe, schemeNumber, wrappedKey, whole = extent } = extent;
    let key = this.#keys.get(wrappedKey);
    if (!key) {
      key = this.#context.stripeKeys.unwrap(this.#state.inode, extent);
      this.#keys.set(wrappedKey, key);
    }
    return { stripe, schemeNumber, key, contentBytes: whole.lengthBytes };
  }
}

/** Most of its stripe is content still. */
function isMostlySeen({ lengthBytes, whole }: Extent): boolean {
  return !whole || lengthBytes * 2 >= whole.lengthBytes;
}
