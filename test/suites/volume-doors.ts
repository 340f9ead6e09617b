/**
 * What the doors of a volume promise its mounts and gateways, whoever answers behind them: one
 * cell here, one of another node, or several on many nodes. Two users, each with a session.
 */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { errorCode, LIMITS, type ObjectId, utf8 } from '../../src/base/index.ts';
import type { Clock } from '../../src/env/index.ts';
import {
  type DirectoryLease,
  type Inode,
  type Place,
  ROOT_INODE,
  type TreeBatch,
  type TreeStep,
  type VolumeDoors,
} from '../../src/meta/index.ts';
import { lockOf, sessionOf } from './handles-bed.ts';

export interface DoorsBed extends AsyncDisposable {
  readonly clock: Clock;
  /** The same volume as two users have it. */
  readonly doors: readonly [VolumeDoors, VolumeDoors];
}

const OWNER = { mode: 0o600, uid: 1, gid: 2 };
const SALT = utf8('salt');
const [A, B] = [sessionOf(1), sessionOf(2)];

let bed: DoorsBed;
let a: VolumeDoors;
let b: VolumeDoors;
let sequence = 0;

export function describeVolumeDoors(name: string, open: () => Promise<DoorsBed>): void {
  describe(`the doors of a volume: ${name}`, () => {
    beforeEach(async () => {
      bed = await open();
      [a, b] = bed.doors;
      await a.handles.openSession({ session: A, node: 'a' });
      await b.handles.openSession({ session: B, node: 'b' });
    }, 60_000);
    afterEach(async () => {
      await bed[Symbol.asyncDispose]();
    });
    itHasHandlesAndUploads();
    itRunsBatches();
    itRecallsLeases();
  });
}

function at(name: string, directory: Inode): Place {
  return { directory, name: utf8(name), directoryName: utf8(`${name}/`) };
}

/** As whoever meets a leased directory does. */
async function patiently<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (errorCode(error) !== 'HF_LEASED') throw error;
    }
  }
}

async function makeDirectory(name: string, parent = ROOT_INODE): Promise<Inode> {
  const request = { ...OWNER, place: at(name, parent), salt: SALT };
  return (await patiently(() => a.tree.makeDirectory(request))).status.inode;
}

async function leased(doors: VolumeDoors, directory: Inode): Promise<DirectoryLease> {
  const wanted = { inodeCount: 1000, bytesReserved: 0, rowsReserved: 0 };
  const session = doors === a ? A : B;
  const lease = await doors.handles.leaseDirectory({ session, directory, ...wanted });
  expect(lease).toBeDefined();
  return lease!;
}

function batchOf(leases: DirectoryLease | readonly DirectoryLease[], steps: TreeStep[]): TreeBatch {
  sequence += 1;
  const all = [leases].flat();
  return { session: all[0]!.session, leases: all, lane: 3, sequence, steps };
}

function create(name: string, directory: Inode, inode: Inode): TreeStep {
  return { do: 'makeNode', args: [{ ...OWNER, place: at(name, directory), inode, type: 'file' }] };
}

/** Names and what they name, as somebody sees them. */
async function seenBy(doors: VolumeDoors, directory: Inode): Promise<Record<string, Inode>> {
  const entries = await patiently(() => doors.tree.listAttributes({ directory }));
  return Object.fromEntries(
    entries.map(({ name, status }) => [Buffer.from(name).toString(), status.inode]),
  );
}

/** Lets time pass in which both sessions are alive. */
async function live(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 10_000) {
    await bed.clock.sleep(Math.min(left, 10_000));
    await a.handles.renewSession(A);
    await b.handles.renewSession(B);
  }
}

function itHasHandlesAndUploads(): void {
  it('knows sessions, what is open, and locks that meet', async () => {
    const inode = await makeDirectory('d');
    expect((await b.handles.sessions()).map(({ session }) => session).sort()).toEqual([A, B]);
    expect(await a.handles.open(A, [inode, 99n])).toEqual([99n]);
    const [one, two] = [lockOf({ owner: 1, inode }), lockOf({ owner: 2, inode, session: 2 })];
    expect(await a.handles.lock({ ...one, waits: false })).toEqual({ state: 'granted' });
    expect(await b.handles.lock({ ...two, waits: true })).toEqual({ state: 'waiting' });
    const granted = b.handles.awaitLock(two, 800);
    await a.handles.unlockAll(one);
    expect(await granted).toBe('granted');
    await b.handles.closeSession(B);
    expect(await a.handles.testLock(one)).toBeUndefined();
    expect(await b.handles.renewSession(B).catch(errorCode)).toBe('HF_SESSION_OVER');
  });

  it('has uploads, whose object is found by its raw key', async () => {
    const place = { bucket: await makeDirectory('bucket'), upload: '1'.repeat(32) };
    await a.uploads.createUpload({ ...place, attributes: utf8('headers') });
    const content = { sizeBytes: 0, schemeNumbers: [3], attributes: utf8('etag'), extents: [] };
    const inode = await b.namespace.allocateInodes(2, { inode: place.bucket });
    const part = inode + 1n;
    await b.uploads.putPart({ ...place, ...content, number: 1, inode: part });
    expect(await a.uploads.listParts(place)).toMatchObject([{ number: 1 }]);
    const commit = {
      ...content,
      inode,
      createdAtMs: 1,
      objectId: 'ab'.repeat(16) as ObjectId,
      addressKey: new Uint8Array(32),
      mayReplace: false,
    };
    const parts = [{ number: 1, inode: part }];
    await a.uploads.completeUpload({ ...place, parts, commit, rawKey: utf8('a//b') });
    expect(await b.uploads.rawObject(place.bucket, utf8('a//b'))).toMatchObject({ inode });
    expect(await b.uploads.listUploads({ bucket: place.bucket })).toEqual([]);
  });
}

/** Steps on few names, and what comes of them. */
class Names {
  readonly #names = new Map<string, Inode>();
  readonly #directory: Inode;
  #next: Inode;

  constructor({ directory, firstInode }: DirectoryLease) {
    this.#directory = directory;
    this.#next = firstInode;
  }

  get all(): Record<string, Inode> {
    return Object.fromEntries(this.#names);
  }

  step({ does, name, to }: Drawn): { step: TreeStep; code: string | undefined } {
    const [place, target] = [at(name, this.#directory), at(to, this.#directory)];
    const present = this.#names.get(name);
    switch (does) {
      case 'create': {
        const inode = this.#next++;
        if (present === undefined) this.#names.set(name, inode);
        const code = present === undefined ? undefined : 'HF_EXISTS';
        return { step: create(name, this.#directory, inode), code };
      }
      case 'unlink':
        this.#names.delete(name);
        return { step: { do: 'unlink', args: [place] }, code: this.#codeOf(present) };
      case 'rename':
        if (present !== undefined && name !== to) {
          this.#names.delete(name);
          this.#names.set(to, present);
        }
        return {
          step: { do: 'rename', args: [{ from: place, to: target }] },
          code: this.#codeOf(present),
        };
      case 'chmod': {
        const inode = present ?? 77n;
        return {
          step: { do: 'setAttributes', args: [inode, { mode: 0o400 }] },
          code: this.#codeOf(present),
        };
      }
    }
  }

  #codeOf(present: Inode | undefined): string | undefined {
    return present === undefined ? 'HF_NOT_FOUND' : undefined;
  }
}

interface Drawn {
  readonly does: 'create' | 'unlink' | 'rename' | 'chmod';
  readonly name: string;
  readonly to: string;
}

const name = fc.constantFrom('x', 'y', 'z');
const drawn: fc.Arbitrary<Drawn> = fc.record({
  does: fc.constantFrom('create', 'create', 'unlink', 'rename', 'chmod'),
  name,
  to: name,
});
/** How often a batch is asked, one after the other or at once, before its answer is heard. */
const drawnBatch = fc.record({
  steps: fc.array(drawn, { minLength: 1, maxLength: 6 }),
  lost: fc.constantFrom('none', 'once', 'at once'),
});

function itRunsBatches(): void {
  it('runs the steps of batches in order, each whole or not, and once', async () => {
    let count = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(drawnBatch, { maxLength: 5 }), async (batches) => {
        const lease = await leased(a, await makeDirectory(`m${count++}`));
        const names = new Names(lease);
        for (const { steps, lost } of batches) {
          const expected = steps.map((step) => names.step(step));
          const batch = batchOf(
            lease,
            expected.map(({ step }) => step),
          );
          const first = lost === 'none' ? undefined : a.tree.runBatch(batch);
          if (lost === 'once') await first;
          const answer = await a.tree.runBatch(batch);
          if (first) expect(answer).toEqual(await first);
          if (answer.state !== 'done') throw new Error('the lease is held');
          expect(answer.results.map(({ code }) => code)).toEqual(expected.map(({ code }) => code));
          expect(await claimed(a, lease)).toEqual(names.all);
        }
        await a.handles.returnDirectories(lease.session, [lease]);
        expect(await seenBy(b, lease.directory)).toEqual(names.all);
      }),
      { numRuns: 15 },
    );
  });

  it('answers with what the holder cannot know', async () => {
    const lease = await leased(a, await makeDirectory('d'));
    const { directory, firstInode: inode } = lease;
    const target = { sealed: utf8('t'), sizeBytes: 1 };
    const made = await a.tree.runBatch(
      batchOf(lease, [
        create('f', directory, inode),
        { do: 'setAttributes', args: [inode, { modifiedNs: 5n }] },
        {
          do: 'makeNode',
          args: [{ ...OWNER, place: at('l', directory), type: 'symlink', target }],
        },
        { do: 'link', args: [inode, at('g', directory)] },
        { do: 'setXattr', args: [{ inode, name: utf8('n'), value: utf8('v') }] },
      ]),
    );
    if (made.state !== 'done') throw new Error('the lease is held');
    const { changedNs, changeCount, modifiedNs } = (await b.tree.getAttributes(inode))!;
    expect(changedNs).toBe(BigInt(made.atMs) * 1_000_000n);
    expect(modifiedNs).toBe(5n);
    expect(made.results.at(-1)).toEqual({ changeCount });
    expect(made.results.map(({ code }) => code)).toEqual(Array(5).fill(undefined));
  });

  it('takes many directories back at once, but none by an older lease', async () => {
    const directories: Inode[] = [];
    for (let index = 0; index < 20; index++) directories.push(await makeDirectory(`d${index}`));
    const leases: DirectoryLease[] = [];
    for (const directory of directories) leases.push(await leased(a, directory));
    const [kept, ...others] = leases;
    const wrong = { directory: kept!.directory, fence: kept!.fence + 1 };
    await a.handles.returnDirectories(A, [wrong, ...others]);
    await a.handles.returnDirectories(B, [kept!]);
    await a.handles.returnDirectories(A, others); // once more, and no harm
    const due = await a.handles.awaitRecalls(A, leases, 1);
    expect(new Set(due)).toEqual(new Set(others.map(({ directory }) => directory)));
  });

  it('leases directories that a batch makes, before anybody else comes', async () => {
    const lease = await leased(a, await makeDirectory('d'));
    const [inode, file] = [lease.firstInode, lease.firstInode + 1n];
    const request = { ...OWNER, place: at('e', lease.directory), inode, salt: SALT };
    const wanted = { directory: inode, inodeCount: 5, bytesReserved: 0, rowsReserved: 0 };
    const steps: TreeStep[] = [
      { do: 'makeDirectory', args: [request] },
      { do: 'leaseDirectory', args: [wanted] },
      create('f', inode, file),
    ];
    const answer = await a.tree.runBatch(batchOf(lease, steps));
    if (answer.state !== 'done') throw new Error('the lease is held');
    expect(answer.results.map(({ code }) => code)).toEqual(steps.map(() => undefined));
    const made = answer.results[1]!.lease!;
    expect(made).toMatchObject({ session: A, ...wanted });
    const other = seenBy(b, inode);
    while ((await a.handles.awaitRecalls(A, [lease, made], 800)).length === 0) continue;
    const next = create('g', inode, made.firstInode);
    expect(await a.tree.runBatch(batchOf(made, [next]))).toMatchObject({ state: 'done' });
    await a.handles.returnDirectories(made.session, [made]);
    expect(await other).toEqual({ f: file, g: made.firstInode });
  });

  it('runs batches over several cells once, and whole', async () => {
    const lease = await leased(a, ROOT_INODE);
    const names = Array.from({ length: 8 }, (_, index) => `d${index}`);
    const steps: TreeStep[] = [];
    for (const [index, made] of names.entries()) {
      // Near an object of any id: a volume spreads by the directories in its root.
      const objectId = (index * 2).toString(16).padEnd(32, '0') as ObjectId;
      const inode = await a.namespace.allocateInodes(2, { objectId });
      const request = { ...OWNER, place: at(made, ROOT_INODE), inode, salt: SALT };
      steps.push({ do: 'makeDirectory', args: [request] }, create('f', inode, inode + 1n));
    }
    const batch = batchOf(lease, steps);
    const answers = await Promise.all([a.tree.runBatch(batch), a.tree.runBatch(batch)]);
    expect(answers[0]).toEqual(answers[1]);
    if (answers[0].state !== 'done') throw new Error('the lease is held');
    expect(answers[0].results.map(({ code }) => code)).toEqual(steps.map(() => undefined));
    expect(Object.keys(await claimed(a, lease))).toEqual(names.map((made) => `${made}/`));
    expect((await b.tree.usage()).inodeCount).toBe(1 + steps.length);
  });

  it('waits in no batch for what others hold', async () => {
    const above = await makeDirectory('d');
    const below = await makeDirectory('e', above);
    const lease = await leased(a, above);
    const other = await leased(b, below);
    const startMs = bed.clock.monotonic();
    const steps: TreeStep[] = [
      create('f', above, lease.firstInode),
      { do: 'removeDirectory', args: [at('e', above)] },
      { do: 'unlink', args: [at('f', above)] },
    ];
    const answer = await a.tree.runBatch(batchOf(lease, steps));
    expect(answer).toMatchObject({
      state: 'done',
      results: [{}, { code: 'HF_LEASED', leased: below }, {}],
    });
    expect(bed.clock.monotonic() - startMs).toBeLessThan(LIMITS.handleWaitMsMax);
    await b.handles.returnDirectories(other.session, [other]);
    const both = [lease, await leased(a, below)];
    const rest = await a.tree.runBatch(batchOf(both, [steps[1]!]));
    expect(rest).toMatchObject({ state: 'done', results: [{ changeCount: 1n }] });
  });

  it('makes nothing under a number that others may be given yet', async () => {
    const lease = await leased(a, await makeDirectory('d'));
    const { directory, firstInode, inodeCount } = lease;
    const beyond = [firstInode + BigInt(inodeCount), firstInode & ~0xffffffffn];
    const steps = beyond.map((inode, index) => create(`${index}`, directory, inode));
    const answer = await a.tree.runBatch(batchOf(lease, steps));
    const refused = { code: 'HF_BAD_ARGUMENT' };
    expect(answer).toMatchObject({ state: 'done', results: [refused, refused] });
  });

  it('does nothing of a batch that no entry holds, and all of its parts', async () => {
    const lease = await leased(a, await makeDirectory('d'));
    const { directory, firstInode: inode } = lease;
    await a.tree.runBatch(batchOf(lease, [create('f', directory, inode)]));
    const value = new Uint8Array(60_000);
    const steps = Array.from({ length: 20 }, (_, index): TreeStep => {
      return { do: 'setXattr', args: [{ inode, name: utf8(`${index}`), value }] };
    });
    expect(await a.tree.runBatch(batchOf(lease, steps)).catch(errorCode)).toBe('HF_TOO_LARGE');
    expect(await b.tree.listXattrs(inode)).toEqual([]);
    for (const part of [steps.slice(0, 10), steps.slice(10)]) {
      expect(await a.tree.runBatch(batchOf(lease, part))).toMatchObject({ state: 'done' });
    }
    expect(await b.tree.listXattrs(inode)).toHaveLength(steps.length);
  });

  it('refuses batches that are none', async () => {
    const lease = await leased(a, await makeDirectory('d'));
    const step = create('f', lease.directory, lease.firstInode);
    const batch = batchOf(lease, [step]);
    const ask = (changed: Partial<TreeBatch>): Promise<unknown> =>
      a.tree.runBatch({ ...batch, ...changed }).catch(errorCode);
    expect(await ask({ steps: [] })).toBe('HF_BAD_ARGUMENT');
    expect(await ask({ leases: [] })).toBe('HF_BAD_ARGUMENT');
    const tooMany = Array.from({ length: LIMITS.batchStepsMax + 1 }, () => step);
    expect(await ask({ steps: tooMany })).toBe('HF_BAD_ARGUMENT');
    expect(await ask({ session: sessionOf(9) })).toBe('HF_SESSION_OVER');
    expect(await ask({ sequence: batch.sequence })).toMatchObject({ state: 'done' });
    expect(await ask({ sequence: batch.sequence - 1 })).toBe('HF_FENCED');
    await a.handles.closeSession(A);
    expect(await ask({ sequence: batch.sequence + 1 })).toBe('HF_SESSION_OVER');
  });
}

async function claimed(doors: VolumeDoors, claim: DirectoryLease): Promise<Record<string, Inode>> {
  const { directory, session, fence } = claim;
  const page = { directory, claim: { session, fence } };
  const entries = await doors.tree.listAttributes(page);
  return Object.fromEntries(
    entries.map((entry) => [Buffer.from(entry.name).toString(), entry.status.inode]),
  );
}

function itRecallsLeases(): void {
  it('has two that want a directory see what the other one made', async () => {
    const directory = await makeDirectory('d');
    const made: Record<string, Inode> = {};
    for (const [turn, doors] of [a, b, a, b].entries()) {
      const lease = await leased(doors, directory);
      expect(await claimed(doors, lease)).toEqual(made);
      const { session, firstInode } = lease;
      const entry = await doors.tree.lookup(at('0', directory), lease);
      expect(entry?.status.inode).toBe(made['0']);
      // It makes names when it is told that the other one wants to know.
      const other = seenBy(doors === a ? b : a, directory);
      while ((await doors.handles.awaitRecalls(session, [lease], 800)).length === 0) continue;
      made[`${turn}`] = firstInode;
      const batch = batchOf(lease, [create(`${turn}`, directory, firstInode)]);
      expect(await doors.tree.runBatch(batch)).toMatchObject({ state: 'done' });
      await doors.handles.returnDirectories(lease.session, [lease]);
      expect(await other).toEqual(made);
      await live(LIMITS.leaseRecallMs + LIMITS.leaseAgainMs);
    }
  });

  it('takes a lease from a holder that is silent, whose batch then changes nothing', async () => {
    const directory = await makeDirectory('d');
    const lease = await leased(a, directory);
    const first = batchOf(lease, [create('x', directory, lease.firstInode)]);
    const answer = await a.tree.runBatch(first);
    const startMs = bed.clock.monotonic();
    expect(Object.keys(await seenBy(b, directory))).toEqual(['x']);
    const tookMs = bed.clock.monotonic() - startMs;
    expect(tookMs).toBeGreaterThanOrEqual(LIMITS.leaseRecallMs);
    expect(tookMs).toBeLessThan(LIMITS.remoteCallMs);
    const late = batchOf(lease, [
      create('y', directory, lease.firstInode + 1n),
      { do: 'unlink', args: [at('x', directory)] },
    ]);
    expect(await a.tree.runBatch(first)).toEqual(answer); // it asks again, and hears that it was
    expect(await a.tree.runBatch(late)).toEqual({ state: 'fenced', directory });
    expect(await a.handles.awaitRecalls(A, [lease], 0)).toEqual([directory]);
    await live(LIMITS.leaseRecallMs + LIMITS.leaseAgainMs);
    await leased(a, directory);
    expect(await a.tree.runBatch(late)).toEqual({ state: 'fenced', directory });
    await a.handles.closeSession(A);
    expect(Object.keys(await seenBy(b, directory))).toEqual(['x']);
  });

  it('takes the leases of a session that is over', async () => {
    const directory = await makeDirectory('d');
    await leased(a, directory);
    for (let passedMs = 0; passedMs <= LIMITS.sessionLeaseMs; passedMs += 10_000) {
      await bed.clock.sleep(10_000);
      await b.handles.renewSession(B);
    }
    await bed.clock.sleep(2 * LIMITS.handleTickMs);
    expect((await leased(b, directory)).session).toBe(B);
  });
}
