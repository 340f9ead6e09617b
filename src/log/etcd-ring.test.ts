/**
 * Aim: a ring of three etcds goes on without its leader, whether it hangs or dies, within the time
 * that a client may stall; nothing acknowledged is lost. Method: real processes on loopback, hurt
 * while a log is written. Skipped, and said so, where no etcd is installed.
 */
import { describe, expect, it } from 'vitest';
import { EtcdBed, findEtcd } from '../../test/suites/etcd-bed.ts';
import { appendUntil, expectAll, processesOn } from '../../test/suites/etcd-work.ts';
import { utf8 } from '../base/index.ts';
import { realEnv } from '../env/index.ts';
import { EtcdConnection, EtcdRegistry } from './index.ts';

const binary = findEtcd();
if (!binary) console.warn('SKIPPED: a ring of real etcds; install etcd-server (3.4–3.6)');
const { clock } = realEnv();
const STALL_MS_MAX = 10_000;

describe.skipIf(!binary)('a ring of three', { timeout: 60_000 }, () => {
  it('answers with the newest state whichever member is asked, also while one hangs', async () => {
    await using ring = await EtcdBed.open(binary!, 3);
    const leader = await ring.leader();
    const follower = ring.members.find((member) => member !== leader)!;
    const connections = ring.dials.map((_, index) => {
      const members = [...ring.dials.slice(index), ...ring.dials.slice(0, index)];
      return new EtcdConnection({ members, clock, deadlineMs: 250 });
    });
    const metadataKey = new Uint8Array(32);
    const registries = connections.map((kv) => {
      const place = { kv, prefix: 'newest/', metadataKey, generation: 1, env: realEnv() };
      return new EtcdRegistry(place);
    });
    let version = 0;
    for (let round = 0; round < 30; round++) {
      if (round === 20) follower.machine.child!.kill('SIGSTOP');
      version = (await registries[round % 3]!.compareAndSet('k', version, utf8(`${round}`)))!;
      for (const registry of registries) {
        expect(await registry.get('k')).toMatchObject({ version, value: utf8(`${round}`) });
      }
    }
    for (const connection of connections) await connection[Symbol.asyncDispose]();
  });

  it('goes on when its leader hangs and when it dies, and loses nothing', async () => {
    await using ring = await EtcdBed.open(binary!, 3);
    const { log, kv } = processesOn('ring/', () => ring.dials)();
    const faults = (async () => {
      const hanging = (await ring.leader())!.machine.child!;
      hanging.kill('SIGSTOP');
      await clock.sleep(2500);
      hanging.kill('SIGCONT');
      await clock.sleep(500);
      (await ring.leader())?.machine.child!.kill('SIGKILL');
      await clock.sleep(2500);
    })();
    const report = await appendUntil(log, faults);
    await expectAll(log, report);
    expect(report.stallMsMax).toBeLessThan(STALL_MS_MAX);
    await kv[Symbol.asyncDispose]();
  });
});
