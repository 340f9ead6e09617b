/**
 * Aim: never more is asked of a node than it serves, one store leaves room for the others, and who
 * gives up takes nothing along. Method: turns taken and given back by hand.
 */
import { expect, it } from 'vitest';
import { type DeviceId, errorCode, LIMITS } from '../base/index.ts';
import { PeerTurns } from './index.ts';

const [one, two, three] = ['1', '2', '3'] as unknown as DeviceId[];
const { callsPerPeerMax, callsPerStoreMax } = LIMITS;

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

/** Asks for turns; those that came are in `had`. */
function asking(turns: PeerTurns, store: DeviceId, count: number): Disposable[] {
  const had: Disposable[] = [];
  for (let i = 0; i < count; i++) void turns.take(store).then((turn) => had.push(turn));
  return had;
}

it('gives a store its share, all stores together no more than the node serves', async () => {
  const turns = new PeerTurns();
  const ofOne = asking(turns, one!, 1000);
  const ofTwo = asking(turns, two!, 1000);
  const ofThree = asking(turns, three!, 1);
  await settle();
  expect(ofOne.length).toBe(callsPerStoreMax);
  expect(ofTwo.length).toBe(callsPerPeerMax - callsPerStoreMax);
  expect(ofThree.length).toBe(0);
  for (const all of [ofOne, ofTwo]) {
    for (let turn = all.shift(); turn; turn = all.shift()) {
      turn[Symbol.dispose]();
      await settle();
      expect(ofOne.length + ofTwo.length + ofThree.length).toBeLessThanOrEqual(callsPerPeerMax);
    }
  }
  await settle();
  expect(ofThree.length).toBe(1);
});

it('lets go of who gives up, and of the turn that would have been his', async () => {
  const turns = new PeerTurns();
  const [first, ...others] = await Promise.all(
    Array.from({ length: callsPerStoreMax }, () => turns.take(one!)),
  );
  const abort = new AbortController();
  const given = turns.take(one!, abort.signal).catch(errorCode);
  const next = turns.take(one!);
  abort.abort();
  expect(await given).toBe('HF_INTERRUPTED');
  expect(await turns.take(two!, abort.signal).catch(errorCode)).toBe('HF_INTERRUPTED');
  first![Symbol.dispose]();
  for (const turn of [await next, ...others]) turn[Symbol.dispose]();
  const again = asking(turns, one!, callsPerStoreMax);
  await settle();
  expect(again.length).toBe(callsPerStoreMax);
});
