/**
 * A mount whose file system answers in the thread that opens it: one other thread reads from the
 * kernel, so that this one is woken once for each request, and replies by itself.
 *
 * So nothing in this thread may touch the mount synchronously: it would wait for itself.
 */
import { Worker } from 'node:worker_threads';
import { siblingModule } from '../../env/index.ts';
import type { FileSystem } from '../file-system.ts';
import {
  endOf,
  type Mount,
  openServedMount,
  type ServedMountOptions,
} from '../mounting/open-mount.ts';
import { type ServeBehaviour, serveMount } from '../serve-mount.ts';
import { Pump } from './pump.ts';
import { PumpMemory } from './pump-memory.ts';
import type { PumpOrder } from './pump-order.ts';

export interface PumpedMountOptions extends Omit<ServedMountOptions, 'serve'> {
  readonly behaviour?: ServeBehaviour | undefined;
  /** Stays the caller's; in use until the mount has ended. */
  readonly fileSystem: FileSystem;
}

/** @throws as openServedMount. */
export async function openPumpedMount(options: PumpedMountOptions): Promise<Mount> {
  const { env, fileSystem, behaviour } = options;
  return await openServedMount({
    ...options,
    serve(descriptor) {
      const memory = PumpMemory.make();
      const source = new Pump(memory, env.clock);
      const workerData: PumpOrder = { descriptor, shared: memory.shared };
      const worker = new Worker(siblingModule(import.meta.url, './pump-worker'), {
        workerData,
        trackUnmanagedFds: false, // this thread closes it
      });
      worker.on('message', () => void source.wake());
      const gone = endOf(worker).finally(() => source.end());
      const { ready, ended } = serveMount({ env, descriptor, fileSystem, source, behaviour });
      return { worker, ready, gone, ended: Promise.all([ended, gone]).then(() => undefined) };
    },
  });
}
