/**
 * Opened content of stripes, kept for readers in bounded memory. A stripe's id names its bytes for
 * ever, so what is kept never grows old. *Span*: a run of a stripe's content that was read at once;
 * its bounds are segments' (64 KiB) or the stripe's, so that nothing is opened in vain.
 *
 * Memory of spans as large as stripes is used again: fresh pages cost more than decoding does.
 */
import { assert, LIMITS, roundUp, schemeOfNumber, toHex } from '../../base/index.ts';
import type { StripeRef, StripeStore } from '../../stripes/index.ts';
import type { ByteRange } from './dirty-window.ts';

/** Memory of stripes that is kept for the next ones. */
const FREE_MAX = 2;

interface Span extends ByteRange {
  /** Resolves to the same bytes; rejects when they were not to be had. */
  readonly ready: Promise<Uint8Array>;
  /** Readers that look at it. While there are any, its memory is nobody else's. */
  readerCount: number;
  isSettled: boolean;
}

export class StripeCache {
  readonly #stripes: Pick<StripeStore, 'read'>;
  readonly #bytesMax: number;
  /** By stripe; the one used last is the last. */
  readonly #spans = new Map<string, Span[]>();
  readonly #free: Uint8Array[] = [];
  #bytes = 0;
  /** Of those on their way. */
  #readingBytes = 0;

  constructor(stripes: Pick<StripeStore, 'read'>, bytesMax: number) {
    this.#stripes = stripes;
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Copies a range of a stripe's content into `target`.
   * @param isWhole the whole stripe is to be read, for what will be asked for next.
   * @throws as {@link StripeStore.read}.
   */
  async copy(
    ref: StripeRef,
    range: ByteRange,
    { target, isWhole }: { readonly target: Uint8Array; readonly isWhole: boolean },
  ): Promise<void> {
    const span = this.#spanOf(ref, range, isWhole);
    span.readerCount += 1;
    try {
      const bytes = await span.ready;
      target.set(bytes.subarray(range.start - span.start, range.end - span.start));
    } finally {
      span.readerCount -= 1;
    }
  }

  /** Has the whole stripe read, unless it is there, on its way, or enough others are. */
  prefetch(ref: StripeRef): void {
    if (this.#readingBytes + ref.contentBytes > this.#bytesMax / 2) return;
    this.#spanOf(ref, { start: 0, end: ref.contentBytes }, true).ready.catch(() => {});
  }

  #spanOf(ref: StripeRef, range: ByteRange, isWhole: boolean): Span {
    const key = toHex(ref.stripe);
    const spans = this.#spans.get(key) ?? [];
    this.#spans.delete(key);
    this.#spans.set(key, spans);
    const found = spans.find(({ start, end }) => start <= range.start && end >= range.end);
    if (found) return found;
    const wanted =
      isWhole || isReadWhole(ref)
        ? { start: 0, end: ref.contentBytes }
        : aligned(range, ref.contentBytes);
    return this.#read(ref, wanted, { key, spans });
  }

  #read(
    ref: StripeRef,
    { start, end }: ByteRange,
    { key, spans }: { readonly key: string; readonly spans: Span[] },
  ): Span {
    const lengthBytes = end - start;
    this.#makeRoom(lengthBytes, key);
    const range = { offset: start, lengthBytes };
    // Only of a whole stripe nobody reads on when the answer is there.
    const isLarge = lengthBytes > LIMITS.stripeBytesMax / 2 && lengthBytes === ref.contentBytes;
    const target = isLarge ? this.#memory() : undefined;
    const ready = this.#stripes.read(ref, range, { target });
    const span: Span = { start, end, ready, readerCount: 0, isSettled: false };
    spans.push(span);
    this.#bytes += lengthBytes;
    this.#readingBytes += lengthBytes;
    const settle = (): void => {
      span.isSettled = true;
      this.#readingBytes -= lengthBytes;
    };
    ready.then(settle, () => {
      settle();
      this.#forget(key, span);
    });
    return span;
  }

  #memory(): Uint8Array {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(LIMITS.stripeBytesMax);
  }

  /** What was used longest ago goes, but for what is on its way. */
  #makeRoom(bytes: number, except: string): void {
    for (const [key, spans] of this.#spans) {
      if (this.#bytes + bytes <= this.#bytesMax) return;
      if (key === except) continue;
      for (const span of spans.filter(({ isSettled }) => isSettled)) this.#letGo(key, span);
    }
    const own = this.#spans.get(except) ?? [];
    if (this.#bytes + bytes <= this.#bytesMax) return;
    for (const span of own.filter(({ isSettled }) => isSettled)) this.#drop(own, span);
  }

  #letGo(key: string, span: Span): void {
    const { readerCount } = span;
    this.#forget(key, span);
    if (readerCount > 0) return;
    void span.ready.then(({ buffer }) => {
      const isOfStripe = buffer.byteLength === LIMITS.stripeBytesMax;
      if (isOfStripe && this.#free.length < FREE_MAX) this.#free.push(new Uint8Array(buffer));
    });
  }

  #forget(key: string, span: Span): void {
    const spans = this.#spans.get(key);
    if (!spans?.includes(span)) return;
    this.#drop(spans, span);
    if (spans.length === 0) this.#spans.delete(key);
  }

  #drop(spans: Span[], span: Span): void {
    spans.splice(spans.indexOf(span), 1);
    this.#bytes -= span.end - span.start;
    assert(this.#bytes >= 0, 'what is kept is counted');
  }
}

/** To segments, within the stripe. */
function aligned({ start, end }: ByteRange, contentBytes: number): ByteRange {
  const step = LIMITS.segmentBytes;
  return {
    start: Math.floor(start / step) * step,
    end: Math.min(contentBytes, roundUp(end, step)),
  };
}

/** Parts of these cost as much as the whole. */
function isReadWhole({ contentBytes, schemeNumber }: StripeRef): boolean {
  const isShort = contentBytes < LIMITS.copyContentBytesMax;
  return isShort || schemeOfNumber(schemeNumber).kind === 'ida';
}
