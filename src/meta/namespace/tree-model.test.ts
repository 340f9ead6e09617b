// Aim: a tree answers as POSIX says, whatever is asked in whatever order, together with objects
// that are put, re-encoded and removed under the same names; no reference is lost or left. Method:
// random operations over few names against the model, an in-memory tree; after each one the
// invariants of all rows, and that what is named is referenced.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CellsBed } from '../../../test/suites/cells-bed.ts';
import { contentOf, type ModelNode, Refusal } from '../../../test/suites/tree-model.ts';
import { errorCode, type ObjectId, toHex, utf8 } from '../../base/index.ts';
import type { Executor } from '../cells/executor.ts';
import { Overlay, type Rows } from '../cells/overlay.ts';
import { SLOT_COUNT, slotStart } from '../cells/rows.ts';
import type { Inode } from './namespace.ts';
import { nsOf } from './posix-part.ts';
import { OWNER, type Part, SALT, TreeBed, type TreeCells } from './tree-invariants.test.ts';

type Step = (bed: TreeBed) => Promise<unknown>;

const small = fc.nat({ max: 7 });
const at = fc.tuple(small, fc.nat({ max: 2 }));
const xattrName = fc.constantFrom('user.a', 'user.b');

const parts = fc
  .array(
    fc.record({
      at: fc.nat({ max: 12 }),
      length: fc.integer({ min: 1, max: 8 }),
      again: fc.boolean(),
    }),
    {
      maxLength: 3,
    },
  )
  .map((list) =>
    // One after the other, so that none meet.
    list.reduce<Part[]>((placed, part) => {
      const last = placed.at(-1);
      const start = last ? last.at + last.length : 0;
      return [...placed, { ...part, at: start + part.at }];
    }, []),
  );

function made(bed: TreeBed, type: ModelNode['type'], inode: Inode): ModelNode {
  return bed.model.make(inode, type, OWNER);
}

const lookup = at.map((where): Step => async (bed) => {
  const { at: modelAt, place } = bed.place(where);
  const found = await bed.both(
    () => bed.tree.lookup(place),
    () => bed.model.seen(modelAt),
  );
  if (found) expect(found.status.inode).toBe(bed.model.seen(modelAt)?.node.inode);
});

const makeNode = fc
  .tuple(
    at,
    fc.constantFrom('file', 'file', 'file', 'symlink', 'fifo', 'blockDevice'),
    fc.boolean(),
  )
  .map(([where, type, isNumbered]): Step => async (bed) => {
    const { at: modelAt, place } = bed.place(where);
    const target = type === 'symlink' ? { sealed: utf8('to'), sizeBytes: 2 } : undefined;
    const inode = isNumbered ? await bed.namespace.allocateInodes(1, { inode: 5n }) : undefined;
    const device = { deviceNumber: type === 'blockDevice' ? 259 : 0 };
    await bed.both(
      () => bed.tree.makeNode({ ...OWNER, ...device, place, type, target, inode }),
      (entry) => {
        bed.model.checkFree(modelAt);
        bed.model.directory(modelAt.directory);
        const node = made(bed, type, entry!.status.inode);
        node.target = target && 'to';
        bed.model.create(modelAt, node);
      },
    );
  });

const makeUnnamed: fc.Arbitrary<Step> = fc.constant(async (bed) => {
  const { status } = await bed.tree.makeNode({ ...OWNER, type: 'file' });
  made(bed, 'file', status.inode);
  bed.model.open.add(status.inode);
});

const makeDirectory = at.map((where): Step => async (bed) => {
  const { at: modelAt, place } = bed.place(where);
  await bed.both(
    () => bed.tree.makeDirectory({ ...OWNER, place, salt: SALT }),
    (entry) => {
      bed.model.checkFree(modelAt);
      bed.model.create(modelAt, made(bed, 'directory', entry!.status.inode));
    },
  );
});

const link = fc.tuple(small, at).map(([index, where]): Step => async (bed) => {
  const { at: modelAt, place } = bed.place(where);
  const inode = bed.file(index);
  await bed.both(
    () => bed.tree.link(inode, place),
    () => bed.model.link(inode, modelAt),
  );
});

const unlink = at.map((where): Step => async (bed) => {
  const { at: modelAt, place } = bed.place(where);
  await bed.both(
    () => bed.tree.unlink(place),
    () => bed.model.unlink(modelAt),
  );
});

const removeDirectory = at.map((where): Step => async (bed) => {
  const { at: modelAt, place } = bed.place(where);
  await bed.both(
    () => bed.tree.removeDirectory(place),
    () => bed.model.removeDirectory(modelAt),
  );
});

const rename = fc
  .tuple(at, at, fc.constantFrom(undefined, undefined, 'noReplace' as const, 'exchange' as const))
  .map(([source, destination, flag]): Step => async (bed) => {
    const from = bed.place(source);
    const to = bed.place(destination);
    await bed.both(
      () => bed.tree.rename({ from: from.place, to: to.place, flag }),
      () => bed.model.rename(from.at, to.at, flag),
    );
  });

const readLink = small.map((index): Step => async (bed) => {
  const inode = bed.pick(index);
  const target = await bed.both(
    () => bed.tree.readLink(inode),
    () => {
      if (bed.model.node(inode).type !== 'symlink') throw new Refusal('HF_BAD_ARGUMENT');
    },
  );
  if (target) expect(Buffer.from(target).toString()).toBe('to');
});

const changeMode = small.map((index): Step => async (bed) => {
  const inode = bed.pick(index);
  await bed.both(
    () => bed.tree.setAttributes(inode, { mode: 0o4711, uid: index }),
    () => bed.model.change(inode, { mode: 0o4711, uid: index }),
  );
});

const changeTimes = small.map((index): Step => async (bed) => {
  const inode = bed.pick(index);
  await bed.both(
    () => bed.tree.setAttributes(inode, { accessedNs: 'now', modifiedNs: nsOf(index) }),
    () => bed.model.change(inode, { accessedMs: bed.model.nowMs, modifiedMs: index }),
  );
});

const truncate = fc.tuple(small, fc.nat({ max: 30 })).map(([index, size]): Step => async (bed) => {
  const inode = bed.file(index);
  await bed.both(
    () => bed.tree.setAttributes(inode, { sizeBytes: size }),
    () => {
      bed.model.resize(bed.model.file(inode), size);
      bed.model.change(inode, { modifiedMs: bed.model.nowMs });
    },
  );
});

const write = fc
  .record({
    index: small,
    parts,
    size: fc.nat({ max: 30 }),
    isHybrid: fc.boolean(),
    isOnBase: fc.boolean(),
    /** Every other part of them is one. */
    hasHoles: fc.boolean(),
  })
  .map((request): Step => async (bed) => {
    const inode = bed.file(request.index);
    const holder = await bed.namespace.allocateInodes(1, { inode });
    const isHole = (index: number): boolean => request.hasHoles && index % 2 === 0;
    const written = request.parts.filter((_, index) => !isHole(index));
    const first = bed.extents(written, holder);
    const holes = request.parts
      .filter((_, index) => isHole(index))
      .map(({ at: offset, length: lengthBytes }) => ({ offset, lengthBytes }));
    const second = request.isHybrid ? first.map((extent) => ({ ...extent, encoding: 1 })) : [];
    const baseChange = request.isOnBase
      ? ((await bed.tree.getAttributes(inode))?.changeCount ?? 0n)
      : 10_000n;
    const commit = {
      inode,
      write: holder,
      extents: [...first, ...second],
      holes,
      sizeBytes: request.size,
      schemeNumbers: request.isHybrid ? [3, 18] : [3],
      baseChange,
    };
    const done = await bed.both(
      () => bed.tree.commitExtents(commit),
      () => bed.model.write(inode, holder, { extents: first, sizeBytes: request.size, holes }),
    );
    if (done) expect(done.wasBase).toBe(request.isOnBase);
    expect(await bed.namespace.refuse(holder)).toBe(done ? 'committed' : 'refused');
    if (!done) {
      for (const { stripe } of first) bed.references.delete(`${holder} ${toHex(stripe)}`);
    } else if (request.isOnBase) await bed.tree.forgetWrites([holder]);
  });

const writeInline = fc
  .record({
    index: small,
    length: fc.nat({ max: 12 }),
    more: fc.nat({ max: 3 }),
    isOnBase: fc.boolean(),
    isWrite: fc.boolean(),
  })
  .map(({ index, length, more, isOnBase, isWrite }): Step => async (bed) => {
    const inode = bed.file(index);
    const name = `inline ${++bed.stripeCount}`;
    const status = await bed.tree.getAttributes(inode);
    const write = isWrite ? await bed.namespace.allocateInodes(1, { inode }) : undefined;
    const sizeBytes = length + more;
    const done = await bed.both(
      () =>
        bed.tree.commitExtents({
          inode,
          write,
          extents: [],
          inline: { sealed: utf8(name), lengthBytes: length },
          sizeBytes,
          schemeNumbers: [],
          baseChange: isOnBase ? (status?.changeCount ?? 0n) : 10_000n,
        }),
      () => bed.model.putInline(inode, { name, lengthBytes: length, sizeBytes }, isOnBase),
    );
    if (write === undefined) return;
    expect(await bed.namespace.refuse(write)).toBe(done ? 'committed' : 'refused');
  });

const setXattr = fc
  .tuple(small, xattrName, fc.constantFrom(undefined, 'create' as const, 'replace' as const))
  .map(([index, name, mode]): Step => async (bed) => {
    const inode = bed.pick(index);
    const value = utf8(`${index}`);
    await bed.both(
      () => bed.tree.setXattr({ inode, name: utf8(name), value, mode }),
      () => bed.model.setXattr(inode, { name, value: `${index}`, mode }),
    );
  });

const getXattr = fc.tuple(small, xattrName).map(([index, name]): Step => async (bed) => {
  const inode = bed.pick(index);
  const value = await bed.both(
    () => bed.tree.getXattr(inode, utf8(name)),
    () => bed.model.node(inode),
  );
  if (value) expect(value).toEqual(utf8(bed.model.node(inode).xattrs.get(name) ?? '?'));
});

const removeXattr = fc.tuple(small, xattrName).map(([index, name]): Step => async (bed) => {
  const inode = bed.pick(index);
  await bed.both(
    () => bed.tree.removeXattr(inode, utf8(name)),
    () => bed.model.removeXattr(inode, name),
  );
});

const setQuota = fc
  .tuple(
    small,
    fc.constantFrom(
      undefined,
      { bytesMax: 40, inodesMax: undefined },
      { bytesMax: undefined, inodesMax: 3 },
    ),
  )
  .map(([index, quota]): Step => async (bed) => {
    const inode = bed.directory(index);
    await bed.both(
      () => bed.tree.setQuota(inode, quota),
      () => {
        const node = bed.model.directory(inode);
        if (quota) Object.assign(node, { hasQuota: true, isImplicit: false });
        else if (node.hasQuota) node.isImplicit = false;
      },
    );
    const set = bed.model.nodes.get(inode)?.links
      ? await bed.tree.getQuota(inode).catch(errorCode)
      : undefined;
    if (typeof set === 'object') expect(set.quota).toEqual(quota);
  });

const charge = small.map((index): Step => async (bed) => {
  const inode = bed.pick(index);
  await bed.both(
    () => bed.tree.charge(inode),
    () => {
      const node = bed.model.node(inode);
      const [above] = bed.model.linksOf((each) => each === node);
      node.quotaDirectory = above && bed.model.quotaWithin(above.directory);
    },
  );
});

const openOrClose = small.map((index): Step => async ({ model }) => {
  const inodes = [...model.nodes.keys()];
  const inode = inodes[index % inodes.length] as Inode;
  if (!model.open.delete(inode)) model.open.add(inode);
});

const freeOrphans: fc.Arbitrary<Step> = fc.constant((bed) => bed.freeOrphans());
const freeLoose: fc.Arbitrary<Step> = fc.constant((bed) => bed.freeLoose());
const finishReleases: fc.Arbitrary<Step> = fc.constant(async (bed) => {
  for (const release of await bed.namespace.releases()) await bed.finish(release);
});

const makeImplicit = at.map((where): Step => async (bed) => {
  const { at: modelAt, place } = bed.place(where);
  const request = { parent: place.directory, name: place.directoryName, salt: SALT };
  await bed.both(
    () => bed.namespace.makeDirectory({ ...request, attributes: utf8(''), isImplicit: true }),
    (entry) => {
      const directory = bed.model.directory(modelAt.directory);
      if (directory.children.has(`${modelAt.name}/`)) return;
      const node = bed.model.make(entry!.record.inode, 'directory', {
        mode: 0o755,
        uid: 0,
        gid: 0,
      });
      node.isImplicit = true;
      node.quotaDirectory = bed.model.quotaWithin(directory);
      bed.model.attach(directory, `${modelAt.name}/`, node);
      bed.model.touch(directory, false);
    },
  );
});

const idOf = (index: number): ObjectId => `${index % 4}`.repeat(32) as ObjectId;

const put = fc
  .tuple(small, fc.option(at), fc.integer({ min: 0, max: 2 }))
  .map(([index, where, count]): Step => async (bed) => {
    const inode = await bed.namespace.allocateInodes(1, { objectId: idOf(index) });
    const cover = Array.from({ length: count }, (_, n) => ({ at: n * 5, length: 5, again: false }));
    const extents = bed.extents(cover, inode);
    const key = where && bed.place(where);
    const done = await bed.both(
      () =>
        bed.namespace.commitObject({
          inode,
          objectId: idOf(index),
          createdAtMs: 1,
          sizeBytes: count * 5,
          extents,
          schemeNumbers: [3],
          attributes: utf8('x'),
          mayReplace: true,
          addressKey: new Uint8Array(32).fill(index % 4),
          entry: key ? { directory: key.place.directory, name: key.place.name } : undefined,
        }),
      () => {
        if (key) bed.model.directory(key.at.directory);
        const node = bed.model.make(inode, 'file', { mode: 0o644, uid: 0, gid: 0 });
        for (const extent of extents)
          bed.model.write(inode, inode, { extents: [extent], sizeBytes: 0 });
        bed.model.put(node, idOf(index), key?.at);
      },
    );
    if (done) return;
    await bed.namespace.refuse(inode);
    for (const { stripe } of extents) bed.references.delete(`${inode} ${toHex(stripe)}`);
  });

/** As a model says; there they are not sealed. */
async function xattrsOf(bed: TreeBed, node: ModelNode | undefined) {
  if (!node || node.xattrs.size === 0) return undefined;
  const sealed = Array.from(node.xattrs, ([name, value]) => ({
    name: utf8(name),
    value: utf8(value),
  }));
  return { sealed, baseChange: (await bed.tree.getAttributes(node.inode))!.changeCount };
}

const reencode = fc.tuple(small, fc.boolean()).map(([index, isHybrid]): Step => async (bed) => {
  const id = idOf(index);
  const old = [...bed.model.nodes.values()].find(({ objectId }) => objectId === id);
  const inode = await bed.namespace.allocateInodes(1, { inode: 5n });
  const sizeBytes = old?.content.length ?? 0;
  const whole = sizeBytes > 0 ? [{ at: 0, length: sizeBytes, again: false }] : [];
  const first = bed.extents(whole, inode);
  const second = isHybrid ? first.map((extent) => ({ ...extent, encoding: 1 })) : [];
  const xattrs = await xattrsOf(bed, old);
  const done = await bed.both(
    () =>
      bed.namespace.reencodeObject({
        xattrs,
        inode,
        replaces: old?.inode ?? 999n,
        sizeBytes,
        extents: [...first, ...second],
        schemeNumbers: isHybrid ? [3, 18] : [3],
        attributes: utf8('y'),
        addressKey: new Uint8Array(32).fill(index % 4),
      }),
    () => {
      if (!old) throw new Refusal('HF_NOT_FOUND');
      if (!old.isAddressed) throw new Refusal('HF_BAD_ARGUMENT');
      bed.model.reencode(old, inode, contentOf(inode, first, sizeBytes));
    },
  );
  if (done) return;
  await bed.namespace.refuse(inode);
  for (const { stripe } of first) bed.references.delete(`${inode} ${toHex(stripe)}`);
});

const removeObject = small.map((index): Step => async (bed) => {
  await bed.both(
    () => bed.namespace.removeObject(idOf(index)),
    () => bed.model.remove(idOf(index)),
  );
});

const removeFile = small.map((index): Step => async (bed) => {
  const inode = bed.pick(index);
  await bed.both(
    () => bed.namespace.removeFile(inode),
    () => bed.model.removeFile(inode),
  );
});

const kinds = {
  lookup: [lookup, 1],
  makeNode: [makeNode, 8],
  makeUnnamed: [makeUnnamed, 1],
  makeDirectory: [makeDirectory, 7],
  link: [link, 4],
  unlink: [unlink, 3],
  removeDirectory: [removeDirectory, 2],
  rename: [rename, 9],
  readLink: [readLink, 1],
  changeMode: [changeMode, 1],
  changeTimes: [changeTimes, 1],
  truncate: [truncate, 3],
  write: [write, 7],
  writeInline: [writeInline, 4],
  setXattr: [setXattr, 2],
  getXattr: [getXattr, 1],
  removeXattr: [removeXattr, 1],
  setQuota: [setQuota, 1],
  charge: [charge, 1],
  openOrClose: [openOrClose, 3],
  freeOrphans: [freeOrphans, 1],
  freeLoose: [freeLoose, 1],
  finishReleases: [finishReleases, 1],
  makeImplicit: [makeImplicit, 2],
  put: [put, 4],
  reencode: [reencode, 2],
  removeObject: [removeObject, 2],
  removeFile: [removeFile, 2],
} as const satisfies Record<string, readonly [fc.Arbitrary<Step>, number]>;

/** Directories of the root lie in slot 5, most else in slot 0: with another cell. */
const SECOND_SLOT = 3;

async function twoCells(bed: CellsBed): Promise<TreeCells> {
  const ranges = [
    { from: 0, to: SECOND_SLOT },
    { from: SECOND_SLOT, to: SLOT_COUNT },
  ];
  const cells: Executor[] = [];
  for (const [index, slots] of ranges.entries()) cells.push(await bed.open(`cell-${index}`, slots));
  return {
    executors: cells,
    executorOf: (slot) => cells[slot < SECOND_SLOT ? 0 : 1]!,
    async all(): Promise<Rows> {
      const rows = new Overlay({ get: () => undefined, range: () => [] });
      for (const [index, { from, to }] of ranges.entries()) {
        const range = { from: slotStart(from), to: slotStart(to) };
        const found = await cells[index]!.execute((own) => own.range(range));
        for (const { key, value } of found) rows.put(key, value);
      }
      return rows;
    },
  };
}

async function run(list: readonly { readonly run: Step }[], cells?: TreeCells): Promise<void> {
  const bed = await TreeBed.open(cells);
  for (const step of list) {
    bed.model.nowMs += 10;
    await step.run(bed);
    await bed.freeForeignOrphans();
    await bed.check();
  }
  await bed.drain();
}

describe('Tree', () => {
  const named = Object.entries(kinds).map(([kind, [arbitrary, weight]]) => ({
    arbitrary: arbitrary.map((step) => ({ run: step, [fc.toStringMethod]: () => kind })),
    weight,
  }));
  const steps = fc.array(fc.oneof(...named), { minLength: 10, maxLength: 40, size: 'max' });

  it('answers as the model does, and keeps its rows and references whole', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (list) => await run(list)),
      { numRuns: 100 },
    );
  });

  it('does so over two cells', async () => {
    const property = fc.asyncProperty(steps, async (list) => {
      await using bed = new CellsBed();
      await run(list, await twoCells(bed));
    });
    await fc.assert(property, { numRuns: 10 });
  });
});
