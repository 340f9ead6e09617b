/**
 * Aim: the engine `etcd` keeps its contract on real etcd processes: behind a wire that loses
 * messages, when etcd is killed in the middle of appends, and when it is slow. Method: the suite of
 * all engines on one process on loopback. Skipped, and said so, where no etcd is installed.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EtcdBed, faultyDial, findEtcd, type WireFaults } from '../../test/suites/etcd-bed.ts';
import { appendUntil, expectAll, processesOn } from '../../test/suites/etcd-work.ts';
import { type LogMedium, testFencedLog } from '../../test/suites/fenced-log.ts';
import { MemoryMirror } from '../../test/suites/memory-mirror.ts';
import { fromUtf8, utf8 } from '../base/index.ts';
import { realEnv } from '../env/index.ts';
import {
  changeEngine,
  EtcdConnection,
  EtcdDraft,
  EtcdLog,
  EtcdRegistry,
  LocalLog,
  LogRegistry,
  sealedTo,
} from './index.ts';

const binary = findEtcd();
if (!binary) console.warn('SKIPPED: the engine etcd on a real etcd; install etcd-server (3.4–3.6)');
const env = realEnv();
const CELL = 'cell-1';
let prefixCount = 0;
/** Long enough for a machine that is busy. */
const SLOW_MS = 30_000;

let bed: EtcdBed;

function realMedium(): LogMedium {
  const faults: WireFaults = { losesRequest: () => false, losesReply: () => false };
  const dials = () => [faultyDial(bed.members[0]!.dial, faults)];
  const open = processesOn(`test-${prefixCount++}/`, dials, { patienceMs: 400, deadlineMs: 200 });
  return {
    open: async () => open().log,
    openRegistry: async () => new EtcdRegistry(open().place),
    setFault(fault) {
      const random = () => fault === 'random' && env.random.below(100) < 1;
      faults.losesRequest = () => fault === 'lost before' || random();
      faults.losesReply = () => fault === 'lost after' || random();
    },
  };
}

async function fill(log: EtcdLog, count: number): Promise<number> {
  const { epoch, lsn } = await log.seize(CELL);
  for (let next = lsn + 1; next <= lsn + count; next++) {
    expect(await log.append(CELL, { epoch, lsn: next }, utf8(`e${next}`))).toBe('ok');
  }
  return epoch;
}

describe.skipIf(!binary)('on a real etcd', { timeout: SLOW_MS }, () => {
  beforeAll(async () => {
    bed = await EtcdBed.open(binary!, 1);
  }, SLOW_MS);
  afterAll(async () => await bed[Symbol.asyncDispose](), SLOW_MS);

  testFencedLog('etcd', realMedium, 2);

  it('refuses the stale epoch of another process', async () => {
    const open = processesOn('stale/', () => bed.dials);
    const [first, second] = [open().log, open().log];
    const epoch = await fill(first, 1);
    await fill(second, 1);
    expect(await first.append(CELL, { epoch, lsn: 2 }, utf8('late'))).toBe('fenced');
    expect(await first.confirm(CELL, epoch)).toBe(false);
  });

  it('takes over from the engine local, also after a try that was given up', async () => {
    const local = { mirror: new MemoryMirror(), metadataKey: new Uint8Array(32), env };
    const log = await LocalLog.open({ ...local, generation: 1 });
    const registry = await LogRegistry.open({ log, report: env.log });
    const { epoch } = await log.seize(CELL);
    for (const lsn of [1, 2, 3]) await log.append(CELL, { epoch, lsn }, utf8(`e${lsn}`));
    await log.saveSnapshot(CELL, { epoch, lsn: 2 }, parts('after 2'));
    const version = (await registry.compareAndSet('k', 0, utf8('v')))!;

    const kv = new EtcdConnection({ members: bed.dials, clock: env.clock });
    const place = { ...local, kv, prefix: 'second/', generation: 2, parts: local.mirror };
    const givenUp = new EtcdDraft(place);
    await givenUp.start();
    await givenUp.copyCell('half', { epoch: 1, snapshot: undefined, entries: none() });
    const from = { log, registry };
    const cells = async () => [CELL];
    await changeEngine({ from, to: new EtcdDraft(place), where: 'etcd', cells });

    const [next, nextRegistry] = [new EtcdLog(place), new EtcdRegistry(place)];
    expect(await sealedTo(registry)).toEqual({ generation: 2, where: 'etcd' });
    expect((await next.head('half')).epoch).toBe(0);
    const seized = await next.seize(CELL);
    expect(seized.epoch).toBeGreaterThan(epoch);
    expect(seized.lsn).toBe(3);
    const snapshot = (await next.loadSnapshot(CELL))!;
    expect(await Array.fromAsync(snapshot.parts, fromUtf8)).toEqual(['after 2']);
    const entries = next.read(CELL, 3);
    expect(await Array.fromAsync(entries, ({ bytes }) => fromUtf8(bytes))).toEqual(['e3']);
    const row = (await nextRegistry.get('k'))!;
    expect(fromUtf8(row.value)).toBe('v');
    expect(row.version).toBeGreaterThan(version);
    await kv[Symbol.asyncDispose]();

    async function* none(): AsyncGenerator<never> {}
    async function* parts(...texts: readonly string[]): AsyncGenerator<Uint8Array> {
      for (const text of texts) yield utf8(text);
    }
  });

  it('tells a watcher of a key', async () => {
    const { place } = processesOn('watched/', () => bed.dials)();
    const registry = new EtcdRegistry(place);
    const stop = new AbortController();
    const seen: (string | undefined)[] = [];
    for await (const row of registry.watch('k', stop.signal)) {
      seen.push(row && fromUtf8(row.value));
      if (seen.length === 3) stop.abort();
      else await registry.compareAndSet('k', row?.version ?? 0, utf8(`v${seen.length}`));
    }
    expect(seen).toEqual([undefined, 'v1', 'v2']);
  });

  it('loses nothing that was acknowledged when etcd is killed in the middle', async () => {
    const { log } = processesOn('killed/', () => bed.dials, { patienceMs: 300, deadlineMs: 200 })();
    const { machine, runner } = bed.members[0]!;
    const killed = (async () => {
      await env.clock.sleep(200);
      machine.child!.kill('SIGKILL');
      await bed.ready();
      await env.clock.sleep(200);
    })();
    await expectAll(log, await appendUntil(log, killed));
    expect(runner.restartCount).toBe(1);
  });

  it('keeps its epoch on an etcd that is slower than the deadline now and then', async () => {
    const { log } = processesOn('slow/', () => bed.dials, {
      patienceMs: 10_000,
      deadlineMs: 100,
    })();
    const { child } = bed.members[0]!.machine;
    const slow = (async () => {
      for (let round = 0; round < 3; round++) {
        child!.kill('SIGSTOP');
        await env.clock.sleep(250);
        child!.kill('SIGCONT');
        await env.clock.sleep(100);
      }
    })();
    const report = await appendUntil(log, slow);
    await expectAll(log, report);
    expect(report.seizureCount).toBe(1);
  });
});
