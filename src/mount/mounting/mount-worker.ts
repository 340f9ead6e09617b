/**
 * The thread of a mount: opens its file system from the module it was told, and serves it until the
 * mount is gone. The main thread hears `ready` once, and then the thread's end.
 */
import fs from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { FileSystem } from '../file-system.ts';
import { type ServeBehaviour, serveMount } from '../serve-mount.ts';

/** What the main thread says. */
export interface MountOrder {
  readonly descriptor: number;
  readonly wake: SharedArrayBuffer;
  readonly behaviour: ServeBehaviour | undefined;
  /** URL of a {@link FileSystemModule}. */
  readonly module: string;
  /** For it; as structured clones go. */
  readonly options: unknown;
}

/** A module that can be served. */
export interface FileSystemModule {
  openFileSystem(options: unknown): Promise<OpenedFileSystem>;
}

export interface OpenedFileSystem extends AsyncDisposable {
  readonly env: Env;
  readonly fileSystem: FileSystem;
}

export const READY = 'ready';

async function serve(order: MountOrder): Promise<void> {
  await using opened = await openFileSystem(order);
  const { ready, ended } = serveMount({ ...opened, ...order });
  await Promise.race([ready, ended]);
  parentPort?.postMessage(READY);
  await ended;
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
