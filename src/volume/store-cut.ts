/**
 * One cut of content on its way into stripes: sealed, named, spread; of a hybrid once for each
 * encoding, one after the other. The stripe's reference is durable before its first shard is
 * written (ruling 13), and its extent is there only when all its shards are durable.
 */
import {
  batchesOf,
  HoldfastError,
  LIMITS,
  type Policy,
  type Scheme,
  type StripeId,
} from '../base/index.ts';
import type { Extent, Holder, References, Session } from '../meta/index.ts';
import type { PreparedStripe, StripeStore } from '../stripes/index.ts';
import type { Cut } from './cut-content.ts';
import type { StripeKeys } from './stripe-keys.ts';

export interface StripeContext {
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

/** Stores the cuts of one holder, several at once if its caller likes. */
export class StripeWriter {
  /** Every stripe named so far: for the confirmation, or for undoing it. */
  readonly named: StripeId[] = [];
  readonly #context: StripeContext;
  #knownStripes = 0;
  #degradedTo: number | undefined;

  constructor(context: StripeContext) {
    this.#context = context;
  }

  /** Stripes that were stored already. */
  get knownStripes(): number {
    return this.#knownStripes;
  }

  /** Fewest shards that a stripe may still lose; `undefined` when each has its full number. */
  get degradedTo(): number | undefined {
    return this.#degradedTo;
  }

  /**
   * Takes a cut, and gives its buffer back.
   * @param record told of each extent once it may be relied on.
   * @throws HF_TOO_FEW_STORES, also when a stripe is degraded and may not be; as the stores throw.
   */
  async store(
    cut: Cut,
    offset: number,
    record: (extent: Extent) => Promise<void> | void,
  ): Promise<{ readonly contentDigest: Uint8Array }> {
    const { policy, stripeKeys, holder } = this.#context;
    let contentDigest: Uint8Array = new Uint8Array();
    for (const [encoding, scheme] of policy.entries()) {
      using prepared = await this.#prepare(cut, scheme);
      const { stripe, schemeNumber, contentBytes, key } = prepared;
      if (encoding === 0) contentDigest = prepared.contentDigest;
      await this.#nameAndSpread(prepared);
      const place = { encoding, offset, lengthBytes: contentBytes, stripe, schemeNumber };
      await record(stripeKeys.wrap(holder.inode, place, key));
    }
    return { contentDigest };
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
}

/** After the commit: all that the holder has named stays. */
export async function confirmStripes(
  references: References,
  holder: Holder,
  stripes: readonly StripeId[],
): Promise<void> {
  for (const batch of batchesOf(stripes, LIMITS.stripesPerEntryMax)) {
    await references.confirm(holder, batch);
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
