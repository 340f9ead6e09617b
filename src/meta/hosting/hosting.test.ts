/**
 * Aim: whoever asks for names or references reaches the steward of the moment; a steward that is
 * gone has a successor within five seconds, and nothing that was acknowledged is lost. Method:
 * three to five hosts in one process, on virtual time, over network, log and registry in memory.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { HostingBed, nodeOf, told, VOLUME } from '../../../test/suites/hosting-bed.ts';
import { extentOf, stripeOf } from '../../../test/suites/meta-makers.ts';
import { type ObjectId, utf8 } from '../../base/index.ts';
import {
  type Namespace,
  type ObjectCommit,
  ROOT_INODE,
  spaceOfVolume,
  type Tree,
} from '../index.ts';
import { withSplit } from './cell-map.ts';

const SPACE = spaceOfVolume(VOLUME);

let bed: HostingBed;

afterEach(async () => {
  await bed[Symbol.asyncDispose]();
});

function idOf(number: number): ObjectId {
  return number.toString(16).padStart(32, '0') as ObjectId;
}

function commitOf(inode: bigint, number: number): ObjectCommit {
  return {
    inode,
    createdAtMs: 1,
    objectId: idOf(number),
    sizeBytes: 10,
    schemeNumbers: [3],
    attributes: utf8('sealed'),
    addressKey: new Uint8Array(32).fill(1),
    extents: [extentOf(0, 10, 1)],
    mayReplace: false,
    entry: { directory: ROOT_INODE, name: utf8(`object-${number}`) },
  };
}

async function put(namespace: Namespace, number: number): Promise<void> {
  await namespace.commitObject(commitOf(await namespace.allocateInodes(1), number));
}

async function pin(space: string, ...numbers: number[]): Promise<void> {
  await bed.pin(space, ...numbers);
}

describe('without a record', () => {
  it('all is at the home, and opened there when it is asked for', async () => {
    bed = await HostingBed.open(3);
    await put(bed.host(2).namespace, 7);
    expect(bed.stewards(SPACE)).toEqual([1]);
    for (const { namespace } of bed.hosts) {
      expect((await namespace.object(idOf(7)))?.sizeBytes).toBe(10);
      expect((await namespace.listObjects({})).length).toBe(1);
      expect(await namespace.usage()).toEqual({ objectCount: 1, contentBytes: 10 });
    }
    const session = await bed.host(3).hosting.references.openSession('a');
    expect(session).toEqual({ id: 'a', fence: 1 });
  });

  it('a node that carries nothing asks as others do', async () => {
    bed = await HostingBed.open(1);
    const { namespace, hosting } = await bed.start(2, { carries: false });
    await put(namespace, 1);
    expect(await told(put(namespace, 1))).toBe('HF_EXISTS');
    expect((await hosting.where(SPACE, 0)).standing?.steward).toBe(nodeOf(1));
  });
});

describe('with three members', () => {
  it('the first becomes steward, and the others answer through it', async () => {
    bed = await HostingBed.open(4);
    await pin(SPACE, 2, 3, 1);
    await bed.until(() => bed.stewards(SPACE).length > 0);
    expect(bed.stewards(SPACE)).toEqual([2]);
    for (const { number, namespace } of bed.hosts) await put(namespace, number);
    expect((await bed.host(4).namespace.listObjects({})).length).toBe(4);
    const where = await bed.host(4).hosting.where(SPACE, 5);
    expect(where).toMatchObject({ cell: SPACE, standing: { steward: nodeOf(2), epoch: 1 } });
  });

  it('the next takes over within five seconds when the steward dies', async () => {
    bed = await HostingBed.open(4);
    await pin(SPACE, 1, 2, 3);
    await bed.until(() => bed.stewards(SPACE).length > 0);
    const { namespace } = bed.host(4);
    let number = 0;
    const done: number[] = [];
    const writing = (async () => {
      while (number < 60) {
        const mine = ++number;
        await put(namespace, mine);
        done.push(mine);
        await bed.env.clock.sleep(20);
      }
    })();
    await bed.until(() => done.length >= 10);
    await bed.kill(1);
    const killedAtMs = bed.env.clock.monotonic();
    const before = done.length;
    await bed.until(() => done.length > before);
    expect(bed.env.clock.monotonic() - killedAtMs).toBeLessThan(5000);
    await writing;
    expect(bed.stewards(SPACE)).toEqual([2]);
    for (const each of done) expect(await namespace.object(idOf(each))).toBeDefined();
    await bed.start(1);
    await bed.until(() => bed.stewards(SPACE)[0] === 1);
    await put(namespace, 1000);
    expect((await namespace.usage()).objectCount).toBe(61);
  });
});

describe.each([{ hasEtcd: false }, { hasEtcd: true }])(
  'by an engine (etcd: $hasEtcd)',
  (engine) => {
    it('a node that stops hands its cells over, and nobody waits for long', async () => {
      bed = await HostingBed.open(4, engine);
      await pin(SPACE, 1, 2, 3);
      await bed.until(() => bed.stewards(SPACE).length > 0);
      const { namespace } = bed.host(4);
      let longestMs = 0;
      let count = 0;
      let isOver = false;
      const writing = (async () => {
        while (!isOver) {
          const startMs = bed.env.clock.monotonic();
          await put(namespace, ++count);
          longestMs = Math.max(longestMs, bed.env.clock.monotonic() - startMs);
        }
      })();
      await bed.until(() => count > 20);
      await bed.stop(1);
      const before = count;
      await bed.until(() => count > before + 20);
      isOver = true;
      await writing;
      expect(longestMs).toBeLessThan(1500);
      expect(bed.stewards(SPACE)).toEqual([2]);
      expect((await namespace.usage()).objectCount).toBe(count);
    });

    it('directories move between cells, and none is lost or twice there', async () => {
      bed = await HostingBed.open(3, engine);
      await pin(SPACE, 1, 2, 3);
      const { hosting } = bed.host(1);
      const map = await hosting.maps.read(SPACE);
      await hosting.maps.replace(map, withSplit(map, SPACE, [2, 3, 1].map(nodeOf)));
      await bed.until(async () => (await hosting.maps.read(SPACE)).move === undefined);
      const trees = bed.hosts.map((host) => host.hosting.tree(VOLUME));
      const [tree] = trees as [Tree];
      const parents: bigint[] = [];
      while (new Set(parents.map((inode) => inode >> 63n)).size < 2) {
        const { status } = await tree.makeDirectory(directoryAt(ROOT_INODE, `p${parents.length}`));
        parents.push(status.inode);
      }
      const [one, other] = [parents[0]!, parents.at(-1)!];
      for (const [index, each] of trees.entries()) {
        await each.makeDirectory(directoryAt(one, `d${index}`));
      }
      await Promise.all(
        trees.map(async (each, index) => {
          let [from, to] = [one, other];
          for (let round = 0; round < 5; round++, [from, to] = [to, from]) {
            const name = `d${index}`;
            await each.rename({
              from: directoryAt(from, name).place,
              to: directoryAt(to, name).place,
            });
          }
        }),
      );
      expect(await tree.listAttributes({ directory: one, after: undefined })).toEqual([]);
      expect(await tree.listAttributes({ directory: other, after: undefined })).toHaveLength(3);
      await bed.until(async () =>
        (await hosting.cells()).every(({ standing }) => standing?.intentCount === 0),
      );
    });
  },
);

function directoryAt(directory: bigint, name: string) {
  const place = { directory, name: utf8(name), directoryName: utf8(`${name}/`) };
  return { place, salt: new Uint8Array(16), mode: 0o755, uid: 0, gid: 0 };
}

describe('references', () => {
  it('end the older sessions of a node in every cell', async () => {
    bed = await HostingBed.open(3);
    await pin('references', 1, 2, 3);
    const [one, two] = [bed.host(1).hosting.references, bed.host(2).hosting.references];
    const first = await one.openSession('n');
    const second = await two.openSession('n');
    expect(second.fence).toBeGreaterThan(first.fence);
    const holder = { volume: VOLUME, inode: 5n };
    const stripes = [1, 2, 3].map((seed) => ({
      stripe: stripeOf(seed * 7919),
      schemeNumber: 3,
      chunkBytes: 4096,
    }));
    expect(await told(one.add({ session: first, holder, stripes }))).toBe('HF_FENCED');
    expect(await one.add({ session: second, holder, stripes })).toHaveLength(3);
    expect(await two.holders(stripes[0]!.stripe)).toEqual([holder]);
  });
});

describe('a space of several cells', () => {
  it('is split while it is written to, and nothing is lost', async () => {
    bed = await HostingBed.open(4);
    await pin(SPACE, 1, 2, 3);
    const { namespace, hosting } = bed.host(4);
    for (let number = 1; number <= 20; number++) await put(namespace, number);
    const before = await hosting.maps.read(SPACE);
    expect(
      await hosting.maps.replace(before, withSplit(before, SPACE, [2, 3, 4].map(nodeOf))),
    ).toBe(true);
    let isMoved = false;
    const writing = (async () => {
      let number = 100;
      for (; !isMoved || number < 140; number++) {
        await namespace.commitObject({
          ...commitOf(await namespace.allocateInodes(1), number),
          objectId: idSpread(number),
          entry: undefined,
        });
      }
      return number;
    })();
    await bed.until(async () => {
      const map = await hosting.maps.read(SPACE);
      return (isMoved = map.move === undefined && map.cells.length === 2);
    });
    const end = await writing;
    expect(bed.stewards(`${SPACE}-1`)).toEqual([2]);
    expect((await namespace.listObjects({})).length).toBe(20 + end - 100);
    expect(await namespace.usage()).toEqual({
      objectCount: 20 + end - 100,
      contentBytes: 10 * (20 + end - 100),
    });
    for (let number = 100; number < end; number++) {
      expect(await bed.host(3).namespace.object(idSpread(number))).toBeDefined();
    }
    const [first, second] = await hosting.cells();
    expect(first).toMatchObject({ cell: SPACE, slots: { from: 0, to: 2048 } });
    expect(second).toMatchObject({
      slots: { from: 2048, to: 4096 },
      members: [2, 3, 4].map(nodeOf),
    });
    expect(second?.standing?.slots).toEqual(second?.slots);
  });
});

/** Ids of many slots. */
function idSpread(number: number): ObjectId {
  return (((number * 397) % 4096).toString(16).padStart(3, '0') +
    idOf(number).slice(3)) as ObjectId;
}
