/**
 * Aim: a home that is gone is given up soon, and one that only has much to do is waited for.
 * Method: two nodes on a network in memory, in virtual time; the second one answers as late as it
 * is told.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { RemoteBed } from '../../../test/suites/remote-bed.ts';
import { errorCode, HoldfastError } from '../../base/index.ts';
import { HOME, HomeLink } from './home-link.ts';

/** How long the metadata is on its way in these tests. */
const MOVE_MS = 9000;

let bed: RemoteBed;
let link: HomeLink;

beforeEach(async () => {
  bed = await RemoteBed.open((server, { env: { clock } }) => {
    server.handle<unknown>('late', {}, async (ms) => {
      await clock.sleep(ms as number);
      return 'answer';
    });
    const movedAtMs = clock.monotonic() + MOVE_MS;
    server.handle('moving', {}, () => {
      if (clock.monotonic() >= movedAtMs) return 'there';
      throw new HoldfastError('HF_MOVED');
    });
  });
  link = new HomeLink(bed.asker, { clock: bed.env.clock, home: () => bed.server.self });
});
afterEach(async () => {
  await bed[Symbol.asyncDispose]();
});

/** What was answered within ten seconds, and after how long. */
async function ask(lateMs: number): Promise<[answer: unknown, ms: number]> {
  const { clock } = bed.env;
  const startMs = clock.monotonic();
  const answer = await link.call(HOME, 'late', lateMs, { deadlineMs: 10_000 }).catch(errorCode);
  return [answer, clock.monotonic() - startMs];
}

it('gives up a home that says nothing, the second time sooner, until it answers', async () => {
  const [first, firstMs] = await ask(1e6);
  expect([first, firstMs]).toEqual(['HF_UNAVAILABLE', 3500]);
  expect(await ask(1e6)).toEqual(['HF_UNAVAILABLE', 1000]);
  expect(link.links()).toEqual([]);
  expect((await ask(500))[0]).toBe('answer');
  expect(link.links()).toHaveLength(1);
  expect((await ask(3000))[0]).toBe('answer');
});

it('waits for one that answers others meanwhile, as long as the caller would', async () => {
  const slow = ask(8000);
  const never = ask(1e6);
  for (let i = 0; i < 6; i++) expect((await ask(2000))[0]).toBe('answer');
  expect((await slow)[0]).toBe('answer');
  expect((await never)[0]).toBe('HF_UNAVAILABLE');
  expect((await never)[1]).toBeGreaterThanOrEqual(10_000);
  expect(link.links()).toHaveLength(1);
});

it('asks again while the metadata moves', async () => {
  const { clock } = bed.env;
  const startMs = clock.monotonic();
  const options = { deadlineMs: 2000 };
  expect(await link.call(HOME, 'moving', null, options)).toBe('there');
  expect(clock.monotonic() - startMs).toBeLessThan(MOVE_MS + 1000);
});
