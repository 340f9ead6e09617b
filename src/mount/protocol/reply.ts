/**
 * One reply as the kernel reads it, written into memory that is made once: header, structs, bytes.
 * Large content stays where it is and is sent along (*tail*). The kernel wants one write for each
 * reply whose length is in its header, and for an error the header alone.
 * Source: fs/fuse/dev.c of the Linux kernel (fuse_dev_do_write).
 */
import { assert } from '../../base/index.ts';
import type { Errno } from '../errno.ts';
import type { Attributes, Entry, InodeNumber, KnownAttributes, NoEntry } from '../inode.ts';
import type { At16, At32, At64 } from './struct.ts';
import { ATTR_OUT, ATTRIBUTES, ENTRY_OUT, OUT_HEADER } from './structs.ts';

const TWO_TO_32 = 2 ** 32;
/** st_blocks counts these. */
const STAT_BLOCK_BYTES = 512;
/** What stat(2) recommends for reads and writes; the kernel's page. */
const BLOCK_BYTES = 4096;
/** Copying up to here is faster than to send two parts: 0.5 against 0.7 µs a call. */
const COPIED_BYTES_MAX = 64 * 1024;

export class Reply {
  readonly buffer: Buffer;
  /** Bytes of `buffer` that count. */
  length: number = OUT_HEADER.bytes;
  /** What follows them. */
  tail: readonly Uint8Array[] = [];
  /** The inodes that the kernel gets to know, as often as it does. */
  readonly known: InodeNumber[] = [];
  readonly #words: Uint32Array;
  readonly #halves: Uint16Array;
  readonly #longs: BigUint64Array;
  /** Where the struct begins that fields are put into. */
  #base = 0;

  constructor(bytes: number) {
    const memory = new ArrayBuffer(bytes);
    this.buffer = Buffer.from(memory);
    this.#words = new Uint32Array(memory);
    this.#halves = new Uint16Array(memory);
    this.#longs = new BigUint64Array(memory);
  }

  /** Forgets the previous reply. */
  clear(): void {
    this.length = OUT_HEADER.bytes;
    this.tail = [];
    this.known.length = 0;
  }

  /** Completes the header of what was put in. */
  finish(unique: number): void {
    const tailBytes = this.tail.reduce((sum, part) => sum + part.length, 0);
    this.#header(unique, { length: this.length + tailBytes, error: 0 });
  }

  /** Makes it say that the request has failed; 0: it has succeeded, and there is no more to say. */
  fail(unique: number, errno: Errno): void {
    this.clear();
    this.#header(unique, { length: this.length, error: -errno });
  }

  #header(unique: number, { length, error }: { length: number; error: number }): void {
    this.#base = 0;
    this.u32(OUT_HEADER.length, length);
    this.u32(OUT_HEADER.error, error);
    this.u64(OUT_HEADER.unique, unique);
  }

  /** Appends a struct of zeros; its fields are put in by what follows. */
  add(struct: { readonly bytes: number }): void {
    this.#base = this.length;
    this.length += struct.bytes;
    assert(this.length <= this.buffer.length, 'the reply fits its buffer');
    this.#words.fill(0, this.#base >>> 2, this.length >>> 2);
  }

  u16(at: At16, value: number): void {
    this.#halves[(this.#base + at) >>> 1] = value;
  }

  u32(at: At32, value: number): void {
    this.#words[(this.#base + at) >>> 2] = value;
  }

  /** A whole number within ± 2^53. */
  u64(at: At64, value: number): void {
    const index = (this.#base + at) >>> 2;
    this.#words[index] = value;
    this.#words[index + 1] = Math.floor(value / TWO_TO_32);
  }

  big64(at: At64, value: bigint): void {
    this.#longs[(this.#base + at) >>> 3] = value;
  }

  /** Appends a copy. */
  bytes(bytes: Uint8Array): void {
    assert(this.length + bytes.length <= this.buffer.length, 'the reply fits its buffer');
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Appends content: a copy of a little, else the memory itself, which is sent at once. */
  content(parts: readonly Uint8Array[], totalBytes: number): void {
    if (totalBytes > COPIED_BYTES_MAX) this.tail = parts;
    else for (const part of parts) this.bytes(part);
  }

  /** Appends an entry; for none one that says so. */
  entry(entry: Entry | NoEntry): void {
    this.add(ENTRY_OUT);
    this.u64(ENTRY_OUT.entrySeconds, Math.floor(entry.entryMs / 1000));
    this.u32(ENTRY_OUT.entryNanoseconds, nanosecondsOf(entry.entryMs));
    if (entry.inode === undefined) {
      this.add(ATTRIBUTES);
      return;
    }
    this.u64(ENTRY_OUT.inode, entry.inode);
    this.u64(ENTRY_OUT.attributesSeconds, Math.floor(entry.attributesMs / 1000));
    this.u32(ENTRY_OUT.attributesNanoseconds, nanosecondsOf(entry.attributesMs));
    this.#attributes(entry.attributes);
    this.known.push(entry.inode);
  }

  attributes({ attributes, attributesMs }: KnownAttributes): void {
    this.add(ATTR_OUT);
    this.u64(ATTR_OUT.attributesSeconds, Math.floor(attributesMs / 1000));
    this.u32(ATTR_OUT.attributesNanoseconds, nanosecondsOf(attributesMs));
    this.#attributes(attributes);
  }

  #attributes(attributes: Attributes): void {
    const { accessed, modified, changed } = attributes;
    this.add(ATTRIBUTES);
    this.big64(ATTRIBUTES.inode, attributes.inode);
    this.u64(ATTRIBUTES.sizeBytes, attributes.sizeBytes);
    this.u64(ATTRIBUTES.blockCount, Math.ceil(attributes.storedBytes / STAT_BLOCK_BYTES));
    this.u64(ATTRIBUTES.accessedSeconds, accessed.seconds);
    this.u64(ATTRIBUTES.modifiedSeconds, modified.seconds);
    this.u64(ATTRIBUTES.changedSeconds, changed.seconds);
    this.u32(ATTRIBUTES.accessedNanoseconds, accessed.nanoseconds);
    this.u32(ATTRIBUTES.modifiedNanoseconds, modified.nanoseconds);
    this.u32(ATTRIBUTES.changedNanoseconds, changed.nanoseconds);
    this.u32(ATTRIBUTES.mode, attributes.mode);
    this.u32(ATTRIBUTES.linkCount, attributes.linkCount);
    this.u32(ATTRIBUTES.uid, attributes.uid);
    this.u32(ATTRIBUTES.gid, attributes.gid);
    this.u32(ATTRIBUTES.deviceNumber, attributes.deviceNumber);
    this.u32(ATTRIBUTES.blockBytes, BLOCK_BYTES);
  }
}

function nanosecondsOf(ms: number): number {
  return (ms % 1000) * 1_000_000;
}
