// Aim: the parts of the contract that need size or a particular order: pages, large manifests,
// races of a writer with whoever refuses it, unknown outcomes. Method: cases over memory engines.
import { describe, expect, it } from 'vitest';
import {
  compareBytes,
  errorCode,
  HoldfastError,
  LIMITS,
  type ObjectId,
  utf8,
} from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { realEnv } from '../../env/index.ts';
import { MemoryLog } from '../../log/index.ts';
import type { Inode, Namespace, ObjectCommit } from './namespace.ts';
import { ROOT_INODE } from './namespace.ts';
import { openNamespace } from './namespace-cell.ts';
import { extentOf } from '../../../test/suites/meta-makers.ts';

const env = realEnv();
const empty = new Uint8Array();

async function open(log = new MemoryLog()): Promise<Namespace> {
  return await openNamespace({ env, cell: 'v', log, db: new MemoryDb() });
}

function idOf(index: number): ObjectId {
  return (index * 0x9e3779b1).toString(16).padStart(32, '0') as ObjectId;
}

function nameOf(index: number): Uint8Array {
  return utf8(`${(index * 7919) % 10_007}`);
}

function commitOf(inode: Inode, parts: Partial<ObjectCommit> = {}): ObjectCommit {
  return {
    inode,
    createdAtMs: 1,
    objectId: idOf(Number(inode)),
    sizeBytes: 10,
    schemeNumbers: [3],
    attributes: empty,
    addressKey: new Uint8Array(32).fill(1),
    extents: [extentOf(0, 10, 1)],
    mayReplace: false,
    ...parts,
  };
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(() => undefined, errorCode);
}

describe('Namespace', () => {
  it('lists directories and objects in pages of a thousand', async () => {
    await using namespace = await open();
    const first = await namespace.allocateInodes(2500);
    const commits = Array.from({ length: 2500 }, (_, index) => {
      const entry = { directory: ROOT_INODE, name: nameOf(index) };
      return namespace.commitObject(commitOf(first + BigInt(index), { entry }));
    });
    await Promise.all(commits);
    const names: Uint8Array[] = [];
    for (let page = await namespace.list({ directory: ROOT_INODE }); page.length > 0;) {
      expect(page.length).toBe(names.length < 2000 ? LIMITS.listPageMax : 500);
      for (const { name, record } of page) {
        names.push(name);
        expect(record.objectId).toBe(idOf(Number(record.inode)));
      }
      page = await namespace.list({ directory: ROOT_INODE, after: names.at(-1) });
    }
    const expected = Array.from({ length: 2500 }, (_, index) => nameOf(index));
    expect(names).toEqual(expected.sort(compareBytes));
    const ids: (ObjectId | undefined)[] = [];
    for (let page = await namespace.listObjects({}); page.length > 0;) {
      ids.push(...page.map(({ objectId }) => objectId));
      page = await namespace.listObjects({ after: ids.at(-1) });
    }
    expect(ids).toEqual(Array.from({ length: 2500 }, (_, i) => idOf(Number(first) + i)).sort());
    expect((await namespace.listObjects({ limit: 3 })).length).toBe(3);
  });

  it('takes a manifest of any size in parts, and lets go of it in parts', async () => {
    await using namespace = await open();
    const inode = await namespace.allocateInodes(1);
    const all = Array.from({ length: 2000 }, (_, index) => extentOf(index * 10, 10, index));
    for (let at = 0; at < 1900; at += 190) {
      await namespace.stageExtents(inode, all.slice(at, at + 190));
    }
    expect(await codeOf(namespace.stageExtents(inode, all.slice(0, 257)))).toBe('HF_BAD_ARGUMENT');
    expect(await namespace.record(inode)).toBeUndefined();
    const short = commitOf(inode, { sizeBytes: 20_000, extents: all.slice(1901) });
    expect(await codeOf(namespace.commitObject(short))).toBe('HF_BAD_ARGUMENT');
    const whole = { ...short, extents: all.slice(1900) };
    expect(await namespace.commitObject(whole)).toEqual([]);
    const first = await namespace.extents(inode);
    expect(first).toEqual(all.slice(0, LIMITS.listPageMax));
    expect(await namespace.extents(inode, { encoding: 0, offset: 10_000 })).toEqual(
      all.slice(LIMITS.listPageMax),
    );
    const release = await namespace.removeObject(whole.objectId);
    await namespace.finishRelease(release, all.slice(0, 1999));
    expect(await namespace.releases()).toEqual([release]);
    expect(await namespace.extents(inode)).toEqual(all.slice(1999));
    await namespace.finishRelease(release, all.slice(1999));
    expect(await namespace.releases()).toEqual([]);
  });

  it('ends the release of an empty object, which has no extents', async () => {
    await using namespace = await open();
    const inode = await namespace.allocateInodes(1);
    await namespace.commitObject(commitOf(inode, { sizeBytes: 0, extents: [] }));
    const release = await namespace.removeObject(idOf(Number(inode)));
    expect(await namespace.releases()).toEqual([release]);
    await namespace.finishRelease(release, []);
    expect(await namespace.releases()).toEqual([]);
  });

  it('refuses a writer that comes after whoever settled its inode, durably', async () => {
    const log = new MemoryLog();
    const namespace = await open(log);
    const inode = await namespace.allocateInodes(2);
    await namespace.stageExtents(inode, [extentOf(0, 10, 1)]);
    await namespace.commitObject(commitOf(inode + 1n));
    expect(await namespace.refuse(inode)).toBe('refused');
    expect(await namespace.refuse(inode + 1n)).toBe('committed');
    await namespace[Symbol.asyncDispose]();
    await using next = await open(log);
    expect(await codeOf(next.commitObject(commitOf(inode, { extents: [] })))).toBe('HF_FENCED');
    expect(await codeOf(next.stageExtents(inode, [extentOf(10, 10, 1)]))).toBe('HF_FENCED');
    expect(await next.releases()).toEqual([{ inode }]);
    await next.finishRelease({ inode }, [{ encoding: 0, offset: 0 }]);
    expect(await codeOf(next.commitObject(commitOf(inode)))).toBe('HF_FENCED');
    expect(await next.refuse(inode)).toBe('refused');
  });

  it('tells a writer of unknown outcome, through refuse, whether its object stands', async () => {
    for (const isAppended of [true, false]) {
      const log = new ForgetfulLog(isAppended);
      await using namespace = await open(log);
      const inode = await namespace.allocateInodes(1);
      log.isFailing = true;
      const commit = namespace.commitObject(commitOf(inode));
      expect(await codeOf(commit)).toBe('HF_UNKNOWN_OUTCOME');
      expect(await namespace.refuse(inode)).toBe(isAppended ? 'committed' : 'refused');
      expect((await namespace.object(idOf(Number(inode))))?.inode).toBe(
        isAppended ? inode : undefined,
      );
    }
  });

  it('never gives out an inode number twice, nor the root', async () => {
    const log = new MemoryLog();
    const given: Inode[] = [];
    for (let run = 0; run < 3; run++) {
      await using namespace = await open(log);
      const counts = [1, 5, 1];
      const starts = await Promise.all(counts.map((count) => namespace.allocateInodes(count)));
      for (const [index, start] of starts.entries()) {
        for (let count = 0; count < (counts[index] ?? 0); count++)
          given.push(start + BigInt(count));
      }
      const request = { parent: ROOT_INODE, salt: empty, attributes: empty, isImplicit: true };
      const made = await namespace.makeDirectory({ ...request, name: utf8(`${run}`) });
      given.push(made.record.inode);
    }
    expect(new Set([...given, ROOT_INODE]).size).toBe(given.length + 1);
  });

  it('has a root directory with a salt of its own that stays', async () => {
    const log = new MemoryLog();
    const salts: string[] = [];
    for (const cell of ['v', 'v', 'w']) {
      await using namespace = await openNamespace({ env, cell, log, db: new MemoryDb() });
      const root = await namespace.record(ROOT_INODE);
      expect(root).toMatchObject({ type: 'directory', sizeBytes: 0, objectId: undefined });
      salts.push(String(root?.salt));
    }
    expect(salts[0]).toBe(salts[1]);
    expect(salts[0]).not.toBe(salts[2]);
  });
});

/** Once, the outcome of an append is not known. */
class ForgetfulLog extends MemoryLog {
  isFailing = false;
  readonly #isAppended: boolean;

  constructor(isAppended: boolean) {
    super();
    this.#isAppended = isAppended;
  }

  override async append(
    ...[cell, position, bytes]: Parameters<MemoryLog['append']>
  ): Promise<'ok' | 'fenced'> {
    if (!this.isFailing) return await super.append(cell, position, bytes);
    this.isFailing = false;
    if (this.#isAppended) await super.append(cell, position, bytes);
    throw new HoldfastError('HF_UNKNOWN_OUTCOME');
  }
}
