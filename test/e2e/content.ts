/**
 * Content for tests, made from a seed and checked without keeping it: files that are larger than
 * memory should hold, and many small ones. Also the bytes on disk: found, flipped.
 */
import { createCipheriv, createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';

const PIECE_BYTES = 1024 * 1024;

/** Numbers below 1 that look random and repeat for a seed (Marsaglia's xorshift32). */
export function seededRandom(seed: number): () => number {
  let state = (Math.imul(seed, 2654435761) ^ 0x9e3779b9) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** A whole number from 0 to `count` − 1. */
export function below(random: () => number, count: number): number {
  return Math.floor(random() * count);
}

/** `count` different ones of the items. */
export function pick<Item>(
  random: () => number,
  { from, count }: { from: readonly Item[]; count: number },
): Item[] {
  const left = [...from];
  return Array.from({ length: count }, () => left.splice(below(random, left.length), 1)[0]!);
}

/** Bytes that no compression shortens, the same for the same seed. */
export async function* seededContent(
  seed: number | string,
  byteCount: number,
): AsyncGenerator<Buffer> {
  const key = createHash('sha256').update(`content ${seed}`).digest();
  const stream = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  const zeros = Buffer.alloc(PIECE_BYTES);
  for (let left = byteCount; left > 0; left -= PIECE_BYTES) {
    yield stream.update(zeros.subarray(0, Math.min(left, PIECE_BYTES)));
  }
}

export async function seededBytes(seed: number | string, byteCount: number): Promise<Buffer> {
  return await bytesOf(seededContent(seed, byteCount));
}

export async function bytesOf(content: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content) pieces.push(piece);
  return Buffer.concat(pieces);
}

export interface Written {
  readonly file: string;
  readonly sizeBytes: number;
  /** SHA-256 of its bytes. */
  readonly digest: string;
}

/** Writes a file of seeded content. */
export async function writeSeeded(
  file: string,
  { seed, sizeBytes }: { seed: number | string; sizeBytes: number },
): Promise<Written> {
  await pipeline(seededContent(seed, sizeBytes), createWriteStream(file));
  return { file, sizeBytes, digest: await digestOf(seededContent(seed, sizeBytes)) };
}

export async function digestOf(content: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of content) hash.update(piece);
  return hash.digest('hex');
}

export async function fileDigest(file: string): Promise<string> {
  return await digestOf(createReadStream(file, { highWaterMark: PIECE_BYTES }));
}

/** Paths of the files below a folder, sockets left out. */
export async function filesUnder(folder: string): Promise<string[]> {
  const entries = await fs.readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .toSorted();
}

/** Changes one byte in place, durably: every bit of `mask` is turned. */
export async function flipByte(file: string, offset: number, mask = 0xff): Promise<void> {
  await using handle = await fs.open(file, 'r+');
  const byte = Buffer.alloc(1);
  const { bytesRead } = await handle.read(byte, 0, 1, offset);
  if (bytesRead !== 1) throw new Error(`${file} has no byte at ${offset}`);
  byte[0]! ^= mask;
  await handle.write(byte, 0, 1, offset);
  await handle.datasync();
}
