/** Aim: a record comes back as it was written; nonsense is refused; the newest is known. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errorCode, fromUtf8, type NodeId, utf8 } from '../../base/index.ts';
import { compareRings, decodeRing, encodeRing, type RingRecord } from './ring-record.ts';

const count = fc.integer({ min: 1, max: 2 ** 40 });
const id = fc.stringMatching(/^[0-9a-f]{32}$/) as fc.Arbitrary<NodeId>;
const state = fc.constantFrom('founder', 'joining', 'learner', 'member', 'leaving');
const ring = fc.record({
  generation: count,
  life: count,
  version: count,
  token: id,
  roundTripMs: fc.double({ min: 0, max: 1000, noNaN: true }).map(Math.abs),
  members: fc.uniqueArray(fc.record({ node: id, state, since: count }), {
    minLength: 1,
    maxLength: 7,
    selector: ({ node }) => node,
  }),
}) as fc.Arbitrary<RingRecord>;

const RING: RingRecord = {
  generation: 2,
  life: 1,
  version: 3,
  token: 'ab'.repeat(16),
  roundTripMs: 0.5,
  members: [{ node: '1'.repeat(32) as NodeId, state: 'member', since: 1 }],
};

describe('a record of the ring', () => {
  it('comes back as it was', () => {
    const isKept = (record: RingRecord): void => {
      expect(decodeRing(encodeRing(record))).toEqual(record);
    };
    fc.assert(fc.property(ring, isKept));
  });

  it('is refused when it says what cannot be', () => {
    const text = fromUtf8(encodeRing(RING));
    const [seat] = RING.members;
    const wrong = [
      '',
      text.slice(0, 40),
      text.replace('"format":1', '"format":2'),
      text.replace('member"', 'boss"'),
      text.replace('"life":1', '"life":0'),
      text.replace('1'.repeat(32), '../../etc/passwd'),
      JSON.stringify({ format: 1, ...RING, members: [] }),
      JSON.stringify({ format: 1, ...RING, members: [seat, seat] }),
      JSON.stringify({ format: 1, ...RING, more: 1 }),
    ];
    for (const one of wrong) {
      const code = (() => {
        try {
          return decodeRing(utf8(one));
        } catch (error) {
          return errorCode(error);
        }
      })();
      expect([one, code]).toEqual([one, 'HF_CORRUPT']);
    }
  });

  it('is newer by generation, then life, then version', () => {
    const rings = [
      { ...RING, generation: 1, life: 9, version: 9 },
      { ...RING, life: 1, version: 9 },
      { ...RING, life: 2, version: 4 },
      { ...RING, life: 2, version: 5 },
    ];
    expect(rings.toReversed().toSorted(compareRings)).toEqual(rings);
  });
});
