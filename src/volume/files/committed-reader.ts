/**
 * Reads what is committed of a file: parts of stripes through the cache, inline content, holes as
 * zeros.
 */
import { HoldfastError, LIMITS, mapBounded } from '../../base/index.ts';
import type { Extent } from '../../meta/index.ts';
import type { StripeRef } from '../../stripes/index.ts';
import { isFinal, readElsewhere } from '../read-content.ts';
import type { ByteRange } from './dirty-window.ts';
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
    for (const part of parts) {
      if (!part.extent) this.#fillPlainly(part, to);
    }
    await mapBounded(stored, LIMITS.stripesInFlightMax, (part) => this.#fillPart(part, to));
  }

  /** Zeros, or inline content, which is authenticated each time. */
  #fillPlainly({ start, end, inline }: Part, { target, offset }: Target): void {
    if (!inline) {
      target.fill(0, start - offset, end - offset);
      return;
    }
    const content = this.#context.seals.openedContent(this.#state.inode, inline);
    target.set(content.subarray(start, end), start - offset);
  }

  /**
   * What is committed beside what is stored anew.
   * @throws HF_BUSY when it cannot be read: it may have moved.
   */
  async fillGap(gap: ByteRange, to: Target): Promise<void> {
    if (this.#context.fault === 'drops-edges') return;
    try {
      await this.fill(await this.#state.map.partsOf(gap), to);
    } catch (error) {
      if (isFinal(error)) throw error;
      this.#state.distrust();
      throw new HoldfastError('HF_BUSY', 'what is beside it cannot be read', { cause: error });
    }
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
