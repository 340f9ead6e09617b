/**
 * Aim: a node whose home is away waits, says for what, and goes on when the home is back. Method: a
 * heart in virtual time over a core that cannot be opened at first.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { errorCode, HoldfastError } from '../base/index.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { CoreBed } from '../../test/suites/store-bed.ts';
import { Heart } from './heart.ts';
import type { StoreSet } from './stores/store-set.ts';

const cleanup: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of cleanup.splice(0)) await each[Symbol.asyncDispose]();
});

/** A heart whose core opens as soon as `failures` is empty. */
function heartOver(failures: unknown[]): {
  heart: Heart;
  bed: CoreBed;
  env: CoreBed['bed']['env'];
} {
  const bed = new CoreBed(6);
  const env = { ...bed.bed.env, clock: virtualEnv(2).clock };
  const stores = {
    slots: [{ isDetached: false }],
    alive: bed.bed.alive,
    devices: () => bed.bed.devices(),
    refresh: async () => {},
    awayFor: () => [],
    changeCount: 0,
    isDetached: () => false,
    setState() {},
  } as unknown as StoreSet;
  const openCore = async () => {
    if (failures.length > 0) throw failures.shift();
    return await bed.open({ env });
  };
  const heart = new Heart({ env, stores, openCore });
  cleanup.push(heart);
  return { heart, bed, env };
}

describe('a heart', () => {
  it('waits while the home does not answer, and beats when it does', async () => {
    const away = () => new HoldfastError('HF_UNAVAILABLE', 'the home is away');
    const { heart, env } = heartOver([away(), away(), new HoldfastError('HF_UNKNOWN_OUTCOME')]);
    await heart.open();
    expect(heart.core).toBeUndefined();
    expect(heart.waitsFor).toBe('the home is away');
    const refused = (): unknown => heart.needCore();
    expect(refused).toThrow(/the node waits: the home is away/);
    const code = await Promise.resolve().then(refused).catch(errorCode);
    expect(code).toBe('HF_UNAVAILABLE');
    for (let i = 0; i < 100 && !heart.core; i++) await env.clock.sleep(1000);
    expect(heart.waitsFor).toBeUndefined();
    expect(heart.needCore().volumes.records).toHaveLength(1);
  });

  it('does not wait for what will not come', async () => {
    const { heart } = heartOver([new HoldfastError('HF_WRONG_KEY')]);
    expect(await heart.open().catch(errorCode)).toBe('HF_WRONG_KEY');
    expect(heart.core).toBeUndefined();
  });

  it('ends while it waits', async () => {
    const { heart } = heartOver(Array(1000).fill(new HoldfastError('HF_UNAVAILABLE')));
    await heart.open();
    await heart[Symbol.asyncDispose]();
    expect(heart.core).toBeUndefined();
  });
});
