/**
 * Cuts content into stripes' worth. What is left below LIMITS.copyContentBytesMax at the end comes
 * as a plain array, so small objects never wait for a stripe's buffer.
 */
import { assert, LIMITS } from '../base/index.ts';
import type { StripeBuffer } from '../stripes/index.ts';
import type { ContentSource } from './content-source.ts';

/** Content of one stripe; who takes a buffer gives it back. */
export type Cut =
  | { readonly buffer: StripeBuffer; readonly contentBytes: number }
  | { readonly bytes: Uint8Array };

export async function* cutContent(
  source: ContentSource,
  lease: () => Promise<StripeBuffer>,
): AsyncGenerator<Cut> {
  for (;;) {
    const head = Buffer.allocUnsafeSlow(LIMITS.copyContentBytesMax);
    const headBytes = await fillWhole(source, head);
    if (headBytes < head.length) {
      if (headBytes > 0) yield { bytes: head.subarray(0, headBytes) };
      return;
    }
    const cut = await fillBuffer(source, head, await lease());
    const isLast = cut.contentBytes < cut.buffer.content.length;
    yield cut;
    if (isLast) return;
  }
}

/** Cuts into plain arrays of `cutBytes`, the last one shorter. */
export async function* cutPlainly(source: ContentSource, cutBytes: number): AsyncGenerator<Cut> {
  for (;;) {
    const bytes = Buffer.allocUnsafeSlow(cutBytes);
    const filled = await fillWhole(source, bytes);
    if (filled > 0) yield { bytes: bytes.subarray(0, filled) };
    if (filled < cutBytes) return;
  }
}

async function fillBuffer(
  source: ContentSource,
  head: Uint8Array,
  buffer: StripeBuffer,
): Promise<{ buffer: StripeBuffer; contentBytes: number }> {
  try {
    const { content } = buffer;
    assert(content.length >= head.length, 'a stripe holds what is no longer short');
    content.set(head);
    const moreBytes = await fillWhole(source, content.subarray(head.length));
    return { buffer, contentBytes: head.length + moreBytes };
  } catch (error) {
    buffer[Symbol.dispose]();
    throw error;
  }
}

/** @returns bytes filled; fewer than the target holds only at the end of the source. */
async function fillWhole(source: ContentSource, target: Uint8Array): Promise<number> {
  let filled = 0;
  while (filled < target.length) {
    const count = await source.fill(target.subarray(filled));
    if (count === 0) break;
    filled += count;
  }
  return filled;
}
