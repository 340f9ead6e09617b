/**
 * Aim: whatever part of a steward's ways is cut, another serves within five seconds; and nodes that
 * do not hear each other do not take a cell from each other without end. Method: hosts in one
 * process on virtual time; how long each client waits for its next answer, and how often the cell
 * is seized.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { changedLog } from '../../../test/suites/changed-log.ts';
import { HostingBed, VOLUME } from '../../../test/suites/hosting-bed.ts';
import { errorCode } from '../../base/index.ts';
import { spaceOfVolume } from '../index.ts';
import { withMembers, withSplit } from './cell-map.ts';

const SPACE = spaceOfVolume(VOLUME);
const PROMISE_MS = 5000;

let bed: HostingBed;
const stopping: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const stop of stopping.splice(0)) await stop();
  await bed[Symbol.asyncDispose]();
});

async function openBed(count: number, options = {}): Promise<void> {
  bed = await HostingBed.open(count, options);
  await bed.pin(SPACE, 1, 2, 3);
  await bed.until(() => bed.stewards(SPACE)[0] === 1);
  await bed.env.clock.sleep(5000);
}

/** Changes something all the time by one host. */
function worker(number: number, pauseMs = 20) {
  const { clock } = bed.env;
  const seen = { count: 0, longestMs: 0, lastMs: clock.monotonic() };
  let isOver = false;
  const running = (async () => {
    while (!isOver) {
      const { namespace } = bed.host(number);
      const error = await namespace.allocateInodes(1).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      if (error !== undefined && errorCode(error) === undefined) throw error;
      if (error === undefined) {
        const nowMs = clock.monotonic();
        seen.longestMs = Math.max(seen.longestMs, nowMs - seen.lastMs);
        seen.lastMs = nowMs;
        seen.count += 1;
      }
      await clock.sleep(pauseMs);
    }
  })();
  stopping.push(async () => {
    isOver = true;
    await running;
  });
  return seen;
}

async function epochOf(): Promise<number> {
  return (await bed.host(3).hosting.where(SPACE, 0)).standing?.epoch ?? 0;
}

describe.each([
  { hasEtcd: false, seed: 1 },
  { hasEtcd: true, seed: 2 },
  { hasEtcd: true, seed: 3 },
])('another serves within five seconds ($hasEtcd, seed $seed)', (options) => {
  it('when the steward does not reach the log, also for who works at its node', async () => {
    await openBed(4, options);
    const workers = [1, 3, 4].map((number) => worker(number, 50));
    await bed.env.clock.sleep(2000);
    bed.silenceMs = options.seed * 2000;
    bed.cutOff.add(1);
    await bed.env.clock.sleep(20_000);
    bed.cutOff.delete(1);
    await bed.until(() => bed.stewards(SPACE)[0] === 1);
    await bed.env.clock.sleep(2000);
    for (const seen of workers) {
      expect(seen.longestMs).toBeLessThan(PROMISE_MS);
      expect(bed.env.clock.monotonic() - seen.lastMs).toBeLessThan(1000);
    }
    expect(await epochOf()).toBeLessThan(6);
  });

  it('when nobody hears the steward', async () => {
    await openBed(5, options);
    const workers = [4, 5].map((number) => worker(number, 50));
    await bed.env.clock.sleep(2000);
    bed.part(1);
    await bed.env.clock.sleep(20_000);
    for (const seen of workers) expect(seen.longestMs).toBeLessThan(PROMISE_MS);
  });

  it('when its node is killed', async () => {
    await openBed(4, options);
    const seen = worker(4);
    await bed.env.clock.sleep(2000);
    await bed.kill(1);
    await bed.env.clock.sleep(10_000);
    expect(seen.longestMs).toBeLessThan(PROMISE_MS);
  });
});

describe('while no log answers anybody', () => {
  /** As long as an election takes. */
  async function election(): Promise<void> {
    for (const { number } of bed.hosts) bed.cutOff.add(number);
    await bed.env.clock.sleep(3000);
    bed.cutOff.clear();
  }

  it('and the steward dies, another serves within ten seconds', async () => {
    await openBed(4, { hasEtcd: true });
    const seen = worker(4);
    await bed.env.clock.sleep(2000);
    const killing = bed.kill(1);
    await election();
    await killing;
    await bed.env.clock.sleep(15_000);
    expect(seen.longestMs).toBeLessThan(2 * PROMISE_MS);
  });

  it('and nobody dies, the steward of before goes on', async () => {
    await openBed(4, { hasEtcd: true });
    await bed.env.clock.sleep(2000);
    const before = await epochOf();
    await election();
    await bed.env.clock.sleep(15_000);
    expect(bed.stewards(SPACE)).toEqual([1]);
    expect(await epochOf()).toBe(before);
  });
});

describe('nobody takes a cell in turns', () => {
  it('where two members do not hear each other and all others hear both', async () => {
    await openBed(5);
    const workers = [1, 2, 3, 4].map((number) => worker(number, 200));
    await bed.env.clock.sleep(2000);
    const before = await epochOf();
    bed.partPair(1, 2);
    await bed.env.clock.sleep(120_000);
    expect((await epochOf()) - before).toBeLessThan(20);
    expect(Math.min(...workers.map(({ count }) => count))).toBeGreaterThan(100);
  });

  it('where each side of a parted network reaches the log', async () => {
    await openBed(5);
    const near = worker(1, 200);
    const far = worker(4, 200);
    await bed.env.clock.sleep(2000);
    bed.part(1);
    const before = await epochOf();
    await bed.env.clock.sleep(120_000);
    expect((await epochOf()) - before).toBeLessThan(10);
    expect(far.longestMs).toBeLessThan(PROMISE_MS);
    bed.net.heal();
    const { count } = near;
    await bed.until(() => near.count > count + 10); // the network takes its time to link again
  });

  it('where the first member cannot open its rows', async () => {
    await openBed(4);
    await bed.kill(1);
    bed.broken.add(`1/${SPACE}`);
    await bed.start(1);
    const seen = worker(4, 200);
    await bed.env.clock.sleep(5000);
    const before = await epochOf();
    await bed.env.clock.sleep(120_000);
    expect((await epochOf()) - before).toBeLessThan(6);
    expect(seen.longestMs).toBeLessThan(PROMISE_MS);
  });
});

it('a node ends although slots are on their way to a cell that nobody serves', async () => {
  await openBed(5);
  const { maps } = bed.host(1).hosting;
  await bed.kill(5);
  const map = await maps.read(SPACE);
  await maps.replace(
    map,
    withSplit(
      map,
      SPACE,
      [bed.host(1).node].map(() => goneNode()),
    ),
  );
  await bed.env.clock.sleep(3000);
  let isEnded = false;
  const ending = bed.stop(1).then(() => (isEnded = true));
  await bed.until(() => isEnded, 20_000);
  await ending;
});

function goneNode() {
  return 'f'.repeat(32) as ReturnType<typeof bed.host>['node'];
}

it('a steward that says more of itself than the log knows keeps nobody busy', async () => {
  await openBed(3);
  const carried = bed.host(2).hosting.carrier!.get(SPACE)!;
  const before = bed.asked.log;
  for (let count = 0; count < 5; count++) {
    carried.nudge(1e9);
    await bed.env.clock.sleep(200);
  }
  await bed.env.clock.sleep(5000);
  expect(bed.asked.log - before).toBeLessThan(40);
});

it('rows that know more than the log are not dropped', async () => {
  let isShort = false;
  bed = await HostingBed.open(3, {
    wrapLog: (log, number) =>
      changedLog(log, {
        head: async (cell) => ({
          ...(await log.head(cell)),
          ...(isShort && number === 2 ? { lsn: 0 } : {}),
        }),
      }),
  });
  await bed.pin(SPACE, 1, 2);
  const { namespace, hosting } = bed.host(1);
  await bed.until(() => bed.stewards(SPACE)[0] === 1);
  await namespace.allocateInodes(1);
  await bed.until(() => (bed.host(2).hosting.carrier?.get(SPACE)?.lsn ?? 0) > 0);
  isShort = true;
  const map = await hosting.maps.read(SPACE);
  await hosting.maps.replace(map, withMembers(map, SPACE, [bed.host(1).node]));
  await bed.env.clock.sleep(10_000);
  expect(bed.dropped).toEqual([]);
  isShort = false;
  await bed.until(() => bed.dropped.includes(`2/${SPACE}`), 100_000);
});
