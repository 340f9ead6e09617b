/**
 * A mount from beginning to end: mounted, served by a thread of its own, watched, unmounted.
 *
 * The order of the end matters: a thread that sleeps in the kernel can neither be stopped nor
 * survived by its process. Unmounting wakes it; it ends by itself, and only then may the process. A
 * mount namespace copied from ours (a container's) may hold a mount for ever: then the connection
 * is cut, and what was written before is safe.
 */
import fs from 'node:fs/promises';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { assert, errorCode, HoldfastError, LIMITS, Mutex } from '../../base/index.ts';
import { type Env, siblingModule, within } from '../../env/index.ts';
import type { ServeBehaviour } from '../serve-mount.ts';
import { newWake, wakeMount } from '../session/wake.ts';
import { attach, detach, flush } from './attach.ts';
import { abortConnection } from './connection.ts';
import { ourMountAt, placeOf } from './mount-info.ts';
import type { MountOptions } from './mount-options.ts';
import { GONE, type MountOrder, READY } from './mount-order.ts';
import { cleanStaleMounts } from './stale-mounts.ts';
import { tune } from './tuning.ts';
import { Watchdog } from './watchdog.ts';

export interface OpenMountOptions {
  readonly env: Env;
  /** An existing directory. */
  readonly mountpoint: string;
  readonly mount: MountOptions;
  readonly behaviour?: ServeBehaviour;
  /** Loaded in the mount's thread, see `FileSystemModule`. */
  readonly module: URL;
  /** Handed to it; as structured clones go. */
  readonly options?: unknown;
}

/** Who serves a mount. */
export interface MountServer {
  /** It sleeps in the kernel, and ends when the mount is gone. */
  readonly worker: Worker;
  /** @throws what serving failed with at once. */
  readonly ready: Promise<void>;
  /** The kernel has let go of the mount; the file system may have work left. */
  readonly gone: Promise<void>;
  /** @throws what ended it. */
  readonly ended: Promise<void>;
}

export interface ServedMountOptions extends Pick<OpenMountOptions, 'env' | 'mountpoint' | 'mount'> {
  /** @param descriptor /dev/fuse, mounted; its own from now on. */
  readonly serve: (descriptor: number) => MountServer;
}

/** Served by a thread of its own. @throws as {@link openServedMount}. */
export async function openMount(options: OpenMountOptions): Promise<Mount> {
  const { behaviour, module, options: data } = options;
  const wake = newWake();
  const serve = (descriptor: number): MountServer => {
    const order: MountOrder = { descriptor, wake, behaviour, module: module.href, options: data };
    const worker = new Worker(siblingModule(import.meta.url, './mount-worker'), {
      workerData: order,
      trackUnmanagedFds: false, // it closes a descriptor that was opened here
    });
    const ended = endOf(worker);
    return { worker, ready: heard(worker, READY), gone: heard(worker, GONE), ended };
  };
  return await openServedMount({ ...options, serve }, wake);
}

/** @throws HF_NOT_FOUND, HF_NOT_DIRECTORY; HF_DENIED, HF_UNSUPPORTED, HF_IO. */
export async function openServedMount(
  options: ServedMountOptions,
  wake?: SharedArrayBuffer,
): Promise<Mount> {
  const place = await placeOf(options.mountpoint).catch(() => resolve(options.mountpoint));
  await cleanStaleMounts(place);
  const mountpoint = await checkedMountpoint(options.mountpoint);
  const descriptor = await attach(mountpoint, options.mount);
  const watchdog = new Watchdog(mountpoint);
  const device = (await ourMountAt(mountpoint))?.device;
  assert(device !== undefined, 'what was mounted is there');
  const server = options.serve(descriptor);
  for (const each of [server.ready, server.gone]) each.catch(() => undefined); // also in `ended`
  const mount = new Mount({ env: options.env, mountpoint, device, server, watchdog, wake });
  try {
    await Promise.race([server.ready, mount.ended]);
    await tune(device);
    return mount;
  } catch (error) {
    await mount[Symbol.asyncDispose]();
    throw error;
  }
}

async function checkedMountpoint(path: string): Promise<string> {
  try {
    const mountpoint = await fs.realpath(path);
    if ((await fs.stat(mountpoint)).isDirectory()) return mountpoint;
  } catch (error) {
    throw new HoldfastError('HF_NOT_FOUND', `there is no directory ${path}`, { cause: error });
  }
  throw new HoldfastError('HF_NOT_DIRECTORY', `${path} is no directory`);
}

export interface UnmountOptions {
  readonly isForced?: boolean;
  readonly isLazy?: boolean;
}

interface MountParts {
  readonly env: Env;
  readonly mountpoint: string;
  /** `major:minor`, which names the connection as long as the kernel has it. */
  readonly device: string;
  readonly server: MountServer;
  readonly watchdog: Watchdog;
  readonly wake: SharedArrayBuffer | undefined;
}

export class Mount implements AsyncDisposable {
  readonly mountpoint: string;
  /** Settles when it is not served any more, however that came. @throws what ended it. */
  readonly ended: Promise<void>;
  readonly #parts: MountParts;
  readonly #waking = new Mutex();
  /** Settles when the kernel has let go of it; its file system may have work left. */
  readonly #gone: Promise<void>;
  #isServed = true;

  constructor(parts: MountParts) {
    this.#parts = parts;
    this.mountpoint = parts.mountpoint;
    this.ended = parts.server.ended.finally(() => (this.#isServed = false));
    this.ended.catch(() => undefined); // who is interested hears it, too
    this.#gone = Promise.race([parts.server.gone, this.ended]);
    this.#gone.catch(() => undefined); // as above
  }

  /** For messages to and from its thread; {@link Mount.wake} makes it listen. */
  get worker(): Worker {
    return this.#parts.server.worker;
  }

  /**
   * Its thread listens to what was posted to it. One at a time: each keeps a thread of Node's pool,
   * of which the mount needs one to be served.
   */
  async wake(): Promise<void> {
    const { wake } = this.#parts;
    assert(wake, 'its thread serves it');
    await this.#waking.run(async () => await wakeMount(wake, this.mountpoint));
  }

  /**
   * Takes it away and waits until everything has been written.
   *
   * @param options.isForced even when somebody uses it: they get errors, and what they have not
   *   synced is lost.
   * @param options.isLazy out of sight now; who uses it goes on, and it ends when nobody does.
   * @throws HF_BUSY when somebody uses it, else.
   */
  async unmount({ isForced = false, isLazy = false }: UnmountOptions = {}): Promise<void> {
    try {
      if (await this.#isThere()) await this.#detach({ isForced, isLazy });
      if (isLazy && !isForced) return;
      await this.#letGo();
      if (isForced) await this.#cutOff();
      else await this.ended;
    } finally {
      if (!(await this.#isThere())) await this.#parts.watchdog.dismiss();
    }
  }

  /** Somebody else may have unmounted it, and mounted another one. */
  async #isThere(): Promise<boolean> {
    return (await ourMountAt(this.mountpoint))?.device === this.#parts.device;
  }

  async #detach({ isForced, isLazy }: Required<UnmountOptions>): Promise<void> {
    const { device } = this.#parts;
    try {
      // Nobody answers any more: to look at it, as unmounting does, might wait for ever.
      if (!this.#isServed) await abortConnection(device);
      else if (!isForced) await flush(this.mountpoint);
      await detach(this.mountpoint, isLazy || !this.#isServed);
    } catch (error) {
      if (!isForced || errorCode(error) !== 'HF_BUSY') throw error;
      await detach(this.mountpoint, true);
      await abortConnection(device);
    }
  }

  /** See above: who holds it where we cannot see gets errors from now on. */
  async #letGo(): Promise<void> {
    if (await this.#isLate(this.#gone)) await abortConnection(this.#parts.device);
  }

  /** Nothing is read from the kernel any more, so a thread that waits for answers can be ended. */
  async #cutOff(): Promise<void> {
    if (await this.#isLate(this.ended)) await this.worker.terminate();
  }

  async #isLate(end: Promise<void>): Promise<boolean> {
    const { clock } = this.#parts.env;
    const hasEnded = end.then(() => true);
    return !(await within(clock, hasEnded, LIMITS.mountEndMs));
  }

  /** As {@link unmount}, by force if need be; where even that fails, the watchdog is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.unmount({ isForced: true }).catch(() => undefined);
  }
}

async function heard(worker: Worker, what: string): Promise<void> {
  for (;;) {
    const [message] = (await once(worker, 'message')) as unknown[];
    if (message === what) return;
  }
}

export async function endOf(worker: Worker): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  worker.once('error', reject);
  worker.once('exit', (code) => {
    if (code === 0) resolve();
    else reject(new HoldfastError('HF_INTERNAL', `the thread of a mount ended with ${code}`));
  });
  await promise;
}
