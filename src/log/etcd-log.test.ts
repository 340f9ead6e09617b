/**
 * Aim: the engine `etcd` passes the suite on a simulated etcd with a bad network; each condition
 * that it puts on its changes is needed, and missed when it is left unchecked. Method: the suite of
 * all engines; planted bugs; changes that arrive long after their caller has given up; partitions,
 * restarts, rows that were tampered with. (test/suites/etcd-bed.ts runs a real etcd.)
 */
import { describe, expect, it } from 'vitest';
import {
  failingExamples,
  firstFailingSeed,
  type LogFault,
  type MakeMedium,
  testFencedLog,
} from '../../test/suites/fenced-log.ts';
import { MemoryMirror } from '../../test/suites/memory-mirror.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { errorCode, fromUtf8, utf8 } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { EtcdTransaction } from './etcd-messages.ts';
import {
  type EtcdKv,
  EtcdLog,
  EtcdRegistry,
  MemoryEtcd,
  type MemoryEtcdBugs,
  type MemoryEtcdFaults,
  PLAIN_RECORDS,
  type RecordSealing,
} from './index.ts';

const CELL = 'cell-1';
const LATE_MS = 5000;
const FAULTS: Record<LogFault, MemoryEtcdFaults> = {
  none: {},
  'lost before': { lostRequestPercent: 100 },
  'lost after': { lostReplyPercent: 100 },
  random: {
    delayMsMax: 10,
    lostRequestPercent: 5,
    lostReplyPercent: 5,
    latePercent: 5,
    lateMsMax: 200,
  },
};

function placeOf(etcd: MemoryEtcd, env: Env) {
  const metadataKey = new Uint8Array(32).fill(1);
  return { kv: etcd.connect(), prefix: 'test/', metadataKey, generation: 1, env, patienceMs: 500 };
}

function etcdMedium(bugs: MemoryEtcdBugs = {}, sealing?: RecordSealing): MakeMedium {
  return (env) => {
    const faults: Record<string, number> = {};
    const etcd = new MemoryEtcd({ env, faults, bugs });
    const parts = new MemoryMirror();
    return {
      open: async () => new EtcdLog({ ...placeOf(etcd, env), parts, ...(sealing && { sealing }) }),
      openRegistry: async () => new EtcdRegistry(placeOf(etcd, env)),
      setFault(fault) {
        for (const name of Object.keys(faults)) delete faults[name];
        Object.assign(faults, FAULTS[fault]);
      },
    };
  };
}

testFencedLog('etcd, simulated', etcdMedium(), 200);
testFencedLog('etcd, simulated, not sealed', etcdMedium({}, PLAIN_RECORDS), 100);

/** A log that two processes share, and what is behind it. */
function bed({ bugs = {}, seed = 1 }: { bugs?: MemoryEtcdBugs; seed?: number } = {}) {
  const env = virtualEnv(seed);
  const faults: { -readonly [Name in keyof MemoryEtcdFaults]: number } = {};
  const etcd = new MemoryEtcd({ env, faults, bugs });
  const parts = new MemoryMirror();
  const open = () => {
    const place = placeOf(etcd, env);
    return { ...place, log: new EtcdLog({ ...place, parts }) };
  };
  return { env, faults, etcd, parts, open };
}

async function fill(log: EtcdLog, count: number): Promise<number> {
  const { epoch, lsn } = await log.seize(CELL);
  for (let next = lsn + 1; next <= lsn + count; next++) {
    expect(await log.append(CELL, { epoch, lsn: next }, utf8(`e${next}`))).toBe('ok');
  }
  return epoch;
}

async function textsOf(log: EtcdLog, from = 1): Promise<string[]> {
  return await Array.fromAsync(log.read(CELL, from), ({ bytes }) => fromUtf8(bytes));
}

async function* part(text: string): AsyncGenerator<Uint8Array> {
  yield utf8(text);
}

/** An append arrives once more when its entry has been trimmed. @returns the next seizure. */
async function appendTwice(bugs: MemoryEtcdBugs): Promise<unknown> {
  const { env, faults, open, etcd } = bed({ bugs });
  const { log } = open();
  const epoch = await fill(log, 1);
  Object.assign(faults, { latePercent: 100, lateMsMax: LATE_MS });
  const append = log.append(CELL, { epoch, lsn: 2 }, utf8('e2'));
  await env.clock.sleep(10);
  faults.latePercent = 0;
  expect(await append).toBe('ok');
  for (const lsn of [3, 4]) await log.append(CELL, { epoch, lsn }, utf8(`e${lsn}`));
  await log.saveSnapshot(CELL, { epoch, lsn: 4 }, part('state after 4'));
  await log.trim(CELL, 4);
  expect(etcd.keys.filter((key) => key.includes('entry'))).toHaveLength(1);
  await env.clock.sleep(LATE_MS);
  return await log.seize(CELL).catch(() => 'noticed');
}

/** What an older epoch is told that knows of no newer one. */
async function appendAfterSeizure(bugs: MemoryEtcdBugs): Promise<unknown> {
  const { open } = bed({ bugs });
  const [first, second] = [open().log, open().log];
  const epoch = await fill(first, 1);
  await second.seize(CELL);
  return await first.append(CELL, { epoch, lsn: 2 }, utf8('late'));
}

describe('each condition is needed: the suite notices', () => {
  it('a fence that is not checked: an older epoch of another process goes on', async () => {
    const bugs = { isFenceUnchecked: true };
    expect(await appendAfterSeizure({})).toBe('fenced');
    expect(await appendAfterSeizure(bugs)).toBe('ok');
    for (const sealing of [undefined, PLAIN_RECORDS]) {
      expect(await firstFailingSeed(etcdMedium(bugs, sealing), 100)).toBeDefined();
    }
  });

  it('a key that may be there: a seal is passed over', async () => {
    const bugs = { isAbsenceUnchecked: true };
    expect(await failingExamples(etcdMedium(bugs))).toContain(
      'once sealed it refuses every change, and so does the log beside it',
    );
  });

  it('an entry before that may be missing: a late append comes back below the trim', async () => {
    expect(await appendTwice({})).toEqual({ epoch: 2, lsn: 4 });
    expect(await appendTwice({ isPredecessorUnchecked: true })).toBe('noticed');
  });
});

describe('a change that is in doubt', () => {
  it('was done: the append is acknowledged, once', async () => {
    const { env, faults, open } = bed();
    const { log } = open();
    const epoch = await fill(log, 1);
    faults.lostReplyPercent = 100;
    const append = log.append(CELL, { epoch, lsn: 2 }, utf8('e2'));
    await env.clock.sleep(10);
    faults.lostReplyPercent = 0; // that of the second attempt arrives
    expect(await append).toBe('ok');
    expect(await textsOf(log)).toEqual(['e1', 'e2']);
  });

  it('was not done, and another process seized: it stays in doubt', async () => {
    const { env, faults, open } = bed();
    const [first, second] = [open(), open()];
    const epoch = await fill(first.log, 1);
    faults.lostRequestPercent = 100;
    const append = first.log.append(CELL, { epoch, lsn: 2 }, utf8('e2')).catch(errorCode);
    await env.clock.sleep(10);
    faults.lostRequestPercent = 0;
    await second.log.seize(CELL);
    expect(await append).toBe('HF_UNKNOWN_OUTCOME');
    expect(await first.log.append(CELL, { epoch, lsn: 2 }, utf8('e2'))).toBe('fenced');
  });

  it('of the registry was done: its version is found', async () => {
    const { faults, env, etcd } = bed();
    const registry = new EtcdRegistry(placeOf(etcd, env));
    faults.lostReplyPercent = 100;
    const change = registry.compareAndSet('k', 0, utf8('v'));
    await env.clock.sleep(10);
    faults.lostReplyPercent = 0;
    expect(await change).toBe((await registry.get('k'))!.version);
  });
});

describe('parts of snapshots', () => {
  it('stay while they are listed, also when one was extended, and go then', async () => {
    const { parts, open } = bed();
    const { log } = open();
    const epoch = await fill(log, 3);
    const partCount = async () => (await Array.fromAsync(parts.list())).length;
    await log.saveSnapshot(CELL, { epoch, lsn: 1 }, part('after 1'));
    await log.saveSnapshot(CELL, { epoch, lsn: 2 }, part('to 2'), { extends: 1 });
    await log.trim(CELL, 2);
    expect(await partCount()).toBe(3); // with the list
    await log.saveSnapshot(CELL, { epoch, lsn: 3 }, part('after 3'));
    // Until the log is trimmed, as the new one may have rows of several moments.
    expect(await partCount()).toBe(5);
    await log.trim(CELL, 2);
    expect(await partCount()).toBe(5);
    await log.trim(CELL, 3);
    expect(await partCount()).toBe(2);
  });
});

describe('a snapshot whose outcome nobody understood', () => {
  it('keeps its parts, as they may be listed', async () => {
    const { env, etcd, parts, open } = bed();
    const { kv, log: other } = open();
    let isBroken = false;
    const breaking: EtcdKv = {
      async transact(transaction: EtcdTransaction) {
        const result = await kv.transact(transaction);
        if (isBroken && transaction.ifMet.some((one) => one.do === 'put')) throw new Error('bug');
        return result;
      },
      change: (range, since, signal) => kv.change(range, since, signal),
      [Symbol.asyncDispose]: () => kv[Symbol.asyncDispose](),
    };
    const log = new EtcdLog({ ...placeOf(etcd, env), kv: breaking, parts });
    const epoch = await fill(log, 2);
    isBroken = true;
    const saving = log.saveSnapshot(CELL, { epoch, lsn: 2 }, part('after 2'));
    await expect(saving).rejects.toThrow('bug');
    const snapshot = await other.loadSnapshot(CELL);
    expect(await Array.fromAsync(snapshot!.parts, fromUtf8)).toEqual(['after 2']);
  });

  it('is read while a newer one takes its place: it is no damage', async () => {
    const { open } = bed();
    const [{ log }, { log: reader }] = [open(), open()];
    const epoch = await fill(log, 2);
    await log.saveSnapshot(CELL, { epoch, lsn: 1 }, part('after 1'));
    const older = (await reader.loadSnapshot(CELL))!;
    await log.saveSnapshot(CELL, { epoch, lsn: 2 }, part('after 2'));
    await log.trim(CELL, 2);
    expect(await Array.fromAsync(older.parts).catch(errorCode)).toBe('HF_NOT_FOUND');
  });
});

describe('an etcd that is full', () => {
  it('takes no append, and goes on once there is room', async () => {
    const { etcd, open } = bed();
    const { log } = open();
    const epoch = await fill(log, 1);
    etcd.isFull = true;
    const append = log.append(CELL, { epoch, lsn: 2 }, utf8('e2'));
    expect(await append.catch(errorCode)).toBe('HF_UNKNOWN_OUTCOME');
    expect(await log.seize(CELL).catch(errorCode)).toBe('HF_NO_SPACE');
    expect(await textsOf(log)).toEqual(['e1']);
    etcd.isFull = false;
    await fill(log, 1);
    expect(await textsOf(log)).toEqual(['e1', 'e2']);
  });
});

describe('a watched key', () => {
  it('is told of each change, by whoever makes it, and after many others', async () => {
    const { env, etcd } = bed();
    const [registry, other] = [1, 2].map(() => new EtcdRegistry(placeOf(etcd, env)));
    const stop = new AbortController();
    const seen: (string | undefined)[] = [];
    for await (const row of registry!.watch('k', stop.signal)) {
      seen.push(row && fromUtf8(row.value));
      if (seen.length === 3) stop.abort();
      for (let count = 0; count < 10; count++)
        await other!.compareAndSet(`n/${seen.length}/${count}`, 0, utf8(''));
      void other!.compareAndSet('k', row?.version ?? 0, utf8(`v${seen.length}`));
    }
    expect(seen).toEqual([undefined, 'v1', 'v2']);
  });
});

describe('partitions and restarts', () => {
  it('a steward that is cut off loses its epoch, and no acknowledged entry', async () => {
    const { open } = bed();
    const [first, second] = [open(), open()];
    const epoch = await fill(first.log, 3);
    first.kv.isCutOff = true;
    const lost = first.log.append(CELL, { epoch, lsn: 4 }, utf8('e4')).catch(errorCode);
    await fill(second.log, 1);
    expect(await lost).toBe('HF_UNKNOWN_OUTCOME');
    expect(await first.log.confirm(CELL, epoch).catch(errorCode)).toBe('HF_UNAVAILABLE');
    first.kv.isCutOff = false;
    expect(await first.log.append(CELL, { epoch, lsn: 4 }, utf8('e4'))).toBe('fenced');
    expect(await textsOf(first.log)).toEqual(['e1', 'e2', 'e3', 'e4']);
  });

  it('a restart that is shorter than its patience goes unnoticed', async () => {
    const { etcd, env, open } = bed();
    const { log } = open();
    const epoch = await fill(log, 1);
    etcd.isDown = true;
    const appends = [2, 3].map((lsn) => log.append(CELL, { epoch, lsn }, utf8(`e${lsn}`)));
    await env.clock.sleep(200);
    etcd.isDown = false;
    expect(await Promise.all(appends)).toEqual(['ok', 'ok']);
  });
});

describe('what was tampered with is refused', () => {
  async function readAfter(tamper: (etcd: MemoryEtcd) => void): Promise<unknown> {
    const { etcd, open } = bed();
    const { log } = open();
    await fill(log, 4);
    tamper(etcd);
    return await textsOf(log).catch(errorCode);
  }
  const entryKey = (lsn: number) => utf8(`test/log/${CELL}/entry/${String(lsn).padStart(16, '0')}`);
  const valueOf = (etcd: MemoryEtcd, lsn: number) =>
    etcd.apply({ conditions: [], ifMet: [{ do: 'get', key: entryKey(lsn) }], ifNot: [] })
      .answers[0]!.rows[0]!.value;
  const put = (etcd: MemoryEtcd, lsn: number, value: Uint8Array) =>
    etcd.apply({ conditions: [], ifMet: [{ do: 'put', key: entryKey(lsn), value }], ifNot: [] });

  it('an entry that is gone from the middle', async () => {
    const remove = { do: 'delete', key: entryKey(2) } as const;
    const tamper = (etcd: MemoryEtcd) =>
      void etcd.apply({ conditions: [], ifMet: [remove], ifNot: [] });
    expect(await readAfter(tamper)).toBe('HF_CORRUPT');
  });

  it("an entry in another one's place, and a flipped bit", async () => {
    expect(await readAfter((etcd) => put(etcd, 2, valueOf(etcd, 3)))).toBe('HF_CORRUPT');
    const flipped = (etcd: MemoryEtcd) => {
      const value = new Uint8Array(valueOf(etcd, 2));
      value[value.length - 20]! ^= 1;
      return put(etcd, 2, value);
    };
    expect(await readAfter(flipped)).toBe('HF_CORRUPT');
  });
});

describe('EtcdRegistry', () => {
  it('lists more than a page', async () => {
    const { env, etcd } = bed();
    const registry = new EtcdRegistry(placeOf(etcd, env));
    const keys = Array.from({ length: 450 }, (_, index) => `n/${1000 + index}`);
    for (const key of keys) await registry.compareAndSet(key, 0, utf8(key));
    await registry.compareAndSet('o', 0, utf8('other'));
    expect((await registry.list('n/')).map(({ key }) => key)).toEqual(keys);
  });

  it('watches a key', async () => {
    const { env, etcd } = bed();
    const registry = new EtcdRegistry(placeOf(etcd, env));
    const stop = new AbortController();
    const seen: (string | undefined)[] = [];
    const watching = (async () => {
      for await (const row of registry.watch('k', stop.signal)) {
        seen.push(row && fromUtf8(row.value));
        if (seen.length === 4) stop.abort();
      }
    })();
    let version = 0;
    for (const text of ['a', undefined, 'b']) {
      await env.clock.sleep(1000);
      const value = text === undefined ? undefined : utf8(text);
      version = (await registry.compareAndSet('k', version, value))!;
      if (!value) version = 0;
    }
    await watching;
    expect(seen).toEqual([undefined, 'a', undefined, 'b']);
  });

  it('gives out nothing that was sealed for another key', async () => {
    const { env, etcd } = bed();
    const registry = new EtcdRegistry(placeOf(etcd, env));
    await registry.compareAndSet('a', 0, utf8('secret'));
    const from = { do: 'get', key: utf8('test/registry/a') } as const;
    const { answers } = etcd.apply({ conditions: [], ifMet: [from], ifNot: [] });
    const { value } = answers[0]!.rows[0]!;
    expect(Buffer.from(value).includes('secret')).toBe(false);
    const to = { do: 'put', key: utf8('test/registry/b'), value } as const;
    etcd.apply({ conditions: [], ifMet: [to], ifNot: [] });
    expect(await registry.get('b').catch(errorCode)).toBe('HF_FORGED');
  });
});
