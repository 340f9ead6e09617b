// Aim: uploads and raw keys do what S3 says, every part that goes leaves its release, and nothing
// is half done. Method: a model with fast-check for parts, lists and raw keys; cases by hand for
// the order of steps, long lists, refusals and protected volumes.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareBytes, errorCode, type ObjectId, toHex, utf8 } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { MemoryLog } from '../../log/index.ts';
import { extentOf } from '../../../test/suites/meta-makers.ts';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { Steward } from '../cells/steward.ts';
import { rowsOfTag } from '../cells/rows.ts';
import { circumstancesOf, namespaceOf } from '../namespace/namespace-cell.ts';
import type { Inode, Namespace, ObjectCommit } from '../namespace/namespace.ts';
import { ROOT_INODE } from '../namespace/namespace.ts';
import { makeRoot } from '../namespace/namespace-ops.ts';
import { hasRawKeysOrUploads } from './raw-key-links.ts';
import type { UploadPlace, Uploads } from './uploads.ts';
import { uploadsOf } from './uploads-cell.ts';

const empty = new Uint8Array();
const BUCKET = ROOT_INODE;

interface Bed extends AsyncDisposable {
  readonly steward: Steward;
  readonly names: Omit<Namespace, typeof Symbol.asyncDispose>;
  readonly uploads: Uploads;
}

async function open(log = new MemoryLog()): Promise<Bed> {
  const env = virtualEnv(1);
  const steward = await Steward.open({ env, cell: 'v', log, db: new MemoryDb() });
  await steward.execute((rows) => makeRoot(rows, { salt: new Uint8Array(16), nowMs: 0 }));
  const now = () => circumstancesOf(env);
  return {
    steward,
    names: namespaceOf(steward, now),
    uploads: uploadsOf(steward, now),
    [Symbol.asyncDispose]: () => steward[Symbol.asyncDispose](),
  };
}

function idOf(index: number): ObjectId {
  return (index * 0x9e3779b1).toString(16).padStart(32, '0') as ObjectId;
}

function placeOf(index: number): UploadPlace {
  return { bucket: BUCKET, upload: idOf(index + 1) };
}

/** A commit of `sizeBytes` in one extent, with a fresh inode and id. */
async function commitOf(
  { names }: Bed,
  sizeBytes: number,
  parts: Partial<ObjectCommit> = {},
): Promise<ObjectCommit> {
  const inode = await names.allocateInodes(1, { inode: BUCKET });
  return {
    inode,
    createdAtMs: 1,
    objectId: idOf(Number(inode) + 1000),
    sizeBytes,
    schemeNumbers: [3],
    attributes: empty,
    addressKey: new Uint8Array(32).fill(1),
    extents: sizeBytes > 0 ? [extentOf(0, sizeBytes, Number(inode))] : [],
    mayReplace: true,
    ...parts,
  };
}

async function putPart(
  bed: Bed,
  { place, number, sizeBytes }: { place: UploadPlace; number: number; sizeBytes: number },
): Promise<{ inode: Inode; released: Inode[] }> {
  const { inode, schemeNumbers, extents } = await commitOf(bed, sizeBytes);
  const attributes = utf8(`etag of ${number}`);
  const part = { ...place, number, inode, sizeBytes, schemeNumbers, attributes, extents };
  const releases = await bed.uploads.putPart(part);
  return { inode, released: releases.map((release) => release.inode) };
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(() => undefined, errorCode);
}

async function released({ names }: Bed): Promise<Inode[]> {
  return ascending((await names.releases()).map(({ inode }) => inode));
}

function ascending(inodes: readonly Inode[]): Inode[] {
  return inodes.toSorted((a, b) => Number(a - b));
}

describe('multipart uploads', () => {
  it('agree with a model', async () => {
    const number = fc.integer({ min: 1, max: 6 });
    const which = fc.integer({ min: 0, max: 2 });
    const step = fc.record({
      act: fc.constantFrom('create', 'put', 'put', 'put', 'list', 'complete', 'abort', 'restart'),
      which,
      number,
      sizeBytes: fc.integer({ min: 0, max: 9 }),
      chosen: fc.uniqueArray(number, { minLength: 1 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const log = new MemoryLog();
        let bed = await open(log);
        const model = new Map<number, Map<number, { inode: Inode; sizeBytes: number }>>();
        const gone: Inode[] = [];
        for (const { act, which: index, number: of, sizeBytes, chosen } of steps) {
          const place = placeOf(index);
          const parts = model.get(index);
          if (act === 'restart') {
            await bed[Symbol.asyncDispose]();
            bed = await open(log);
          } else if (act === 'create') {
            const code = await codeOf(bed.uploads.createUpload({ ...place, attributes: empty }));
            expect(code).toBe(parts ? 'HF_EXISTS' : undefined);
            if (!parts) model.set(index, new Map());
          } else if (!parts) {
            expect(await codeOf(putPart(bed, { place, number: of, sizeBytes }))).toBe(
              'HF_NOT_FOUND',
            );
            expect(await codeOf(bed.uploads.listParts(place))).toBe('HF_NOT_FOUND');
            expect(await codeOf(bed.uploads.abortUpload(place))).toBe('HF_NOT_FOUND');
          } else if (act === 'put') {
            const put = await putPart(bed, { place, number: of, sizeBytes });
            const old = parts.get(of);
            expect(put.released).toEqual(old ? [old.inode] : []);
            gone.push(...put.released);
            parts.set(of, { inode: put.inode, sizeBytes });
          } else if (act === 'list') {
            const page = await bed.uploads.listParts({ ...place, after: of, limit: 2 });
            const expected = [...parts].filter(([at]) => at > of).sort(([a], [b]) => a - b);
            expect(page.map((part) => [part.number, part.inode, part.sizeBytes])).toEqual(
              expected.slice(0, 2).map(([at, part]) => [at, part.inode, part.sizeBytes]),
            );
          } else if (act === 'abort') {
            const left = await bed.uploads.abortUpload(place);
            expect(left.length).toBe(parts.size);
            gone.push(...[...parts.values()].map(({ inode }) => inode));
            model.delete(index);
          } else {
            const isThere = chosen.every((at) => parts.has(at));
            const choice = chosen
              .sort((a, b) => a - b)
              .map((at) => ({ number: at, inode: parts.get(at)?.inode ?? 1n }));
            const size = chosen.reduce((sum, at) => sum + (parts.get(at)?.sizeBytes ?? 0), 0);
            const commit = await commitOf(bed, size, { objectId: idOf(index + 100) });
            const before = await bed.names.object(commit.objectId);
            const code = await codeOf(
              bed.uploads.completeUpload({ ...place, parts: choice, commit }),
            );
            expect(code).toBe(isThere ? undefined : 'HF_BAD_ARGUMENT');
            const after = await bed.names.object(commit.objectId);
            expect(after?.inode).toBe(isThere ? commit.inode : before?.inode);
            if (!isThere) continue;
            gone.push(...[...parts.values()].map(({ inode }) => inode));
            if (before) gone.push(before.inode);
            model.delete(index);
          }
          expect(await released(bed)).toEqual(ascending(gone));
        }
        const uploads = await bed.uploads.listUploads({ bucket: BUCKET });
        expect(uploads.map(({ upload }) => upload)).toEqual(
          [...model.keys()].map((index) => placeOf(index).upload).sort(),
        );
        await bed[Symbol.asyncDispose]();
      }),
      { numRuns: 60 },
    );
  });

  it('let go of long lists of parts in steps, and begin where they were left', async () => {
    const log = new MemoryLog();
    const place = placeOf(0);
    const count = 600;
    const inodes: Inode[] = [];
    await using first = await open(log);
    await first.uploads.createUpload({ ...place, attributes: empty });
    for (let number = 1; number <= count; number++) {
      inodes.push((await putPart(first, { place, number, sizeBytes: 1 })).inode);
    }
    const pages: number[] = [];
    for (let after = 0; ;) {
      const page = await first.uploads.listParts({ ...place, after, limit: 250 });
      pages.push(page.length);
      after = page.at(-1)?.number ?? 0;
      if (page.length < 250) break;
    }
    expect(pages).toEqual([250, 250, 100]);
    const parts = inodes.map((inode, index) => ({ number: index + 1, inode }));
    const entry = { directory: BUCKET, name: utf8('key') };
    const commit = await commitOf(first, count, { entry });
    expect((await first.uploads.completeUpload({ ...place, parts, commit })).length).toBe(256);
    expect((await first.names.lookup(BUCKET, utf8('key')))?.record.inode).toBe(commit.inode);
    expect(await first.uploads.upload(place)).toBeUndefined();
    await using second = await open(log);
    expect(await second.uploads.endedUploads()).toEqual([place]);
    const again = second.uploads.createUpload({ ...place, attributes: empty });
    expect(await codeOf(again)).toBe('HF_EXISTS');
    for (const left of [256, 88, 0]) {
      expect((await second.uploads.releaseParts(place)).length).toBe(left);
    }
    expect(await second.uploads.endedUploads()).toEqual([]);
    expect(await released(second)).toEqual(ascending(inodes));
    const rows = await second.steward.execute((all) =>
      ['M', 'm'].flatMap((tag) => [...rowsOfTag(all, tag)]),
    );
    expect(rows).toEqual([]);
    expect((await second.names.usage()).contentBytes).toBe(count); // the object's alone
  });

  it('refuse parts put again, not in order, of other sizes, and leave all', async () => {
    await using bed = await open();
    const place = placeOf(0);
    await bed.uploads.createUpload({ ...place, attributes: utf8('sealed') });
    const one = (await putPart(bed, { place, number: 1, sizeBytes: 4 })).inode;
    const old = (await putPart(bed, { place, number: 2, sizeBytes: 5 })).inode;
    const two = (await putPart(bed, { place, number: 2, sizeBytes: 5 })).inode;
    const choices = [
      [
        { number: 1, inode: one },
        { number: 2, inode: old },
      ],
      [
        { number: 2, inode: two },
        { number: 1, inode: one },
      ],
      [
        { number: 1, inode: one },
        { number: 1, inode: one },
      ],
      [{ number: 1, inode: one }],
      [],
    ];
    for (const parts of choices) {
      const commit = await commitOf(bed, 9);
      const work = bed.uploads.completeUpload({ ...place, parts, commit });
      expect(await codeOf(work)).toBe('HF_BAD_ARGUMENT');
      expect(await bed.names.object(commit.objectId)).toBeUndefined();
    }
    expect((await bed.uploads.listParts(place)).map(({ number }) => number)).toEqual([1, 2]);
    for (const number of [0, 10_001, 1.5]) {
      const work = putPart(bed, { place, number, sizeBytes: 1 });
      expect(await codeOf(work)).toBe('HF_BAD_ARGUMENT');
    }
    // A part is committed: whoever cleans up behind its writer leaves it.
    expect(await bed.names.refuse(two)).toBe('committed');
    expect((await bed.names.extents(two)).length).toBe(1);
    const again = { ...(await commitOf(bed, 1)), ...place, inode: two, number: 3 };
    expect(await codeOf(bed.uploads.putPart(again))).toBe('HF_EXISTS');
  });
});

describe('raw keys', () => {
  it('name objects in the order of their bytes, as a model does', async () => {
    const key = fc.uint8Array({ minLength: 1, maxLength: 2, max: 3 });
    const step = fc.record({
      act: fc.constantFrom('put', 'put', 'put', 'remove', 'removeById', 'list', 'put new'),
      key,
      id: fc.integer({ min: 0, max: 5 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        await using bed = await open();
        const model = new Map<string, { key: Uint8Array; id: ObjectId }>();
        const drop = (id: ObjectId): void => {
          for (const [text, named] of model) if (named.id === id) model.delete(text);
        };
        for (const { act, key: of, id } of steps) {
          const objectId = idOf(id);
          const present = model.get(toHex(of));
          if (act === 'put' || act === 'put new') {
            const mayReplace = act === 'put';
            const isTaken = present ?? (await bed.names.object(objectId));
            const commit = await commitOf(bed, 1, { objectId, mayReplace });
            const work = bed.uploads.commitRawObject({ bucket: BUCKET, key: of, commit });
            expect(await codeOf(work)).toBe(isTaken && !mayReplace ? 'HF_EXISTS' : undefined);
            if (isTaken && !mayReplace) continue;
            drop(objectId);
            model.set(toHex(of), { key: of, id: objectId });
            if (present && present.id !== objectId) {
              expect(await bed.names.object(present.id)).toBeUndefined();
            }
          } else if (act === 'remove') {
            const code = await codeOf(bed.uploads.removeRawObject(BUCKET, of));
            expect(code).toBe(present ? undefined : 'HF_NOT_FOUND');
            model.delete(toHex(of));
          } else if (act === 'removeById') {
            await codeOf(bed.names.removeObject(objectId));
            drop(objectId);
          }
          const record = await bed.uploads.rawObject(BUCKET, of);
          expect(record?.objectId).toBe(model.get(toHex(of))?.id);
          const expected = [...model.values()].sort((a, b) => compareBytes(a.key, b.key));
          const listed: ObjectId[] = [];
          for (let after: Uint8Array | undefined; ;) {
            const page = await bed.uploads.listRawObjects({ bucket: BUCKET, after, limit: 2 });
            listed.push(...page.map(({ record: found }) => found.objectId as ObjectId));
            after = page.at(-1)?.key;
            if (page.length < 2) break;
          }
          expect(listed).toEqual(expected.map((named) => named.id));
        }
      }),
      { numRuns: 80 },
    );
  });

  it('take completed uploads, keep a re-encoded object, and are protected', async () => {
    await using bed = await open();
    const place = placeOf(0);
    const key = utf8('a//b');
    await bed.uploads.createUpload({ ...place, attributes: empty });
    const { inode } = await putPart(bed, { place, number: 7, sizeBytes: 3 });
    const commit = await commitOf(bed, 3, { createdAtMs: 0 });
    const parts = [{ number: 7, inode }];
    await bed.uploads.completeUpload({ ...place, parts, commit, rawKey: key });
    expect((await bed.uploads.rawObject(BUCKET, key))?.inode).toBe(commit.inode);
    const { objectId: _, entry: __, ...recoded } = await commitOf(bed, 3);
    await bed.names.reencodeObject({ ...recoded, replaces: commit.inode });
    expect((await bed.uploads.rawObject(BUCKET, key))?.inode).toBe(recoded.inode);
    expect(await bed.steward.execute((rows) => hasRawKeysOrUploads(rows, BUCKET))).toBe(true);
    await bed.names.protect({ retentionMs: 0 }); // it may be removed, and not replaced
    const other = { bucket: BUCKET, key, commit: await commitOf(bed, 4) };
    expect(await codeOf(bed.uploads.commitRawObject(other))).toBe('HF_WORM');
    await bed.names.protect({ retentionMs: undefined });
    expect(await codeOf(bed.uploads.removeRawObject(BUCKET, key))).toBe('HF_WORM');
    expect((await bed.uploads.rawObject(BUCKET, key))?.inode).toBe(recoded.inode);
  });
});
