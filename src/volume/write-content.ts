/**
 * A stream on its way into stripes: cut, sealed, named, spread; several at once, in bounded memory.
 * Of a hybrid each cut is stored once for each encoding, one after the other.
 * Each stripe's reference is durable before its first shard is written (ruling 13), and its extent
 * is recorded only when all its shards are durable.
 */
import {
  HoldfastError,
  LIMITS,
  type Policy,
  type Scheme,
  type StripeId,
  throwIfAborted,
} from '../base/index.ts';
import type { Extent, Holder, Namespace, References, Session } from '../meta/index.ts';
import type { PreparedStripe, StripeStore } from '../stripes/index.ts';
import { type Content, type ContentSource, sourceOf } from './content-source.ts';
import { type Cut, cutContent, cutPlainly } from './cut-content.ts';
import type { StripeKeys } from './stripe-keys.ts';

export interface WriteContext {
  readonly namespace: Namespace;
  readonly references: References;
  readonly stripes: StripeStore;
  readonly stripeKeys: StripeKeys;
  readonly session: Session;
  readonly holder: Holder;
  readonly policy: Policy;
  /** Whether to be content, where stores are away, with fewer shards than the policy says. */
  readonly mayDegrade: boolean;
  /** For keys that follow from the content; without it they are random. */
  readonly secret: Uint8Array | undefined;
  readonly signal: AbortSignal | undefined;
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
  /** Every stripe named so far: for the confirmation, or for undoing it. */
  readonly named: StripeId[] = [];
  readonly #context: WriteContext;
  readonly #contentDigests: Uint8Array[] = [];
  readonly #underWay = new Set<Promise<void>>();
  #extents: Extent[] = [];
  #sizeBytes = 0;
  #knownStripes = 0;
  #degradedTo: number | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(context: WriteContext) {
    this.#context = context;
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
      knownStripes: this.#knownStripes,
      degradedTo: this.#degradedTo,
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
    const { policy, stripeKeys, holder } = this.#context;
    for (const [encoding, scheme] of policy.entries()) {
      using prepared = await this.#prepare(cut, scheme);
      const { stripe, schemeNumber, contentBytes, key } = prepared;
      if (encoding === 0) this.#contentDigests[index] = prepared.contentDigest;
      await this.#nameAndSpread(prepared);
      const place = { encoding, offset, lengthBytes: contentBytes, stripe, schemeNumber };
      this.#extents.push(stripeKeys.wrap(holder.inode, place, key));
      if (this.#extents.length >= LIMITS.stripesPerEntryMax) await this.#stage();
    }
  }

  async #prepare(cut: Cut, scheme: Scheme): Promise<PreparedStripe> {
    const { stripes, secret, signal } = this.#context;
    if (!('buffer' in cut)) {
      return await prepareBytes(stripes, cut.bytes, { scheme, secret, signal });
    }
    try {
      return await stripes.prepare(cut.buffer, cut.contentBytes, { scheme, secret });
    } catch (error) {
      cut.buffer[Symbol.dispose]();
      throw error;
    }
  }

  async #nameAndSpread(prepared: PreparedStripe): Promise<void> {
    const { references, stripes, session, holder, signal, mayDegrade } = this.#context;
    this.named.push(prepared.stripe);
    // No more than this: the rest of what was prepared, its key too, must not leave the node.
    const { stripe, schemeNumber, chunkBytes } = prepared;
    const stripesWanted = [{ stripe, schemeNumber, chunkBytes }];
    const [answer] = await references.add({ session, holder, stripes: stripesWanted });
    if (answer!.isStored && (await this.#isWhole(prepared))) {
      this.#knownStripes += 1;
      return;
    }
    const { generation } = answer!;
    const { durableCount, isDegraded } = await stripes.spread(prepared, { generation, signal });
    if (!isDegraded) return;
    if (!mayDegrade) {
      const text = `only ${durableCount} of ${prepared.scheme.n} shards could be stored`;
      throw new HoldfastError('HF_TOO_FEW_STORES', text);
    }
    const spare = durableCount - prepared.scheme.k;
    this.#degradedTo = Math.min(spare, this.#degradedTo ?? spare);
  }

  /**
   * A stripe may have lost shards since it was stored; this put promises all of them (ruling 9).
   */
  async #isWhole({ stripe, schemeNumber }: PreparedStripe): Promise<boolean> {
    return (await this.#context.stripes.inspect(stripe, schemeNumber)).isWhole;
  }

  async #stage(): Promise<void> {
    const full = this.#extents;
    this.#extents = [];
    await this.#context.namespace.stageExtents(this.#context.holder.inode, full);
  }
}

/** A stripe of bytes that stay as they are, so that they can be stored otherwise as well. */
export async function prepareBytes(
  stripes: StripeStore,
  bytes: Uint8Array,
  options: {
    readonly scheme: Scheme;
    readonly secret?: Uint8Array | undefined;
    readonly key?: Uint8Array | undefined;
    readonly signal: AbortSignal | undefined;
  },
): Promise<PreparedStripe> {
  const { scheme, signal } = options;
  if (bytes.length < LIMITS.copyContentBytesMax) return stripes.prepareShort(bytes, options);
  const buffer = await stripes.lease(scheme, { signal });
  try {
    buffer.content.set(bytes);
    return await stripes.prepare(buffer, bytes.length, options);
  } catch (error) {
    buffer[Symbol.dispose]();
    throw error;
  }
}
