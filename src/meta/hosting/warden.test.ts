/**
 * Aim: as nodes come, die and leave, the warden gives each space cells and members as it ought to
 * have them, also when two decide at once, and whoever writes meanwhile loses nothing that was
 * acknowledged. Method: hosts in one process on virtual time; what the plan says is warden-plan's
 * test, here it is carried out.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { HostingBed, nodeOf, VOLUME } from '../../../test/suites/hosting-bed.ts';
import { stripeOf } from '../../../test/suites/meta-makers.ts';
import { type NodeId, type ObjectId, utf8 } from '../../base/index.ts';
import { type Namespace, openVolumes, spaceOfVolume } from '../index.ts';
import { Warden } from './warden.ts';
import { chooseMembers, type MetadataNode } from './warden-plan.ts';

const SPACE = spaceOfVolume(VOLUME);
const GRACE_MS = 20_000;

let bed: HostingBed;
const stopping: AbortController[] = [];

afterEach(async () => {
  for (const each of stopping.splice(0)) each.abort();
  await bed[Symbol.asyncDispose]();
});

async function openBed(count: number): Promise<void> {
  bed = await HostingBed.open(count);
  await openVolumes(bed.registry).create({
    id: VOLUME,
    name: 'v',
    policy: [{ kind: 'copy', n: 3, k: 1 }] as never,
    isDeduplicating: false,
    retention: undefined,
    reencodedBy: undefined,
    createdAtMs: 0,
  });
}

/** Those that offer to carry cells; who is not running is dead. */
function metadataNodes(numbers: readonly number[]): MetadataNode[] {
  const running = new Set(bed.hosts.map(({ number }) => number));
  return numbers.map((number) => ({
    node: nodeOf(number),
    labels: { rack: `r${number % 3}` },
    isAlive: running.has(number),
    weight: 1,
  }));
}

function startWarden(number: number, numbers: () => readonly number[]): void {
  const { hosting } = bed.host(number);
  const each = new AbortController();
  stopping.push(each);
  const warden = new Warden({ env: bed.env, registry: bed.registry, hosting });
  void warden.run({
    signal: each.signal,
    metadataNodes: () => metadataNodes(numbers()),
    graceMs: GRACE_MS,
  });
}

const isLast = (node: NodeId): boolean => node === nodeOf(6);

async function mapOf(space: string) {
  return await bed.hosts.at(-1)!.hosting.maps.read(space);
}

function idSpread(number: number): ObjectId {
  const slot = ((number * 397) % 4096).toString(16).padStart(3, '0');
  return (slot + number.toString(16).padStart(29, '0')) as ObjectId;
}

async function put(namespace: Namespace, number: number): Promise<void> {
  await namespace.commitObject({
    inode: await namespace.allocateInodes(1),
    createdAtMs: 1,
    objectId: idSpread(number),
    sizeBytes: 0,
    schemeNumbers: [3],
    attributes: utf8('sealed'),
    addressKey: new Uint8Array(32).fill(number),
    extents: [],
    mayReplace: false,
  });
}

describe('the warden', () => {
  it('records a space and splits it as nodes come, while it is written to', async () => {
    await openBed(3);
    let offering = [1, 2, 3];
    startWarden(1, () => offering);
    const { namespace } = bed.host(2);
    let count = 0;
    let isOver = false;
    const writing = (async () => {
      for (; !isOver; count++) {
        await put(namespace, count);
        await bed.env.clock.sleep(100);
      }
    })();
    await bed.until(async () => (await mapOf(SPACE)).version > 0);
    expect((await mapOf(SPACE)).cells[0]?.members.length).toBe(3);
    for (const number of [4, 5, 6]) await bed.start(number);
    offering = [1, 2, 3, 4, 5, 6];
    for (const space of [SPACE, 'references']) {
      await bed.until(async () => {
        const map = await mapOf(space);
        return map.cells.length === 4 && !map.move;
      }, 120_000);
    }
    isOver = true;
    await writing;
    const all: ObjectId[] = [];
    for (let after: ObjectId | undefined; ; after = all.at(-1)) {
      const page = await bed.host(6).namespace.listObjects({ after, limit: 100 });
      all.push(...page.map(({ objectId }) => objectId as ObjectId));
      if (page.length === 0) break;
    }
    expect(all).toEqual(Array.from({ length: count }, (_, index) => idSpread(index)).toSorted());
    const cells = await bed.host(6).hosting.cells();
    for (const { members, standing } of cells) {
      expect(new Set(members.map((node) => bed.numberOf(node) % 3)).size).toBe(3);
      expect(standing).toBeDefined();
    }
  });

  it('replaces a dead member after its grace, and not before', async () => {
    await openBed(5);
    startWarden(1, () => [1, 2, 3, 4, 5]);
    await bed.until(async () => {
      const map = await mapOf(SPACE);
      return map.cells.length === 4 && !map.move;
    }, 120_000);
    const { namespace } = bed.host(1);
    for (let number = 0; number < 20; number++) await put(namespace, number);
    const victim = 5;
    const killedAtMs = bed.env.clock.monotonic();
    await bed.kill(victim);
    const isMember = async () => {
      const maps = await Promise.all([SPACE, 'references'].map(mapOf));
      return maps.some(({ cells }) =>
        cells.some(({ members }) => members.includes(nodeOf(victim))),
      );
    };
    expect(await isMember()).toBe(true);
    await bed.until(async () => !(await isMember()), 120_000);
    expect(bed.env.clock.monotonic() - killedAtMs).toBeGreaterThan(GRACE_MS);
    expect((await bed.host(2).namespace.listObjects({})).length).toBe(20);
    await put(namespace, 1000);
    // It comes back, reads that it carries nothing any more, and lets go of its rows.
    const isOfVictim = (each: string) => each.startsWith(`${victim}/`);
    expect(bed.dropped.filter(isOfVictim)).toEqual([]);
    await bed.start(victim);
    await bed.until(() => bed.dropped.some(isOfVictim));
    // In time it gets its share again.
    await bed.until(isMember);
  });

  it('takes another in the place of one that cannot follow', async () => {
    await openBed(6);
    startWarden(1, () => [1, 2, 3, 4, 5, 6]);
    await bed.until(async () => {
      const map = await mapOf(SPACE);
      return map.cells.length === 4 && !map.move;
    }, 120_000);
    await bed.env.clock.sleep(20_000);
    const place = (await mapOf(SPACE)).cells.find(({ members }) => members.some(isLast))!;
    const staying = place.members.filter((node) => !isLast(node));
    const offering = metadataNodes([1, 2, 3, 4, 5]);
    const next = chooseMembers(place.cell, offering, staying).at(-1)!;
    bed.broken.add(`${bed.numberOf(next)}/${place.cell}`);
    await bed.kill(6);
    await bed.until(async () => {
      const { cells } = await mapOf(SPACE);
      const { members } = cells.find(({ cell }) => cell === place.cell)!;
      return !members.some(isLast) && members.length === 3;
    }, 120_000);
  });

  it('does no harm when two decide at once', async () => {
    await openBed(6);
    for (const number of [1, 2, 3]) startWarden(number, () => [1, 2, 3, 4, 5, 6]);
    await bed.until(async () => {
      const maps = await Promise.all([SPACE, 'references'].map(mapOf));
      return maps.every(({ cells, move }) => cells.length === 4 && !move);
    }, 120_000);
    const { references } = bed.host(4).hosting;
    const session = await references.openSession('n');
    const stripes = Array.from({ length: 50 }, (_, index) => ({
      stripe: stripeOf(index * 1311),
      schemeNumber: 3,
      chunkBytes: 4096,
    }));
    const holder = { volume: VOLUME, inode: 9n };
    expect(await references.add({ session, holder, stripes })).toHaveLength(50);
    const ids = stripes.map(({ stripe }) => stripe);
    await references.confirm(holder, ids.slice(0, 25));
    expect(await references.release(holder, ids)).toHaveLength(50);
    const condemned = await bed.host(5).hosting.references.condemned();
    expect(condemned).toHaveLength(50);
    await references.forget(condemned);
    expect(await references.condemned()).toEqual([]);
    const later = await bed.host(6).hosting.references.openSession('n');
    expect(later.fence).toBe(session.fence + 1);
  });
});
