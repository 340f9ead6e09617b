/**
 * Aim: a protected volume replaces nothing and removes nothing before its time, by the steward's
 * clock, whatever a writer says of the time; re-encoding goes on. Method: a cell over memory
 * engines whose clock is set by hand, opened again in between; planted faults.
 */
import { describe, expect, it } from 'vitest';
import { extentOf } from '../../../test/suites/meta-makers.ts';
import { errorCode, type ObjectId, utf8 } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { realEnv } from '../../env/index.ts';
import { MemoryLog } from '../../log/index.ts';
import type { Namespace, ObjectCommit } from './namespace.ts';
import { ROOT_INODE } from './namespace.ts';
import { openNamespace } from './namespace-cell.ts';
import type { NamespaceFault } from './namespace-ops.ts';

const DAY_MS = 86_400_000;
const START_MS = 1_800_000_000_000;

class Bed {
  nowMs = START_MS;
  readonly log = new MemoryLog();
  namespace!: Namespace;

  readonly #fault: NamespaceFault | undefined;

  constructor(fault: NamespaceFault | undefined) {
    this.#fault = fault;
  }

  static async open(fault?: NamespaceFault): Promise<Bed> {
    const bed = new Bed(fault);
    await bed.reopen();
    return bed;
  }

  async reopen(): Promise<void> {
    const real = realEnv();
    const env = { ...real, clock: { ...real.clock, now: () => this.nowMs } };
    const about = { env, cell: 'v', log: this.log, db: new MemoryDb() };
    this.namespace = await openNamespace({ ...about, plantedFault: this.#fault });
  }

  async put(name: string, parts: Partial<ObjectCommit> = {}): Promise<ObjectCommit> {
    const inode = await this.namespace.allocateInodes(1);
    const commit: ObjectCommit = {
      inode,
      createdAtMs: this.nowMs,
      objectId: idOf(Number(inode)),
      sizeBytes: 10,
      schemeNumbers: [3],
      attributes: utf8('sealed'),
      addressKey: new Uint8Array(32).fill(1),
      extents: [extentOf(0, 10, 1)],
      entry: { directory: ROOT_INODE, name: utf8(name) },
      mayReplace: true,
      ...parts,
    };
    await this.namespace.commitObject(commit);
    return commit;
  }
}

function idOf(number: number): ObjectId {
  return number.toString(16).padStart(32, '0') as ObjectId;
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(() => undefined, errorCode);
}

type Story = (fault?: NamespaceFault) => Promise<void>;

const STORIES: Readonly<Record<string, Story>> = {
  'never replaces, under a key or an id, not even after the retention': async (fault) => {
    const bed = await Bed.open(fault);
    await bed.namespace.protect({ retentionMs: DAY_MS });
    const { objectId, inode } = await bed.put('a');
    bed.nowMs += 2 * DAY_MS;
    expect(await codeOf(bed.put('a'))).toBe('HF_WORM');
    expect(await codeOf(bed.put('a', { mayReplace: false }))).toBe('HF_WORM');
    expect(await codeOf(bed.put('b', { objectId }))).toBe('HF_WORM');
    expect((await bed.namespace.object(objectId))?.inode).toBe(inode);
    expect(await bed.namespace.releases()).toEqual([]);
    await bed.put('b');
  },

  'keeps objects until their time, also when the writer says they are old': async (fault) => {
    const bed = await Bed.open(fault);
    await bed.namespace.protect({ retentionMs: DAY_MS });
    const old = await bed.put('old', { createdAtMs: 1 });
    const ahead = await bed.put('ahead', { createdAtMs: START_MS + DAY_MS });
    bed.nowMs = START_MS + DAY_MS - 1;
    await bed.reopen();
    expect(await codeOf(bed.namespace.removeObject(old.objectId))).toBe('HF_WORM');
    bed.nowMs += 1;
    expect(await codeOf(bed.namespace.removeObject(old.objectId))).toBeUndefined();
    expect(await codeOf(bed.namespace.removeObject(ahead.objectId))).toBe('HF_WORM');
    bed.nowMs = START_MS + 2 * DAY_MS;
    expect(await codeOf(bed.namespace.removeObject(ahead.objectId))).toBeUndefined();
  },

  'takes longer retentions only; without an end nothing goes': async (fault) => {
    const bed = await Bed.open(fault);
    await bed.namespace.protect({ retentionMs: DAY_MS });
    const { objectId } = await bed.put('a');
    await bed.namespace.protect({ retentionMs: 1 });
    bed.nowMs += DAY_MS - 1;
    expect(await codeOf(bed.namespace.removeObject(objectId))).toBe('HF_WORM');
    await bed.namespace.protect({ retentionMs: undefined });
    await bed.namespace.protect({ retentionMs: 5 });
    await bed.reopen();
    bed.nowMs += 1e6 * DAY_MS;
    expect(await codeOf(bed.namespace.removeObject(objectId))).toBe('HF_WORM');
  },

  'is re-encoded, with the same content, and its time goes on': async (fault) => {
    const bed = await Bed.open(fault);
    await bed.namespace.protect({ retentionMs: DAY_MS });
    const { objectId, inode, addressKey, createdAtMs } = await bed.put('a');
    bed.nowMs += DAY_MS / 2;
    const again = {
      inode: await bed.namespace.allocateInodes(1),
      replaces: inode,
      sizeBytes: 10,
      schemeNumbers: [18, 3],
      attributes: utf8('again'),
      addressKey,
      extents: [extentOf(0, 10, 2), extentOf(0, 10, 3, 1)],
    };
    const other = { ...again, addressKey: new Uint8Array(32).fill(2) };
    expect(await codeOf(bed.namespace.reencodeObject(other))).toBe('HF_BAD_ARGUMENT');
    expect(await bed.namespace.reencodeObject(again)).toEqual({ inode });
    const entry = await bed.namespace.lookup(ROOT_INODE, utf8('a'));
    expect(entry?.record).toMatchObject({ inode: again.inode, objectId, createdAtMs });
    expect(entry?.record.schemeNumbers).toEqual([18, 3]);
    expect(await codeOf(bed.namespace.removeObject(objectId))).toBe('HF_WORM');
    bed.nowMs += DAY_MS / 2;
    expect(await codeOf(bed.namespace.removeObject(objectId))).toBeUndefined();
  },

  'takes no hybrid of which an encoding has a gap': async (fault) => {
    const bed = await Bed.open(fault);
    const extents = [extentOf(0, 10, 1), extentOf(0, 5, 2, 1)];
    const gap = bed.put('a', { schemeNumbers: [3, 18], extents });
    expect(await codeOf(gap)).toBe('HF_BAD_ARGUMENT');
  },
};

describe('a protected volume', () => {
  it.each(Object.keys(STORIES))('%s', async (name) => await STORIES[name]!());

  const faults: [NamespaceFault, string][] = [
    ['replace-protected', 'never replaces'],
    ['writer-clock', 'keeps objects until'],
    ['any-content', 'is re-encoded'],
    ['first-encoding-only', 'takes no hybrid'],
  ];

  it.each(faults)('would be seen to fail with the planted fault %s', async (fault, beginning) => {
    const story = Object.keys(STORIES).find((name) => name.startsWith(beginning))!;
    await expect(STORIES[story]!(fault)).rejects.toThrow(/expected/);
  });
});
