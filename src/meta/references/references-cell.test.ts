// Aim: references answer as a few maps do, also after restarts; generations and states are those of
// rulings 12 to 14. Method: cases one by one, then random commands against a model.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareBytes, errorCode, groupOf, LIMITS, toHex } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { realEnv } from '../../env/index.ts';
import { MemoryLog } from '../../log/index.ts';
import type { Condemned, Holder, References, Session, WantedStripe } from './references.ts';
import { openReferences } from './references-cell.ts';
import { stripeOf } from '../../../test/suites/meta-makers.ts';

const env = realEnv();
const one: Holder = { volume: 'v', inode: 1n };
const two: Holder = { volume: 'v', inode: 2n };

function wantedOf(seed: number): WantedStripe {
  return { stripe: stripeOf(seed), schemeNumber: 3, chunkBytes: 1000 };
}

async function open(): Promise<References> {
  return await openReferences({ env, cell: 'r', log: new MemoryLog(), db: new MemoryDb() });
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(() => undefined, errorCode);
}

describe('References', () => {
  const stripe = stripeOf(1);
  const stripes = [wantedOf(1)];

  it('know a stripe as stored when a manifest named it, and not before', async () => {
    await using references = await open();
    const session = await references.openSession('a');
    expect(await references.add({ session, holder: one, stripes })).toEqual([
      { generation: 1, isStored: false },
    ]);
    expect(await references.add({ session, holder: two, stripes })).toEqual([
      { generation: 1, isStored: false },
    ]);
    await references.confirm(one, [stripe]);
    expect(await references.add({ session, holder: two, stripes })).toEqual([
      { generation: 1, isStored: true },
    ]);
    const { generation, isStored, referenceCount } = (await references.stripe(stripe)) ?? {};
    expect({ generation, isStored, referenceCount }).toEqual({
      generation: 1,
      isStored: true,
      referenceCount: 2,
    });
    expect(await references.holders(stripe)).toEqual([one, two]);
  });

  it('condemn a stripe with its last reference, and name it anew at a new generation', async () => {
    await using references = await open();
    const session = await references.openSession('a');
    await references.add({ session, holder: one, stripes });
    await references.add({ session, holder: two, stripes });
    await references.confirm(one, [stripe]);
    expect(await references.release(one, [stripe])).toEqual([]);
    const old = { stripe, schemeNumber: 3, generation: 1 };
    expect(await references.release(two, [stripe])).toEqual([old]);
    expect(await references.release(two, [stripe])).toEqual([]);
    expect(await references.stripe(stripe)).toBeUndefined();
    expect(await references.add({ session, holder: one, stripes })).toEqual([
      { generation: 2, isStored: false },
    ]);
    expect(await references.condemned()).toEqual([old]);
    await references.forget([old]);
    expect(await references.condemned()).toEqual([]);
    expect((await references.stripe(stripe))?.generation).toBe(2);
  });

  it('keep what was condemned again when the older generation is forgotten', async () => {
    await using references = await open();
    const session = await references.openSession('a');
    await references.add({ session, holder: one, stripes });
    const [first] = await references.release(one, [stripe]);
    await references.add({ session, holder: one, stripes });
    const second = await references.release(one, [stripe]);
    await references.forget([first as Condemned]);
    expect(await references.condemned()).toEqual(second);
    await references.forget(second);
    // Forgotten altogether: a delayed delete may still be on its way.
    expect(await references.add({ session, holder: one, stripes })).toEqual([
      { generation: 3, isStored: false },
    ]);
  });

  it('never go back to an older generation in a group', async () => {
    await using references = await open();
    const session = await references.openSession('a');
    const [first, second] = [wantedOf(0x1001), wantedOf(0x1002)];
    await references.add({ session, holder: one, stripes: [first, second] });
    for (const generation of [1, 2]) {
      const condemned = [{ stripe: second.stripe, schemeNumber: 3, generation }];
      expect(await references.release(one, [second.stripe])).toEqual(condemned);
      await references.add({ session, holder: one, stripes: [second] });
    }
    expect((await references.release(one, [first.stripe]))[0]?.generation).toBe(1);
    const [named] = await references.add({ session, holder: two, stripes: [first] });
    expect(named?.generation).toBe(3);
  });

  it('end the older session of a node, whose pending references are stray', async () => {
    await using references = await open();
    const session = await references.openSession('a');
    const other = await references.openSession('b');
    const many = [1, 2, 0xfff0].map(wantedOf);
    await references.add({ session, holder: one, stripes: many });
    await references.add({ session: other, holder: two, stripes: many });
    await references.confirm(one, [stripeOf(2)]);
    expect(await references.strays()).toEqual([]);
    const next = await references.openSession('a');
    expect(next.fence).toBeGreaterThan(session.fence);
    expect(await codeOf(references.add({ session, holder: two, stripes }))).toBe('HF_FENCED');
    const strays = [1, 0xfff0].map((seed) => ({ stripe: stripeOf(seed), holder: one, session }));
    expect(await references.strays()).toEqual(strays);
    await references.add({ session: next, holder: one, stripes });
    expect(await references.strays()).toEqual(strays.slice(1));
  });

  it('do not bring back what was released before it was confirmed', async () => {
    await using references = await open();
    const session = await references.openSession('a');
    await references.add({ session, holder: one, stripes });
    await references.release(one, [stripe]);
    await references.confirm(one, [stripe]);
    expect(await references.stripe(stripe)).toBeUndefined();
    expect(await references.holders(stripe)).toEqual([]);
  });

  it('page through a group, and know when it was whole', async () => {
    await using references = await open();
    const session = await references.openSession('a');
    const many = Array.from({ length: 1500 }, (_, index) => {
      const stripe = stripeOf(0x10);
      stripe[10] = index >> 8;
      stripe[11] = index & 0xff;
      return { ...wantedOf(0), stripe };
    });
    const half = LIMITS.listPageMax / 2;
    await references.add({ session, holder: one, stripes: many.slice(0, half) });
    await references.add({ session, holder: one, stripes: many.slice(half) });
    await references.add({ session, holder: one, stripes: [wantedOf(0x20)] });
    const first = await references.stripesOfGroup(1);
    const second = await references.stripesOfGroup(1, first.at(-1)?.stripe);
    expect([...first, ...second].map((record) => toHex(record.stripe))).toEqual(
      many.map((wanted) => toHex(wanted.stripe)),
    );
    expect(first.length).toBe(LIMITS.listPageMax);
    expect(await references.wholeEpoch(1)).toBe(0);
    await references.setWholeEpoch(1, 7);
    await references.setWholeEpoch(1, 5);
    expect([await references.wholeEpoch(1), await references.wholeEpoch(2)]).toEqual([7, 0]);
  });
});

/** What the contract of {@link References} says, over maps. */
class Model {
  readonly named = new Map<
    number,
    { generation: number; isStored: boolean; holders: Map<bigint, Session | 'confirmed'> }
  >();
  readonly condemned = new Map<number, number>();
  /** The highest generation that was ever condemned, for each group. */
  readonly highest = new Map<number, number>();

  add(session: Session, inode: bigint, seed: number): { isStored: boolean } {
    let record = this.named.get(seed);
    if (!record)
      this.named.set(seed, (record = { generation: 0, isStored: false, holders: new Map() }));
    if (record.holders.get(inode) !== 'confirmed') record.holders.set(inode, session);
    return { isStored: record.isStored };
  }

  confirm(inode: bigint, seed: number): void {
    const record = this.named.get(seed);
    if (!record?.holders.has(inode)) return;
    record.holders.set(inode, 'confirmed');
    record.isStored = true;
  }

  release(inode: bigint, seed: number): boolean {
    const record = this.named.get(seed);
    if (!record?.holders.delete(inode) || record.holders.size > 0) return false;
    this.named.delete(seed);
    this.condemned.set(seed, record.generation);
    const group = groupOf(stripeOf(seed));
    this.highest.set(group, Math.max(this.highest.get(group) ?? 0, record.generation));
    return true;
  }
}

const SEEDS = [0x1000, 0x1001, 0x10ff, 0x1100, 0xff00];
const command = fc.record({
  kind: fc.constantFrom('add', 'add', 'confirm', 'release', 'forget', 'session', 'restart'),
  seed: fc.constantFrom(...SEEDS),
  inode: fc.bigInt({ min: 1n, max: 3n }),
  age: fc.nat({ max: 3 }),
});

describe('References against a model', () => {
  it('answer the same, also after restarts', async () => {
    const property = fc.asyncProperty(
      fc.array(command, { minLength: 10, maxLength: 60, size: 'max' }),
      async (commands) => {
        const log = new MemoryLog();
        const parts = { env, cell: 'r', log, db: new MemoryDb() };
        let references = await openReferences(parts);
        let session = await references.openSession('node');
        const model = new Model();
        const delayed: Condemned[] = [];
        for (const { kind, seed, inode, age } of commands) {
          const holder = { volume: 'v', inode };
          const stripe = stripeOf(seed);
          if (kind === 'add') {
            const stripes = [wantedOf(seed)];
            const [added] = await references.add({ session, holder, stripes });
            expect(added?.isStored).toBe(model.add(session, inode, seed).isStored);
            const record = model.named.get(seed);
            const highest = model.highest.get(groupOf(stripe)) ?? 0;
            if (record?.generation === 0) expect(added?.generation).toBe(highest + 1);
            else expect(added?.generation).toBe(record?.generation);
            if (record) record.generation = added?.generation ?? 0;
          } else if (kind === 'confirm') {
            await references.confirm(holder, [stripe]);
            model.confirm(inode, seed);
          } else if (kind === 'release') {
            const found = await references.release(holder, [stripe]);
            expect(found.length > 0).toBe(model.release(inode, seed));
            delayed.push(...found);
          } else if (kind === 'forget' && delayed.length > 0) {
            const old = delayed[age % delayed.length] as Condemned;
            await references.forget([old]);
            for (const [known, generation] of model.condemned) {
              if (compareBytes(stripeOf(known), old.stripe) === 0 && generation <= old.generation) {
                model.condemned.delete(known);
              }
            }
          } else if (kind === 'session') session = await references.openSession('node');
          else if (kind === 'restart') {
            await references[Symbol.asyncDispose]();
            references = await openReferences({ ...parts, db: new MemoryDb() });
          }
        }
        await checkAll(references, model, session);
      },
    );
    await fc.assert(property, { numRuns: 150 });
  });
});

async function checkAll(references: References, model: Model, session: Session): Promise<void> {
  for (const seed of SEEDS) {
    const record = model.named.get(seed);
    const found = await references.stripe(stripeOf(seed));
    expect(found?.generation).toBe(record?.generation);
    expect(found?.isStored).toBe(record?.isStored);
    expect(found?.referenceCount).toBe(record?.holders.size);
    const inodes = (await references.holders(stripeOf(seed))).map(({ inode }) => inode);
    expect(new Set(inodes)).toEqual(new Set(record?.holders.keys() ?? []));
  }
  const condemned = await references.condemned();
  expect(new Map(condemned.map((found) => [toHex(found.stripe), found.generation]))).toEqual(
    new Map([...model.condemned].map(([seed, generation]) => [toHex(stripeOf(seed)), generation])),
  );
  const strays = [...model.named].flatMap(([seed, { holders }]) =>
    [...holders]
      .filter(([, state]) => state !== 'confirmed' && state.fence !== session.fence)
      .map(([inode]) => `${toHex(stripeOf(seed))} ${inode}`),
  );
  const found = (await references.strays()).map(
    ({ stripe, holder }) => `${toHex(stripe)} ${holder.inode}`,
  );
  expect(found.sort()).toEqual(strays.sort());
}
