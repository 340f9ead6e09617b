/**
 * Aim: under a prefix everything works as without, and no key is touched that does not begin with
 * it. Method: the engine's own suite on a simulated etcd; a look at all its keys.
 */
import { describe, expect, it } from 'vitest';
import { type LogMedium, testFencedLog } from '../../test/suites/fenced-log.ts';
import { MemoryMirror } from '../../test/suites/memory-mirror.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { fromUtf8, utf8 } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { EtcdLog, EtcdRegistry, MemoryEtcd, type MemoryEtcdFaults, PrefixedKv } from './index.ts';

const PREFIX = 'team/holdfast/';
const FOREIGN = ['holdfast/x', 'team/holdfast', 'team/holdfast0', 'team/x'];

function prefixedMedium(env: Env): LogMedium {
  const faults: { -readonly [Name in keyof MemoryEtcdFaults]: number } = {};
  const etcd = new MemoryEtcd({ env, faults });
  const parts = new MemoryMirror();
  const metadataKey = new Uint8Array(32);
  const place = () => {
    const kv = new PrefixedKv(etcd.connect(), PREFIX);
    return { kv, prefix: 'holdfast/a/1/', metadataKey, generation: 1, env, parts };
  };
  return {
    open: async () => new EtcdLog({ ...place(), patienceMs: 500 }),
    openRegistry: async () => new EtcdRegistry({ ...place(), patienceMs: 500 }),
    setFault(fault) {
      const isRandom = fault === 'random';
      faults.lostRequestPercent = fault === 'lost before' ? 100 : isRandom ? 5 : 0;
      faults.lostReplyPercent = fault === 'lost after' ? 100 : isRandom ? 5 : 0;
    },
  };
}

describe('an etcd under a prefix', () => {
  testFencedLog('etcd under a prefix', prefixedMedium, 5);

  it('has keys of ours there alone, and shows no others', async () => {
    const etcd = new MemoryEtcd({ env: virtualEnv(1) });
    const plain = etcd.connect();
    const put = (key: string) => ({ do: 'put', key: utf8(key), value: utf8('v') }) as const;
    await plain.transact({ conditions: [], ifMet: FOREIGN.map(put), ifNot: [] });
    const kv = new PrefixedKv(plain, PREFIX);
    await kv.transact({ conditions: [], ifMet: [put('holdfast/a')], ifNot: [] });
    const all = { key: utf8('holdfast/'), end: utf8('holdfast0') };
    const count = { do: 'count', ...all } as const;
    const get = { do: 'get', ...all } as const;
    const { answers } = await kv.transact({ conditions: [], ifMet: [get, count], ifNot: [] });
    expect(answers[0]!.rows.map(({ key }) => fromUtf8(key))).toEqual(['holdfast/a']);
    expect(answers[1]!.count).toBe(1);
    await kv.transact({ conditions: [], ifMet: [{ do: 'delete', ...all }], ifNot: [] });
    const rest = { do: 'get', key: utf8('a'), end: utf8('z') } as const;
    const left = await plain.transact({ conditions: [], ifMet: [rest], ifNot: [] });
    expect(left.answers[0]!.rows.map(({ key }) => fromUtf8(key))).toEqual(FOREIGN.toSorted());
  });
});
