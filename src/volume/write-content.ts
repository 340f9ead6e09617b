/**
 * A stream on its way into stripes: cut, and each cut stored, several at once, in bounded memory.
 */
import { LIMITS, type StripeId, throwIfAborted } from '../base/index.ts';
import type { Extent, Namespace } from '../meta/index.ts';
import { type Content, type ContentSource, sourceOf } from './content-source.ts';
import { type Cut, cutContent, cutPlainly } from './cut-content.ts';
import { type StripeContext, StripeWriter } from './store-cut.ts';

export interface WriteContext extends StripeContext {
  readonly namespace: Namespace;
}

export interface WrittenContent {
  readonly sizeBytes: number;
  /** Extents that are not staged yet. */
  readonly extents: readonly Extent[];
  /** In the order of the content. */
  readonly contentDigests: readonly Uint8Array[];
  readonly stripeCount: number;
  readonly knownStripes: number;
  /** Fewest shards that a stripe may still lose; `undefined` when each has its full number. */
  readonly degradedTo: number | undefined;
}

export class ContentWriter {
  readonly #context: WriteContext;
  readonly #stripes: StripeWriter;
  readonly #contentDigests: Uint8Array[] = [];
  readonly #underWay = new Set<Promise<void>>();
  #extents: Extent[] = [];
  #sizeBytes = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(context: WriteContext) {
    this.#context = context;
    this.#stripes = new StripeWriter(context);
  }

  /** Every stripe named so far: for the confirmation, or for undoing it. */
  get named(): readonly StripeId[] {
    return this.#stripes.named;
  }

  /**
   * Takes it whole. When it throws nothing is under way any more.
   * @throws HF_TOO_FEW_STORES, also when a stripe is degraded and may not be; as the stores throw.
   */
  async write(content: Content): Promise<WrittenContent> {
    const { signal, policy } = this.#context;
    // The cuts of a hybrid are in memory besides its stripes.
    const inFlightMax = LIMITS.stripesInFlightMax / (policy.length === 1 ? 1 : 2);
    await using source = sourceOf(content);
    try {
      for await (const cut of this.#cuts(source)) {
        this.#start(cut);
        if (this.#underWay.size >= inFlightMax) await Promise.race(this.#underWay);
        if (this.#failure) break;
        throwIfAborted(signal);
      }
    } finally {
      await Promise.all(this.#underWay);
    }
    if (this.#failure) throw this.#failure.error;
    return {
      sizeBytes: this.#sizeBytes,
      extents: this.#extents,
      contentDigests: this.#contentDigests,
      stripeCount: this.named.length,
      knownStripes: this.#stripes.knownStripes,
      degradedTo: this.#stripes.degradedTo,
    };
  }

  /** A hybrid's cuts are cut for its narrowest encoding, and kept until all have them. */
  #cuts(source: ContentSource): AsyncGenerator<Cut> {
    const { stripes, policy, signal } = this.#context;
    const [scheme, ...others] = policy;
    if (others.length === 0) return cutContent(source, () => stripes.lease(scheme, { signal }));
    return cutPlainly(source, Math.min(...policy.map((each) => stripes.contentBytesFor(each))));
  }

  /** Sends one cut on its way; the first failure is kept for `write` to throw. */
  #start(cut: Cut): void {
    const position = { offset: this.#sizeBytes, index: this.#contentDigests.length };
    this.#sizeBytes += 'buffer' in cut ? cut.contentBytes : cut.bytes.length;
    this.#contentDigests.push(new Uint8Array());
    const stored = this.#store(cut, position)
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#underWay.delete(stored));
    this.#underWay.add(stored);
  }

  async #store(cut: Cut, { offset, index }: { offset: number; index: number }): Promise<void> {
    const stored = await this.#stripes.store(cut, offset, (extent) => this.#record(extent));
    this.#contentDigests[index] = stored.contentDigest;
  }

  async #record(extent: Extent): Promise<void> {
    this.#extents.push(extent);
    if (this.#extents.length >= LIMITS.stripesPerEntryMax) await this.#stage();
  }

  async #stage(): Promise<void> {
    const full = this.#extents;
    this.#extents = [];
    await this.#context.namespace.stageExtents(this.#context.holder.inode, full);
  }
}
