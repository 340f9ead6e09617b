/**
 * References and collection (ruling 13) against stewards that move: writers name stripes, put their
 * chunks into a store and commit; a collector drops what was left pending, deletes what is
 * condemned, late and twice, and forgets it. A chunk that a committed object names must never go.
 */
import { errorCode, type StripeId, toHex } from '../../src/base/index.ts';
import {
  type Condemned,
  type Executor,
  type Holder,
  type PendingReference,
  type References,
  referencesOf,
  type Session,
} from '../../src/meta/index.ts';
import { stripeOf } from '../../test/suites/meta-makers.ts';
import type { SeededRandom } from '../random.ts';
import { textOf } from '../sim-env.ts';
import { Violation } from '../violation.ts';
import type { PlannedPut } from './plan.ts';
import { type PlantName, STRIPE_FAULTS } from './planting.ts';
import { Life } from './time.ts';
import { isPassing, type World } from './world.ts';

type Asked = Omit<References, typeof Symbol.asyncDispose>;

const FIRST_PLACE = 100;
const COLLECT_EVERY_MS = 60;
/** How late the second delete of a chunk may come. */
const LATE_DELETE_MS = 800;
/** Told so often that a newer one has taken over, a writer believes that it is its session. */
const FENCED_TIMES = 4;

/** An object that was committed, or may yet be. */
interface Stored {
  readonly holder: Holder;
  readonly stripe: StripeId;
}

export class Stripes {
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #plant: PlantName | undefined;
  readonly #asked: Asked;
  /** Generations of the chunks in the one store. */
  readonly #chunks = new Map<string, number>();
  readonly #committed = new Map<bigint, Stored>();
  readonly #refused = new Set<bigint>();
  readonly #released = new Map<bigint, Stored>();
  readonly #sessions = new Map<number, Session>();
  #collected = 0;

  constructor(world: World, random: SeededRandom, plant: PlantName | undefined) {
    this.#world = world;
    this.#random = random;
    this.#plant = plant;
    const fault = STRIPE_FAULTS.find((name) => name === plant);
    const planted = fault === 'drop-without-refuse' ? undefined : fault;
    this.#asked = referencesOf(this.#executor(), planted);
  }

  /** Chunks that were deleted. */
  get collected(): number {
    return this.#collected;
  }

  async run(puts: readonly PlannedPut[]): Promise<void> {
    let areDone = false;
    const collecting = this.#collectUntil(() => areDone);
    const writers = Map.groupBy(puts, ({ writer }) => writer);
    const zombies: Promise<void>[] = [];
    const writing = Array.from(writers.values(), async (own) => {
      for (const put of own) await this.#put(put, zombies);
    });
    await Promise.all(writing);
    await Promise.all(zombies);
    areDone = true;
    await collecting;
  }

  /** What stands must be there; what is gone must have been let go of. */
  async check(): Promise<void> {
    await this.#collect();
    for (const { stripe, holder } of this.#committed.values()) {
      this.#checkThere(stripe, 'at the end');
      const holders = await this.#ask(() => this.#asked.holders(stripe));
      if (!holders.some(({ inode }) => inode === holder.inode)) {
        throw new Violation(`inode ${holder.inode} is committed and its reference is gone`);
      }
    }
    const condemned = await this.#ask(() => this.#asked.condemned());
    if (condemned.length > 0) throw new Violation('something condemned is left');
  }

  #executor(): Executor {
    const life = new Life({ time: this.#world.time, random: this.#random });
    const place = { index: FIRST_PLACE, life };
    const [cell] = this.#world.cells;
    return {
      execute: (operation, options) =>
        this.#world.ask(place, cell!, (host) => host.execute(cell!, operation, options)),
    };
  }

  /** Asks until there is an answer. */
  async #ask<Answer>(question: () => Promise<Answer>, fencedTimes = Infinity): Promise<Answer> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await question();
      } catch (error) {
        if (!isPassing(error)) this.#world.violate(`references: ${textOf(error)}`, error);
        if (errorCode(error) === 'HF_FENCED' && tries >= fencedTimes) throw error;
      }
      await this.#pause(20);
    }
  }

  async #pause(msMax: number): Promise<void> {
    await this.#world.time.sleep(1 + this.#random.below(msMax));
  }

  async #put(put: PlannedPut, zombies: Promise<void>[]): Promise<void> {
    const { writer, pauseMsMax } = put;
    await this.#pause(pauseMsMax);
    let session = this.#sessions.get(writer);
    if (!session) {
      session = await this.#ask(() => this.#asked.openSession(`node-${writer}`));
      this.#sessions.set(writer, session);
    }
    const steps = this.#steps(put, session);
    for (let step = 0; ; step += 1) {
      if (step === put.diesAtStep) {
        // The node counts as dead, and goes on after a while.
        this.#sessions.delete(writer);
        if (put.isZombie) zombies.push(this.#finish(steps));
        return;
      }
      if ((await steps.next()).done) return;
      await this.#pause(pauseMsMax);
    }
  }

  async #finish(steps: AsyncGenerator<void>): Promise<void> {
    await this.#pause(LATE_DELETE_MS);
    for await (const _ of steps) await this.#pause(20);
  }

  async *#steps(put: PlannedPut, session: Session): AsyncGenerator<void> {
    const stripe = stripeOf(put.stripe);
    const holder = { volume: 'v', inode: BigInt(put.inode) };
    const wanted = { stripe, schemeNumber: 3, chunkBytes: 10 };
    const request = { session, holder, stripes: [wanted] };
    let added;
    try {
      [added] = await this.#ask(() => this.#asked.add(request), FENCED_TIMES);
    } catch {
      return; // its session is over
    }
    yield;
    const text = toHex(stripe);
    if (!added!.isStored) {
      this.#chunks.set(text, Math.max(added!.generation, this.#chunks.get(text) ?? 0));
      yield;
    }
    if (this.#refused.has(holder.inode)) return;
    this.#committed.set(holder.inode, { holder, stripe });
    this.#checkThere(stripe, 'when it was committed');
    yield;
    await this.#ask(() => this.#asked.confirm(holder, [stripe]));
    if (put.removedAfterMs === undefined) return;
    await this.#world.time.sleep(put.removedAfterMs);
    this.#committed.delete(holder.inode);
    this.#released.set(holder.inode, { holder, stripe });
  }

  #checkThere(stripe: StripeId, when: string): void {
    if (this.#chunks.has(toHex(stripe))) return;
    this.#world.violate(`a stripe that an object names is gone, ${when}`);
  }

  async #collectUntil(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      await this.#collect();
      await this.#pause(COLLECT_EVERY_MS);
    }
  }

  /** One round. */
  async #collect(): Promise<void> {
    for (const stray of await this.#ask(() => this.#asked.strays())) await this.#settle(stray);
    for (const [inode, { holder, stripe }] of this.#released) {
      await this.#ask(() => this.#asked.release(holder, [stripe]));
      this.#released.delete(inode);
    }
    const condemned = await this.#ask(() => this.#asked.condemned());
    for (const one of condemned) this.#delete(one);
    for (const one of condemned) {
      this.#world.time.after(this.#random.below(LATE_DELETE_MS), () => this.#delete(one));
    }
    await this.#pause(20);
    await this.#ask(() => this.#asked.forget(condemned));
  }

  async #settle({ holder, stripe }: PendingReference): Promise<void> {
    const isCommitted = this.#committed.has(holder.inode) || this.#released.has(holder.inode);
    if (isCommitted) return await this.#ask(() => this.#asked.confirm(holder, [stripe]));
    if (this.#plant !== 'drop-without-refuse') this.#refused.add(holder.inode);
    await this.#ask(() => this.#asked.release(holder, [stripe]));
  }

  #delete({ stripe, generation }: Condemned): void {
    const present = this.#chunks.get(toHex(stripe));
    if (present === undefined || present > generation) return;
    this.#chunks.delete(toHex(stripe));
    this.#collected += 1;
    for (const stored of this.#committed.values()) {
      if (toHex(stored.stripe) === toHex(stripe)) this.#checkThere(stripe, 'when it was deleted');
    }
  }
}
