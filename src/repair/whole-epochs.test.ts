/**
 * Aim: stores hear which groups are whole from the steward and from nobody else, and what they have
 * heard never goes back. Method: two nodes on the network in memory; hostile calls by hand.
 */
import { expect, it } from 'vitest';
import { RemoteBed } from '../../test/suites/remote-bed.ts';
import { errorCode, GROUP_COUNT } from '../base/index.ts';
import { serveWholeEpochs, tellWhole, WholeEpochs } from './index.ts';

it('tells which groups are whole, and at which epoch', async () => {
  const epochs = new WholeEpochs();
  let maySay = true;
  await using bed = await RemoteBed.open((server) =>
    serveWholeEpochs(server, epochs, { maySay: () => maySay }),
  );
  const { asker, server } = bed;
  const oldest = (): number[] => Array.from({ length: GROUP_COUNT }, (_, g) => epochs.oldest(g));
  await tellWhole(asker, [server.self], { groups: [0, 7, 8, 4095], epoch: 5 });
  await tellWhole(asker, [server.self], { groups: [7], epoch: 4 });
  await tellWhole(asker, [server.self], { groups: [8], epoch: 6 });
  const expected = Array.from({ length: GROUP_COUNT }, () => 0);
  [expected[0], expected[7], expected[8], expected[4095]] = [5, 5, 6, 5];
  expect(oldest()).toEqual(expected);

  // Neither a stranger's word nor nonsense counts, and who cannot hear holds up nobody.
  maySay = false;
  await tellWhole(asker, [server.self], { groups: [1], epoch: 9 });
  maySay = true;
  for (const arg of [null, { groups: new Uint8Array(3), epoch: 9 }, { epoch: 9 }]) {
    const call = asker.call(server.self, 'repair/whole', arg, { deadlineMs: 1000 });
    expect(await call.catch((error: unknown) => errorCode(error))).toBe('HF_BAD_ARGUMENT');
  }
  await bed.killServer();
  await tellWhole(asker, [server.self], { groups: [1], epoch: 9 });
  expect(oldest()).toEqual(expected);
});
