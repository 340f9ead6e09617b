/** Aim: answers say why, not only what. Method: views of results made up by hand. */
import { describe, expect, it } from 'vitest';
import type { NodeView } from '../api/index.ts';
import { type DeviceId, parseScheme, stripeId } from '../base/index.ts';
import { nodesAway, placeView } from './views.ts';

describe('placeView', () => {
  const placesOf = (storeCount: number) => ({
    encoding: 0,
    offset: 0,
    lengthBytes: 9,
    stripe: stripeId(new Uint8Array(28)),
    scheme: parseScheme('copy-4'),
    spareCount: storeCount - 1,
    shards: [0, 1, 2, 3].map((shardIndex) => {
      const device = `store ${shardIndex}` as DeviceId;
      const isHere = shardIndex < storeCount;
      const foundAt = isHere ? [device] : [];
      return { shardIndex, wantedAt: isHere ? device : undefined, foundAt, badAt: [] };
    }),
  });
  const relaxed = ['a rule'];

  it('says why shards are wanted nowhere', () => {
    expect(placeView(placesOf(4), { places: {}, relaxed }).relaxed).toEqual(relaxed);
    expect(placeView(placesOf(2), { places: {}, relaxed }).relaxed).toEqual([
      '2 shards have no place of their own (wanted -): copy-4 wants 4 stores, and fewer take ' +
        'shards; add stores',
      'a rule',
    ]);
  });
});

describe('nodesAway', () => {
  const id = '36c15d5a7050efbdb4347f84101a7994';
  const node = (name: string, state: NodeView['state']) =>
    ({ id, name, state, carriesNames: false, storeCount: 3 }) as Partial<NodeView> as NodeView;

  it('names who does not answer, by its id alone when that is all that is known', () => {
    expect(nodesAway([node('a', 'alive'), node('a', 'left'), node('a', 'replaced')])).toEqual([]);
    expect(nodesAway([node('a', 'suspect'), node('36c15d5a', 'dead')])).toEqual([
      'node a (36c15d5a) is suspect, with 3 stores',
      'node 36c15d5a is dead, with 3 stores',
    ]);
  });
});
