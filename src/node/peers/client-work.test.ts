/**
 * Aim: repair that nobody waits for knows when clients wait. Method: content that is asked for by
 * other nodes through handlers in this process; a core whose repair asks.
 */
import { describe, expect, it } from 'vitest';
import type { Network } from '../../net/index.ts';
import { bytesOf, CoreBed, rs42, streamOf } from '../../../test/suites/store-bed.ts';
import { ClientWork } from './client-work.ts';

type Handler = (arg: unknown, context: unknown) => unknown;

describe('the work of clients', () => {
  it('is under way while any of it is', () => {
    const work = new ClientWork();
    const first = work.begin();
    const second = work.begin();
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    expect(work.isUnderWay).toBe(true);
    second[Symbol.dispose]();
    expect(work.isUnderWay).toBe(false);
  });

  it('is what other nodes put and get here, until it is answered, and nothing else', async () => {
    const work = new ClientWork();
    const handlers = new Map<string, Handler>();
    const network = {
      handle: (method: string, _: object, handler: Handler) => void handlers.set(method, handler),
    } as unknown as Pick<Network, 'handle'>;
    const answer = Promise.withResolvers<string>();
    for (const method of ['store/get-stream', 'store/usage']) {
      work.counting(network).handle(method, {}, () => answer.promise);
    }
    const asked = handlers.get('store/usage')!(null, {});
    expect(work.isUnderWay).toBe(false);
    const got = handlers.get('store/get-stream')!(null, {});
    expect(work.isUnderWay).toBe(true);
    answer.resolve('bytes');
    expect([await asked, await got]).toEqual(['bytes', 'bytes']);
    expect(work.isUnderWay).toBe(false);
  });
});

it('repair asks for it when nobody waits for the repair, and only then', async () => {
  const bed = new CoreBed(6);
  let askedCount = 0;
  await using core = await bed.open({ isBusy: () => ++askedCount < 0 });
  await core.volumes.create({ name: 'v', policy: [rs42], isDeduplicating: true });
  const [store] = bed.bed.stores;
  for (const isAutomatic of [false, true]) {
    bed.bed.away.add(store!);
    const key = String(isAutomatic);
    await core.volumes.objects('v').put(streamOf(bytesOf(200_000, key.length)), { key });
    bed.bed.away.clear();
    askedCount = 0;
    expect((await core.repair.repair({ isAutomatic })).repaired).toBeGreaterThan(0);
    expect(askedCount > 0).toBe(isAutomatic);
  }
});
