/**
 * What every FencedLog must do, whatever its engine: the contract's points one by one, then three
 * stewards at once on a log with faults. Aim: no acknowledged entry is lost or moved, no entry of
 * an older epoch appears after a seizure. Method: examples; seeded random runs checked against what
 * the stewards were told. Checks are a table, so that an engine with a planted bug can be shown to
 * fail.
 */
import { describe, expect, it } from 'vitest';
import { errorCode, fromUtf8, HoldfastError, LIMITS, utf8 } from '../../src/base/index.ts';
import type { Env } from '../../src/env/index.ts';
import {
  type FencedLog,
  type Lsn,
  type SealableRegistry,
  sealedTo,
  type Snapshot,
} from '../../src/log/index.ts';
import { virtualEnv } from './virtual-env.ts';

/** How the next messages go wrong. */
export type LogFault = 'lost before' | 'lost after' | 'random' | 'none';

/** What a log of one engine lives on. */
export interface LogMedium {
  /** Every `open` after the first finds what was there, as another process would. */
  open(): Promise<FencedLog>;
  openRegistry(log: FencedLog): Promise<SealableRegistry>;
  /** From now on, appends go wrong like this. `random`: now and then, in every way, and slowly. */
  setFault(fault: LogFault): void;
}

export type MakeMedium = (env: Env) => LogMedium;

type Check = (medium: LogMedium, env: Env) => Promise<void>;

const CELL = 'cell-1';

async function entriesOf(log: FencedLog, from: Lsn = 1, cell = CELL): Promise<string[]> {
  const entries = await Array.fromAsync(log.read(cell, from));
  return entries.map(({ lsn, epoch, bytes }) => `${lsn}@${epoch} ${fromUtf8(bytes)}`);
}

/** What it resolves to, or the code of its operating error; a bug of ours is thrown. */
async function codeOf(work: Promise<unknown>): Promise<unknown> {
  try {
    return await work;
  } catch (error) {
    const code = errorCode(error);
    if (!code) throw error;
    return code;
  }
}

async function* partsOf(...texts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield utf8(text);
}

async function* brokenParts(): AsyncGenerator<Uint8Array> {
  yield utf8('half');
  throw new HoldfastError('HF_IO', 'the caller failed');
}

async function snapshotOf(log: FencedLog, cell = CELL): Promise<string | undefined> {
  const snapshot = await log.loadSnapshot(cell);
  if (!snapshot) return undefined;
  return `${snapshot.lsn}: ${(await Array.fromAsync(snapshot.parts, fromUtf8)).join('|')}`;
}

/** Seizes and appends entries named by their number. @returns the epoch. */
async function fill(log: FencedLog, count: number): Promise<number> {
  const { epoch, lsn } = await log.seize(CELL);
  for (let next = lsn + 1; next <= lsn + count; next++) {
    expect(await log.append(CELL, { epoch, lsn: next }, utf8(`e${next}`))).toBe('ok');
  }
  return epoch;
}

/** Tries again until it is clear that it was done. */
async function seizeForSure(log: FencedLog): Promise<{ epoch: number; lsn: Lsn }> {
  for (;;) {
    try {
      return await log.seize(CELL);
    } catch (error) {
      const code = errorCode(error) ?? '';
      if (!['HF_UNKNOWN_OUTCOME', 'HF_TOO_FEW_STORES', 'HF_UNAVAILABLE'].includes(code))
        throw error;
    }
  }
}

const EXAMPLES: Record<string, Check> = {
  async 'a new cell is empty'(medium) {
    const log = await medium.open();
    expect(await log.head(CELL)).toEqual({ epoch: 0, lsn: 0, trimmed: 0 });
    expect(await entriesOf(log)).toEqual([]);
    expect(await snapshotOf(log)).toBeUndefined();
    expect(await log.append(CELL, { epoch: 0, lsn: 1 }, utf8('x'))).toBe('fenced');
    expect(await log.confirm(CELL, 0)).toBe(false);
  },

  async 'entries are read in order, with their epochs'(medium) {
    const log = await medium.open();
    const first = await fill(log, 2);
    const second = await fill(log, 1);
    expect(second).toBeGreaterThan(first);
    expect(await entriesOf(log)).toEqual([`1@${first} e1`, `2@${first} e2`, `3@${second} e3`]);
    expect(await entriesOf(log, 3)).toEqual([`3@${second} e3`]);
    expect(await entriesOf(log, 4)).toEqual([]);
    expect(await log.head(CELL)).toEqual({ epoch: second, lsn: 3, trimmed: 0 });
  },

  async 'the largest entry and an empty one come back as they were'(medium) {
    const log = await medium.open();
    const { epoch } = await log.seize(CELL);
    const large = new Uint8Array(LIMITS.logEntryBytesMax).fill(7);
    await log.append(CELL, { epoch, lsn: 1 }, large);
    await log.append(CELL, { epoch, lsn: 2 }, new Uint8Array(0));
    const [first, second] = await Array.fromAsync(log.read(CELL, 1));
    expect(Buffer.compare(first!.bytes, large)).toBe(0);
    expect(second!.bytes).toHaveLength(0);
  },

  async 'an older epoch is fenced, and not confirmed'(medium) {
    const log = await medium.open();
    const older = await fill(log, 1);
    expect(await log.confirm(CELL, older)).toBe(true);
    const { epoch, lsn } = await log.seize(CELL);
    expect(lsn).toBe(1);
    expect(await log.confirm(CELL, older)).toBe(false);
    expect(await log.confirm(CELL, epoch)).toBe(true);
    expect(await log.append(CELL, { epoch: older, lsn: 2 }, utf8('late'))).toBe('fenced');
    expect(await log.append(CELL, { epoch, lsn: 2 }, utf8('new'))).toBe('ok');
    expect(await entriesOf(log)).toEqual([`1@${older} e1`, `2@${epoch} new`]);
  },

  async 'an entry without the one before it is refused, and so is a taken number'(medium) {
    const log = await medium.open();
    const epoch = await fill(log, 2);
    const unknown = 'HF_UNKNOWN_OUTCOME';
    expect(await codeOf(log.append(CELL, { epoch, lsn: 4 }, utf8('gap')))).toBe(unknown);
    expect(await codeOf(log.append(CELL, { epoch, lsn: 2 }, utf8('again')))).toBe(unknown);
    await log.seize(CELL);
    expect(await entriesOf(log)).toEqual([`1@${epoch} e1`, `2@${epoch} e2`]);
  },

  async 'pipelined appends are acknowledged in order'(medium) {
    const log = await medium.open();
    const { epoch } = await log.seize(CELL);
    const acknowledged: Lsn[] = [];
    const appends = Array.from({ length: 20 }, async (_, index) => {
      const lsn = index + 1;
      expect(await log.append(CELL, { epoch, lsn }, utf8(`e${lsn}`))).toBe('ok');
      acknowledged.push(lsn);
    });
    await Promise.all(appends);
    expect(acknowledged).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
    expect(await entriesOf(log)).toEqual(acknowledged.map((lsn) => `${lsn}@${epoch} e${lsn}`));
  },

  async 'cells know nothing of each other'(medium) {
    const log = await medium.open();
    const epoch = await fill(log, 1);
    const other = await log.seize('cell-2');
    await log.append('cell-2', { epoch: other.epoch, lsn: 1 }, utf8('other'));
    expect(await log.confirm(CELL, epoch)).toBe(true);
    expect(await entriesOf(log, 1, 'cell-2')).toEqual([`1@${other.epoch} other`]);
    expect(await entriesOf(log)).toEqual([`1@${epoch} e1`]);
  },

  async 'an append of unknown outcome is settled by a seizure, for good'(medium) {
    for (const fault of ['lost before', 'lost after'] as const) {
      const log = await medium.open();
      const { epoch, lsn } = await log.seize(CELL);
      await log.append(CELL, { epoch, lsn: lsn + 1 }, utf8('before'));
      medium.setFault(fault);
      const append = log.append(CELL, { epoch, lsn: lsn + 2 }, utf8('doubt'));
      expect(await codeOf(append)).toBe('HF_UNKNOWN_OUTCOME');
      medium.setFault('none');
      const next = await log.seize(CELL);
      const settled = await entriesOf(log, lsn + 1);
      expect(settled).toHaveLength(next.lsn - lsn);
      expect(settled[0]).toBe(`${lsn + 1}@${epoch} before`);
      await log.append(CELL, { epoch: next.epoch, lsn: next.lsn + 1 }, utf8('after'));
      const after = [...settled, `${next.lsn + 1}@${next.epoch} after`];
      expect(await entriesOf(log, lsn + 1)).toEqual(after);
      expect(await entriesOf(await medium.open(), lsn + 1)).toEqual(after);
    }
  },

  async 'nothing is trimmed without a snapshot, and no more than it vouches for'(medium) {
    const log = await medium.open();
    const epoch = await fill(log, 5);
    await log.trim(CELL, 5);
    expect((await log.head(CELL)).trimmed).toBe(0);
    await log.saveSnapshot(CELL, { epoch, lsn: 3 }, partsOf('state after 3'));
    await log.trim(CELL, 5);
    expect(await log.head(CELL)).toEqual({ epoch, lsn: 5, trimmed: 3 });
    expect(await codeOf(entriesOf(log, 3))).toBe('HF_NOT_FOUND');
    expect(await entriesOf(log, 4)).toEqual([`4@${epoch} e4`, `5@${epoch} e5`]);
    await log.trim(CELL, 1);
    expect((await log.head(CELL)).trimmed).toBe(3);
  },

  async 'the newest snapshot counts, in all its parts'(medium) {
    const log = await medium.open();
    const epoch = await fill(log, 3);
    await log.saveSnapshot(CELL, { epoch, lsn: 2 }, partsOf('a', 'b', 'c'));
    expect(await snapshotOf(log)).toBe('2: a|b|c');
    await log.saveSnapshot(CELL, { epoch, lsn: 1 }, partsOf('older'));
    expect(await snapshotOf(log)).toBe('2: a|b|c');
    await log.saveSnapshot(CELL, { epoch, lsn: 3 }, partsOf());
    expect(await snapshotOf(log)).toBe('3: ');
  },

  async 'a snapshot is extended: it has the parts of the one before, and then its own'(medium) {
    const log = await medium.open();
    const epoch = await fill(log, 4);
    await log.saveSnapshot(CELL, { epoch, lsn: 1 }, partsOf('a', 'b'));
    const older = (await log.loadSnapshot(CELL))!;
    await log.saveSnapshot(CELL, { epoch, lsn: 2 }, partsOf('c'), { extends: 1 });
    expect(await snapshotOf(log)).toBe('2: a|b|c');
    expect(await Array.fromAsync(older.parts, fromUtf8)).toEqual(['a', 'b']);
    await log.trim(CELL, 2);
    await log.saveSnapshot(CELL, { epoch, lsn: 3 }, partsOf('d', 'e'), { extends: 2 });
    expect(await snapshotOf(log)).toBe('3: a|b|c|d|e');
    const next = await medium.open();
    expect(await snapshotOf(next)).toBe('3: a|b|c|d|e');
    const seized = await next.seize(CELL);
    await next.saveSnapshot(CELL, { epoch: seized.epoch, lsn: 4 }, partsOf('whole'));
    expect(await snapshotOf(await medium.open())).toBe('4: whole');
  },

  async 'only the newest snapshot is extended, by its own epoch, whole or not at all'(medium) {
    const log = await medium.open();
    const older = await fill(log, 3);
    await log.saveSnapshot(CELL, { epoch: older, lsn: 2 }, partsOf('a'));
    const extend = (epoch: number, lsn: Lsn, base: Lsn) =>
      codeOf(log.saveSnapshot(CELL, { epoch, lsn }, partsOf('b'), { extends: base }));
    expect(await extend(older, 3, 1)).toBe('HF_NOT_FOUND');
    expect(await extend(older, 2, 2)).toBeUndefined(); // it is there already
    const { epoch } = await log.seize(CELL);
    expect(await extend(older, 3, 2)).toBe('HF_FENCED');
    const broken = log.saveSnapshot(CELL, { epoch, lsn: 3 }, brokenParts(), { extends: 2 });
    expect(await codeOf(broken)).toBe('HF_IO');
    expect(await snapshotOf(log)).toBe('2: a');
    expect(await extend(epoch, 3, 2)).toBeUndefined();
    expect(await snapshotOf(await medium.open())).toBe('3: a|b');
  },

  async 'says how long entries should get'(medium) {
    const { entryBytesTarget } = await medium.open();
    expect(entryBytesTarget).toBeGreaterThanOrEqual(LIMITS.blockBytes);
    expect(entryBytesTarget).toBeLessThanOrEqual(LIMITS.logEntryBytesMax);
  },

  async 'a snapshot that fails on the way leaves the one before'(medium) {
    const log = await medium.open();
    const epoch = await fill(log, 3);
    await log.saveSnapshot(CELL, { epoch, lsn: 1 }, partsOf('one'));
    const broken = log.saveSnapshot(CELL, { epoch, lsn: 2 }, brokenParts());
    expect(await codeOf(broken)).toBe('HF_IO');
    expect(await snapshotOf(log)).toBe('1: one');
    expect(await snapshotOf(await medium.open())).toBe('1: one');
  },

  async 'an older epoch saves no snapshot'(medium) {
    const log = await medium.open();
    const epoch = await fill(log, 2);
    await log.seize(CELL);
    const save = log.saveSnapshot(CELL, { epoch, lsn: 2 }, partsOf('late'));
    expect(await codeOf(save)).toBe('HF_FENCED');
    expect(await snapshotOf(log)).toBeUndefined();
  },

  async 'everything is still there after it was opened again'(medium) {
    let log = await medium.open();
    const epochs = [await fill(log, 2), await fill(log, 3)];
    await log.saveSnapshot(CELL, { epoch: epochs[1]!, lsn: 3 }, partsOf('state', 'of 3'));
    await log.trim(CELL, 3);
    log = await medium.open();
    expect(await log.head(CELL)).toEqual({ epoch: epochs[1], lsn: 5, trimmed: 3 });
    expect(await snapshotOf(log)).toBe('3: state|of 3');
    expect(await entriesOf(log, 4)).toEqual([`4@${epochs[1]} e4`, `5@${epochs[1]} e5`]);
    const next = await log.seize(CELL);
    expect(next.lsn).toBe(5);
    expect(next.epoch).toBeGreaterThan(epochs[1]!);
    await log.append(CELL, { epoch: next.epoch, lsn: 6 }, utf8('e6'));
    log = await medium.open();
    expect(await entriesOf(log, 6)).toEqual([`6@${next.epoch} e6`]);
  },

  async 'a log that was trimmed to its end keeps its head'(medium) {
    let log = await medium.open();
    const epoch = await fill(log, 4);
    await log.saveSnapshot(CELL, { epoch, lsn: 4 }, partsOf('all'));
    await log.trim(CELL, 4);
    log = await medium.open();
    expect(await log.head(CELL)).toEqual({ epoch, lsn: 4, trimmed: 4 });
    const next = await fill(log, 1);
    expect(next).toBeGreaterThan(epoch);
    expect(await entriesOf(await medium.open(), 5)).toEqual([`5@${next} e5`]);
  },

  async 'a seizure just before the trim outlives it'(medium) {
    let log = await medium.open();
    const epoch = await fill(log, 2);
    await log.saveSnapshot(CELL, { epoch, lsn: 2 }, partsOf('state'));
    const next = await log.seize(CELL);
    await log.trim(CELL, 2);
    log = await medium.open();
    expect(await log.head(CELL)).toEqual({ epoch: next.epoch, lsn: 2, trimmed: 2 });
  },
};

const REGISTRY_EXAMPLES: Record<string, Check> = {
  async 'sets a key only at the expected version'(medium) {
    const registry = await medium.openRegistry(await medium.open());
    expect(await registry.get('a')).toBeUndefined();
    const first = await registry.compareAndSet('a', 0, utf8('1'));
    expect(first).toBeGreaterThan(0);
    expect(await registry.compareAndSet('a', 0, utf8('2'))).toBeUndefined();
    const second = await registry.compareAndSet('a', first!, utf8('2'));
    expect(second).toBeGreaterThan(first!);
    expect(await registry.get('a')).toEqual({ key: 'a', version: second, value: utf8('2') });
  },

  async 'deletes, lists in key order, and never gives a version twice'(medium) {
    const registry = await medium.openRegistry(await medium.open());
    const versions = new Set<number | undefined>();
    for (const key of ['n/b', 'n/a', 'o/a']) {
      versions.add(await registry.compareAndSet(key, 0, utf8(key)));
    }
    const { version } = (await registry.get('n/b'))!;
    versions.add(await registry.compareAndSet('n/b', version, undefined));
    expect(await registry.get('n/b')).toBeUndefined();
    versions.add(await registry.compareAndSet('n/b', 0, utf8('back')));
    expect(versions.size).toBe(5);
    expect((await registry.list('n/')).map(({ key }) => key)).toEqual(['n/a', 'n/b']);
  },

  async 'counts right under concurrent compare-and-set'(medium) {
    const registry = await medium.openRegistry(await medium.open());
    async function countUp(): Promise<void> {
      for (let done = 0; done < 5;) {
        const now = await registry.get('count');
        const next = utf8(String(Number(now ? fromUtf8(now.value) : 0) + 1));
        if (await registry.compareAndSet('count', now?.version ?? 0, next)) done += 1;
      }
    }
    await Promise.all([1, 2, 3, 4].map(countUp));
    expect(fromUtf8((await registry.get('count'))!.value)).toBe('20');
  },

  async 'remembers everything, versions too, when opened again'(medium) {
    const registry = await medium.openRegistry(await medium.open());
    for (let round = 0; round < 40; round++) {
      const version = (await registry.get('k'))?.version ?? 0;
      await registry.compareAndSet('k', version, utf8(`${round}`));
      await registry.compareAndSet(`only/${round}`, 0, new Uint8Array(50));
    }
    const before = await registry.list('');
    const again = await medium.openRegistry(await medium.open());
    expect(await again.list('')).toEqual(before);
    const next = await again.compareAndSet('new', 0, utf8(''));
    expect(next).toBeGreaterThan(Math.max(...before.map(({ version }) => version)));
  },

  async 'a change of unknown outcome is settled by reading'(medium) {
    const registry = await medium.openRegistry(await medium.open());
    let version = (await registry.compareAndSet('a', 0, utf8('old')))!;
    for (const fault of ['lost before', 'lost after'] as const) {
      medium.setFault(fault);
      const change = registry.compareAndSet('a', version, utf8('new'));
      expect(await codeOf(change)).toBe('HF_UNKNOWN_OUTCOME');
      medium.setFault('none');
      const now = (await registry.get('a'))!;
      const isOld = fromUtf8(now.value) === 'old';
      expect(now.version === version).toBe(isOld);
      if (!isOld) expect(fromUtf8(now.value)).toBe('new');
      version = (await registry.compareAndSet('a', now.version, utf8('old')))!;
      expect(version).toBeGreaterThan(now.version);
    }
  },
};

const NEXT = { generation: 2, where: 'another engine' };

const SEAL_EXAMPLES: Record<string, Check> = {
  async 'once sealed it refuses every change, and so does the log beside it'(medium) {
    const log = await medium.open();
    const registry = await medium.openRegistry(log);
    const version = (await registry.compareAndSet('a', 0, utf8('1')))!;
    const epoch = await fill(log, 2);
    expect(await sealedTo(registry)).toBeUndefined();
    const appends = [3, 4].map((lsn) => log.append(CELL, { epoch, lsn }, utf8(`e${lsn}`)));
    const sealing = registry.seal(NEXT);
    const inTime = (await Promise.all(appends)).filter((outcome) => outcome === 'ok').length;
    await sealing;
    expect(await log.confirm(CELL, epoch)).toBe(false);
    expect(await log.append(CELL, { epoch, lsn: 3 + inTime }, utf8('late'))).toBe('fenced');
    expect(await codeOf(log.seize(CELL))).toBe('HF_FENCED');
    await registry.seal(NEXT);
    expect(await codeOf(registry.seal({ ...NEXT, where: 'elsewhere' }))).toBe('HF_FENCED');
    for (const opened of [log, await medium.open()]) {
      const seen = await medium.openRegistry(opened);
      expect(await sealedTo(seen)).toEqual(NEXT);
      expect(await codeOf(seen.compareAndSet('a', version, utf8('2')))).toBe('HF_FENCED');
      expect(await codeOf(seen.compareAndSet('b', 0, utf8('2')))).toBe('HF_FENCED');
      expect(await codeOf(seen.compareAndSet('a', version, undefined))).toBe('HF_FENCED');
      expect((await seen.get('a'))?.version).toBe(version);
      expect(await opened.confirm(CELL, epoch)).toBe(false);
      expect(await opened.append(CELL, { epoch, lsn: 3 + inTime }, utf8('late'))).toBe('fenced');
      expect(await codeOf(opened.seize(CELL))).toBe('HF_FENCED');
      expect(await codeOf(opened.seize('new-cell'))).toBe('HF_FENCED');
      const save = opened.saveSnapshot(CELL, { epoch, lsn: 1 }, partsOf('late'));
      expect(await codeOf(save)).toBe('HF_FENCED');
      expect(await entriesOf(opened)).toHaveLength(2 + inTime);
    }
  },

  async 'the seal is the last change, and is set in no other way'(medium) {
    const registry = await medium.openRegistry(await medium.open());
    expect(await codeOf(registry.compareAndSet('sealed', 0, utf8('x')))).toBe('HF_DENIED');
    const version = (await registry.compareAndSet('a', 0, utf8('1')))!;
    await registry.seal(NEXT);
    const rows = await registry.list('');
    expect(rows.map(({ key }) => key)).toEqual(['a', 'sealed']);
    expect(rows[1]!.version).toBeGreaterThan(version);
  },

  async 'a seal of unknown outcome is there when it was set again'(medium) {
    for (const fault of ['lost before', 'lost after'] as const) {
      const registry = await medium.openRegistry(await medium.open());
      medium.setFault(fault);
      expect(await codeOf(registry.seal(NEXT))).toBeOneOf(['HF_UNKNOWN_OUTCOME', undefined]);
      medium.setFault('none');
      await registry.seal(NEXT);
      expect(await sealedTo(registry)).toEqual(NEXT);
    }
  },
};

/** What the stewards of a random run were told. */
interface History {
  readonly seizures: { readonly epoch: number; readonly lsn: Lsn }[];
  readonly acknowledged: Map<Lsn, string>;
}

/** One steward: seizes, appends a few entries at once, until something is amiss; `rounds` times. */
async function runSteward(log: FencedLog, env: Env, history: History): Promise<void> {
  for (let round = 0; round < 4; round++) {
    await env.clock.sleep(env.random.below(30));
    const { epoch, lsn: end } = await seizeForSure(log);
    history.seizures.push({ epoch, lsn: end });
    let isMine = true;
    for (let lsn = end + 1; isMine && lsn <= end + 9; lsn += 3) {
      const batch = [lsn, lsn + 1, lsn + 2].map(async (each) => {
        const text = `${each}@${epoch} by ${round}`;
        const position = { epoch, lsn: each };
        const outcome = await codeOf(log.append(CELL, position, utf8(`by ${round}`)));
        if (outcome === 'ok') history.acknowledged.set(each, text);
        return outcome === 'ok';
      });
      const outcomes = await Promise.all(batch);
      const okCount = outcomes.filter(Boolean).length;
      // None is acknowledged after one that was not.
      expect(outcomes.lastIndexOf(true)).toBe(okCount - 1);
      isMine = okCount === outcomes.length;
      if (isMine && env.random.below(4) === 0)
        await snapshotAndTrim(log, env, { epoch, lsn: lsn + 2 });
      await env.clock.sleep(env.random.below(5));
    }
  }
}

/**
 * A whole one, or an extension of the newest; each part says where it ends and what it follows.
 * Either step may fail; then the log is longer.
 */
async function snapshotAndTrim(
  log: FencedLog,
  env: Env,
  position: { epoch: number; lsn: Lsn },
): Promise<void> {
  const { lsn } = position;
  const newest = env.random.below(2) === 0 ? await codeOf(log.loadSnapshot(CELL)) : undefined;
  const base = (newest as Partial<Snapshot> | undefined)?.lsn;
  const part = base === undefined ? `${lsn}` : `${base}-${lsn}`;
  const saved = await codeOf(log.saveSnapshot(CELL, position, partsOf(part), { extends: base }));
  if (saved === undefined) await codeOf(log.trim(CELL, lsn - 1));
}

/** Where a snapshot's parts end. */
function checkSnapshot(snapshot: string | undefined): Lsn {
  if (snapshot === undefined) return 0;
  const [lsn, parts] = snapshot.split(': ');
  let end = '';
  for (const part of parts!.split('|')) {
    const [base, own] = part.includes('-') ? part.split('-') : ['', part];
    expect(base).toBe(end);
    end = own!;
  }
  expect(end).toBe(lsn);
  return Number(end);
}

async function checkHistory(log: FencedLog, history: History): Promise<void> {
  const { lsn: end, trimmed } = await log.head(CELL);
  const snapshotLsn = checkSnapshot(await snapshotOf(log));
  expect(snapshotLsn).toBeGreaterThanOrEqual(trimmed);
  expect(snapshotLsn).toBeLessThanOrEqual(end);
  const entries = await Array.fromAsync(log.read(CELL, trimmed + 1));
  const kept = Array.from({ length: end - trimmed }, (_, index) => trimmed + index + 1);
  expect(entries.map(({ lsn }) => lsn)).toEqual(kept);
  for (const [lsn, text] of history.acknowledged) {
    expect(lsn).toBeLessThanOrEqual(end);
    if (lsn <= trimmed) continue;
    const entry = entries[lsn - trimmed - 1];
    expect(entry && `${lsn}@${entry.epoch} ${fromUtf8(entry.bytes)}`).toBe(text);
  }
  for (const { epoch, lsn } of history.seizures) {
    for (const entry of entries) expect(entry.epoch < epoch).toBe(entry.lsn <= lsn);
  }
}

/** Three stewards at once with faults; then all is read, by this process and by the next. */
const randomRun: Check = async (medium, env) => {
  const history: History = { seizures: [], acknowledged: new Map() };
  const log = await medium.open();
  medium.setFault('random');
  await Promise.all([1, 2, 3].map(() => runSteward(log, env, history)));
  medium.setFault('none');
  history.seizures.push(await log.seize(CELL));
  await checkHistory(log, history);
  const next = await medium.open();
  await checkHistory(next, history);
  history.seizures.push(await next.seize(CELL));
  await checkHistory(next, history);
};

export function testFencedLog(engine: string, makeMedium: MakeMedium, seedCount = 60): void {
  describe(`FencedLog, engine ${engine}`, () => {
    for (const [name, check] of Object.entries(EXAMPLES)) {
      it(name, async () => {
        const env = virtualEnv(1);
        await check(makeMedium(env), env);
      });
    }
    it(`keeps its contract in ${seedCount} random runs`, async () => {
      expect(await firstFailingSeed(makeMedium, seedCount)).toBeUndefined();
    });
  });
  describe(`Registry, engine ${engine}`, () => {
    const examples = { ...REGISTRY_EXAMPLES, ...SEAL_EXAMPLES };
    for (const [name, check] of Object.entries(examples)) {
      it(name, async () => {
        const env = virtualEnv(1);
        await check(makeMedium(env), env);
      });
    }
  });
}

/** The first random run that breaks the contract, and how. */
export async function firstFailingSeed(
  makeMedium: MakeMedium,
  seedCount: number,
): Promise<string | undefined> {
  for (let seed = 1; seed <= seedCount; seed++) {
    const env = virtualEnv(seed);
    try {
      await randomRun(makeMedium(env), env);
    } catch (error) {
      return `seed ${seed}: ${String(error)}`;
    }
  }
  return undefined;
}

/** Names of the examples that an engine fails. */
export async function failingExamples(makeMedium: MakeMedium): Promise<string[]> {
  const failing: string[] = [];
  for (const [name, check] of Object.entries({ ...EXAMPLES, ...SEAL_EXAMPLES })) {
    const env = virtualEnv(1);
    await check(makeMedium(env), env).catch(() => failing.push(name));
  }
  return failing;
}
