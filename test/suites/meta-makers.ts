/** Stripe ids and extents for tests of the metadata plane. */
import { stripeId, type StripeId, utf8 } from '../../src/base/index.ts';
import type { Extent } from '../../src/meta/index.ts';

/** A stripe id that begins with the two bytes of `seed`. */
export function stripeOf(seed: number): StripeId {
  const digest = new Uint8Array(32).fill(seed & 0xff);
  digest[0] = (seed >> 8) & 0xff;
  digest[1] = seed & 0xff;
  return stripeId(digest);
}

export function extentOf(offset: number, lengthBytes: number, seed: number, encoding = 0): Extent {
  const wrappedKey = utf8('wrapped');
  return { encoding, offset, lengthBytes, stripe: stripeOf(seed), schemeNumber: 3, wrappedKey };
}
