/**
 * Aim: a bit that rots anywhere never gives wrong bytes, never costs a second chunk, and no chunk
 * goes missing unless the mount says that some may be; the same for whole blocks that are zeroed,
 * swapped, overwritten by mistake, or older than they should be.
 * Method: test/crash/rot.ts on one image with everything a store has, sealed and not closed: in
 * each trial something is damaged, by turns in each kind of block, the store is opened and every
 * chunk read. `npm run crash -- --rot 10000` makes more trials.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { DAMAGES, runTrial, type TrialResult } from '../../test/crash/rot.ts';
import { makeRotImage, type RotImage, type Zone, ZONES } from '../../test/crash/rot-image.ts';
import { testEnv } from '../../test/suites/store-fixtures.ts';
import { bytesEqual } from '../base/index.ts';
import { SimulatedDevice } from '../device/index.ts';
import { openStore } from './index.ts';

const BITS_PER_ZONE = 130;
const OTHERS_PER_ZONE = 8;

describe('extent store, rot', () => {
  let image: RotImage;

  beforeAll(async () => {
    image = await makeRotImage();
  });

  async function bitTrials(zone: Zone): Promise<TrialResult[]> {
    const results: TrialResult[] = [];
    for (let trial = 1; trial <= BITS_PER_ZONE; trial++) {
      results.push(await runTrial(image, { damage: 'bit', zone, trial }));
    }
    return results;
  }

  it('has an image with all that can rot', () => {
    for (const zone of ZONES) expect(image.zones[zone].length, zone).toBeGreaterThan(0);
    expect(image.zones.footers.length).toBeGreaterThan(5);
    expect(image.scattered).toBeGreaterThan(1);
    expect(image.description.journalUsedBlocks).toBeGreaterThan(10);
    expect(image.removed.length).toBeGreaterThan(10);
  });

  for (const zone of ZONES) {
    it(`gives no wrong bytes and loses nothing silently to a bit: ${zone}`, async () => {
      const results = await bitTrials(zone);
      const failed = results.filter(({ violations }) => violations.length > 0);
      expect(failed).toEqual([]);
      // The test bites: some bits do cost something.
      const badCount = results.filter((result) => result.badCount > 0).length;
      const reported = results.filter((result) => result.isDamageReported).length;
      if (zone === 'data' || zone === 'footers')
        expect(badCount).toBeGreaterThan(BITS_PER_ZONE / 4);
      if (zone === 'journal') expect(reported).toBeGreaterThan(BITS_PER_ZONE / 4);
      else if (zone !== 'anywhere') expect(reported).toBe(0);
    });
  }

  for (const damage of DAMAGES.filter((each) => each !== 'bit')) {
    it(`gives no wrong bytes and loses nothing silently to blocks: ${damage}`, async () => {
      for (const zone of ZONES) {
        for (let trial = 1; trial <= OTHERS_PER_ZONE; trial++) {
          const { violations, description } = await runTrial(image, { damage, zone, trial });
          expect(violations, description).toEqual([]);
        }
      }
    });
  }

  it('mends superblocks that have all rotted while it runs', async () => {
    const device = new SimulatedDevice({ media: image.media });
    const store = await openStore({ env: testEnv({ sleeps: false }), device });
    for (const block of image.zones.superblocks) device.flipBit(block * 4096 + 100, 3);
    const { findings } = await store.scrub();
    expect(findings).toEqual([{ kind: 'mended', what: '4 copies of the superblock' }]);
    const again = new SimulatedDevice({ media: device.powerOff().durable });
    const reopened = await openStore({ env: testEnv({ sleeps: false }), device: again });
    expect((await reopened.describe()).chunkCount).toBe(image.chunks.length);
  });

  it('goes on after a gap, and mounts without damage the next time', async () => {
    for (const block of image.zones.journal.slice(0, 6)) {
      const device = new SimulatedDevice({ media: image.media });
      device.flipBit(block * 4096 + 99, 1);
      const store = await openStore({ env: testEnv({ sleeps: false }), device });
      expect((await store.describe()).damage.length).toBeGreaterThan(0);
      for (const { id, bytes } of image.chunks) await store.put(id, bytes, { generation: 500 });
      const { durable: media } = device.powerOff();
      const again = await openStore({
        env: testEnv({ sleeps: false }),
        device: new SimulatedDevice({ media }),
      });
      const { damage, damagedAtMs } = await again.describe();
      expect(damage).toEqual([]);
      expect(damagedAtMs, 'nobody has said that it was dealt with').toBeGreaterThan(0);
      for (const { id, bytes } of image.chunks) {
        const read = await again.get(id);
        expect(read && bytesEqual(read, bytes)).toBe(true);
      }
    }
  });
});
