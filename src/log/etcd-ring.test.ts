/**
 * Aim: a ring of three etcds goes on without its leader, whether it hangs or dies, within the time
 * that a client may stall; nothing acknowledged is lost. Method: real processes on loopback, hurt
 * while a log is written. Skipped, and said so, where no etcd is installed.
 */
import { describe, expect, it } from 'vitest';
import { EtcdBed, findEtcd } from '../../test/suites/etcd-bed.ts';
import { appendUntil, expectAll, processesOn } from '../../test/suites/etcd-work.ts';
import { realEnv } from '../env/index.ts';

const binary = findEtcd();
if (!binary) console.warn('SKIPPED: a ring of real etcds; install etcd-server (3.4–3.6)');
const { clock } = realEnv();
const STALL_MS_MAX = 10_000;

describe.skipIf(!binary)('a ring of three', { timeout: 60_000 }, () => {
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
