/**
 * Aim: the engine `local` passes the suite on a mirror with faults; it rebuilds a cell from what
 * the stores have, and tells a loss from a torn tail. Method: the suite of all engines; records are
 * picked by their headers and lost, stores go away and come back.
 */
import { describe, expect, it } from 'vitest';
import { firstFailingSeed, type MakeMedium, testFencedLog } from '../../test/suites/fenced-log.ts';
import { MemoryMirror, type PutFault } from '../../test/suites/memory-mirror.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { errorCode, fromUtf8, utf8 } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { LocalLog, LogRegistry, type MirrorRef } from './index.ts';
import { readHeader, type RecordHeader } from './local-record.ts';

const KEY = new Uint8Array(32).fill(1);
const CELL = 'cell-1';

function openLocal(mirror: MemoryMirror, env: Env = virtualEnv(1), generation = 1) {
  return LocalLog.open({ mirror, metadataKey: KEY, generation, env });
}

/** @param liePercent of the random faults: a planted bug of the mirror. */
function localMedium(liePercent = 0): MakeMedium {
  return (env) => {
    const mirror = new MemoryMirror();
    const randomFault = (): PutFault => {
      const dice = env.random.below(100);
      if (dice < liePercent) return 'lie';
      return ([undefined, 'none', 'one', 'all'] as const)[dice >= 91 ? 1 + (dice % 3) : 0];
    };
    return {
      open: () => openLocal(mirror, env),
      openRegistry: (opened) => {
        const log = opened as LocalLog;
        return LogRegistry.open({ log, report: env.log, snapshotAfterBytes: 1000 });
      },
      setFault(fault) {
        const isRandom = fault === 'random';
        mirror.delay = async () => {
          if (isRandom) await env.clock.sleep(env.random.below(10));
        };
        const steady = { 'lost before': 'none', 'lost after': 'all', none: undefined } as const;
        mirror.nextFault = isRandom ? randomFault : () => steady[fault];
      },
    };
  };
}

testFencedLog('local', localMedium());

async function recordsOf(mirror: MemoryMirror): Promise<(MirrorRef & RecordHeader)[]> {
  const records: (MirrorRef & RecordHeader)[] = [];
  for await (const { id, bytes } of mirror.list()) records.push({ id, ...readHeader(bytes) });
  return records;
}

async function loseWhere(
  mirror: MemoryMirror,
  isLost: (header: RecordHeader) => boolean,
): Promise<void> {
  const lost = (await recordsOf(mirror)).filter(isLost);
  expect(lost).not.toEqual([]);
  for (const ref of lost) mirror.lose(ref);
}

/** Seizes and appends; then waits for each. */
async function fill(log: LocalLog, count: number): Promise<number> {
  const { epoch, lsn } = await log.seize(CELL);
  for (let next = lsn + 1; next <= lsn + count; next++) {
    expect(await log.append(CELL, { epoch, lsn: next }, utf8(`e${next}`))).toBe('ok');
  }
  return epoch;
}

async function textsOf(log: LocalLog, from = 1): Promise<string[]> {
  return await Array.fromAsync(log.read(CELL, from), ({ bytes }) => fromUtf8(bytes));
}

async function* part(text: string): AsyncGenerator<Uint8Array> {
  yield utf8(text);
}

describe('LocalLog finds losses', () => {
  it('passes over a fence of somebody who saw less than was acknowledged', async () => {
    const mirror = new MemoryMirror();
    const stale = new MemoryMirror();
    await fill(await openLocal(mirror), 3);
    for await (const { bytes } of mirror.list()) {
      const { kind, lsn } = readHeader(bytes);
      if (kind === 'fence' || lsn === 1) await stale.put(bytes);
    }
    await (await openLocal(stale, virtualEnv(2))).seize(CELL);
    for await (const { bytes } of stale.list()) await mirror.put(bytes);
    expect(await recordsOf(mirror)).toHaveLength(5);
    const log = await openLocal(mirror);
    expect(await textsOf(log)).toEqual(['e1', 'e2', 'e3']);
    await fill(log, 1);
    expect(await textsOf(await openLocal(mirror))).toEqual(['e1', 'e2', 'e3', 'e4']);
  });

  it('an entry in the middle: says which cell and which entry', async () => {
    const mirror = new MemoryMirror();
    await fill(await openLocal(mirror), 5);
    await loseWhere(mirror, ({ kind, lsn }) => kind === 'entry' && lsn === 3);
    const message = 'log of cell cell-1: entry 3 is missing or unreadable on every store';
    await expect(openLocal(mirror)).rejects.toMatchObject({ code: 'HF_CORRUPT', message });
  });

  it('any entry or fence that something later vouches for', async () => {
    const mirror = new MemoryMirror();
    const log = await openLocal(mirror);
    await fill(log, 2);
    await fill(log, 2);
    await log.seize(CELL);
    const records = await recordsOf(mirror);
    expect(records).toHaveLength(7);
    const newest = Math.max(...records.map(({ epoch }) => epoch));
    // The very first fence has nothing before it, so nobody needs it.
    for (const lost of records.filter(({ epoch, lsn }) => epoch < newest && lsn > 0)) {
      const copy = new MemoryMirror();
      for await (const { bytes } of mirror.list()) await copy.put(bytes);
      copy.lose(lost);
      expect(await openLocal(copy).catch(errorCode)).toBe('HF_CORRUPT');
    }
  });

  it('the fence of the newest entries', async () => {
    const mirror = new MemoryMirror();
    const log = await openLocal(mirror);
    await fill(log, 1);
    await fill(log, 1);
    await loseWhere(mirror, ({ kind, lsn }) => kind === 'fence' && lsn === 1);
    await expect(openLocal(mirror)).rejects.toMatchObject({ code: 'HF_CORRUPT' });
  });

  it('a part of the snapshot for which entries were trimmed', async () => {
    const mirror = new MemoryMirror();
    const log = await openLocal(mirror);
    const epoch = await fill(log, 3);
    await log.saveSnapshot(CELL, { epoch, lsn: 3 }, part('state'));
    await log.trim(CELL, 3);
    await loseWhere(mirror, ({ kind }) => kind === 'snapshot part');
    expect(await openLocal(mirror).catch(errorCode)).toBe('HF_CORRUPT');
  });

  it('while open: an entry that can no longer be read, a part too', async () => {
    const mirror = new MemoryMirror();
    const log = await openLocal(mirror);
    const epoch = await fill(log, 2);
    await log.saveSnapshot(CELL, { epoch, lsn: 2 }, part('state'));
    const snapshot = await log.loadSnapshot(CELL);
    await loseWhere(mirror, ({ kind }) => kind === 'entry' || kind === 'snapshot part');
    expect(await textsOf(log).catch(errorCode)).toBe('HF_CORRUPT');
    expect(await Array.fromAsync(snapshot!.parts).catch(errorCode)).toBe('HF_CORRUPT');
  });

  it('a mirror that lies: the suite notices', async () => {
    expect(await firstFailingSeed(localMedium(10), 20)).toBeDefined();
  });
});

describe('LocalLog bears', () => {
  it('a torn tail: pipelined entries of which the first was never stored', async () => {
    const mirror = new MemoryMirror();
    const log = await openLocal(mirror);
    const epoch = await fill(log, 2);
    const faults: PutFault[] = ['none', undefined, undefined];
    mirror.nextFault = () => faults.shift();
    const appends = [3, 4, 5].map((lsn) => log.append(CELL, { epoch, lsn }, utf8('torn')));
    const outcomes = await Promise.all(appends.map((append) => append.catch(errorCode)));
    expect(outcomes).toEqual(Array(3).fill('HF_UNKNOWN_OUTCOME'));
    expect(await log.append(CELL, { epoch, lsn: 3 }, utf8('late'))).toBe('fenced');

    const next = await openLocal(mirror);
    expect(await textsOf(next)).toEqual(['e1', 'e2']);
    await fill(next, 1);
    expect(await textsOf(await openLocal(mirror))).toEqual(['e1', 'e2', 'e3']);
    const entryCount = (await recordsOf(mirror)).filter(({ kind }) => kind === 'entry').length;
    expect(entryCount).toBe(3);
  });

  it('an entry with one copy after a crash: it is in, and gets its copies', async () => {
    const mirror = new MemoryMirror();
    const log = await openLocal(mirror);
    const epoch = await fill(log, 1);
    mirror.nextFault = () => 'one';
    await log.append(CELL, { epoch, lsn: 2 }, utf8('e2')).catch(errorCode);
    mirror.nextFault = () => undefined;

    const next = await openLocal(mirror);
    expect((await next.seize(CELL)).lsn).toBe(2);
    const entry = (await recordsOf(mirror)).find(({ lsn, kind }) => lsn === 2 && kind === 'entry');
    expect(mirror.copiesOf(entry!)).toBe(2);
    expect(await textsOf(next)).toEqual(['e1', 'e2']);
  });

  it('a snapshot with one copy after a crash gets its copies, then older ones go', async () => {
    const mirror = new MemoryMirror();
    const log = await openLocal(mirror);
    const epoch = await fill(log, 3);
    await log.saveSnapshot(CELL, { epoch, lsn: 1 }, part('after 1'));
    const faults: PutFault[] = [undefined, 'one'];
    mirror.nextFault = () => faults.shift();
    mirror.keepsAll = true; // the process dies before it can clean up
    const save = log.saveSnapshot(CELL, { epoch, lsn: 3 }, part('after 3'));
    expect(await save.catch(errorCode)).toBe('HF_TOO_FEW_STORES');
    mirror.keepsAll = false;

    const next = await openLocal(mirror);
    expect((await next.loadSnapshot(CELL))?.lsn).toBe(3);
    mirror.nextFault = () => 'none';
    expect(await next.seize(CELL).catch(errorCode)).toBe('HF_TOO_FEW_STORES');
    const snapshotsOf = async () =>
      (await recordsOf(mirror)).filter(({ kind }) => kind === 'snapshot');
    expect(await snapshotsOf()).toHaveLength(2);
    mirror.nextFault = () => undefined;
    await next.seize(CELL);
    const [only, ...others] = await snapshotsOf();
    expect(others).toEqual([]);
    expect(mirror.copiesOf(only!)).toBe(2);
  });

  it('snapshots that are extended: the parts stay until there is a whole one', async () => {
    const mirror = new MemoryMirror();
    const log = await openLocal(mirror);
    const epoch = await fill(log, 3);
    const kindsOf = async () => {
      const kinds = (await recordsOf(mirror)).map(({ kind }) => kind);
      return kinds.filter((kind) => kind.startsWith('snapshot')).sort();
    };
    await log.saveSnapshot(CELL, { epoch, lsn: 1 }, part('after 1'));
    await log.saveSnapshot(CELL, { epoch, lsn: 2 }, part('to 2'), { extends: 1 });
    expect(await kindsOf()).toEqual(['snapshot', 'snapshot part', 'snapshot part']);
    await log.saveSnapshot(CELL, { epoch, lsn: 3 }, part('after 3'));
    expect(await kindsOf()).toEqual(['snapshot', 'snapshot part']);
  });

  it('a failed entry that comes back with its store after others took its number', async () => {
    const mirror = new MemoryMirror({ storeCount: 3 });
    const log = await openLocal(mirror);
    const epoch = await fill(log, 1);
    mirror.nextFault = () => 'one';
    await log.append(CELL, { epoch, lsn: 2 }, utf8('stray')).catch(errorCode);
    mirror.nextFault = () => undefined;
    const stray = (await recordsOf(mirror)).find(({ lsn, kind }) => lsn === 2 && kind === 'entry')!;
    for (let store = 0; store < 3; store++) {
      mirror.away.add(store);
      if ((await recordsOf(mirror)).every(({ lsn, kind }) => lsn !== 2 || kind !== 'entry')) break;
      mirror.away.delete(store);
    }
    expect(mirror.away.size).toBe(1);

    const second = await openLocal(mirror);
    expect(await textsOf(second)).toEqual(['e1']);
    await fill(second, 2);
    mirror.away.clear();
    expect(mirror.copiesOf(stray)).toBe(1);
    const third = await openLocal(mirror);
    expect(await textsOf(third)).toEqual(['e1', 'e2', 'e3']);
    await third.seize(CELL);
    expect(mirror.copiesOf(stray)).toBe(0);
  });

  it('a fence that failed: no epoch appends until the next', async () => {
    const mirror = new MemoryMirror();
    const log = await openLocal(mirror);
    const epoch = await fill(log, 1);
    mirror.nextFault = () => 'one';
    expect(await log.seize(CELL).catch(errorCode)).toBe('HF_UNKNOWN_OUTCOME');
    mirror.nextFault = () => undefined;
    expect(await log.append(CELL, { epoch, lsn: 2 }, utf8('late'))).toBe('fenced');
    expect(await log.confirm(CELL, epoch)).toBe(false);
    expect((await log.seize(CELL)).epoch).toBe(epoch + 2);
    expect(await textsOf(await openLocal(mirror))).toEqual(['e1']);
  });

  it('fences put in vain that come back with their store, of later epochs than ours', async () => {
    const mirror = new MemoryMirror({ storeCount: 2, copyCount: 1 });
    mirror.away.add(1);
    const first = await openLocal(mirror);
    await fill(first, 1);
    mirror.away.clear();
    mirror.away.add(0);
    mirror.nextFault = () => 'all';
    for (let round = 0; round < 3; round++) {
      expect(await first.seize(CELL).catch(errorCode)).toBe('HF_UNKNOWN_OUTCOME');
    }
    mirror.nextFault = () => undefined;
    mirror.away.clear();
    mirror.away.add(1);
    await fill(await openLocal(mirror), 2);
    mirror.away.clear();
    const fences = (await recordsOf(mirror)).filter(({ kind }) => kind === 'fence');
    expect(fences).toHaveLength(5);
    expect(await textsOf(await openLocal(mirror))).toEqual(['e1', 'e2', 'e3']);
  });

  it('fences put in vain that do not know of an entry which a later seizure found', async () => {
    const env = virtualEnv(1);
    const mirror = new MemoryMirror({ storeCount: 3, copyCount: 1 });
    const onlyStore = (store: number): void => {
      for (const each of [0, 1, 2]) mirror.away.add(each);
      mirror.away.delete(store);
    };
    onlyStore(0);
    const first = await openLocal(mirror, env);
    const epoch = await fill(first, 1);
    mirror.nextFault = () => 'all';
    onlyStore(1);
    await first.append(CELL, { epoch, lsn: 2 }, utf8('e2')).catch(errorCode);
    onlyStore(2);
    await first.seize(CELL).catch(errorCode);
    await first.seize(CELL).catch(errorCode);
    mirror.nextFault = () => undefined;
    await env.clock.sleep(10); // a process takes longer to start
    mirror.away.delete(0);
    mirror.away.delete(1);
    mirror.away.add(2);
    expect((await (await openLocal(mirror, env)).seize(CELL)).lsn).toBe(2);
    mirror.away.clear();
    expect(await textsOf(await openLocal(mirror, env))).toEqual(['e1', 'e2']);
  });

  it('the loss of one store, and trimmed records that come back with it', async () => {
    const mirror = new MemoryMirror({ storeCount: 3 });
    const log = await openLocal(mirror);
    const epoch = await fill(log, 6);
    await log.saveSnapshot(CELL, { epoch, lsn: 2 }, part('after 2'));
    mirror.away.add(0);
    await log.saveSnapshot(CELL, { epoch, lsn: 4 }, part('after 4'));
    await log.trim(CELL, 4);
    for (const away of [[0], [], [1], [2]]) {
      mirror.away.clear();
      for (const store of away) mirror.away.add(store);
      const next = await openLocal(mirror);
      const snapshot = (await next.loadSnapshot(CELL))!;
      expect(snapshot.lsn).toBe(4);
      expect(await Array.fromAsync(snapshot.parts, fromUtf8)).toEqual(['after 4']);
      expect(await textsOf(next, 5)).toEqual(['e5', 'e6']);
    }
  });
});

describe('LocalLog at its door', () => {
  it('an epoch does not outlive its process', async () => {
    const mirror = new MemoryMirror();
    const epoch = await fill(await openLocal(mirror), 1);
    const next = await openLocal(mirror);
    expect(await next.append(CELL, { epoch, lsn: 2 }, utf8('x'))).toBe('fenced');
    expect((await next.head(CELL)).epoch).toBe(epoch);
  });

  it('refuses a false key', async () => {
    const mirror = new MemoryMirror();
    await fill(await openLocal(mirror), 1);
    const falseKey = { mirror, metadataKey: new Uint8Array(32), generation: 1, env: virtualEnv(1) };
    expect(await LocalLog.open(falseKey).catch(errorCode)).toBe('HF_WRONG_KEY');
  });

  it('shows no store what the entries say', async () => {
    const mirror = new MemoryMirror();
    const log = await openLocal(mirror);
    const { epoch } = await log.seize(CELL);
    await log.append(CELL, { epoch, lsn: 1 }, utf8('a secret sentence'));
    await log.saveSnapshot(CELL, { epoch, lsn: 1 }, part('a secret sentence'));
    for await (const { bytes } of mirror.list()) {
      expect(Buffer.from(bytes).includes('secret')).toBe(false);
    }
  });

  it('takes no notice of other records and of altered ones', async () => {
    const mirror = new MemoryMirror();
    await fill(await openLocal(mirror), 1);
    await mirror.put(utf8('no record at all'));
    for await (const { bytes } of mirror.list()) {
      bytes[bytes.length >>> 1]! ^= 1;
      await mirror.put(bytes);
    }
    expect(await textsOf(await openLocal(mirror))).toEqual(['e1']);
  });

  it('says HF_CLOSED once closed, after what was under way', async () => {
    const mirror = new MemoryMirror();
    const log = await openLocal(mirror);
    const { epoch } = await log.seize(CELL);
    const append = log.append(CELL, { epoch, lsn: 1 }, utf8('e1'));
    await log[Symbol.asyncDispose]();
    expect(await append).toBe('ok');
    expect(await log.head(CELL).catch(errorCode)).toBe('HF_CLOSED');
  });
});
