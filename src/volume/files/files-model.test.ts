/**
 * Aim: whatever is done to a file, in whatever order, it reads as an array of bytes would, while
 * stores go and come and puts fail; and nothing that nobody names stays on the stores. Method:
 * random steps on two nodes in turns, each with two handles, against a plain array; planted faults
 * are found. Windows are small here, so that many are under way.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errorCode, HoldfastError, KiB } from '../../base/index.ts';
import { FilesBed } from '../../../test/suites/files-bed.ts';
import { bytesOf } from '../../../test/suites/store-bed.ts';
import type { OpenFile, OpenFiles } from '../index.ts';
import type { FilesFault } from './files-context.ts';

/** More of them when somebody looks for something. */
const RUNS = Number(process.env['FILES_RUNS'] ?? 8);
const SEED = Number(process.env['FILES_SEED'] ?? 7);
const WINDOW_BYTES = 512 * KiB;
const SIZE_MAX = 3 * WINDOW_BYTES;
const MEMORY_MAX = 1536 * KiB;

type Step =
  | { readonly do: 'write' | 'read' | 'deallocate'; readonly at: number; readonly bytes: number }
  | { readonly do: 'truncate'; readonly at: number }
  | { readonly do: 'copy'; readonly at: number; readonly bytes: number; readonly to: number }
  | { readonly do: 'scatter'; readonly at: number; readonly stride: number }
  | { readonly do: 'stored'; readonly most: number }
  | { readonly do: 'sync' | 'syncBehind' | 'pause' | 'fail' | 'away' | 'reopen' | 'turn' | 'seek' };

/** Often near to the bounds of units and windows. */
const offset = fc.oneof(
  fc.nat(SIZE_MAX),
  fc
    .tuple(fc.nat(24), fc.integer({ min: -3, max: 3 }))
    .map(([unit, by]) => Math.max(0, unit * 64 * KiB + by)),
  fc.nat(20_000),
);
const length = fc.oneof(
  fc.integer({ min: 1, max: 5000 }),
  fc.integer({ min: 1, max: 700_000 }),
  fc.constantFrom(4096, 65_536, WINDOW_BYTES),
);
/** Of files that are inline now and then. */
const smallOffset = fc.oneof(fc.nat(5000), fc.integer({ min: 4090, max: 4100 }));
const smallLength = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 5000 }));

const stepOf = (offset: fc.Arbitrary<number>, length: fc.Arbitrary<number>): fc.Arbitrary<Step> =>
  fc.oneof(
    { weight: 8, arbitrary: fc.record({ do: fc.constant('write'), at: offset, bytes: length }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('read'), at: offset, bytes: length }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant('deallocate'), at: offset, bytes: length }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('truncate'), at: offset }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant('copy'), at: offset, bytes: length, to: offset }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('scatter'),
        at: offset,
        stride: fc.integer({ min: 4096, max: 9000 }),
      }),
    },
    {
      weight: 8,
      arbitrary: fc.record({
        do: fc.constantFrom(
          'sync',
          'syncBehind',
          'pause',
          'fail',
          'away',
          'reopen',
          'turn',
          'seek',
        ),
      }),
    },
  ) as fc.Arbitrary<Step>;
const step = stepOf(offset, length);
const smallStep = stepOf(smallOffset, smallLength);

class Run {
  readonly #bed: FilesBed;
  readonly #inode: bigint;
  readonly #nodes: readonly OpenFiles[];
  #turn = 0;
  #handles: OpenFile[] = [];
  #behind: Promise<unknown>[] = [];
  #content = Buffer.alloc(0);
  #steps = 0;
  #awayCount = 0;

  constructor(bed: FilesBed, inode: bigint, nodes: readonly OpenFiles[]) {
    this.#bed = bed;
    this.#inode = inode;
    this.#nodes = nodes;
  }

  async open(): Promise<void> {
    for (let count = 0; count < 2; count++) {
      this.#handles.push(await this.#nodes[this.#turn % 2]!.open(this.#inode));
    }
  }

  /** Nothing that was written may be left behind. */
  async close(): Promise<void> {
    this.#bed.putError = undefined;
    await Promise.all(this.#behind.splice(0));
    for (const handle of this.#handles) await handle.sync().catch(expectTold);
    for (const handle of this.#handles.splice(0)) await handle.close();
  }

  async take(given: Step): Promise<void> {
    this.#steps += 1;
    const [file, other] = this.#steps % 2 ? this.#handles : this.#handles.toReversed();
    switch (given.do) {
      case 'write':
        return await this.#write(file!, given.at, given.bytes);
      case 'scatter':
        for (let at = given.at; at < given.at + 80 * given.stride; at += given.stride) {
          await this.#write(file!, at, 100);
        }
        return;
      case 'read':
        return await this.#read(other!, given.at, given.bytes);
      case 'deallocate':
        if (!(await this.#can(file!.deallocate({ offset: given.at, lengthBytes: given.bytes })))) {
          return;
        }
        this.#content.subarray(given.at, given.at + given.bytes).fill(0);
        return;
      case 'truncate':
        if (await this.#can(file!.truncate(given.at))) this.#resize(given.at);
        return;
      case 'copy':
        return await this.#copy(file!, other!, given);
      case 'seek':
        return await this.#seek(file!);
      case 'stored': {
        const status = await this.#bed.cell.tree.getAttributes(this.#inode);
        expect(status?.storedBytes).toBeLessThanOrEqual(given.most);
        return;
      }
      case 'sync':
        if (await this.#can(file!.sync())) await this.#checkDurable();
        return;
      case 'syncBehind':
        this.#behind.push(file!.sync().catch(expectTold));
        return;
      case 'pause':
        for (let turns = 0; turns < 2; turns++) await nextTurn();
        return;
      case 'fail':
        this.#bed.putError = this.#bed.putError ? undefined : new HoldfastError('HF_IO');
        return;
      case 'away':
        return this.#away();
      case 'reopen':
      case 'turn':
        await this.close();
        if (given.do === 'turn') this.#turn += 1;
        await this.open();
        return await this.#read(this.#handles[0]!, 0, 2 * SIZE_MAX);
    }
  }

  /** One store at a time; what is put meanwhile is degraded. */
  #away(): void {
    const { away, stores } = this.#bed.bed;
    away.clear();
    this.#awayCount += 1;
    const store = stores[this.#awayCount % stores.length];
    if (this.#awayCount % 2 && store) away.add(store);
  }

  /** A failure of something earlier may be told instead. */
  async #can(work: Promise<void>): Promise<boolean> {
    try {
      await work;
      return true;
    } catch (error) {
      expectTold(error);
      return false;
    }
  }

  async #write(file: OpenFile, at: number, lengthBytes: number): Promise<void> {
    const bytes = Buffer.from(bytesOf(lengthBytes, this.#steps + at));
    const borrowed = Buffer.from(bytes);
    const sizeBefore = this.#content.length;
    const isDone = await this.#can(file.write(at, borrowed));
    borrowed.fill(0);
    if (isDone) {
      if (at + lengthBytes > sizeBefore) this.#resize(at + lengthBytes);
      this.#content.set(bytes, at);
      return;
    }
    // It may have been written in part: read what there is, which must be the old or the new.
    const size = Math.max(sizeBefore, Math.min(file.status.sizeBytes, at + lengthBytes));
    this.#resize(size);
    const now = await readAll(file);
    for (let index = at; index < Math.min(size, at + lengthBytes); index++) {
      if (now[index] === bytes[index - at]) this.#content[index] = now[index]!;
    }
    expect(Buffer.compare(now, this.#content)).toBe(0);
  }

  /** Within the file, where that is one range apart from another one. */
  async #copy(
    file: OpenFile,
    source: OpenFile,
    { at, bytes, to }: { at: number; bytes: number; to: number },
  ): Promise<void> {
    const end = Math.min(at + bytes, this.#content.length);
    if (end <= at || (to < end && at < to + end - at) || this.#bed.putError) return;
    let copied = 0;
    const work = file.copyFrom(source, { offset: at, lengthBytes: bytes }, to);
    if (!(await this.#can(work.then((count) => void (copied = count))))) return;
    expect(copied).toBe(end - at);
    const from = Buffer.from(this.#content.subarray(at, end));
    if (to + copied > this.#content.length) this.#resize(to + copied);
    this.#content.set(from, to);
  }

  async #read(file: OpenFile, at: number, lengthBytes: number): Promise<void> {
    const bytes = await file.read({ offset: at, lengthBytes });
    const wanted = this.#content.subarray(at, at + lengthBytes);
    expect(bytes.length).toBe(wanted.length);
    expect(Buffer.compare(bytes, wanted)).toBe(0);
  }

  /** Somebody else finds it all. */
  async #checkDurable(): Promise<void> {
    await using file = await this.#nodes[2]!.open(this.#inode);
    await this.#read(file, 0, 2 * SIZE_MAX);
  }

  /** Where there is said to be a hole, there are zeros; behind data no byte is left out. */
  async #seek(file: OpenFile): Promise<void> {
    for (let at = 0; at < this.#content.length;) {
      const data = (await file.seekData(at)) ?? this.#content.length;
      expect(data).toBeGreaterThanOrEqual(at);
      expect(this.#content.subarray(at, data).every((byte) => byte === 0)).toBe(true);
      if (data === this.#content.length) return;
      const hole = (await file.seekHole(data))!;
      expect(hole).toBeGreaterThan(data);
      expect(hole).toBeLessThanOrEqual(this.#content.length);
      at = hole;
    }
  }

  #resize(sizeBytes: number): void {
    const resized = Buffer.alloc(sizeBytes);
    resized.set(this.#content.subarray(0, sizeBytes));
    this.#content = resized;
  }
}

async function readAll(file: OpenFile): Promise<Uint8Array> {
  return await file.read({ offset: 0, lengthBytes: 4 * SIZE_MAX });
}

function expectTold(error: unknown): void {
  if (errorCode(error) !== 'HF_IO' && errorCode(error) !== 'HF_TOO_FEW_STORES') throw error;
}

async function runSteps(
  steps: readonly Step[],
  { fault, isDeduplicating }: { fault?: FilesFault; isDeduplicating?: boolean } = {},
): Promise<void> {
  await using bed = await FilesBed.open({ isDeduplicating: isDeduplicating ?? false });
  bed.putTurns = 4;
  const stripes = withNarrowStripes(bed);
  const options = { fault, stripes, dirtyBytesMax: MEMORY_MAX, openedBytesMax: 2048 * KiB };
  const nodes = [await bed.node(options), await bed.node(options), await bed.node({ stripes })];
  const run = new Run(bed, await bed.make(), nodes);
  await run.open();
  for (const each of steps) {
    await run.take(each);
    for (const { memory } of nodes) expect(memory.peakBytes).toBeLessThan(1.02 * MEMORY_MAX);
  }
  await run.take({ do: 'turn' });
  await run.take({ do: 'turn' });
  await run.take({ do: 'truncate', at: 0 });
  await run.close();
  for (const { memory } of nodes) expect(memory.usedBytes).toBe(0);
  for (const node of nodes) await node[Symbol.asyncDispose]();
  bed.bed.away.clear();
  await bed.repair.collect({ graceMs: 0 });
  for (const store of bed.bed.stores) expect(await bed.bed.held(store)).toEqual([]);
}

/** Only the windows are narrow: real stripes have room for them. */
function withNarrowStripes({ bed: { stripes } }: FilesBed): typeof stripes {
  return {
    contentBytesFor: () => WINDOW_BYTES,
    lease: async (...given) => await stripes.lease(...given),
    prepare: async (...given) => await stripes.prepare(...given),
    prepareShort: (...given) => stripes.prepareShort(...given),
    spread: async (...given) => await stripes.spread(...given),
    spreadsSettled: async () => await stripes.spreadsSettled(),
    read: async (...given) => await stripes.read(...given),
    inspect: async (...given) => await stripes.inspect(...given),
    rebuild: async (...given) => await stripes.rebuild(...given),
    remove: async (...given) => await stripes.remove(...given),
    [Symbol.asyncDispose]: async () => {},
  };
}

describe('a file', () => {
  it.each([
    ['of some windows', step, RUNS],
    ['that is small now and then', smallStep, 2 * RUNS],
  ])('%s is an array of bytes', async (_, anyStep, numRuns) => {
    const steps = fc.array(anyStep, { minLength: 5, maxLength: 30 });
    const property = fc.asyncProperty(steps, fc.boolean(), async (given, isDeduplicating) => {
      await runSteps(given, { isDeduplicating });
    });
    await fc.assert(property, { seed: SEED, numRuns, endOnFailure: true });
  });
});

/** What finds each; random steps would find them, too, after a while. */
const SCRIPTS: readonly (readonly [FilesFault, readonly Step[]])[] = [
  [
    'drops-edges',
    [{ do: 'write', at: 0, bytes: 10_000 }, { do: 'sync' }, { do: 'write', at: 5000, bytes: 9 }],
  ],
  [
    'forgets-size',
    [
      { do: 'write', at: 0, bytes: 10 },
      { do: 'truncate', at: 5000 },
    ],
  ],
  [
    'keeps-hole',
    [{ do: 'write', at: 0, bytes: 99_999 }, { do: 'sync' }, { do: 'deallocate', at: 9, bytes: 99 }],
  ],
  [
    'loses-late-writes',
    [
      { do: 'write', at: 0, bytes: 9999 },
      { do: 'syncBehind' },
      { do: 'pause' },
      { do: 'write', at: 5, bytes: 9999 },
    ],
  ],
  [
    'older-wins',
    [
      { do: 'write', at: 0, bytes: 9999 },
      { do: 'fail' },
      { do: 'syncBehind' },
      { do: 'pause' },
      { do: 'write', at: 5, bytes: 9999 },
      ...Array.from({ length: 9 }, () => ({ do: 'pause' as const })),
    ],
  ],
  [
    'trusts-extents',
    [
      { do: 'write', at: 0, bytes: 9999 },
      { do: 'turn' },
      { do: 'write', at: 0, bytes: 9999 },
      { do: 'turn' },
      { do: 'read', at: 0, bytes: 9999 },
    ],
  ],
  [
    'trusts-extents',
    [
      { do: 'write', at: 0, bytes: 999 },
      { do: 'turn' },
      { do: 'write', at: 0, bytes: 999 },
      { do: 'turn' },
      { do: 'read', at: 0, bytes: 999 },
    ],
  ],
  [
    'drops-edges',
    [{ do: 'write', at: 0, bytes: 1000 }, { do: 'sync' }, { do: 'write', at: 500, bytes: 9 }],
  ],
  [
    'leaves-inline',
    [
      { do: 'write', at: 0, bytes: 1000 },
      { do: 'sync' },
      { do: 'write', at: 99_999, bytes: 9 },
      { do: 'sync' },
    ],
  ],
  [
    'shows-cut',
    [
      { do: 'write', at: 0, bytes: 1000 },
      { do: 'sync' },
      { do: 'read', at: 0, bytes: 1000 },
      { do: 'truncate', at: 10 },
      { do: 'truncate', at: 1000 },
      { do: 'read', at: 0, bytes: 1000 },
    ],
  ],
  ['forgets-holes', punched(300_000)],
  ['stores-holes', [...punched(300_000), { do: 'stored', most: 120_000 }]],
  ['keeps-hole', punched(1000)],
];

/** Two thirds of a file are taken away. */
function punched(bytes: number): Step[] {
  return [
    { do: 'write', at: 0, bytes },
    { do: 'sync' },
    { do: 'deallocate', at: Math.ceil(bytes / 3), bytes: Math.floor((2 * bytes) / 3) },
    { do: 'sync' },
  ];
}

describe('a planted fault is found', () => {
  it.each(SCRIPTS)('%s (script %#)', async (fault, steps) => {
    await runSteps(steps);
    await expect(runSteps(steps, { fault })).rejects.toThrow();
  });
});
