/**
 * Aim: bounds are kept, order is kept, failures neither vanish nor leave work running.
 * Method: work that is finished by hand or yields a random number of times.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  batchesOf,
  KeyedLock,
  mapBounded,
  Mutex,
  Semaphore,
  throwIfAborted,
  UnderWay,
} from './concurrency.ts';

/** Lets other work go on `times` times. */
async function pause(times: number): Promise<void> {
  for (let i = 0; i < times; i++) await Promise.resolve();
}

describe('mapBounded', () => {
  it('keeps the order of results and at most `limit` at work', async () => {
    const pauses = fc.array(fc.nat({ max: 9 }), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(pauses, fc.integer({ min: 1, max: 8 }), async (items, limit) => {
        let running = 0;
        let runningMax = 0;
        const results = await mapBounded(items, limit, async (times, index) => {
          running += 1;
          runningMax = Math.max(runningMax, running);
          await pause(times);
          running -= 1;
          return [times, index];
        });
        expect(results).toEqual(items.map((times, index) => [times, index]));
        expect(runningMax).toBe(Math.min(limit, items.length));
      }),
    );
  });

  it('throws the first failure once what was started has settled, and starts no more', async () => {
    const started: number[] = [];
    const settled: number[] = [];
    const work = mapBounded([0, 1, 2, 3, 4], 2, async (item) => {
      started.push(item);
      if (item === 0) throw new Error('first');
      await pause(20);
      settled.push(item);
      if (item === 1) throw new Error('second');
    });
    await expect(work).rejects.toThrow('first');
    expect(started).toEqual([0, 1]);
    expect(settled).toEqual([1]);
  });

  it('throws what is not an error as well, undefined included', async () => {
    const outcome = mapBounded([1], 1, () => Promise.reject(undefined)).then(
      () => 'resolved',
      () => 'rejected',
    );
    expect(await outcome).toBe('rejected');
  });

  it('asserts a limit', async () => {
    await expect(mapBounded([1], 0, async () => 1)).rejects.toThrow('must hold');
  });
});

describe('Semaphore', () => {
  it('serves those who wait in their order, and never more than its permits', async () => {
    const semaphore = new Semaphore(2);
    const order: number[] = [];
    let running = 0;
    const work = Array.from({ length: 10 }, (_, index) =>
      semaphore.run(async () => {
        order.push(index);
        running += 1;
        expect(running).toBeLessThanOrEqual(2);
        await pause(index % 3);
        running -= 1;
      }),
    );
    await Promise.all(work);
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('does not let a late comer pass one who was woken', async () => {
    const mutex = new Mutex();
    const order: string[] = [];
    const release = await mutex.acquire();
    const early = mutex.run(async () => order.push('early'));
    release();
    const late = mutex.run(async () => order.push('late'));
    await Promise.all([early, late]);
    expect(order).toEqual(['early', 'late']);
  });

  it('gives the permit back when the work fails', async () => {
    const mutex = new Mutex();
    await expect(mutex.run(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await mutex.run(async () => 'next')).toBe('next');
  });

  it('asserts that a permit is given back once', async () => {
    const release = await new Semaphore(1).acquire();
    release();
    expect(release).toThrow('given back once');
    expect(() => new Semaphore(0)).toThrow('must hold');
  });
});

describe('KeyedLock', () => {
  it('lets one in for each key, and the next when it has gone', async () => {
    const lock = new KeyedLock();
    const [one, two] = [Uint8Array.of(1), Uint8Array.of(2)];
    const order: string[] = [];
    const first = await lock.acquire(one);
    const second = lock.acquire(Uint8Array.of(1)).then((held) => {
      order.push('second');
      return held;
    });
    using _other = await lock.acquire(two);
    order.push('other key');
    first[Symbol.dispose]();
    using _second = await second;
    expect(order).toEqual(['other key', 'second']);
  });
});

it('UnderWay waits for what began before, and for nothing else', async () => {
  const underWay = new UnderWay();
  const [good, bad, later] = [1, 2, 3].map(() => Promise.withResolvers<number>());
  const works = [good!, bad!].map(({ promise }) => underWay.run(() => promise));
  let isSettled = false;
  const settled = underWay.settled().then(() => (isSettled = true));
  void underWay.run(() => later!.promise);
  good!.resolve(1);
  await pause(20);
  expect(isSettled).toBe(false);
  bad!.reject(new Error('bad'));
  await settled;
  expect(await Promise.allSettled(works)).toMatchObject([{ value: 1 }, { status: 'rejected' }]);
});

it('batchesOf cuts a list and loses nothing', () => {
  expect([...batchesOf([1, 2, 3, 4, 5], 2)]).toEqual([[1, 2], [3, 4], [5]]);
  expect([...batchesOf([], 2)]).toEqual([]);
  expect(() => [...batchesOf([1], 0)]).toThrow('must hold');
});

it('throwIfAborted throws HF_INTERRUPTED with the reason as its cause', () => {
  throwIfAborted(undefined);
  throwIfAborted(new AbortController().signal);
  expect(() => throwIfAborted(AbortSignal.abort('enough'))).toThrow(
    expect.objectContaining({ code: 'HF_INTERRUPTED', cause: 'enough' }),
  );
});
