/**
 * Cuts a stream into stripes' worth of content. What is left below LIMITS.copyContentBytesMax at
 * the end is *short*: it comes as a plain array, so small objects never wait for a stripe's buffer.
 */
import { assert, LIMITS } from '../base/index.ts';
import type { StripeBuffer } from '../stripes/index.ts';

/** Content of one stripe; who takes a buffer gives it back. */
export type Cut =
  | { readonly buffer: StripeBuffer; readonly contentBytes: number }
  | { readonly short: Uint8Array };

export async function* cutContent(
  content: AsyncIterable<Uint8Array>,
  lease: () => Promise<StripeBuffer>,
): AsyncGenerator<Cut> {
  const head = new Uint8Array(LIMITS.copyContentBytesMax);
  let buffer: StripeBuffer | undefined;
  let filled = 0;
  try {
    for await (const piece of content) {
      for (let taken = 0; taken < piece.length;) {
        if (!buffer && filled === head.length) buffer = await leaseWith(head, lease);
        const target = buffer?.content ?? head;
        const part = piece.subarray(taken, taken + target.length - filled);
        target.set(part, filled);
        filled += part.length;
        taken += part.length;
        if (!buffer || filled < target.length) continue;
        const full = { buffer, contentBytes: filled };
        buffer = undefined;
        filled = 0;
        yield full;
      }
    }
    if (!buffer && filled === head.length) buffer = await leaseWith(head, lease);
    if (!buffer) {
      if (filled > 0) yield { short: head.subarray(0, filled) };
      return;
    }
    const last = { buffer, contentBytes: filled };
    buffer = undefined;
    yield last;
  } finally {
    buffer?.[Symbol.dispose]();
  }
}

async function leaseWith(
  head: Uint8Array,
  lease: () => Promise<StripeBuffer>,
): Promise<StripeBuffer> {
  const buffer = await lease();
  assert(buffer.content.length >= head.length, 'a stripe holds what is no longer short');
  buffer.content.set(head);
  return buffer;
}
