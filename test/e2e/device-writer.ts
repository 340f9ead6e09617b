/**
 * A process that writes to a store on a disk until somebody kills it (drill-device.ts). Several
 * puts and removes are under way at a time.
 *
 *     node device-writer.ts DEVICE SEED FIRST_NUMBER [LIVE_NUMBER …]
 *
 * It says what it does on standard output, a line at a time and synchronously, so that whoever
 * reads knows of everything that was said before the kill: `put? 7` before it asks for it, `put 7`
 * once it was acknowledged, `full 7` when there was no room; `remove? 7`, `remove 7`; `up` when the
 * store is mounted. The content of a chunk follows from its number ({@link numberedChunk}).
 */
import { writeSync } from 'node:fs';
import { errorCode } from '../../src/base/index.ts';
import { openDevice } from '../../src/device/index.ts';
import { realEnv, silentLog } from '../../src/env/index.ts';
import { type ExtentStore, openStore } from '../../src/store/index.ts';
import { numberedChunk } from '../suites/numbered-chunk.ts';
import { TestRandom } from '../suites/store-fixtures.ts';

const UNDER_WAY = 8;
/** Below so many chunks it puts more than it removes, above it removes more. */
const CHUNKS_WANTED = 150;

function say(line: string): void {
  writeSync(1, `${line}\n`);
}

class Writer {
  readonly #store: ExtentStore;
  readonly #random: TestRandom;
  readonly #live: number[];
  #next: number;

  constructor(store: ExtentStore, options: { seed: number; first: number; live: number[] }) {
    this.#store = store;
    this.#random = new TestRandom(options.seed);
    this.#live = options.live;
    this.#next = options.first;
  }

  /** Never ends. */
  async run(): Promise<void> {
    for (;;) {
      const putPercent = this.#live.length < CHUNKS_WANTED ? 70 : 30;
      if (this.#random.below(100) < putPercent) await this.#put();
      else await this.#remove();
    }
  }

  async #put(): Promise<void> {
    const number = this.#next++;
    const { id, bytes } = numberedChunk(number);
    say(`put? ${number}`);
    try {
      await this.#store.put(id, bytes, { generation: 1, isVerified: true });
    } catch (error) {
      if (errorCode(error) !== 'HF_NO_SPACE') throw error;
      say(`full ${number}`);
      return;
    }
    say(`put ${number}`);
    this.#live.push(number);
  }

  async #remove(): Promise<void> {
    if (this.#live.length === 0) return;
    const number = this.#live.splice(this.#random.below(this.#live.length), 1)[0]!;
    say(`remove? ${number}`);
    await this.#store.remove(numberedChunk(number).id, { generationMax: 1 });
    say(`remove ${number}`);
  }
}

const [path, seed, first, ...live] = process.argv.slice(2);
const env = { ...realEnv(), log: silentLog };
const store = await openStore({ env, device: await openDevice({ env, path: path! }) });
say('up');
const writer = new Writer(store, {
  seed: Number(seed),
  first: Number(first),
  live: live.map(Number),
});
await Promise.all(Array.from({ length: UNDER_WAY }, () => writer.run()));
