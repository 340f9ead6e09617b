/**
 * The contents of a run: a small pool, so that the same bytes are put again and again and stripes
 * are shared, let go and named anew. A content is known by its number; bytes that are none of them
 * are wrong bytes.
 */
import { type Address, bytesEqual, KiB, MiB, xxh64 } from '../src/base/index.ts';
import type { ObjectInfo } from '../src/volume/index.ts';
import { ABSENT } from './model.ts';
import type { SeededRandom } from './random.ts';
import { Violation } from './violation.ts';

/** Sizes at which something changes: nothing, padding, copies and shards. */
const EDGE_SIZES = [0, 1, 4095, 4096, 64 * KiB - 1, 64 * KiB, 64 * KiB + 1] as const;

export const EMPTY_CONTENT = 0;

export class Contents {
  readonly #bytes: Uint8Array[] = [new Uint8Array()];
  readonly #byHash = new Map<bigint, number>();
  /** Learned from the answers to puts. */
  readonly addresses = new Map<number, Address>();

  constructor(random: SeededRandom, count: number) {
    // More than a stripe holds: rare, as it takes its time.
    const hasLarge = random.chance(0.03);
    for (let i = 1; i < count; i++) {
      const size = hasLarge && i === 1 ? 10 * MiB + random.below(MiB) : randomSize(random);
      this.#bytes.push(random.bytes(size));
    }
    // Contents of no or one byte may be equal: the first number stands for all.
    const all = [...this.#bytes.entries()].reverse();
    for (const [number, bytes] of all) this.#byHash.set(xxh64(bytes), number);
  }

  get count(): number {
    return this.#bytes.length;
  }

  bytesOf(content: number): Uint8Array {
    return this.#bytes[content]!;
  }

  /** @returns `undefined` when these bytes were never put. */
  numberOf(bytes: Uint8Array): number | undefined {
    const number = this.#byHash.get(xxh64(bytes));
    const isSame = number !== undefined && bytesEqual(bytes, this.bytesOf(number));
    return isSame ? number : undefined;
  }

  /** Learns the address of a content from the answer to a put. */
  learn({ address, sizeBytes }: ObjectInfo, content: number): void {
    const known = this.addresses.get(content);
    if (sizeBytes !== this.bytesOf(content).length) {
      throw new Violation(`a put of ${sizeBytes} bytes is said to have other ones`);
    }
    if (known !== undefined && known !== address) {
      throw new Violation('the same content has two addresses');
    }
    this.addresses.set(content, address);
  }

  /**
   * Which content an entry of a list stands for, by its address.
   * @param possible what may be under its name: the address of a put without answer is not known.
   */
  ofEntry({ address, sizeBytes, key, id }: ObjectInfo, possible: ReadonlySet<number>): number {
    if (sizeBytes === 0) return EMPTY_CONTENT;
    for (const [content, known] of this.addresses) if (known === address) return content;
    const isOfSize = (value: number): boolean =>
      value !== ABSENT && this.bytesOf(value).length === sizeBytes;
    const content = [...possible].find(isOfSize);
    if (content === undefined) throw new Violation(`${key ?? id}: nothing of this size was put`);
    return content;
  }

  /** A number that stands for these bytes. */
  pick(random: SeededRandom): number {
    return this.numberOf(this.bytesOf(random.below(this.count)))!;
  }

  /** The bytes in pieces, as a stream brings them. */
  async *stream(content: number, random: SeededRandom): AsyncGenerator<Uint8Array> {
    const bytes = this.bytesOf(content);
    const pieceBytes = random.pick([1000, 16 * KiB, 64 * KiB, 256 * KiB, 11 * MiB]);
    for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.slice(at, at + pieceBytes);
  }
}

function randomSize(random: SeededRandom): number {
  if (random.chance(0.3)) return random.pick(EDGE_SIZES);
  if (random.chance(0.5)) return random.below(64 * KiB);
  return 64 * KiB + random.below(236 * KiB);
}
