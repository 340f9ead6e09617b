/**
 * A library: files that a test has put, with what is needed to see whether they come back byte for
 * byte. Kept as digests; the contents are made again from their seeds.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import path from 'node:path';
import type { ObjectView } from '../../src/api/index.ts';
import { mapBounded } from '../../src/base/index.ts';
import type { HoldfastClient } from '../../src/client/index.ts';
import {
  below,
  digestOf,
  fileDigest,
  seededContent,
  seededRandom,
  writeSeeded,
} from './content.ts';
import type { Bed } from './harness.ts';

/** Commands and requests at once. */
const AT_ONCE = 4;

export interface Book {
  readonly id: string;
  readonly key: string | null;
  readonly fileName: string;
  readonly sizeBytes: number;
  readonly digest: string;
}

export interface LibraryPlan {
  readonly seed: number;
  readonly largeBytes: number;
  readonly smallCount: number;
  /** How many of the small ones go in and out through commands; the others through one client. */
  readonly byCommand: number;
}

/**
 * Sizes at which something changes: empty, copies or shards, one block, one segment, and one off.
 */
const EDGE_BYTES = [0, 1, 4095, 4096, 4097, 65_535, 65_536, 65_537, 131_072, 262_145];

export function smallSize(random: () => number): number {
  if (random() < 0.5) return EDGE_BYTES[below(random, EDGE_BYTES.length)]!;
  return below(random, 200_000);
}

/** Puts a large file and many small ones; every second small one under a key. */
export async function fillLibrary(
  bed: Bed,
  client: HoldfastClient,
  plan: LibraryPlan,
): Promise<Book[]> {
  const { seed, largeBytes, smallCount, byCommand } = plan;
  const random = seededRandom(seed);
  const small = Array.from({ length: smallCount }, (_, number) => ({
    seed: `${seed}-${number}`,
    sizeBytes: smallSize(random),
    fileName: `note ${number}.tar.gz`,
    key: number % 2 === 0 ? null : `notes/${seed}/${String(number).padStart(5, '0')}`,
  }));
  const large = {
    seed: `${seed}-large`,
    sizeBytes: largeBytes,
    fileName: 'holiday ü.mp4',
    key: null,
  };
  const books = [await putByCommand(bed, large)];
  const rest = await mapBounded(small, AT_ONCE, async (draft, number) =>
    number < byCommand ? await putByCommand(bed, draft) : await putByClient(client, draft),
  );
  return [...books, ...rest];
}

interface Draft {
  readonly seed: string;
  readonly sizeBytes: number;
  readonly fileName: string;
  readonly key: string | null;
}

async function putByCommand(bed: Bed, draft: Draft): Promise<Book> {
  const folder = await fs.mkdtemp(bed.path('source-'));
  const file = path.join(folder, draft.fileName);
  const { digest } = await writeSeeded(file, draft);
  const id = await bed.ok(['put', file, ...(draft.key === null ? [] : ['--name', draft.key])]);
  await fs.rm(folder, { recursive: true });
  assert.match(id, /^[0-9a-f]{32}$/, 'put prints the id and nothing else');
  return { ...draft, id, digest };
}

export async function putByClient(client: HoldfastClient, draft: Draft): Promise<Book> {
  const { seed, sizeBytes, fileName, key } = draft;
  const answer = await client.put(seededContent(seed, sizeBytes), {
    fileName,
    ...(key === null ? {} : { key }),
  });
  const digest = await digestOf(seededContent(seed, sizeBytes));
  return { ...draft, id: answer.object.id, digest };
}

/** Gets everything back: the large one and `byCommand` others as files under their own names. */
export async function checkLibrary(
  bed: Bed,
  client: HoldfastClient,
  { books, byCommand }: { books: readonly Book[]; byCommand: number },
): Promise<void> {
  await mapBounded(books, AT_ONCE, async (book, number) => {
    if (number <= byCommand) await checkByCommand(bed, book);
    else assert.equal(await digestByClient(client, book.key ?? book.id), book.digest, book.id);
  });
}

async function checkByCommand(bed: Bed, { id, fileName, digest }: Book): Promise<void> {
  const work = await fs.mkdtemp(bed.path('work-'));
  const printed = await bed.ok(['get', id], { work });
  assert.equal(printed, fileName, 'get prints the name of the file');
  assert.deepEqual(await fs.readdir(work), [fileName], 'get makes this file and no other');
  assert.equal(await fileDigest(path.join(work, fileName)), digest, fileName);
  await fs.rm(work, { recursive: true });
}

export async function digestByClient(client: HoldfastClient, reference: string): Promise<string> {
  const { bytes } = await client.get({ reference });
  return await digestOf(bytes);
}

/** The listing has exactly these books, with their keys, names and sizes. */
export function checkListing(listed: readonly ObjectView[], books: readonly Book[]): void {
  const plain = ({ id, key, fileName, sizeBytes }: Omit<Book, 'digest'>) =>
    JSON.stringify([id, key, fileName, sizeBytes]);
  assert.deepEqual(listed.map(plain).toSorted(), books.map(plain).toSorted());
}
