/**
 * Aim: the process runs while it should and only then: started again after it ends, ever later
 * when it keeps ending, killed when it does not stop, without data when it is replaced. Method:
 * processes that are values, on virtual time. (etcd-real.test.ts runs real ones.)
 */
import { describe, expect, it } from 'vitest';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { HoldfastError } from '../base/index.ts';
import { etcdConfiguration, type EtcdMachine, EtcdRunner } from './index.ts';

const RING = [0, 1, 2].map((index) => ({
  name: `m${index}`,
  peerUrl: `http://127.0.0.1:${9000 + index}`,
}));
const MEMBER = {
  name: 'm1',
  dataDirectory: '/data',
  ring: RING,
  token: 'ring-1',
  isNewRing: true,
  listenPeerUrl: 'http://127.0.0.1:9001',
  listenClientUrl: 'http://127.0.0.1:9100',
};

class SimulatedMachine implements EtcdMachine {
  /** What happened, with the time. */
  readonly events: string[] = [];
  readonly #now: () => number;
  ignoresTerm = false;
  failsToStart = false;
  end: (reason: string) => void = () => {};

  constructor(now: () => number) {
    this.#now = now;
  }

  #note(event: string): void {
    this.events.push(`${this.#now()} ${event}`);
  }

  async start(configuration: string) {
    if (this.failsToStart) throw new HoldfastError('HF_IO');
    this.#note(`start ${JSON.parse(configuration).name}`);
    const { promise: ended, resolve } = Promise.withResolvers<string>();
    this.end = resolve;
    return {
      ended,
      kill: (signal: 'SIGTERM' | 'SIGKILL') => {
        this.#note(signal);
        if (signal === 'SIGKILL' || !this.ignoresTerm) resolve(signal);
      },
    };
  }

  async clear(dataDirectory: string): Promise<void> {
    this.#note(`clear ${dataDirectory}`);
  }
}

function bed() {
  const env = virtualEnv(1);
  const machine = new SimulatedMachine(() => env.clock.monotonic());
  return { env, machine, runner: new EtcdRunner({ machine, env }) };
}

describe('EtcdRunner', () => {
  it('starts it again, each time later, until it ran for a while', async () => {
    const { env, machine, runner } = bed();
    await runner.run(MEMBER);
    for (const steadyMs of [0, 0, 0, 100_000]) {
      await env.clock.sleep(steadyMs);
      machine.end('crash');
      await env.clock.sleep(1);
      expect(runner.state).toBe('waiting');
      await env.clock.sleep(5000);
      expect(runner.state).toBe('running');
    }
    const starts = [0, 250, 5501, 11_002, 115_253].map((at) => `${at} start m1`);
    expect(machine.events).toEqual(starts);
    expect(runner.restartCount).toBe(4);
    await runner.stop();
  });

  it('is patient with one that ends at once for ever, and says why', async () => {
    const { env, machine, runner } = bed();
    const untilMs = env.clock.monotonic() + 24 * 3_600_000;
    await runner.run(MEMBER);
    expect(runner.failure).toBeUndefined();
    while (env.clock.monotonic() < untilMs) {
      if (runner.state === 'running') machine.end('no room');
      await env.clock.sleep(10_000);
    }
    expect(machine.events.length).toBeLessThan(200);
    expect(runner.failure).toMatch(/no room/);
    while (runner.state !== 'running') await env.clock.sleep(10_000);
    await env.clock.sleep(120_000);
    expect(runner.failure).toBeUndefined();
    await runner.stop();
  });

  it('says that it cannot be started; later it tries again by itself', async () => {
    const { env, machine, runner } = bed();
    machine.failsToStart = true;
    await expect(runner.run(MEMBER)).rejects.toMatchObject({ code: 'HF_IO' });
    expect(runner.state).toBe('stopped');
    machine.failsToStart = false;
    await runner.run(MEMBER);
    machine.failsToStart = true;
    machine.end('crash');
    await env.clock.sleep(1000);
    expect(runner.state).toBe('waiting');
    machine.failsToStart = false;
    await env.clock.sleep(5000);
    expect(runner.state).toBe('running');
    await runner.stop();
  });

  it('stops it, and kills it when it does not stop', async () => {
    const { env, machine, runner } = bed();
    await runner.run(MEMBER);
    machine.ignoresTerm = true;
    await runner.stop();
    expect(machine.events).toEqual(['0 start m1', '0 SIGTERM', '5000 SIGKILL']);
    await env.clock.sleep(60_000);
    expect(machine.events).toHaveLength(3);
    expect(runner.state).toBe('stopped');
  });

  it('stops while it waits to start it again', async () => {
    const { env, machine, runner } = bed();
    await runner.run(MEMBER);
    machine.end('crash');
    await env.clock.sleep(10);
    await runner.stop();
    await env.clock.sleep(60_000);
    expect(machine.events).toEqual(['0 start m1']);
  });

  it('replaces it: what it had is removed between the two', async () => {
    const { machine, runner } = bed();
    await runner.run(MEMBER);
    await runner.replace({ ...MEMBER, name: 'm2', isNewRing: false });
    expect(machine.events).toEqual(['0 start m1', '0 SIGTERM', '0 clear /data', '0 start m2']);
    await runner.stop();
  });
});

describe('etcdConfiguration', () => {
  it('names the ring, and waits longer on longer ways', () => {
    const near = JSON.parse(etcdConfiguration(MEMBER));
    expect(near['initial-cluster']).toBe(
      'm0=http://127.0.0.1:9000,m1=http://127.0.0.1:9001,m2=http://127.0.0.1:9002',
    );
    expect(near['initial-advertise-peer-urls']).toBe('http://127.0.0.1:9001');
    expect([near['heartbeat-interval'], near['election-timeout']]).toEqual([100, 1000]);
    const far = JSON.parse(etcdConfiguration({ ...MEMBER, roundTripMs: 180.5 }));
    expect([far['heartbeat-interval'], far['election-timeout']]).toEqual([181, 1810]);
  });
});
