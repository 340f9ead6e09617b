// Aim: a namespace answers as a few plain maps do, whatever is asked in whatever order, and the
// same after each kind of restart. Method: random commands over small domains against the model
// below; in between, new stewards over the same log with the old, an older or an empty database.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareBytes, errorCode, toHex, utf8, type ObjectId } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { type Env, realEnv } from '../../env/index.ts';
import { MemoryLog } from '../../log/index.ts';
import type {
  Extent,
  ExtentPlace,
  Inode,
  Namespace,
  ObjectCommit,
  Reencoding,
  Release,
} from './namespace.ts';
import { ROOT_INODE } from './namespace.ts';
import { openNamespace } from './namespace-cell.ts';
import { extentOf } from '../../../test/suites/meta-makers.ts';

interface ModelObject {
  readonly inode: Inode;
  readonly id: ObjectId;
  readonly addressKey: Uint8Array;
  readonly sizeBytes: number;
  readonly createdAtMs: number;
  entry: ObjectCommit['entry'];
}

interface ModelDirectory {
  readonly parent: Inode;
  readonly name: Uint8Array;
  readonly isImplicit: boolean;
}

/** Fails with a code, as the real one. */
class Refusal extends Error {
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

/** What the contract of {@link Namespace} says, over maps. */
class Model {
  readonly objects = new Map<Inode, ModelObject>();
  readonly directories = new Map<Inode, ModelDirectory>();
  readonly entries = new Map<string, Inode>();
  readonly extents = new Map<Inode, Map<string, Extent>>();
  readonly releases = new Set<Inode>();
  readonly refused = new Set<Inode>();

  entryText(directory: Inode, name: Uint8Array): string {
    return `${directory}/${toHex(name)}`;
  }

  namesIn(directory: Inode): Uint8Array[] {
    return [...this.entries.keys()]
      .filter((text) => text.startsWith(`${directory}/`))
      .map((text) => new Uint8Array(Buffer.from(text.split('/')[1] as string, 'hex')))
      .sort(compareBytes);
  }

  isDirectory(inode: Inode): boolean {
    return inode === ROOT_INODE || this.directories.has(inode);
  }

  checkDirectory(inode: Inode): void {
    if (this.objects.has(inode)) throw new Refusal('HF_NOT_DIRECTORY');
    if (!this.isDirectory(inode)) throw new Refusal('HF_NOT_FOUND');
  }

  checkOpen(inode: Inode): void {
    if (this.refused.has(inode)) throw new Refusal('HF_FENCED');
    if (this.objects.has(inode) || this.isDirectory(inode) || this.releases.has(inode)) {
      throw new Refusal('HF_EXISTS');
    }
  }

  extentsOf(inode: Inode): Extent[] {
    const found = [...(this.extents.get(inode)?.values() ?? [])];
    return found.sort((a, b) => a.encoding - b.encoding || a.offset - b.offset);
  }

  stage(inode: Inode, extents: readonly Extent[]): void {
    this.checkOpen(inode);
    const staged = new Map(this.extents.get(inode));
    for (const extent of extents) {
      const meets = [...staged.values()].filter(
        (other) =>
          other.encoding === extent.encoding &&
          other.offset < extent.offset + extent.lengthBytes &&
          extent.offset < other.offset + other.lengthBytes,
      );
      const isSame = meets.length === 1 && extentText(meets[0] as Extent) === extentText(extent);
      if (meets.length > 0 && !isSame) throw new Refusal('HF_BAD_ARGUMENT');
      staged.set(placeText(extent), extent);
    }
    this.extents.set(inode, staged);
  }

  commit(commit: ObjectCommit): Release[] {
    const { inode, objectId, addressKey, entry, sizeBytes, createdAtMs } = commit;
    this.checkOpen(inode);
    const { schemeNumbers } = commit;
    if (new Set(schemeNumbers).size < schemeNumbers.length) throw new Refusal('HF_BAD_ARGUMENT');
    if (entry) this.checkDirectory(entry.directory);
    const at = entry && this.entries.get(this.entryText(entry.directory, entry.name));
    const byId = [...this.objects.values()].find((object) => object.id === objectId)?.inode;
    const standing = [...new Set([byId, at])].filter((found) => found !== undefined);
    if (standing.length > 0 && !commit.mayReplace) throw new Refusal('HF_EXISTS');
    if (at !== undefined && this.isDirectory(at)) throw new Refusal('HF_IS_DIRECTORY');
    this.cover(commit);
    const left = standing.flatMap((old) => {
      const { entry: oldEntry } = this.objects.get(old) as ModelObject;
      this.drop(old);
      return oldEntry ? [oldEntry] : [];
    });
    this.objects.set(inode, { inode, id: objectId, addressKey, sizeBytes, createdAtMs, entry });
    if (entry) this.entries.set(this.entryText(entry.directory, entry.name), inode);
    for (const { directory } of left) this.vanish(directory);
    return standing.map((old) => ({ inode: old }));
  }

  /** Stages the last extents; all of them cover the content in each encoding, or none stays. */
  cover(commit: Reencoding | ObjectCommit): void {
    const { inode } = commit;
    const before = this.extents.get(inode);
    try {
      this.stage(inode, commit.extents);
      for (const encoding of [0, 1, 2]) this.checkCover(commit, encoding);
    } catch (error) {
      if (before) this.extents.set(inode, before);
      else this.extents.delete(inode);
      throw error;
    }
  }

  checkCover({ inode, sizeBytes, schemeNumbers }: Reencoding | ObjectCommit, wanted: number): void {
    let end = 0;
    for (const { encoding, offset, lengthBytes } of this.extentsOf(inode)) {
      if (encoding !== wanted) continue;
      if (offset !== end) throw new Refusal('HF_BAD_ARGUMENT');
      end += lengthBytes;
    }
    if (end !== (wanted < schemeNumbers.length ? sizeBytes : 0)) {
      throw new Refusal('HF_BAD_ARGUMENT');
    }
  }

  reencode(request: Reencoding): Release {
    const { inode, replaces, addressKey, sizeBytes } = request;
    this.checkOpen(inode);
    const old = this.objects.get(replaces);
    if (!old) throw new Refusal('HF_NOT_FOUND');
    if (old.sizeBytes !== sizeBytes || compareBytes(old.addressKey, addressKey) !== 0) {
      throw new Refusal('HF_BAD_ARGUMENT');
    }
    this.cover(request);
    this.drop(replaces);
    this.objects.set(inode, { ...old, inode });
    const { entry } = old;
    if (entry) this.entries.set(this.entryText(entry.directory, entry.name), inode);
    return { inode: replaces };
  }

  drop(inode: Inode): void {
    const { entry } = this.objects.get(inode) as ModelObject;
    if (entry) this.entries.delete(this.entryText(entry.directory, entry.name));
    this.objects.delete(inode);
    this.releases.add(inode);
  }

  remove(id: ObjectId): Release {
    const object = [...this.objects.values()].find((found) => found.id === id);
    if (!object) throw new Refusal('HF_NOT_FOUND');
    this.drop(object.inode);
    if (object.entry) this.vanish(object.entry.directory);
    return { inode: object.inode };
  }

  vanish(inode: Inode): void {
    const directory = this.directories.get(inode);
    if (!directory?.isImplicit || this.namesIn(inode).length > 0) return;
    this.directories.delete(inode);
    this.entries.delete(this.entryText(directory.parent, directory.name));
    this.vanish(directory.parent);
  }

  refuse(inode: Inode): string {
    if (this.refused.has(inode)) return 'refused';
    if (this.objects.has(inode) || this.isDirectory(inode) || this.releases.has(inode)) {
      return 'committed';
    }
    this.refused.add(inode);
    if (this.extentsOf(inode).length > 0) this.releases.add(inode);
    return 'refused';
  }

  finish(inode: Inode, places: readonly ExtentPlace[]): void {
    if (!this.releases.has(inode)) return;
    for (const place of places) this.extents.get(inode)?.delete(placeText(place));
    if (this.extentsOf(inode).length === 0) this.releases.delete(inode);
  }
}

function placeText({ encoding, offset }: ExtentPlace): string {
  return `${encoding} ${offset}`;
}

function extentText(extent: Extent): string {
  return `${extent.offset} ${extent.lengthBytes} ${toHex(extent.stripe)}`;
}

/** Both of the pair: what the namespace and what the model answer. */
type Step = (pair: Pair) => Promise<void>;

class Pair {
  /** Of the next commit: later ones are newer. */
  nextMs = 1;
  namespace!: Namespace;
  readonly model = new Model();
  readonly log = new MemoryLog();
  db = new MemoryDb();
  older = new MemoryDb();
  inodes: Inode[] = [];
  #now = 1000;

  static async open(): Promise<Pair> {
    const pair = new Pair();
    await pair.restart('same');
    return pair;
  }

  get env(): Env {
    const real = realEnv();
    return { ...real, clock: { ...real.clock, now: () => this.#now++ } };
  }

  async restart(which: 'same' | 'older' | 'empty'): Promise<void> {
    await this.namespace?.[Symbol.asyncDispose]();
    const before = this.db;
    if (which === 'same') this.db = before.crash();
    else [this.db, this.older] = [which === 'older' ? this.older : new MemoryDb(), before];
    const { db } = this;
    this.namespace = await openNamespace({ env: this.env, cell: 'v', log: this.log, db });
  }

  /** The nth inode number, allocated when it is new. */
  async inode(index: number): Promise<Inode> {
    while (this.inodes.length <= index) this.inodes.push(await this.namespace.allocateInodes(1));
    return this.inodes[index] as Inode;
  }

  async same(real: Promise<unknown>, modelled: () => unknown): Promise<void> {
    expect(await outcome(real)).toEqual(await outcome((async () => modelled())()));
  }

  async checkAll(): Promise<void> {
    const { namespace, model } = this;
    const ids = (await namespace.listObjects({})).map(({ objectId }) => objectId);
    const objects = [...model.objects.values()];
    expect(ids).toEqual(objects.map(({ id }) => id).sort());
    expect(await namespace.usage()).toEqual({
      objectCount: objects.length,
      contentBytes: objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    });
    for (const { id, inode, sizeBytes, createdAtMs, entry, addressKey } of objects) {
      const known = { inode, sizeBytes, createdAtMs, objectId: id };
      expect(await namespace.object(id)).toMatchObject(known);
      expect(await namespace.entryOf(inode)).toEqual(entry);
      const alike = objects
        .filter((other) => compareBytes(other.addressKey, addressKey) === 0)
        .sort((a, b) => a.createdAtMs - b.createdAtMs);
      expect((await namespace.objectsByAddress(addressKey)).map((found) => found.inode)).toEqual(
        alike.map((found) => found.inode),
      );
    }
    const released = (await namespace.releases()).map(({ inode }) => inode);
    expect(new Set(released)).toEqual(model.releases);
    for (const inode of this.inodes) {
      expect(await namespace.extents(inode)).toEqual(model.extentsOf(inode));
      expect((await namespace.record(inode))?.inode).toBe(model.objects.get(inode)?.inode);
      expect(await namespace.entryOf(inode)).toEqual(model.objects.get(inode)?.entry);
    }
    for (const directory of [ROOT_INODE, ...model.directories.keys()]) {
      const names = (await namespace.list({ directory })).map(({ name }) => name);
      expect(names).toEqual(model.namesIn(directory));
    }
  }
}

async function outcome(work: Promise<unknown>): Promise<unknown> {
  try {
    return { result: await work };
  } catch (error) {
    return { code: errorCode(error) ?? (error as Refusal).code ?? error };
  }
}

const small = fc.nat({ max: 7 });
const nameOf = (index: number): Uint8Array => utf8('abc'[index % 3] as string);
const idOf = (index: number): ObjectId => `${index}`.repeat(32) as ObjectId;
const addressOf = (index: number): Uint8Array => new Uint8Array(32).fill(index % 3);

/** The root or one of the directories there are, or one that was. */
function directoryOf({ model, inodes }: Pair, index: number): Inode {
  const known = [...model.directories.keys(), ROOT_INODE, ...inodes.slice(0, 1)];
  return known[index % known.length] as Inode;
}

const extentList = fc
  .array(
    fc.record({
      at: fc.nat({ max: 3 }),
      length: fc.constantFrom(10, 10, 10, 20),
      seed: small,
      encoding: fc.constantFrom(0, 0, 0, 1),
    }),
    {
      maxLength: 3,
    },
  )
  .map((list) =>
    list.map(({ at, length, seed, encoding }) => extentOf(at * 10, length, seed % 2, encoding)),
  );

const makeDirectory = fc
  .record({ at: small, name: small, isImplicit: fc.boolean() })
  .map(({ at, name, isImplicit }): Step => async (pair) => {
    const parent = directoryOf(pair, at);
    const text = pair.model.entryText(parent, nameOf(name));
    const request = { parent, name: nameOf(name), isImplicit, salt: utf8('s') };
    const made = await outcome(pair.namespace.makeDirectory({ ...request, attributes: utf8('x') }));
    const expected = await outcome((async () => pair.model.checkDirectory(parent))());
    const present = pair.model.entries.get(text);
    if (!('result' in (expected as object))) expect(made).toEqual(expected);
    else if (present !== undefined && !pair.model.isDirectory(present)) {
      expect(made).toEqual({ code: 'HF_NOT_DIRECTORY' });
    } else {
      const { inode } = (made as { result: { record: { inode: Inode } } }).result.record;
      if (present !== undefined) expect(inode).toBe(present);
      else pair.model.directories.set(inode, { parent, name: nameOf(name), isImplicit });
      pair.model.entries.set(text, inode);
    }
  });

const stage = fc.tuple(small, extentList).map(([index, extents]): Step => async (pair) => {
  const inode = await pair.inode(index);
  await pair.same(pair.namespace.stageExtents(inode, extents), () =>
    pair.model.stage(inode, extents),
  );
});

const commit = fc
  .record({
    index: fc.nat({ max: 15 }),
    schemeNumbers: fc.constantFrom([3], [3], [3, 18], [18, 3, 4], [3, 3]),
    id: small,
    extents: fc.oneof(
      extentList,
      fc.nat({ max: 3 }).map((count) => coverOf(count)),
      fc.nat({ max: 3 }).map((count) => [...coverOf(count), ...coverOf(count, 1)]),
    ),
    size: fc.constantFrom<('end' | 'sum' | 'less')[]>('end', 'end', 'end', 'end', 'sum', 'less'),
    entry: fc.option(fc.tuple(small, small)),
    mayReplace: fc.boolean(),
  })
  .map(({ index, id, extents, size, entry, mayReplace, schemeNumbers }): Step => async (pair) => {
    const inode = await pair.inode(index);
    const all = [...pair.model.extentsOf(inode), ...extents].filter((each) => each.encoding === 0);
    const end = Math.max(0, ...all.map(({ offset, lengthBytes }) => offset + lengthBytes));
    const sum = all.reduce((bytes, { lengthBytes }) => bytes + lengthBytes, 0);
    const request: ObjectCommit = {
      inode,
      objectId: idOf(id),
      createdAtMs: pair.nextMs++,
      sizeBytes: { end, sum, less: Math.max(0, end - 1) }[size],
      schemeNumbers,
      attributes: utf8('sealed'),
      addressKey: addressOf(id),
      extents,
      entry: entry ? { directory: directoryOf(pair, entry[0]), name: nameOf(entry[1]) } : undefined,
      mayReplace,
    };
    await pair.same(pair.namespace.commitObject(request), () => pair.model.commit(request));
  });

function coverOf(count: number, encoding = 0): Extent[] {
  return Array.from({ length: count }, (_, index) => extentOf(index * 10, 10, index, encoding));
}

const reencode = fc
  .record({
    index: fc.nat({ max: 15 }),
    which: small,
    isHybrid: fc.boolean(),
    lie: fc.constantFrom('none', 'none', 'none', 'size', 'address', 'gap'),
  })
  .map(({ index, which, isHybrid, lie }): Step => async (pair) => {
    const objects = [...pair.model.objects.values()];
    const old = objects[which % (objects.length + 1)];
    const sizeBytes = (old?.sizeBytes ?? 10) + (lie === 'size' ? 10 : 0);
    const cover = [0, 1]
      .slice(isHybrid ? 0 : 1)
      .flatMap((_, encoding) => coverOf(sizeBytes / 10, encoding));
    const request: Reencoding = {
      inode: await pair.inode(index),
      replaces: old?.inode ?? (await pair.inode(which)),
      sizeBytes,
      schemeNumbers: isHybrid ? [18, 3] : [18],
      attributes: utf8('sealed again'),
      addressKey: lie === 'address' ? addressOf(which + 1) : (old?.addressKey ?? addressOf(which)),
      extents: lie === 'gap' ? cover.slice(0, -1) : cover,
    };
    await pair.same(pair.namespace.reencodeObject(request), () => pair.model.reencode(request));
  });

const remove = small.map((index): Step => async (pair) => {
  const ids = [...pair.model.objects.values()].map(({ id }) => id);
  const id = ids[index % (ids.length + 1)] ?? idOf(index);
  await pair.same(pair.namespace.removeObject(id), () => pair.model.remove(id));
});

const refuse = small.map((index): Step => async (pair) => {
  const inode = await pair.inode(index);
  await pair.same(pair.namespace.refuse(inode), () => pair.model.refuse(inode));
});

const finish = fc
  .tuple(small, fc.integer({ min: 1, max: 4 }))
  .map(([index, count]): Step => async (pair) => {
    const inode = [...pair.model.releases][index % Math.max(1, pair.model.releases.size)];
    if (inode === undefined) return;
    const extents = pair.model.extentsOf(inode).slice(0, count);
    await pair.same(pair.namespace.finishRelease({ inode }, extents), () =>
      pair.model.finish(inode, extents),
    );
    // An inode whose release is finished may not come back: nobody writes to it again.
    if (!pair.model.releases.has(inode) && !pair.model.refused.has(inode)) {
      pair.inodes = pair.inodes.filter((other) => other !== inode);
    }
  });

const restart = fc.constantFrom('same' as const, 'older' as const, 'empty' as const).map(
  (which): Step =>
    async (pair) =>
      await pair.restart(which),
);

const steps = fc.array(
  fc.oneof(
    { arbitrary: makeDirectory, weight: 3 },
    { arbitrary: stage, weight: 2 },
    { arbitrary: commit, weight: 8 },
    { arbitrary: reencode, weight: 4 },
    { arbitrary: remove, weight: 3 },
    { arbitrary: refuse, weight: 2 },
    { arbitrary: finish, weight: 3 },
    { arbitrary: restart, weight: 2 },
  ),
  { minLength: 20, maxLength: 60, size: 'max' },
);

describe('Namespace', () => {
  it('answers as the model does, also after restarts', async () => {
    const property = fc.asyncProperty(steps, async (list) => {
      const pair = await Pair.open();
      for (const step of list) await step(pair);
      await pair.checkAll();
      await pair.restart('empty');
      await pair.checkAll();
      await pair.namespace[Symbol.asyncDispose]();
    });
    await fc.assert(property, { numRuns: 250 });
  });
});
