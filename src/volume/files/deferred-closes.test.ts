/**
 * Aim: whoever asks that closed files are stored waits until all are that were closed by then,
 * whoever began it and however many ask. Method: files that take a while, in virtual time.
 */
import { beforeEach, expect, it } from 'vitest';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import type { Env } from '../../env/index.ts';
import { Background } from '../background.ts';
import { DeferredCloses } from './deferred-closes.ts';

let env: Env;
let closes: DeferredCloses;
let stored: string[];

beforeEach(() => {
  env = virtualEnv(1);
  closes = new DeferredCloses({ env, background: new Background(env.log) });
  stored = [];
});

function file(name: string, ms = 10) {
  return {
    inode: 1n,
    async tryStore() {
      await env.clock.sleep(ms);
      return undefined;
    },
    async close() {
      stored.push(name);
    },
    async giveUp() {},
  };
}

it('waits for what others are storing, and for what was closed meanwhile', async () => {
  closes.add(file('first'));
  const first = closes.storeAll();
  closes.add(file('second'));
  const others = [closes.store([1n]), closes.store([1n]), closes.storeAll()];
  await Promise.race(others);
  expect(stored).toEqual(['first', 'second']);
  await Promise.all([first, ...others]);
});
