/**
 * Aim: what was acknowledged and has reached a member can be read there when registry and logs are
 * gone and most hosts with them, also over several cells; nothing can be changed meanwhile; and who
 * has no rows, or may not ask, is told so. Method: hosts in one process on virtual time.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { HostingBed, told, VOLUME } from '../../../test/suites/hosting-bed.ts';
import { type ObjectId, utf8 } from '../../base/index.ts';
import { type Inode, type Namespace, ROOT_INODE, spaceOfVolume } from '../index.ts';
import { withSplit } from './cell-map.ts';

const SPACE = spaceOfVolume(VOLUME);

let bed: HostingBed;

afterEach(async () => {
  await bed[Symbol.asyncDispose]();
});

async function openBed(count: number): Promise<void> {
  bed = await HostingBed.open(count, { hasEtcd: true });
  await bed.pin(SPACE, 1, 2, 3);
  await bed.until(() => bed.stewards(SPACE)[0] === 1);
}

/** Objects of many slots, with names in the root. */
async function put(namespace: Namespace, count: number): Promise<ObjectId[]> {
  const ids: ObjectId[] = [];
  for (let number = 0; number < count; number++) {
    const objectId = (number * 16).toString(16).padStart(3, '0').padEnd(32, '5') as ObjectId;
    await namespace.commitObject({
      inode: await namespace.allocateInodes(1, { objectId }),
      createdAtMs: 1,
      objectId,
      sizeBytes: 0,
      schemeNumbers: [3],
      attributes: utf8('sealed'),
      addressKey: new Uint8Array(32).fill(number),
      extents: [],
      mayReplace: false,
      entry: { directory: ROOT_INODE, name: utf8(`object-${number}`) },
    });
    ids.push(objectId);
  }
  return ids;
}

async function namesIn(namespace: Namespace, directory: Inode): Promise<string[]> {
  const page = await namespace.list({ directory });
  return page.map(({ name }) => Buffer.from(name).toString());
}

/** Neither registry nor logs answer anybody any more, and hosts 1 and 2 are gone. */
async function loseMajority(): Promise<void> {
  await bed.env.clock.sleep(2000); // replicas follow
  for (const { number } of bed.hosts) bed.cutOff.add(number);
  await bed.kill(1);
  await bed.kill(2);
  await bed.env.clock.sleep(1000);
}

describe('without a majority', () => {
  it.each([1, 2])('names are read in %d cells, and nothing is changed', async (cellCount) => {
    await openBed(4);
    const { maps } = bed.host(1).hosting;
    if (cellCount === 2) {
      const map = await maps.read(SPACE);
      expect(await maps.replace(map, withSplit(map, SPACE, map.cells[0]!.members))).toBe(true);
      await bed.until(async () => !(await maps.read(SPACE)).move);
      expect(maps.all()[0]?.cells).toHaveLength(2);
    }
    const ids = await put(bed.host(4).namespace, 200);
    await loseMajority();

    // Host 4 has no rows of its own.
    for (const number of [3, 4]) {
      const { hosting, namespace } = bed.host(number);
      const stale = hosting.staleNamespace(VOLUME);
      const startMs = bed.env.clock.monotonic();
      const found = await Promise.all(ids.map((id) => stale.object(id)));
      expect(found.map((record) => record?.objectId)).toEqual(ids);
      expect(await stale.lookup(ROOT_INODE, utf8('object-7'))).toBeDefined();
      expect(await namesIn(stale, ROOT_INODE)).toHaveLength(200);
      expect(await stale.listObjects({})).toHaveLength(200);
      const page = await hosting.staleTree(VOLUME).listAttributes({ directory: ROOT_INODE });
      expect(page).toHaveLength(200);
      expect(bed.env.clock.monotonic() - startMs).toBeLessThan(1000);
      const none = hosting.staleTree(VOLUME).listAttributes({ directory: 77n });
      expect(await told(none)).toBe('HF_NOT_FOUND');
      expect(await told(namespace.removeObject(ids[0]!))).toMatch(/HF_UNAVAIL|HF_UNKNOWN/);
    }
  });

  it('nobody is read from who has nothing', async () => {
    await openBed(4);
    await loseMajority();
    await bed.kill(3);
    const { hosting } = bed.host(4);
    const startMs = bed.env.clock.monotonic();
    const list = hosting.staleNamespace(VOLUME).list({ directory: ROOT_INODE });
    expect(await told(list)).toBe('HF_UNAVAILABLE');
    expect(bed.env.clock.monotonic() - startMs).toBeLessThan(10_000);
  });

  it('a steward that is cut off reads its own rows, and only what is durable', async () => {
    await openBed(3);
    const { hosting, namespace } = bed.host(1);
    const [id] = await put(namespace, 1);
    bed.cutOff.add(1);
    bed.part(1);
    const removing = told(namespace.removeObject(id!));
    await bed.env.clock.sleep(100);
    const stale = hosting.staleNamespace(VOLUME);
    expect(await stale.object(id!)).toBeDefined();
    expect(await removing).toMatch(/HF_UNAVAIL|HF_UNKNOWN/);
    expect(await stale.object(id!)).toBeDefined();
  });
});
