/**
 * Aim: while the list of revocations cannot be read the log says so once, with the reason, and once
 * when it can again. Method: a registry in memory that fails for some minutes of virtual time.
 */
import { expect, it } from 'vitest';
import { HoldfastError } from '../base/index.ts';
import { type LogFields, silentLog } from '../env/index.ts';
import type { Registry } from '../log/index.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { CertificateAdmission, RevocationFollower } from './admission.ts';

it('an absent home is one line in the log', async () => {
  const lines: [string, LogFields | undefined][] = [];
  const note = (message: string, fields?: LogFields): void => void lines.push([message, fields]);
  const env = { ...virtualEnv(1), log: { ...silentLog, warn: note, info: note } };
  let isAway = true;
  const registry: Pick<Registry, 'get'> = {
    async get() {
      if (isAway) throw new HoldfastError('HF_UNAVAILABLE', 'node berlin-1 does not answer');
      return undefined;
    },
  };
  const network = {
    handle: () => {},
    call: async () => await Promise.reject(new Error('nobody is linked')),
    links: () => [],
    judgeAgain: () => {},
  };
  const follower = new RevocationFollower({
    env,
    registry: registry as Registry,
    admission: new CertificateAdmission({ env }),
    network,
  });
  const end = new AbortController();
  const running = follower.run(end);
  await env.clock.sleep(300_000);
  expect(lines).toEqual([
    [expect.stringContaining('cannot be read'), { reason: 'node berlin-1 does not answer' }],
  ]);
  isAway = false;
  await env.clock.sleep(60_000);
  expect(lines.map(([message]) => message).slice(1)).toEqual([
    expect.stringContaining('can be read again'),
  ]);
  isAway = true;
  await env.clock.sleep(60_000);
  expect(lines).toHaveLength(3);
  end.abort();
  await running;
});
