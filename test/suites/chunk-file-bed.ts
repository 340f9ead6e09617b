/** A folder in which tests make, spoil and restore chunk files. */
import { createCipheriv, createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { type ChunkGetResult, getFromChunkFiles, makeChunkFiles } from '../../src/shares/index.ts';

export interface Made {
  readonly bytes: Buffer;
  readonly folder: string;
  /** In order of index. */
  readonly paths: readonly string[];
}

export interface MakeOptions {
  readonly sizeBytes: number;
  readonly name?: string;
  readonly seed?: number;
  readonly dataCount?: number;
  readonly parityCount?: number;
  readonly stripeBytes?: number;
  readonly key?: Uint8Array | undefined;
}

export class ChunkFileBed implements AsyncDisposable {
  readonly root: string;
  #count = 0;

  private constructor(root: string) {
    this.root = root;
  }

  static async open(): Promise<ChunkFileBed> {
    // In memory where that can be: a thousand restored files wait for no disk.
    const base = existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir();
    return new ChunkFileBed(await fs.mkdtemp(path.join(base, 'holdfast-chunks-')));
  }

  /** A path that nothing has yet. */
  fresh(name = 'out'): string {
    return path.join(this.root, `${name}-${this.#count++}`);
  }

  /** Chunk files of a file of known bytes, in a folder of their own. */
  async make(options: MakeOptions): Promise<Made> {
    const { sizeBytes, name = 'file', seed = 1, key } = options;
    const { dataCount = 10, parityCount = 4, stripeBytes = 4096 } = options;
    const bytes = bytesOf(sizeBytes, seed);
    const folder = this.fresh('chunks');
    await fs.mkdir(folder);
    const file = this.fresh('file');
    await fs.writeFile(file, bytes);
    const scheme = { dataCount, parityCount, stripeBytes };
    const paths = await makeChunkFiles({ file, name, folders: [folder], scheme, key });
    return { bytes, folder, paths };
  }

  /** Restores and compares. */
  async get(paths: readonly string[], key?: Uint8Array): Promise<ChunkGetResult & { out: Buffer }> {
    const output = this.fresh();
    const result = await getFromChunkFiles({ paths, output, replaces: false, key });
    const out = await fs.readFile(output);
    await fs.rm(output);
    return { ...result, out };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await fs.rm(this.root, { recursive: true, force: true });
  }
}

/** Bytes that repeat nowhere soon and are the same each time. */
export function bytesOf(sizeBytes: number, seed: number): Buffer {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16));
  return cipher.update(Buffer.alloc(sizeBytes));
}

export async function flip(file: string, offset: number): Promise<void> {
  const handle = await fs.open(file, 'r+');
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, offset);
  buffer[0]! ^= 0x41;
  await handle.write(buffer, 0, 1, offset);
  await handle.close();
}

/** SHA-256 of each chunk file in a folder, and when it was last written. */
export async function stateOf(folder: string): Promise<Record<string, string>> {
  const files = (await fs.readdir(folder)).toSorted();
  const states: Record<string, string> = {};
  for (const name of files) {
    const file = path.join(folder, name);
    const { mtimeNs, ctimeNs, ino } = await fs.stat(file, { bigint: true });
    states[name] = `${digestOf(await fs.readFile(file))} ${mtimeNs} ${ctimeNs} ${ino}`;
  }
  return states;
}

export function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
