/**
 * The thread of a mount: opens its file system from the module it was told, and serves it until the
 * mount is gone. The main thread hears `ready` once, and then the thread's end.
 */
import fs from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../base/index.ts';
import { serveMount } from '../serve-mount.ts';
import {
  type FileSystemModule,
  type MountOrder,
  type OpenedFileSystem,
  GONE,
  READY,
} from './mount-order.ts';

async function serve(order: MountOrder): Promise<void> {
  await using opened = await openFileSystem(order);
  const { ready, ended } = serveMount({ ...opened, ...order });
  await Promise.race([ready, ended]);
  parentPort?.postMessage(READY);
  await ended;
  parentPort?.postMessage(GONE);
}

async function openFileSystem(order: MountOrder): Promise<OpenedFileSystem> {
  try {
    const loaded = (await import(order.module)) as FileSystemModule;
    return await loaded.openFileSystem(order.options);
  } catch (error) {
    fs.closeSync(order.descriptor); // whoever already waits for the mount hears that it is dead
    throw error;
  }
}

assert(parentPort, 'this module runs in a worker thread');
try {
  await serve(workerData as MountOrder);
} finally {
  parentPort.close(); // who listens there keeps the thread running no more
}
