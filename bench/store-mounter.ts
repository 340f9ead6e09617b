/**
 * A process that opens a store and says what that took, in one line of JSON: a mount is measured
 * where nothing is warm yet, and its memory where nothing else is. `node --expose-gc
 * store-mounter.ts PATH [PUTS]`; after so many puts of 4 KiB it ends and leaves the store as
 * it is, as if it had been killed; without the number it closes it.
 */
import fs from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { KiB } from '../src/base/index.ts';
import { openBenchStore, runPuts } from './store-load.ts';

export interface MountFigures {
  readonly mountMs: number;
  readonly chunkCount: number;
  /** Resident memory that the open store takes. */
  readonly memoryBytes: number;
  /** Of the last checkpoint; 0 when the store was not closed. */
  readonly checkpointMs: number;
  readonly checkpointBytes: number;
}

async function residentBytes(): Promise<number> {
  // What the first run finds to be garbage is given back to the system a little later.
  for (let run = 0; run < 3; run++) {
    globalThis.gc!();
    await setTimeout(50);
  }
  return process.memoryUsage().rss;
}

/** Bytes that this process has had written to disks. */
function writtenBytes(): number {
  return Number(/^write_bytes: (\d+)$/m.exec(fs.readFileSync('/proc/self/io', 'utf8'))![1]);
}

const [path, puts] = process.argv.slice(2);
const before = await residentBytes();
const start = performance.now();
const store = await openBenchStore(path!);
const mountMs = performance.now() - start;
const memoryBytes = (await residentBytes()) - before;
const { chunkCount } = await store.usage();
const count = Number(puts ?? 0);
if (count > 0) await runPuts(store, { chunkBytes: 4 * KiB, count, inFlight: 256 });
let [checkpointMs, checkpointBytes] = [0, 0];
if (puts === undefined) {
  const [closing, written] = [performance.now(), writtenBytes()];
  await store[Symbol.asyncDispose]();
  checkpointMs = performance.now() - closing;
  checkpointBytes = writtenBytes() - written;
}
const figures = { mountMs, chunkCount, memoryBytes, checkpointMs, checkpointBytes };
process.stdout.write(JSON.stringify(figures satisfies MountFigures));
