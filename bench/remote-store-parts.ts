/** What both processes of bench/remote-store.ts are made of. */
import { type ClusterId, type DeviceId, MiB } from '../src/base/index.ts';
import { MemoryDevice } from '../src/device/index.ts';
import type { Env } from '../src/env/index.ts';
import { type ChunkStore, formatStore, openStore } from '../src/store/index.ts';

const clusterId = 'c'.repeat(32) as ClusterId;

export interface BenchStorePorts {
  readonly address: string;
  readonly device: DeviceId;
}

/** A store on a device in memory: what is measured is the way there, not a disk. */
export async function openBenchStore(env: Env): Promise<ChunkStore> {
  const device = new MemoryDevice({ sizeBytes: 512 * MiB, name: 'bench' });
  await formatStore({ env, device, clusterId });
  return await openStore({ env, device, clusterId });
}
