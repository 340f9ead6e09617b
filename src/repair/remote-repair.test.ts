/**
 * Aim: repair asked for on another node is the same repair: answers, progress, errors, cancelling;
 * every call ends, however the network fails. Method: a repair made for the test, served over the
 * network in memory, with virtual time; hostile requests made by hand.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RemoteBed } from '../../test/suites/remote-bed.ts';
import { errorCode, HoldfastError, STRIPE_ID_BYTES, type StripeId } from '../base/index.ts';
import type { Network } from '../net/index.ts';
import {
  type Progress,
  type Repair,
  remoteRepair,
  type RepairStatus,
  type RunOptions,
  type ServedRepair,
  serveRepair,
} from './index.ts';

const STATUS: RepairStatus = {
  activity: 'repair',
  isWaiting: true,
  startedAtMs: 7,
  doneCount: 1,
  totalCount: 2,
  doneBytes: 3,
  totalBytes: 4,
  bytesPerSecond: 5,
  leftMs: 6,
  stripesAtRisk: 8,
  bytesAtRisk: 9,
  wholeGroups: 10,
  groupCount: 4096,
};
const HEALTH = {
  stripes: { ok: 1, degraded: 2, lost: 3 },
  bySpare: { '-1': 3, '0': 2 },
  misplaced: 4,
  unnamedChunks: 5,
  badChunks: 6,
};
const SCRUB = { checked: 1, bad: 2, checkedBytes: 3, mended: 4, failedStores: ['a'] };
const REPAIRED = { repaired: 1, incomplete: 2, skipped: 3, lost: 4, writtenBytes: 2 ** 40 };
const COLLECTED = { releases: 1, strays: 2, deletedStripes: 3, deletedChunks: 4 };
const DAY_MS = 24 * 3_600_000;

/** Answers what the tests expect, and notes what it was asked. */
class NotingRepair implements Repair {
  readonly asked: unknown[] = [];
  /** Stands before every answer. */
  before: (run: RunOptions) => Promise<void> = async () => {};

  async #answer<Answer>(asked: unknown, answer: Answer, run: RunOptions = {}): Promise<Answer> {
    this.asked.push(asked);
    await this.before(run);
    return answer;
  }

  scrub = (run?: RunOptions) => this.#answer('scrub', SCRUB, run);
  health = (run?: RunOptions) => this.#answer('health', HEALTH, run);
  status = () => this.#answer('status', STATUS);
  repair: Repair['repair'] = ({ isAutomatic, rateBytesPerSecond, ...run } = {}) =>
    this.#answer(['repair', isAutomatic, rateBytesPerSecond], REPAIRED, run);
  collect: Repair['collect'] = ({ graceMs, ...run }) =>
    this.#answer(['collect', graceMs], COLLECTED, run);
  release: Repair['release'] = (volume, { inode }) =>
    this.#answer(['release', volume, inode], undefined);
  releaseLoose: Repair['releaseLoose'] = (volume, inode) =>
    this.#answer(['releaseLoose', volume, inode], undefined);
  abandon: Repair['abandon'] = (volume, inode, stripes) =>
    this.#answer(['abandon', volume, inode, stripes.length], undefined);
}

describe('repair on another node', () => {
  let bed: RemoteBed;
  let served: NotingRepair;
  let isSteward: boolean;
  let mayAsk: boolean;
  let remote: Repair;
  let serving: ServedRepair;

  function serve(server: Network, { env }: RemoteBed): void {
    const options = { clock: env.clock, mayAsk: () => mayAsk };
    serving = serveRepair(server, () => (isSteward ? served : undefined), options);
  }

  beforeEach(async () => {
    [isSteward, mayAsk] = [true, true];
    served = new NotingRepair();
    bed = await RemoteBed.open(serve);
    const { asker: network, server } = bed;
    remote = remoteRepair({ network, steward: () => server.self });
  });

  afterEach(async () => {
    await bed[Symbol.asyncDispose]();
  });

  it('answers as the repair there does', async () => {
    const stripes = Array.from({ length: 20_000 }, () => new Uint8Array(STRIPE_ID_BYTES));
    expect(await remote.scrub()).toEqual(SCRUB);
    expect(await remote.health()).toEqual(HEALTH);
    expect(await remote.status()).toEqual(STATUS);
    expect(await remote.repair()).toEqual(REPAIRED);
    expect(await remote.repair({ isAutomatic: true, rateBytesPerSecond: 1e6 })).toEqual(REPAIRED);
    expect(await remote.collect({ graceMs: DAY_MS })).toEqual(COLLECTED);
    await remote.release('v', { inode: 2n ** 64n - 1n });
    await remote.releaseLoose('v', 7n);
    await remote.abandon('v', 5n, []);
    await remote.abandon('v', 6n, stripes as StripeId[]);
    expect(served.asked).toEqual([
      'scrub',
      'health',
      'status',
      ['repair', undefined, undefined],
      ['repair', true, 1e6],
      ['collect', DAY_MS],
      ['release', 'v', 2n ** 64n - 1n],
      ['releaseLoose', 'v', 7n],
      ['abandon', 'v', 5n, 0],
      ['abandon', 'v', 6n, 16_384],
      ['abandon', 'v', 6n, 20_000 - 16_384],
    ]);
  });

  it('takes hours where hours are needed, and tells how far it is', async () => {
    const { clock } = bed.env;
    served.before = async ({ onProgress }) => {
      for (let hour = 1; hour <= 3; hour++) {
        await clock.sleep(3_600_000);
        onProgress?.({ doneCount: hour, totalCount: 3, bytes: hour * 2 ** 40 });
      }
    };
    const news: Progress[] = [];
    const onProgress = (progress: Progress): void => void news.push(progress);
    const startMs = clock.monotonic();
    expect(await remote.repair({ onProgress })).toEqual(REPAIRED);
    expect(clock.monotonic() - startMs).toBeGreaterThanOrEqual(3 * 3_600_000);
    expect(new Set(news.map(({ doneCount }) => doneCount))).toEqual(new Set([1, 2, 3]));
    expect(news.at(-1)).toEqual({ doneCount: 3, totalCount: 3, bytes: 3 * 2 ** 40 });
  }, 20_000);

  it('is cancelled where it runs', async () => {
    const caller = new AbortController();
    const over = Promise.withResolvers<void>();
    served.before = async ({ signal }) => {
      signal!.addEventListener('abort', () => over.resolve());
      caller.abort();
      await over.promise;
      throw new HoldfastError('HF_INTERRUPTED');
    };
    const run = remote.repair({ signal: caller.signal });
    await expect(run).rejects.toMatchObject({ code: 'HF_INTERRUPTED' });
    await over.promise;
    await expect(remote.health({ signal: caller.signal })).rejects.toMatchObject({
      code: 'HF_INTERRUPTED',
    });
  });

  it.each(['HF_TOO_FEW_STORES', 'HF_CORRUPT', 'HF_NOT_FOUND'] as const)(
    'fails with the error of the repair there: %s',
    async (code) => {
      served.before = async () => {
        throw new HoldfastError(code, 'as told');
      };
      const failed = remote.health();
      await expect(failed).rejects.toMatchObject({ code, message: 'as told' });
      await expect(remote.release('v', { inode: 1n })).rejects.toMatchObject({ code });
      expect(served.asked).toHaveLength(2); // what was answered is not asked again
    },
  );

  it('says so when nobody repairs, or the node that does is away', async () => {
    isSteward = false;
    await expect(remote.health()).rejects.toMatchObject({ code: 'HF_UNAVAILABLE' });
    const nobody = remoteRepair({ network: bed.asker, steward: () => undefined });
    await expect(nobody.repair()).rejects.toMatchObject({ code: 'HF_UNAVAILABLE' });
    const whyNobody = () => 'no majority answers';
    const cut = remoteRepair({ network: bed.asker, steward: () => undefined, whyNobody });
    await expect(cut.health()).rejects.toThrow('which node repairs: no majority answers');
    await bed.killServer();
    const { self } = bed.server;
    await expect(remote.repair()).rejects.toMatchObject({
      code: 'HF_UNAVAILABLE',
      message: expect.stringContaining(self) as string,
    });
  });

  it.each(['stalls', 'dies'] as const)('ends when the other node %s', async (how) => {
    const begun = Promise.withResolvers<void>();
    served.before = async () => {
      begun.resolve();
      await new Promise<void>(() => {});
    };
    const startMs = bed.env.clock.monotonic();
    const code = remote.repair().then(
      () => 'done',
      (error: unknown) => errorCode(error),
    );
    await begun.promise;
    if (how === 'dies') bed.net.cut(bed.server.self);
    else bed.net.partition(() => true);
    expect(await code).toBe('HF_UNAVAILABLE');
    expect(bed.env.clock.monotonic() - startMs).toBeLessThan(60_000);
  });

  it('asks a release once more that nobody answered', async () => {
    let calls = 0;
    served.before = async () => {
      calls += 1;
      if (calls === 1) throw new HoldfastError('HF_UNAVAILABLE');
    };
    await remote.release('v', { inode: 9n });
    expect(served.asked).toEqual([
      ['release', 'v', 9n],
      ['release', 'v', 9n],
    ]);
  });

  it('does a few runs of a node at once, and ends them when it is told to', async () => {
    served.before = async ({ signal }) => await bed.env.clock.sleep(DAY_MS, { signal });
    const runs = Array.from({ length: 6 }, () => remote.scrub().catch(errorCode));
    const quick = async (): Promise<unknown> => {
      const codes = await Promise.all([runs[4], runs[5]]);
      served.before = async () => {};
      return [codes, await remote.release('v', { inode: 1n })];
    };
    expect(await quick()).toEqual([['HF_BUSY', 'HF_BUSY'], undefined]);
    const startMs = bed.env.clock.monotonic();
    await serving.endRuns();
    expect(new Set(await Promise.all(runs.slice(0, 4)))).toEqual(new Set(['HF_UNAVAILABLE']));
    expect(bed.env.clock.monotonic() - startMs).toBeLessThan(60_000);
    expect(await remote.health()).toEqual(HEALTH);
  });

  it('refuses who may not ask, and what makes no sense', async () => {
    mayAsk = false;
    await expect(remote.health()).rejects.toMatchObject({ code: 'HF_DENIED' });
    mayAsk = true;
    const ask = async (method: string, arg: unknown): Promise<unknown> => {
      const { asker, server } = bed;
      const opened = await asker.open(server.self, `repair/${method}`, arg, { deadlineMs: 1000 });
      opened.stream.resume().end();
      return await opened.reply.catch((error: unknown) => errorCode(error));
    };
    for (const [method, arg] of [
      ['collect', { graceMs: 0 }],
      ['collect', {}],
      ['repair', { rateBytesPerSecond: 0 }],
      ['release', { volume: 'v', inode: '-1' }],
      ['release', { volume: 'v', inode: String(2n ** 64n) }],
      ['release', { volume: '', inode: '1' }],
      ['abandon', { volume: 'v', inode: '1', stripes: [new Uint8Array(3)] }],
      ['health', 'x'],
    ] as const) {
      expect(await ask(method, arg)).toBe('HF_BAD_ARGUMENT');
    }
    expect(served.asked).toEqual([]);
    expect(await ask('health', {})).toEqual(HEALTH);
  });
});
