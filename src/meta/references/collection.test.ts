// Aim: what is committed can be read, whatever writers, removers, crashes and a collector do at
// once (ruling 13), and each bug that the ruling names would be noticed. Method: a small world
// around the real cells: one store that keeps chunks with generations and deletes late and twice,
// writers and collectors that take one step at a time in an order that fast-check draws.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errorCode, type ObjectId, toHex } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { realEnv } from '../../env/index.ts';
import { MemoryLog } from '../../log/index.ts';
import type { Namespace } from '../namespace/namespace.ts';
import { openNamespace } from '../namespace/namespace-cell.ts';
import type { PlantedFault } from './reference-ops.ts';
import type { Condemned, References, Session } from './references.ts';
import { openReferences } from './references-cell.ts';
import { extentOf, stripeOf } from '../../../test/suites/meta-makers.ts';

type Fault = PlantedFault | 'drop-without-refuse';
type Actor = AsyncGenerator<void, void, void>;

const env = realEnv();

class World {
  readonly namespace: Namespace;
  readonly references: References;
  readonly #fault: Fault | undefined;
  /** Chunks of the one store, by stripe: their generations. */
  readonly #chunks = new Map<string, number>();
  /** Deletes on their way; each may arrive more than once. */
  readonly #deletes: Condemned[] = [];
  #actors: Actor[] = [];
  #session: Session;
  #objectCount = 0;

  private constructor(parts: {
    namespace: Namespace;
    references: References;
    session: Session;
    fault: Fault | undefined;
  }) {
    this.namespace = parts.namespace;
    this.references = parts.references;
    this.#session = parts.session;
    this.#fault = parts.fault;
  }

  static async open(fault: Fault | undefined): Promise<World> {
    const log = new MemoryLog();
    const namespace = await openNamespace({ env, cell: 'n', log, db: new MemoryDb() });
    const planted = fault && fault !== 'drop-without-refuse' ? { plantedFault: fault } : {};
    const parts = { env, cell: 'r', log, db: new MemoryDb(), ...planted };
    const references = await openReferences(parts);
    const session = await references.openSession('node');
    return new World({ namespace, references, session, fault });
  }

  async step(kind: number, choice: number): Promise<void> {
    if (kind === 0) this.#actors.push(this.#write(choice % 2));
    else if (kind === 1) this.#actors.push(this.#collect());
    else if (kind === 2) await this.#removeOne(choice);
    else if (kind === 3) this.#session = await this.references.openSession('node');
    else if (kind === 4) this.#deliver(choice);
    else if (kind === 5) this.#crash(choice);
    else await this.#advance(choice);
  }

  #crash(choice: number): void {
    this.#actors = this.#actors.filter((_, index) => index !== choice);
  }

  async #advance(choice: number): Promise<void> {
    const actor = this.#actors[choice % Math.max(1, this.#actors.length)];
    if (!actor) return;
    const { done } = await actor.next();
    if (done) this.#actors = this.#actors.filter((other) => other !== actor);
  }

  /** A put; it goes on after its session is over, as a node that was paused would. */
  async *#write(seed: number): Actor {
    const stripe = stripeOf(seed);
    const inode = await this.namespace.allocateInodes(1);
    const holder = { volume: 'v', inode };
    const wanted = { stripe, schemeNumber: 3, chunkBytes: 10 };
    const request = { session: this.#session, holder, stripes: [wanted] };
    yield;
    const [added] = (await unlessFenced(this.references.add(request))) ?? [];
    if (!added) return;
    yield;
    if (!added.isStored) {
      const text = toHex(stripe);
      this.#chunks.set(text, Math.max(added.generation, this.#chunks.get(text) ?? 0));
    }
    yield;
    const objectId = `${this.#objectCount++}`.padStart(32, '0') as ObjectId;
    const commit = this.namespace.commitObject({
      inode,
      objectId,
      createdAtMs: 1,
      sizeBytes: 10,
      schemeNumbers: [3],
      attributes: new Uint8Array(),
      addressKey: new Uint8Array(32),
      extents: [extentOf(0, 10, seed)],
      mayReplace: false,
    });
    if (!(await unlessFenced(commit))) return;
    yield;
    await this.references.confirm(holder, [stripe]);
  }

  /** One round of the collector. */
  async *#collect(): Actor {
    for (const stray of await this.references.strays()) {
      const { holder, stripe } = stray;
      yield;
      const isKept =
        this.#fault === 'drop-without-refuse'
          ? (await this.namespace.record(holder.inode)) !== undefined
          : (await this.namespace.refuse(holder.inode)) === 'committed';
      yield;
      if (isKept) await this.references.confirm(holder, [stripe]);
      else await this.references.release(holder, [stripe]);
    }
    for (const { inode } of await this.namespace.releases()) {
      yield;
      const extents = await this.namespace.extents(inode);
      const stripes = extents.map(({ stripe }) => stripe);
      await this.references.release({ volume: 'v', inode }, stripes);
      yield;
      await this.namespace.finishRelease({ inode }, extents);
    }
    const condemned = await this.references.condemned();
    this.#deletes.push(...condemned);
    yield;
    for (const one of condemned) this.#delete(one);
    yield;
    await this.references.forget(condemned);
  }

  #deliver(choice: number): void {
    const late = this.#deletes[choice % Math.max(1, this.#deletes.length)];
    if (late) this.#delete(late);
  }

  #delete({ stripe, generation }: Condemned): void {
    const present = this.#chunks.get(toHex(stripe));
    if (present !== undefined && present <= generation) this.#chunks.delete(toHex(stripe));
  }

  async #removeOne(choice: number): Promise<void> {
    const objects = await this.namespace.listObjects({});
    const id = objects[choice % Math.max(1, objects.length)]?.objectId;
    if (id) await this.namespace.removeObject(id);
  }

  /** Stripes that a committed object names and the store does not hold. */
  async lostCount(): Promise<number> {
    let count = 0;
    for (const { inode } of await this.namespace.listObjects({})) {
      for (const { stripe } of await this.namespace.extents(inode)) {
        if (!this.#chunks.has(toHex(stripe))) count += 1;
      }
    }
    return count;
  }
}

/** `undefined` when the writer was told to stop. */
async function unlessFenced<Result>(work: Promise<Result>): Promise<Result | undefined> {
  try {
    return await work;
  } catch (error) {
    if (errorCode(error) === 'HF_FENCED') return undefined;
    throw error;
  }
}

// Mostly steps of actors; the rest starts, removes, crashes and delivers.
const kinds = fc.constantFrom(0, 0, 1, 2, 3, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6);
const steps = fc.array(fc.tuple(kinds, fc.nat({ max: 9 })), {
  minLength: 40,
  maxLength: 100,
  size: 'max',
});

function survives(fault?: Fault): fc.IAsyncProperty<[[number, number][]]> {
  return fc.asyncProperty(steps, async (list) => {
    const world = await World.open(fault);
    for (const [kind, choice] of list) {
      await world.step(kind, choice);
      expect(await world.lostCount()).toBe(0);
    }
  });
}

describe('collection', () => {
  it('loses nothing that is committed', async () => {
    await fc.assert(survives(), { numRuns: 100 });
  });

  it.each<Fault>(['known-while-pending', 'same-generation', 'forget-newer', 'drop-without-refuse'])(
    'would be seen to lose with the planted fault %s',
    async (fault) => {
      const { failed } = await fc.check(survives(fault), { numRuns: 1500, endOnFailure: true });
      expect(failed).toBe(true);
    },
  );
});
