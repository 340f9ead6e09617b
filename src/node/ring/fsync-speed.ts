/**
 * How long this disk takes to make a small append durable: etcd answers no sooner, and calls
 * elections when it takes too long. Source: etcd's docs/op-guide/hardware (WAL fsync p99 < 10 ms).
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { errorMessage, HoldfastError, KiB } from '../../base/index.ts';
import type { Clock } from '../../env/index.ts';
import { isQuickEnough } from './ring-choice.ts';

const APPEND_COUNT = 50;
const APPEND_BYTES = 4 * KiB;
const FILE = 'fsync.probe';

/** What the machine does besides is no property of its disk: the quietest round counts. */
const ROUND_COUNT = 3;

/** @returns ms, the 99th percentile (of so few: the longest). @throws HF_IO. */
export async function measureFsync(folder: string, clock: Clock): Promise<number> {
  let quietestMs = Infinity;
  for (let round = 0; round < ROUND_COUNT; round++) {
    quietestMs = Math.min(quietestMs, await measureRound(folder, clock));
  }
  return quietestMs;
}

/** A busy start is no property of the disk either: what is too slow is measured again later. */
const AGAIN_MS = 60_000;

/** How long a disk takes, measured when it is asked for. */
export class FsyncSpeed {
  readonly #measure: () => Promise<number>;
  readonly #clock: Pick<Clock, 'monotonic'>;
  #ms: Promise<number> | undefined;
  #againAtMs = Infinity;

  /** @param measure ms. */
  constructor(measure: () => Promise<number>, clock: Pick<Clock, 'monotonic'>) {
    this.#measure = measure;
    this.#clock = clock;
  }

  /** @returns Infinity when that cannot be told. */
  async ms(): Promise<number> {
    if (this.#clock.monotonic() >= this.#againAtMs) this.#ms = undefined;
    this.#ms ??= this.#measured();
    return await this.#ms;
  }

  async #measured(): Promise<number> {
    this.#againAtMs = Infinity;
    const ms = await this.#measure().catch(() => Infinity);
    if (!isQuickEnough(ms)) this.#againAtMs = this.#clock.monotonic() + AGAIN_MS;
    return ms;
  }
}

async function measureRound(folder: string, clock: Clock): Promise<number> {
  const file = path.join(folder, FILE);
  const bytes = new Uint8Array(APPEND_BYTES).fill(0x5a);
  const times: number[] = [];
  try {
    await using handle = await fs.open(file, 'w', 0o600);
    for (let count = 0; count < APPEND_COUNT; count++) {
      const startMs = clock.monotonic();
      await handle.write(bytes);
      await handle.datasync();
      times.push(clock.monotonic() - startMs);
    }
  } catch (error) {
    throw new HoldfastError('HF_IO', `${file}: ${errorMessage(error)}`, { cause: error });
  } finally {
    await fs.rm(file, { force: true });
  }
  times.sort((a, b) => a - b);
  return times[Math.ceil(times.length * 0.99) - 1]!;
}
