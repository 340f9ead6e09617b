/**
 * Work in strips with two *banks* of buffers: while one strip is worked on, the next is read into
 * the other bank and the one before is written. `work` is synchronous; the disks are not idle
 * meanwhile, as the thread pool serves them.
 */
import { throwIfAborted } from '../base/index.ts';

export interface Stages {
  /** Fills the bank's sources; the strip before the last is not needed any more. */
  read(strip: number, bank: 0 | 1): Promise<void>;
  /** From the bank's sources to its targets. */
  work(strip: number, bank: 0 | 1): void;
  /** Writes the bank's targets. */
  write(strip: number, bank: 0 | 1): Promise<void>;
}

/** Runs strips 0 to `count` − 1. Nothing is under way any more when it returns or throws. */
export async function runStrips(
  count: number,
  stages: Stages,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  if (count === 0) return;
  const writing: [Promise<void>, Promise<void>] = [Promise.resolve(), Promise.resolve()];
  let reading = stages.read(0, 0);
  try {
    for (let strip = 0; strip < count; strip++) {
      const bank = (strip & 1) as 0 | 1;
      await reading;
      throwIfAborted(signal);
      if (strip + 1 < count) {
        reading = stages.read(strip + 1, bank === 0 ? 1 : 0);
        reading.catch(() => {}); // it is awaited in the next round
      }
      await writing[bank];
      stages.work(strip, bank);
      writing[bank] = stages.write(strip, bank);
      writing[bank].catch(() => {}); // it is awaited two strips on
    }
    await Promise.all(writing);
  } finally {
    await Promise.allSettled([reading, ...writing]);
  }
}
