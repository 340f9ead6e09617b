/**
 * The load that crash tests interrupt: workers that put, put again and remove on one small store,
 * one who changes the superblock meanwhile, and one whose chunks rot and are scrubbed and put
 * again. All of it follows from a seed.
 */
import { errorCode } from '../../src/base/index.ts';
import type { SimulatedDevice } from '../../src/device/index.ts';
import type { ExtentStore } from '../../src/store/index.ts';
import { type TestChunk, testChunk, testMetadata, TestRandom } from '../suites/store-fixtures.ts';
import type { Profile } from './profiles.ts';
import type { Books, Promised, PromiseState } from './promises.ts';

const BLOCK_BYTES = 4096;
const WORKERS = 4;
const STEPS_PER_WORKER = 12;
const ROTTING_STEPS = 5;
const BOOKINGS = 4;

/** What a load has come to, for those who want to know whether it did what it is for. */
export interface LoadCounts {
  refused: number;
  markedBad: number;
}

export interface LoadParts {
  readonly store: ExtentStore;
  readonly device: SimulatedDevice;
  readonly seed: number;
  readonly profile: Profile;
  /** Changed by the load: what holds at any moment. */
  readonly promises: Map<TestChunk, Promised>;
  readonly books: Books;
  readonly counts: LoadCounts;
  /** Something has just been acknowledged. */
  readonly acknowledged: () => void;
}

/** Runs the whole load. */
export async function runLoad(parts: LoadParts): Promise<void> {
  const { seed, profile, promises } = parts;
  const fillers = [...promises.keys()];
  const workers = Array.from({ length: WORKERS }, (_, number) =>
    new Worker(parts, { random: new TestRandom(seed * 16 + number), number }).run(),
  );
  if (profile.removesFillers) workers.push(removeAll(parts, fillers));
  workers.push(keepBooks(parts, new TestRandom(seed * 16 + 8)));
  if (profile.rots) workers.push(new RottingWorker(parts, new TestRandom(seed * 16 + 9)).run());
  await Promise.all(workers);
}

function settle(parts: LoadParts, chunk: TestChunk, promised: Promised): void {
  parts.promises.set(chunk, promised);
  parts.acknowledged();
}

/** Says that an operation on the chunk is under way; its generation stays. */
function begin({ promises }: LoadParts, chunk: TestChunk, state: PromiseState): void {
  promises.set(chunk, { state, generation: promises.get(chunk)?.generation ?? 0 });
}

/** Puts and settles. @returns false when there is no room: then nothing was put, for certain. */
async function put(parts: LoadParts, chunk: TestChunk, generation: number): Promise<boolean> {
  const before = parts.promises.get(chunk);
  begin(parts, chunk, before?.state === 'rotten' ? 'rotten' : 'putting');
  try {
    await parts.store.put(chunk.id, chunk.bytes, { generation });
  } catch (error) {
    if (errorCode(error) !== 'HF_NO_SPACE') throw error;
    parts.counts.refused += 1;
    settle(parts, chunk, before ?? { state: 'absent', generation: 0 });
    return false;
  }
  settle(parts, chunk, { state: 'present', generation });
  return true;
}

async function remove(parts: LoadParts, chunk: TestChunk): Promise<void> {
  begin(parts, chunk, 'removing');
  await parts.store.remove(chunk.id, { generationMax: 1000 });
  settle(parts, chunk, { state: 'absent', generation: 0 });
}

async function removeAll(parts: LoadParts, chunks: readonly TestChunk[]): Promise<void> {
  for (const chunk of chunks) await remove(parts, chunk);
}

/** Changes the superblock now and then. What was acknowledged of it holds like everything else. */
async function keepBooks(parts: LoadParts, random: TestRandom): Promise<void> {
  const { store, books, profile, acknowledged } = parts;
  for (let step = 1; step <= BOOKINGS; step++) {
    for (let wait = random.below(60); wait > 0; wait--) await Promise.resolve();
    if (random.below(2) === 0) {
      const state = random.below(2) === 0 ? 'active' : 'draining';
      books.state = [...books.state, state];
      await store.setState(state);
      books.state = [state];
    } else {
      const { hardMaxBytes } = profile;
      const minBytes = step * BLOCK_BYTES;
      books.minBytes = [...books.minBytes, minBytes];
      await store.setLimits({ minBytes, maxBytes: 2 * minBytes, hardMaxBytes });
      books.minBytes = [minBytes];
    }
    acknowledged();
  }
}

/** One of those who put, put again and remove. */
class Worker {
  readonly #parts: LoadParts;
  readonly #random: TestRandom;
  readonly #number: number;
  readonly #live: TestChunk[] = [];
  readonly #removed: TestChunk[] = [];

  constructor(parts: LoadParts, options: { random: TestRandom; number: number }) {
    this.#parts = parts;
    this.#random = options.random;
    this.#number = options.number;
  }

  async run(): Promise<void> {
    for (let step = 1; step <= STEPS_PER_WORKER; step++) {
      const pick = this.#random.below(100);
      if (pick < 55 || this.#live.length === 0) await this.#put(step);
      else if (pick < 82) await this.#remove();
      else await this.#raise(step);
    }
  }

  async #put(step: number): Promise<void> {
    const random = this.#random;
    const again = random.below(100) < 40 ? this.#removed.pop() : undefined;
    const chunk = again ?? this.#newChunk(step);
    if (await put(this.#parts, chunk, step)) this.#live.push(chunk);
    else if (this.#live.length > 0) await this.#remove();
  }

  #newChunk(step: number): TestChunk {
    const random = this.#random;
    const { largePercent } = this.#parts.profile;
    const isLarge = random.below(100) < largePercent;
    const lengthBytes = isLarge ? 66_000 + random.below(80_000) : 4 + random.below(12_000);
    const number = (this.#number * 100 + step) * 8 + random.below(8);
    const isMetadata = random.below(100) < 25;
    return isMetadata ? testMetadata(number, lengthBytes) : testChunk(number, lengthBytes);
  }

  async #remove(): Promise<void> {
    const chunk = this.#live.splice(this.#random.below(this.#live.length), 1)[0]!;
    await remove(this.#parts, chunk);
    this.#removed.push(chunk);
  }

  /** A higher generation: the chunk stays as it is whatever happens. */
  async #raise(step: number): Promise<void> {
    const chunk = this.#live[this.#random.below(this.#live.length)]!;
    const generation = 100 + step;
    await this.#parts.store.put(chunk.id, chunk.bytes, { generation });
    settle(this.#parts, chunk, { state: 'present', generation });
  }
}

/** Chunks that rot, are found by the scrub, and put again. */
class RottingWorker {
  readonly #parts: LoadParts;
  readonly #random: TestRandom;

  constructor(parts: LoadParts, random: TestRandom) {
    this.#parts = parts;
    this.#random = random;
  }

  async run(): Promise<void> {
    const random = this.#random;
    const { store } = this.#parts;
    for (let step = 1; step <= ROTTING_STEPS; step++) {
      const chunk = testChunk(800_000 + step, 5000 + random.below(90_000));
      if (!(await put(this.#parts, chunk, step))) continue;
      await this.#rot(chunk);
      await store.scrub();
      const isMarked = (await store.stat(chunk.id))?.isGood === false;
      if (isMarked) this.#parts.counts.markedBad += 1;
      if (isMarked && random.below(100) < 60) await put(this.#parts, chunk, step + 10);
    }
  }

  /** Turns a bit of its first block on the media. */
  async #rot(chunk: TestChunk): Promise<void> {
    const { store, device, promises } = this.#parts;
    const block = await store.locate(chunk.id);
    if (block === undefined) return;
    promises.set(chunk, { ...promises.get(chunk)!, state: 'rotten' });
    device.flipBit(block * BLOCK_BYTES + this.#random.below(BLOCK_BYTES), this.#random.below(8));
  }
}
