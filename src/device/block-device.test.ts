/**
 * Aim: every kind of device behaves as the suite says.
 * Method: the suite over memory, the simulated device, an image, a directory and a disk (a loop
 * device), the latter three with direct and with buffered transfers.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { realEnv } from '../env/index.ts';
import type { DeviceId } from '../base/index.ts';
import {
  blockDeviceSuite,
  SUITE_CAPACITY_BYTES,
  SUITE_SIZE_BYTES,
  type BlockDeviceHarness,
} from '../../test/suites/block-device.ts';
import { attachLoop, describeWithLoop } from '../../test/suites/loop-device.ts';
import { DirectoryDevice, ImageDevice, MemoryDevice, RawDevice, SimulatedDevice } from './index.ts';

const env = realEnv();

blockDeviceSuite('memory', {
  grows: true,
  makeHarness: async () => ({
    create: async () =>
      new MemoryDevice({ sizeBytes: SUITE_SIZE_BYTES, capacityBytes: SUITE_CAPACITY_BYTES }),
    async [Symbol.asyncDispose]() {},
  }),
});

blockDeviceSuite('simulated', {
  grows: true,
  makeHarness: async () => ({
    create: async () =>
      new SimulatedDevice({ sizeBytes: SUITE_SIZE_BYTES, capacityBytes: SUITE_CAPACITY_BYTES }),
    failFlush(device) {
      (device as SimulatedDevice).fault = ({ kind }) => (kind === 'flush' ? 'HF_IO' : undefined);
    },
    async [Symbol.asyncDispose]() {},
  }),
});

for (const direct of ['try', 'never'] as const) {
  blockDeviceSuite(`image, direct transfers: ${direct}`, {
    grows: false,
    makeHarness: () =>
      inFolder((folder) => {
        const options = { env, path: join(folder, 'image'), direct };
        return {
          create: () => ImageDevice.create({ ...options, sizeBytes: SUITE_SIZE_BYTES }),
          open: () => ImageDevice.open(options),
        };
      }),
  });

  blockDeviceSuite(`directory, direct transfers: ${direct}`, {
    grows: true,
    makeHarness: () =>
      inFolder((folder) => {
        const options = { env, path: join(folder, 'store'), direct };
        const uuid = Buffer.from(env.random.bytes(16)).toString('hex') as DeviceId;
        return {
          create: () =>
            DirectoryDevice.create({ ...options, uuid, capacityBytes: SUITE_CAPACITY_BYTES }),
          open: () => DirectoryDevice.open(options),
        };
      }),
  });
}

describeWithLoop('on loop devices', () => {
  for (const direct of ['try', 'never'] as const) {
    blockDeviceSuite(`raw, direct transfers: ${direct}`, {
      grows: false,
      makeHarness: async () => {
        const loop = await attachLoop({ sizeBytes: SUITE_SIZE_BYTES });
        const open = (): Promise<RawDevice> => RawDevice.open({ env, path: loop.path, direct });
        return { create: open, open, [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose]() };
      },
    });
  }
});

type FileHarness = Required<Pick<BlockDeviceHarness, 'create' | 'open'>>;

/** A harness in a folder of its own, which goes with it. */
async function inFolder(make: (folder: string) => FileHarness): Promise<BlockDeviceHarness> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-device-'));
  return {
    ...make(folder),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  };
}
