// Aim: what must hold of the rows of a volume's cell, whatever was done to them, for other tests to
// check; and that the check fails when it should. Method: all rows are read and compared with each
// other; rows are broken one by one.
import { describe, expect, it } from 'vitest';
import { extentOf } from '../../../test/suites/meta-makers.ts';
import {
  contentOf,
  inlineContentOf,
  type ModelNode,
  type ModelPlace,
  ModelTree,
  outcomeOf,
} from '../../../test/suites/tree-model.ts';
import { toHex, utf8 } from '../../base/index.ts';
import type { Row } from '../../db/index.ts';
import type { Executor } from '../cells/executor.ts';
import { Overlay, type Rows } from '../cells/overlay.ts';
import { keyReader } from '../cells/rows.ts';
import { type AnyMethod, checked, type PartAnswer } from '../remote/cell-methods.ts';
import { decodeValue, encodeValue } from '../remote/wire-value.ts';
import type { Circumstances } from './inode-ops.ts';
import { namespaceOf } from './namespace-cell.ts';
import { makeRoot } from './namespace-ops.ts';
import * as names from './namespace-rows.ts';
import { NAMESPACE_METHODS } from './namespace-wire.ts';
import { type Extent, type Inode, type Release, ROOT_INODE } from './namespace.ts';
import { nsOf } from './posix-part.ts';
import { treeOf } from './tree-cell.ts';
import * as treeRows from './tree-rows.ts';
import { TREE_METHODS } from './tree-wire.ts';
import type { InodeStatus, Place, Tree } from './tree.ts';

/** Cells of a volume, asked as their slots say. */
export interface TreeCells {
  readonly executors: readonly Executor[];
  readonly executorOf: (slot: number) => Executor;
  /** All rows of all cells. */
  all(): Promise<Rows>;
}

/** One cell: operations on rows in memory. */
export class MemoryRows implements Executor, TreeCells {
  readonly rows = new Overlay({ get: () => undefined, range: () => [] });
  readonly executors = [this];

  executorOf = (): Executor => this;

  async all(): Promise<Rows> {
    return this.rows;
  }

  async execute<Result>(operation: (rows: Overlay) => Result): Promise<Result> {
    const own = new Overlay(this.rows);
    const result = operation(own);
    for (const change of own.changes.values()) this.rows.set(change);
    return result;
  }
}

/**
 * An interface over all cells: what is said goes where its method table says, as it travels between
 * nodes.
 */
export function overWire<Api extends object>(
  { executors, executorOf }: TreeCells,
  open: (executor: Executor) => Api,
  methods: object,
): Api {
  const apis = new Map(executors.map((executor) => [executor, open(executor)]));
  const calls = Object.entries(methods as Record<string, AnyMethod>).map(([name, method]) => {
    const { args, result, route } = method;
    const call = async (executor: Executor, asked: unknown[]): Promise<unknown> => {
      const api = apis.get(executor) as Record<string, (...args: unknown[]) => Promise<unknown>>;
      return checked(result, decodeValue(encodeValue(await api[name]!(...asked))));
    };
    const ask = async (...given: unknown[]): Promise<unknown> => {
      const asked = checked(args, decodeValue(encodeValue(given)));
      if (typeof route === 'function') return await call(executorOf(route(asked)), asked);
      if ('merge' in route) {
        const answers: unknown[] = [];
        for (const executor of executors) answers.push(await call(executor, asked));
        return route.merge(answers, asked);
      }
      const slots = route.slots(asked);
      const parts: PartAnswer<unknown>[] = [];
      for (const executor of executors) {
        const indexes = [...slots.keys()].filter((at) => executorOf(slots[at]!) === executor);
        if (indexes.length === 0) continue;
        parts.push({ indexes, answer: await call(executor, route.pick(asked, indexes)) });
      }
      return route.join(parts, asked);
    };
    return [name, ask];
  });
  return Object.fromEntries(calls) as Api;
}

interface Tables {
  readonly rows: ReadonlyMap<string, readonly Row[]>;
  readonly inodes: ReadonlyMap<Inode, names.InodeRow>;
  readonly extents: ReadonlyMap<Inode, readonly Extent[]>;
  readonly linkTexts: ReadonlyMap<Inode, readonly string[]>;
}

/** @returns the number of rows. */
export function checkTreeRows(rows: Rows): number {
  const tables = tablesOf(rows);
  checkLinks(tables);
  checkObjects(tables);
  checkContent(tables);
  checkUsage(tables);
  checkQuotas(tables);
  checkLeftovers(tables);
  let count = 0;
  for (const { length } of tables.rows.values()) count += length;
  return count;
}

function tablesOf(rows: Rows): Tables {
  const byTag = new Map<string, Row[]>();
  for (const row of rows.range({ from: Uint8Array.of(0), to: Uint8Array.of(0x10, 0) })) {
    const { tag } = keyReader(row.key);
    byTag.set(tag, [...(byTag.get(tag) ?? []), row]);
  }
  const inodes = new Map<Inode, names.InodeRow>();
  for (const { key, value } of byTag.get('I') ?? []) {
    const inode = treeRows.inodeOfKey(key);
    inodes.set(inode, names.decodeInode(inode, value));
  }
  const extents = new Map<Inode, Extent[]>();
  for (const row of byTag.get('C') ?? []) {
    const inode = treeRows.inodeOfKey(row.key);
    extents.set(inode, [...(extents.get(inode) ?? []), names.decodeExtent(row)]);
  }
  const linkTexts = new Map<Inode, string[]>();
  for (const row of byTag.get('P') ?? []) {
    const inode = treeRows.inodeOfKey(row.key);
    linkTexts.set(inode, [...(linkTexts.get(inode) ?? []), linkText(names.linkOf(row))]);
  }
  return { rows: byTag, inodes, extents, linkTexts };
}

function linkText({ directory, name }: names.BackLink): string {
  return `${directory}/${toHex(name)}`;
}

function checkLinks({ rows, inodes, linkTexts }: Tables): void {
  const entries = new Map<Inode, string[]>();
  const subdirectories = new Map<Inode, number>();
  for (const row of rows.get('D') ?? []) {
    const directory = treeRows.inodeOfKey(row.key);
    const inode = names.decodeInodeNumber(row.value, 'entry');
    expect(inodes.get(directory)).toMatchObject({ type: 'directory' });
    expect(inodes.get(directory)?.posix?.linkCount).not.toBe(0);
    const named = inodes.get(inode);
    expect(named).toBeDefined();
    if (named?.type === 'directory') {
      subdirectories.set(directory, (subdirectories.get(directory) ?? 0) + 1);
    }
    const text = linkText({ directory, name: names.nameOfDirent(row) });
    entries.set(inode, [...(entries.get(inode) ?? []), text]);
  }
  for (const inode of new Set([...entries.keys(), ...linkTexts.keys()])) {
    expect(linkTexts.get(inode)?.toSorted()).toEqual(entries.get(inode)?.toSorted());
  }
  for (const [inode, row] of inodes) {
    const links = linkTexts.get(inode)?.length ?? 0;
    if (row.type !== 'directory') {
      expect(row.posix?.linkCount ?? links).toBe(links);
      continue;
    }
    const isLinked = links === 1 || inode === ROOT_INODE;
    const { linkCount = 1 } = row.posix ?? {};
    if (linkCount !== 1)
      expect(linkCount).toBe(isLinked ? 2 + (subdirectories.get(inode) ?? 0) : 0);
    expect(links).toBeLessThanOrEqual(1);
    if (isLinked) checkReachable(inode, linkTexts);
  }
}

function checkReachable(inode: Inode, linkTexts: Tables['linkTexts']): void {
  const way = new Set<Inode>();
  for (let at = inode; at !== ROOT_INODE;) {
    expect(way.has(at)).toBe(false);
    way.add(at);
    at = BigInt(linkTexts.get(at)?.[0]?.split('/')[0] ?? expect.fail(`${at} is nowhere`));
  }
}

function checkObjects({ rows, inodes }: Tables): void {
  const withId = [...inodes.values()].filter(({ objectId }) => objectId);
  const withAddress = withId.filter(({ addressKey }) => addressKey);
  const texts = (tag: string): string[] => (rows.get(tag) ?? []).map(({ key }) => toHex(key));
  expect(texts('J').toSorted()).toEqual(
    withId.map(({ objectId }) => toHex(names.objectKey(objectId!))).toSorted(),
  );
  for (const { value } of rows.get('J') ?? []) {
    expect(inodes.get(names.decodeInodeNumber(value, 'object'))?.objectId).toBeDefined();
  }
  expect(texts('A').toSorted()).toEqual(
    withAddress
      .map(({ addressKey, inode }) => toHex(names.addressRowKey(addressKey!, inode)))
      .toSorted(),
  );
}

function checkContent({ rows, inodes, extents }: Tables): void {
  const inlines = new Set((rows.get('B') ?? []).map(({ key }) => treeRows.inodeOfKey(key)));
  for (const inode of inlines) expect(inodes.has(inode)).toBe(true);
  for (const inode of new Set([...inodes.keys(), ...extents.keys()])) {
    const all = extents.get(inode) ?? [];
    for (const encoding of [0, 1, 2, 3]) {
      const mine = all.filter((extent) => extent.encoding === encoding);
      for (const [index, { offset, lengthBytes, whole }] of mine.entries()) {
        const { offset: next = Infinity } = mine[index + 1] ?? {};
        expect(offset + lengthBytes).toBeLessThanOrEqual(next);
        if (!whole) continue;
        expect(whole.offset).toBeLessThanOrEqual(offset);
        expect(whole.offset + whole.lengthBytes).toBeGreaterThanOrEqual(offset + lengthBytes);
      }
    }
    const row = inodes.get(inode);
    if (!row) continue; // staged, or released
    const first = all.filter(({ encoding }) => encoding === 0);
    const stored = first.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
    expect(inlines.has(inode)).toBe(row.isInline ?? false);
    if (row.isInline) {
      expect(all).toEqual([]);
      expect(row.posix?.storedBytes).toBeGreaterThan(0);
      expect(row.posix?.storedBytes).toBeLessThanOrEqual(row.sizeBytes);
      continue;
    }
    expect(row.posix?.storedBytes ?? row.sizeBytes).toBe(stored);
    const end = first.at(-1);
    expect(end ? end.offset + end.lengthBytes : 0).toBeLessThanOrEqual(row.sizeBytes);
    for (const other of all.filter(({ encoding }) => encoding > 0)) {
      for (let at = other.offset; at < other.offset + other.lengthBytes; at++) {
        const shown = first.find((one) => one.offset <= at && at < one.offset + one.lengthBytes);
        expect(shown?.holder ?? inode).toBe(other.holder ?? inode);
      }
    }
  }
}

function bytesOf(row: names.InodeRow): number {
  return row.posix?.storedBytes ?? (row.type === 'file' ? row.sizeBytes : 0);
}

/** Objects, and all other files that have a name. */
function isCounted({ objectId, type, posix }: names.InodeRow): boolean {
  return objectId !== undefined || (type === 'file' && (posix?.linkCount ?? 0) > 0);
}

function checkUsage({ rows, inodes }: Tables): void {
  const sums = new Map<number, names.Usage>();
  for (const row of inodes.values()) {
    const slot = names.slotOfInode(row.inode);
    const before = sums.get(slot) ?? { objectCount: 0, contentBytes: 0, inodeCount: 0 };
    sums.set(slot, {
      objectCount: before.objectCount + (isCounted(row) ? 1 : 0),
      contentBytes: before.contentBytes + bytesOf(row),
      inodeCount: before.inodeCount + 1,
    });
  }
  for (const { key, value } of rows.get('U') ?? []) {
    const { slot } = keyReader(key);
    const none = { objectCount: 0, contentBytes: 0, inodeCount: 0 };
    expect(names.decodeUsage(value)).toEqual(sums.get(slot) ?? none);
    sums.delete(slot);
  }
  expect(sums.size).toBe(0);
}

function checkQuotas({ rows, inodes }: Tables): void {
  const sums = new Map<Inode, { bytes: number; inodes: number }>();
  for (const row of inodes.values()) {
    let at = row.posix?.quotaDirectory;
    for (; at !== undefined; at = inodes.get(at)?.posix?.quotaDirectory) {
      const sum = sums.get(at) ?? { bytes: 0, inodes: 0 };
      sums.set(at, { bytes: sum.bytes + bytesOf(row), inodes: sum.inodes + 1 });
    }
  }
  for (const { key, value } of rows.get('Q') ?? []) {
    const inode = treeRows.inodeOfKey(key);
    expect(inodes.get(inode)?.type).toBe('directory');
    const { usage } = treeRows.decodeQuota(value);
    expect(usage).toEqual(sums.get(inode) ?? { bytes: 0, inodes: 0 });
    sums.delete(inode);
  }
  expect(sums.size).toBe(0);
}

/** Rows of inodes that are gone, or of another kind. */
function checkLeftovers({ rows, inodes }: Tables): void {
  const inodesWith = (tag: string): Inode[] =>
    (rows.get(tag) ?? []).map(({ key }) => treeRows.inodeOfKey(key));
  const ofType = (wanted: string): Inode[] =>
    [...inodes.values()].filter(({ type }) => type === wanted).map(({ inode }) => inode);
  expect(inodesWith('S')).toEqual(ofType('symlink').toSorted(ascending));
  for (const inode of inodesWith('X')) expect(inodes.has(inode)).toBe(true);
  for (const inode of [...inodesWith('G'), ...inodesWith('V')])
    expect(inodes.has(inode)).toBe(false);
  const unlinked = [...inodes.values()].filter(({ posix }) => posix?.linkCount === 0);
  const orphans = unlinked.filter(({ objectId }) => !objectId).map(({ inode }) => inode);
  expect(inodesWith('O')).toEqual(orphans.toSorted(ascending));
}

function ascending(a: Inode, b: Inode): number {
  return a < b ? -1 : 1;
}

/** What is named: each extent's holder and stripe, also of inodes that are released. */
export function namedStripesOf(rows: Rows): ReadonlySet<string> {
  const { extents } = tablesOf(rows);
  const named = new Set<string>();
  for (const [inode, all] of extents) {
    for (const { holder = inode, stripe } of all) named.add(`${holder} ${toHex(stripe)}`);
  }
  return named;
}

export type At = readonly [directory: number, name: number];

/** A range that is written; `again` with a stripe that others have, too. */
export interface Part {
  readonly at: number;
  readonly length: number;
  readonly again: boolean;
}

export const SALT = utf8('salt');
export const OWNER = { mode: 0o640, uid: 7, gid: 8 };

export class TreeBed {
  readonly cells: TreeCells;
  readonly model = new ModelTree(ROOT_INODE);
  readonly references = new Set<string>();
  readonly #now = (): Circumstances => ({
    nowMs: this.model.nowMs,
    isOpen: (inode) => this.model.open.has(inode),
    randomSlot: 5,
  });
  readonly tree: Tree;
  readonly namespace: ReturnType<typeof namespaceOf>;
  /** Change counts as they were seen. */
  readonly #seen = new Map<Inode, InodeStatus>();
  stripeCount = 0;

  constructor(cells: TreeCells) {
    this.cells = cells;
    this.tree = overWire(cells, (executor) => treeOf(executor, this.#now), TREE_METHODS);
    const open = (executor: Executor): TreeBed['namespace'] => namespaceOf(executor, this.#now);
    this.namespace = overWire(cells, open, NAMESPACE_METHODS);
  }

  static async open(cells: TreeCells = new MemoryRows()): Promise<TreeBed> {
    const bed = new TreeBed(cells);
    await cells.executorOf(0).execute((rows) => makeRoot(rows, { salt: SALT, nowMs: 0 }));
    return bed;
  }

  /** Both do it; both have the same outcome. @returns what it answered, when it was done. */
  async both<Result>(
    real: () => Promise<Result>,
    modelled: (result: Result | undefined) => unknown,
  ): Promise<Result | undefined> {
    const outcome = await outcomeOf(real);
    if (outcome.code === 'HF_QUOTA') return undefined; // checked by its usage
    const expected = await outcomeOf(async () => modelled(outcome.result));
    expect(outcome.code).toBe(expected.code);
    return outcome.result;
  }

  /** One of the inodes there are, or were. */
  pick(index: number): Inode {
    const all = [...this.model.nodes.keys(), 999n];
    return all[index % all.length] as Inode;
  }

  file(index: number): Inode {
    const files = [...this.model.nodes.values()].filter(({ type }) => type === 'file');
    return files[index % (files.length + 1)]?.inode ?? this.pick(index);
  }

  directory(index: number): Inode {
    const all = [...this.model.nodes.values()].filter(({ type }) => type === 'directory');
    return index === 7 ? this.pick(index) : (all[index % all.length] as ModelNode).inode;
  }

  place([directory, name]: At): { at: ModelPlace; place: Place } {
    const at = { directory: this.directory(directory), name: 'abc'[name % 3] as string };
    const names = { name: utf8(at.name), directoryName: utf8(`${at.name}/`) };
    return { at, place: { directory: at.directory, ...names } };
  }

  /** Fresh content, some of it of stripes that others hold, too. */
  extents(parts: readonly Part[], holder: Inode): Extent[] {
    const extents = parts.map(({ at, length, again }) =>
      extentOf(at, length, again ? 1 : ++this.stripeCount),
    );
    for (const { stripe } of extents) this.references.add(`${holder} ${toHex(stripe)}`);
    return extents;
  }

  async check(): Promise<void> {
    const { model } = this;
    const rows = await this.cells.all();
    checkTreeRows(rows);
    for (const named of namedStripesOf(rows)) expect(this.references).toContain(named);
    for (const node of model.nodes.values()) {
      const status = await this.tree.getAttributes(node.inode);
      expect(status).toMatchObject({
        type: node.type,
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        linkCount: node.links,
        accessedNs: nsOf(node.accessedMs),
        modifiedNs: nsOf(node.modifiedMs),
        changedNs: nsOf(node.changedMs),
        quotaDirectory: node.quotaDirectory,
        objectId: node.objectId,
      });
      this.#checkChange(status as InodeStatus);
      if (node.type === 'directory') await this.#checkEntries(node);
      if (node.type === 'file') {
        expect(await this.#contentOf(status as InodeStatus)).toEqual(node.content);
        expect(status?.isInline ?? false).toBe(node.inlineBytes > 0);
      }
      const xattrs = (await this.tree.listXattrs(node.inode)).map((name) => toHex(name));
      expect(xattrs).toEqual([...node.xattrs.keys()].map((name) => toHex(utf8(name))).toSorted());
    }
  }

  /** As it reads, which both doors agree on. */
  async #contentOf({ inode, sizeBytes }: InodeStatus): Promise<(string | undefined)[]> {
    const { inline } = (await this.tree.getAttributes(inode, { withContent: true }))!;
    const record = await this.namespace.record(inode, { withContent: true });
    expect(record?.inline).toEqual(inline);
    const extents = await this.namespace.extents(inode);
    if (!inline) return contentOf(inode, extents, sizeBytes);
    expect(extents).toEqual([]);
    const { sealed, lengthBytes } = inline;
    return inlineContentOf(Buffer.from(sealed).toString(), { lengthBytes, sizeBytes });
  }

  /** What is different has another change count, a higher one. */
  #checkChange(status: InodeStatus): void {
    const before = this.#seen.get(status.inode);
    this.#seen.set(status.inode, status);
    if (!before || before.changeCount < status.changeCount) return;
    const charged = { quotaDirectory: status.quotaDirectory };
    expect({ ...before, ...charged }).toEqual(status);
  }

  async #checkEntries({ inode, children, parent }: ModelNode): Promise<void> {
    const page = await this.tree.listAttributes({ directory: inode });
    const shown = page.map(({ name, status }) => [Buffer.from(name).toString(), status.inode]);
    const expected = [...children].map(([name, node]) => [name, node.inode]);
    expect(Object.fromEntries(shown)).toEqual(Object.fromEntries(expected));
    expect(await this.tree.parentOf(inode)).toBe(parent?.inode ?? inode);
  }

  async finish(release: Release): Promise<void> {
    const extents = await this.namespace.extents(release.inode);
    for (const { stripe } of extents) this.references.delete(`${release.inode} ${toHex(stripe)}`);
    await this.namespace.finishRelease(release, extents);
  }

  async freeLoose(): Promise<void> {
    for (const inode of await this.tree.looseInodes()) {
      for (const loose of await this.tree.looseStripes(inode)) {
        for (const stripe of loose.stripes) {
          this.references.delete(`${loose.holder} ${toHex(stripe)}`);
        }
        await this.tree.finishLooseStripes(loose);
      }
    }
  }

  /** Orphans that nobody has open, left by a cell which cannot know that. */
  async freeForeignOrphans(): Promise<void> {
    const gone = (await this.tree.orphans()).filter((inode) => !this.model.nodes.has(inode));
    if (this.cells.executors.length === 1) expect(gone).toEqual([]);
    await this.tree.releaseOrphans(gone);
  }

  async freeOrphans(): Promise<void> {
    const { model, tree } = this;
    const orphans = await tree.orphans();
    const expected = [...model.nodes.values()].filter(
      ({ links, objectId, inode }) => links === 0 && !objectId && inode !== ROOT_INODE,
    );
    expect(orphans).toEqual(expected.map(({ inode }) => inode).toSorted((a, b) => Number(a - b)));
    await tree.releaseOrphans(orphans);
    for (const inode of orphans) if (!model.open.has(inode)) model.nodes.delete(inode);
  }

  /** Nobody has anything open, and what is to go has gone: what is referenced is what is named. */
  async drain(): Promise<void> {
    this.model.open.clear();
    await this.freeOrphans();
    for (const release of await this.namespace.releases()) await this.finish(release);
    await this.freeLoose();
    await this.check();
    expect(await this.namespace.releases()).toEqual([]);
    expect(await this.tree.looseInodes()).toEqual([]);
    expect(this.references).toEqual(namedStripesOf(await this.cells.all()));
  }
}

describe('the invariants of a tree', () => {
  it('fail when any row of it is missing', async () => {
    const executor = new MemoryRows();
    const now = () => ({ nowMs: 5, isOpen: (inode: Inode) => inode === 7n });
    const [tree, namespace] = [treeOf(executor, now), namespaceOf(executor, now)];
    const salt = utf8('salt');
    await executor.execute((rows) => makeRoot(rows, { salt, nowMs: 5 }));
    const place = (name: string, directory = ROOT_INODE) => ({
      directory,
      name: utf8(name),
      directoryName: utf8(`${name}/`),
    });
    const owner = { mode: 0o600, uid: 0, gid: 0 };
    const made = await tree.makeDirectory({ ...owner, place: place('d'), salt });
    const { inode: directory } = made.status;
    await tree.setQuota(directory, { bytesMax: 9, inodesMax: 9 });
    const file = await tree.makeNode({ ...owner, place: place('f', directory), type: 'file' });
    const { inode } = file.status;
    const target = { sealed: salt, sizeBytes: 4 };
    await tree.makeNode({ ...owner, place: place('s'), type: 'symlink', target });
    expect(await namespace.allocateInodes(3)).toBe(5n);
    await tree.makeNode({ ...owner, type: 'file', inode: 7n });
    await tree.commitExtents({
      inode,
      write: 900n,
      extents: [extentOf(0, 9, 1)],
      schemeNumbers: [3],
      sizeBytes: 9,
      baseChange: 0n,
    });
    const small = { sealed: utf8('sealed'), lengthBytes: 4 };
    const unused = { extents: [], schemeNumbers: [], baseChange: 0n };
    await tree.commitExtents({ ...unused, inode: 7n, inline: small, sizeBytes: 5 });
    const object = names.makeInode(0, 50);
    await namespace.commitObject({
      inode: object,
      createdAtMs: 1,
      objectId: 'ab'.repeat(16) as never,
      sizeBytes: 3,
      schemeNumbers: [3],
      attributes: salt,
      addressKey: new Uint8Array(32),
      extents: [extentOf(0, 3, 2)],
      entry: { directory: ROOT_INODE, name: utf8('o') },
      mayReplace: false,
    });
    const { rows } = executor;
    expect(checkTreeRows(rows)).toBe(25);
    const all = rows.range({ from: Uint8Array.of(0), to: Uint8Array.of(0x10, 0) });
    // What is next of a slot, and which writes are known, follows from no other row.
    for (const { key } of all.filter((row) => !'NW'.includes(keyReader(row.key).tag))) {
      const broken = new Overlay(rows);
      broken.delete(key);
      expect(() => checkTreeRows(broken), Buffer.from(key).toString('latin1')).toThrow();
    }
  });
});
