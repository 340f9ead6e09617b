/**
 * Where the content of a file is, as far as it was looked up: the extents of its first encoding, or
 * all of it inline. Kept in step with the file's own commits. What others commit is seen when the
 * map is dropped (close-to-open).
 *
 * *Known*: a range of which all extents are here. Inline content is known whole, or not at all.
 */
import { assert, firstWhere, LIMITS, toHex } from '../../base/index.ts';
import type { Extent, ExtentPlace, InlineContent } from '../../meta/index.ts';
import type { ByteRange } from './dirty-window.ts';

/** A part of a range: in an extent, inline, or in neither (zeros). */
export interface Part extends ByteRange {
  readonly extent: Extent | undefined;
  readonly inline?: InlineContent | undefined;
}

export function isHole({ extent, inline }: Part): boolean {
  return !extent && !inline;
}

/** Whether they are of the same stripes, or of the same inline content. */
export function areSame(a: readonly Part[], b: readonly Part[]): boolean {
  const name = ({ start, extent, inline }: Part): string =>
    `${start} ${toHex(extent?.stripe ?? inline?.sealed ?? new Uint8Array())}`;
  return a.map(name).join() === b.map(name).join();
}

/** Where a map looks things up. */
export interface MapSource {
  /** From a place on, as `Namespace.extents`. */
  readonly extents: (from: ExtentPlace) => Promise<readonly Extent[]>;
  /** Whether all there is, is inline, as far as is known. */
  readonly isInline: () => boolean;
  /** Asks for the inode, with inline content; the map is told of it when there is news. */
  readonly refresh: () => Promise<unknown>;
}

export class ExtentMap {
  readonly #source: MapSource;
  #inline: InlineContent | undefined;
  /** In order, none meets another. */
  #extents: Extent[] = [];
  /** In order, neither meeting nor touching. */
  #known: ByteRange[] = [];
  /** Rises with each change that a look-up under way may not know of. */
  #changes = 0;

  constructor(source: MapSource) {
    this.#source = source;
  }

  get extentCount(): number {
    return this.#extents.length;
  }

  /** Forgets all. */
  drop(): void {
    this.#changes += 1;
    this.#inline = undefined;
    this.#extents = [];
    this.#known = [];
  }

  /** There are no extents: all content is inline, or there is none. */
  learnInline(inline: InlineContent | undefined): void {
    this.drop();
    this.#inline = inline && inline.lengthBytes > 0 ? inline : undefined;
    this.#known = [{ start: 0, end: Infinity }];
  }

  /** Resolves when the range is known. It may be dropped the moment after. */
  async look(range: ByteRange): Promise<void> {
    for (;;) {
      const from = this.#unknownFrom(range);
      if (from === undefined) return;
      const changes = this.#changes;
      if (this.#source.isInline()) {
        await this.#source.refresh();
        continue;
      }
      const { extents, end } = await this.#pageFrom(from);
      // What has none may have become inline.
      if (extents.length === 0) await this.#source.refresh();
      if (changes === this.#changes) this.#replace({ start: from, end }, extents);
    }
  }

  /** All extents that meet the range from an offset up to `end`, which is behind it. */
  async #pageFrom(from: number): Promise<{ extents: readonly Extent[]; end: number }> {
    // The first of them begins less than a stripe before it.
    let offset = Math.max(0, from - LIMITS.stripeBytesMax);
    for (;;) {
      const page = await this.#source.extents({ encoding: 0, offset });
      const extents = page.filter(({ encoding }) => encoding === 0);
      const last = extents.at(-1);
      const isEnd = extents.length < page.length || page.length < LIMITS.listPageMax;
      if (isEnd || !last) return { extents, end: Infinity };
      const end = last.offset + last.lengthBytes;
      if (end > from) return { extents, end };
      offset = last.offset + 1;
    }
  }

  /** The parts of a range, as they are when it is known. */
  async partsOf(range: ByteRange): Promise<Part[]> {
    do await this.look(range);
    while (!this.isKnown(range));
    return [...this.parts(range)];
  }

  isKnown(range: ByteRange): boolean {
    return this.#unknownFrom(range) === undefined;
  }

  /** Where what is known from an offset on ends. */
  knownTo(offset: number): number {
    return this.#known.find(({ start, end }) => start <= offset && offset < end)?.end ?? offset;
  }

  /** The parts of a known range, in order. */
  *parts({ start, end }: ByteRange): Generator<Part> {
    let position = start;
    const inline = this.#inline;
    if (inline && position < Math.min(end, inline.lengthBytes)) {
      position = Math.min(end, inline.lengthBytes);
      yield { start, end: position, extent: undefined, inline };
    }
    for (let index = this.#firstAfter(start); position < end; index++) {
      const extent = this.#extents[index];
      const from = extent ? Math.min(end, extent.offset) : end;
      if (from > position) yield { start: position, end: from, extent: undefined };
      if (!extent || extent.offset >= end) return;
      const to = Math.min(end, extent.offset + extent.lengthBytes);
      yield { start: Math.max(position, extent.offset), end: to, extent };
      position = to;
    }
  }

  countWithin(range: ByteRange): number {
    const next = this.#firstAt(range.end);
    return next - this.#firstAfter(range.start);
  }

  /** As a commit leaves it; extents of other encodings are passed over. */
  commit(extents: readonly Extent[], holes: readonly ByteRange[] = []): void {
    this.#changes += 1;
    if (extents.length + holes.length > 0) this.#inline = undefined;
    for (const hole of holes) this.#replace(hole, []);
    for (const extent of extents) {
      const { encoding, offset, lengthBytes } = extent;
      if (encoding === 0) this.#replace({ start: offset, end: offset + lengthBytes }, [extent]);
    }
  }

  /** As cutting the file leaves it. */
  truncate(sizeBytes: number): void {
    this.#changes += 1;
    if (this.#inline) {
      const lengthBytes = Math.min(this.#inline.lengthBytes, sizeBytes);
      this.learnInline({ ...this.#inline, lengthBytes });
    }
    const rest = { start: sizeBytes, end: Infinity };
    if (this.#known.length > 0) this.#replace(rest, []);
  }

  /** What is known of a range from now on: these extents, as far as they lie in it. */
  #replace(range: ByteRange, extents: readonly Extent[]): void {
    const first = this.#firstAfter(range.start);
    const next = Math.max(first, this.#firstAt(range.end));
    const left = first < next ? this.#extents[first] : undefined;
    const right = first < next ? this.#extents[next - 1] : undefined;
    const placed = [
      left && clipped(left, { start: 0, end: range.start }),
      ...extents.map((extent) => clipped(extent, range)),
      right && clipped(right, { start: range.end, end: Infinity }),
    ];
    this.#extents.splice(first, next - first, ...placed.filter((each) => each !== undefined));
    this.#learn(range);
  }

  #learn(range: ByteRange): void {
    const apart = this.#known.filter(({ start, end }) => end < range.start || start > range.end);
    const joined = this.#known.filter((each) => !apart.includes(each));
    const start = Math.min(range.start, ...joined.map((each) => each.start));
    const end = Math.max(range.end, ...joined.map((each) => each.end));
    this.#known = [...apart, { start, end }].toSorted((a, b) => a.start - b.start);
  }

  /** Where of a range something is not known. */
  #unknownFrom({ start, end }: ByteRange): number | undefined {
    if (start >= end) return undefined;
    const known = this.#known.find((each) => each.start <= start && start < each.end);
    if (!known) return start;
    return known.end >= end ? undefined : known.end;
  }

  /** The first extent that ends after an offset. */
  #firstAfter(offset: number): number {
    return firstWhere(this.#extents, (extent) => extent.offset + extent.lengthBytes > offset);
  }

  /** The first extent that begins there or later. */
  #firstAt(offset: number): number {
    return firstWhere(this.#extents, (extent) => extent.offset >= offset);
  }
}

/** What of an extent lies in a range. */
function clipped(extent: Extent, range: ByteRange): Extent | undefined {
  const { offset, lengthBytes } = extent;
  const start = Math.max(offset, range.start);
  const end = Math.min(offset + lengthBytes, range.end);
  if (start >= end) return undefined;
  if (end - start === lengthBytes) return extent;
  assert(lengthBytes > 0, 'an extent has bytes');
  const whole = extent.whole ?? { offset, lengthBytes };
  return { ...extent, offset: start, lengthBytes: end - start, whole };
}
