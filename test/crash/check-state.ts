/**
 * Whether one state that a power cut may leave keeps the promises: it mounts without damage; what
 * was acknowledged holds; the store goes on (a remove, a put), and mounts once more with the same
 * content and the same number of blocks in use.
 *
 * Blocks that leak: a mount counts the blocks of what the index names and no others, so blocks that
 * a running store has lost are seen as a difference to the next mount, and in a store that was
 * closed as a difference between its bitmap and its index. Now and then everything is removed
 * besides, and the store has to be as empty as a new one.
 */
import { errorMessage, toHex } from '../../src/base/index.ts';
import type { Media, SimulatedDevice } from '../../src/device/index.ts';
import {
  checkStore,
  type ExtentStore,
  openStore,
  type StoreDescription,
} from '../../src/store/index.ts';
import {
  type TestChunk,
  testEnv,
  testMetadata,
  type TestRandom,
} from '../suites/store-fixtures.ts';
import {
  bookViolation,
  type Books,
  isLoss,
  type Promised,
  type Promises,
  violationOf,
} from './promises.ts';
import type { PlantedFault } from './planted-faults.ts';
import { loadDevice, type Profile } from './profiles.ts';

export interface StateOptions {
  readonly promises: Promises;
  readonly books: Readonly<Books>;
  readonly profile: Profile;
  /** Metadata was damaged besides: chunks may be missing if the mount says so. */
  readonly isDamaged: boolean;
  /** Of the store when nothing is in it, both as it was formatted and afterwards. */
  readonly emptyUsedBytes: number;
  readonly random: TestRandom;
  /** A fault of the mount is planted here as well. */
  readonly plantedFault?: PlantedFault | undefined;
}

/** Put after the power cut; of one block, and allowed to take what is kept for metadata. */
const AFTERWARDS: TestChunk = testMetadata(700_001, 4000);
/** Of so many states one is emptied. */
const EMPTIED_ONE_IN = 24;
/** Of so many states one is closed before the second mount. */
const CLOSED_ONE_IN = 8;
/** Of so many states one is looked at by the offline check before it is mounted. */
const CHECKED_ONE_IN = 16;
/** Of so many states one is compared byte by byte after the second mount too. */
const REREAD_ONE_IN = 4;

/** What is wrong with a store on these media, in words. */
export async function violations(media: Media, options: StateOptions): Promise<string[]> {
  try {
    return await new StateCheck(options).run(media);
  } catch (error) {
    return [`the store does not go on: ${errorMessage(error)}`];
  }
}

class StateCheck {
  readonly #options: StateOptions;
  readonly #found: string[] = [];

  constructor(options: StateOptions) {
    this.#options = options;
  }

  async run(media: Media): Promise<string[]> {
    const { profile, random } = this.#options;
    const device = this.#device(media);
    if (random.below(CHECKED_ONE_IN) === 0) await this.#checkAtRest(media);
    const store = await this.#open(device);
    await this.#checkPromises(store);
    if (this.#found.length > 0) return this.#found;
    const held = await heldBy(store, this.#options.promises);
    const isEmptied = random.below(EMPTIED_ONE_IN) === 0;
    await this.#goOn(store, held, isEmptied);
    // A checkpoint that is under way ends: everything here is one chain of microtasks.
    await new Promise((resolve) => setImmediate(resolve));
    const before = await store.describe();
    if (isEmptied || random.below(CLOSED_ONE_IN) === 0) {
      await store[Symbol.asyncDispose]();
      this.#found.push(...(await closedViolations(device.crashPoint().durable, profile)));
    }
    const remounted = await this.#open(this.#device(device.crashPoint().durable));
    const after = await remounted.describe();
    // A checkpoint in between may give up tables that have become empty.
    const isComparable = before.mark.seq === after.mark.seq;
    if (isEmptied) this.#checkUsed(this.#options.emptyUsedBytes, after);
    else if (isComparable) this.#checkUsed(before.usage.usedBytes, after);
    await this.#checkRemounted(remounted, after, held);
    return this.#found;
  }

  #device(media: Media): SimulatedDevice {
    return loadDevice(this.#options.profile, { media });
  }

  async #open(device: SimulatedDevice): Promise<ExtentStore> {
    const { plantedFault } = this.#options;
    const isMountFault = plantedFault === 'tail-not-verified';
    const env = testEnv({ sleeps: false });
    return await openStore({ env, device, plantedFault: isMountFault ? plantedFault : undefined });
  }

  /** What the offline check finds before a mount: nothing that is lost, of chunks set aside. */
  async #checkAtRest(media: Media): Promise<void> {
    const { findings, mountError } = await checkStore({
      env: testEnv({ sleeps: false }),
      device: this.#device(media),
    });
    if (mountError !== undefined) this.#found.push(`at rest: ${mountError}`);
    if (this.#options.isDamaged) return;
    const lost = findings.filter(({ where, isMended }) => where !== 'chunk' && !isMended);
    this.#found.push(...lost.map(({ what }) => `at rest: ${what}`));
  }

  async #checkPromises(store: ExtentStore): Promise<void> {
    const { promises, books, isDamaged, random } = this.#options;
    const description = await store.describe();
    const { damage, damagedAtMs } = description;
    const inBooks = bookViolation(books, description);
    if (inBooks) this.#found.push(inBooks);
    if (!isDamaged) this.#found.push(...damage);
    // What an earlier mount found stays known until somebody has asked the peers.
    const isExcused = isDamaged && damagedAtMs > 0;
    if (!isDamaged && damagedAtMs > 0) this.#found.push('marked as damaged');
    for (const entry of promises) {
      const violation = await violationOf(store, entry, random);
      if (violation && !(isExcused && isLoss(violation))) this.#found.push(violation);
    }
  }

  /** Removes a chunk, or all, and puts one. Afterwards `held` says what is there. */
  async #goOn(
    store: ExtentStore,
    held: Map<TestChunk, Promised>,
    isEmptied: boolean,
  ): Promise<void> {
    const put = async (chunk: TestChunk): Promise<void> => {
      await store.put(chunk.id, chunk.bytes, { generation: 1, isVerified: true });
      held.set(chunk, { state: 'present', generation: 1 });
    };
    const remove = async (chunk: TestChunk): Promise<void> => {
      await store.remove(chunk.id, { generationMax: 1000 });
      held.set(chunk, { state: 'absent', generation: 0 });
    };
    const there = [...held].filter(([, { state }]) => state !== 'absent').map(([chunk]) => chunk);
    const victim = there[this.#options.random.below(Math.max(there.length, 1))];
    // First, since there may be no room.
    if (victim) await remove(victim);
    await put(AFTERWARDS);
    if (!isEmptied) return;
    for (const chunk of [...there, AFTERWARDS]) await remove(chunk);
  }

  #checkUsed(expectedBytes: number, { usage }: StoreDescription): void {
    const blocks = Math.abs(expectedBytes - usage.usedBytes) / 4096;
    if (blocks > 0) this.#found.push(`${blocks} blocks have leaked`);
  }

  async #checkRemounted(
    store: ExtentStore,
    { damage }: StoreDescription,
    held: Promises,
  ): Promise<void> {
    const { random } = this.#options;
    this.#found.push(...damage.map((each) => `at the next mount: ${each}`));
    const expected = [...held].filter(([, { state }]) => state !== 'absent');
    const ids = new Set(expected.map(([{ id }]) => toHex(id)));
    for await (const { id } of store.list()) {
      if (!ids.delete(toHex(id))) this.#found.push('at the next mount: a chunk is too many');
    }
    if (ids.size > 0) this.#found.push('at the next mount: a chunk is gone');
    if (random.below(REREAD_ONE_IN) > 0) return;
    for (const entry of held) {
      const violation = await violationOf(store, entry, random);
      if (violation) this.#found.push(`at the next mount: ${violation}`);
    }
  }
}

/**
 * What is wrong with a store that was closed. Its bitmap is what the running store took for taken,
 * and has to agree with what the index names block by block.
 */
export async function closedViolations(media: Media, profile: Profile): Promise<string[]> {
  const device = loadDevice(profile, { media });
  const { findings, isClean } = await checkStore({ env: testEnv({ sleeps: false }), device });
  const found = findings.filter(({ where }) => where !== 'chunk');
  const violations = found.map(({ where, what }) => `once closed, ${where}: ${what}`);
  return isClean ? violations : [...violations, 'once closed: it is not clean'];
}

/** What is there after the mount; that has to stay. */
async function heldBy(store: ExtentStore, promises: Promises): Promise<Map<TestChunk, Promised>> {
  const held = new Map<TestChunk, Promised>();
  for (const chunk of promises.keys()) {
    const entry = await store.stat(chunk.id);
    const state = !entry ? 'absent' : entry.isGood ? 'present' : 'rotten';
    held.set(chunk, { state, generation: entry?.generation ?? 0 });
  }
  return held;
}
