/**
 * The mounts of this node: volumes as directories of its machine. They live as long as the node
 * does; the next life begins without them, and first takes away what a crash left behind.
 *
 * Their file systems live in this thread, and a thread for each reads from the kernel. So nothing
 * in this thread may touch a mount synchronously: it would wait for itself.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import type { MountManager } from '../../admin/index.ts';
import type { ControlRequest, MountView } from '../../api/index.ts';
import { errorCode, errorMessage, HoldfastError, Mutex } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import {
  cleanStaleMounts,
  type Mount,
  openRelayedMount,
  placeOf,
  VolumeFileSystem,
} from '../../mount/index.ts';
import type { Heart } from '../heart.ts';

export interface MountsOptions {
  readonly env: Env;
  readonly heart: Pick<Heart, 'needCore'>;
}

interface Mounted {
  readonly mount: Mount;
  readonly view: MountView;
  /** Resolves when it is gone and all that was written to it is stored, or was given up. */
  readonly ended: Promise<void>;
}

/** Each keeps a thread of Node's pool most of the time, and the disks need some, too. */
const MOUNTS_MAX = 16;

export class Mounts implements MountManager, AsyncDisposable {
  readonly #options: MountsOptions;
  readonly #mounts = new Map<string, Mounted>();
  readonly #changing = new Mutex();

  private constructor(options: MountsOptions) {
    this.#options = options;
  }

  /** Takes away what nodes left that did not stop in order. */
  static async open(options: MountsOptions): Promise<Mounts> {
    const { log } = options.env;
    try {
      const cleaned = await cleanStaleMounts();
      if (cleaned.length > 0) log.info('dead mounts were taken away', { directories: cleaned });
    } catch (error) {
      if (errorCode(error) === undefined && !isMissing(error)) throw error;
      log.warn('dead mounts could not be taken away', { reason: errorMessage(error) });
    }
    return new Mounts(options);
  }

  async list(): Promise<readonly MountView[]> {
    return Array.from(this.#mounts.values(), ({ view }) => view);
  }

  async add(request: ControlRequest<'mount.add'>): Promise<MountView> {
    return await this.#changing.run(async () => {
      if (this.#mounts.size >= MOUNTS_MAX) {
        throw new HoldfastError('HF_TOO_LARGE', `a node serves ${MOUNTS_MAX} mounts at most`);
      }
      const { env, heart } = this.#options;
      const volume = await heart.needCore().volumes.mountable(request.volume);
      const directory = await this.#emptyDirectory(request.directory);
      const fileSystem = await VolumeFileSystem.open(volume);
      const { isReadOnly, allowsOthers } = request;
      const mount = await openRelayedMount({
        env,
        mountpoint: directory,
        mount: { name: request.volume, isReadOnly, allowsOthers },
        fileSystem,
      });
      const view: MountView = { ...request, directory, mountedAtMs: env.clock.now() };
      this.#mounts.set(directory, { mount, view, ended: this.#end(mount, view, fileSystem) });
      env.log.info('a volume is mounted', { volume: request.volume, directory });
      return view;
    });
  }

  /** Of a mount, however it ends. Never throws what is no bug of ours. */
  async #end(mount: Mount, view: MountView, fileSystem: AsyncDisposable): Promise<void> {
    const { log } = this.#options.env;
    const { volume, directory } = view;
    const note = (message: string, error: unknown): void =>
      log.error(message, { volume, directory, reason: errorMessage(error) });
    try {
      await mount.ended;
    } catch (error) {
      note('a mount has failed', error);
    }
    // Others may have unmounted it, or it has failed: nothing of it is to stay.
    await mount[Symbol.asyncDispose]();
    try {
      await fileSystem[Symbol.asyncDispose]();
    } catch (error) {
      note('what was written to a mount could not be stored', error);
    }
    this.#mounts.delete(directory);
    log.info('a volume is mounted no more', { volume, directory });
  }

  /** @throws HF_NOT_FOUND, HF_NOT_DIRECTORY; HF_NOT_EMPTY; HF_EXISTS. */
  async #emptyDirectory(named: string): Promise<string> {
    const directory = await checkedPlaceOf(named);
    if (this.#mounts.has(directory)) {
      throw new HoldfastError('HF_EXISTS', `${directory} is a mount already`);
    }
    await cleanStaleMounts(directory);
    const names = await fs.readdir(directory).catch((error: unknown) => {
      throw directoryError(directory, error);
    });
    if (names.length === 0) return directory;
    const message = `${directory} is not empty: what is in it would be hidden`;
    throw new HoldfastError('HF_NOT_EMPTY', message);
  }

  async remove({ directory, isForced }: ControlRequest<'mount.remove'>): Promise<MountView> {
    return await this.#changing.run(async () => {
      const mounted = this.#mounts.get(await checkedPlaceOf(directory));
      if (!mounted) {
        throw new HoldfastError('HF_NOT_FOUND', `nothing of this node is mounted at ${directory}`);
      }
      await mounted.mount.unmount({ isForced });
      await mounted.ended;
      return mounted.view;
    });
  }

  /** In good order, and by force where somebody uses one: the node ends. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#changing.run(async () => {
      for (const { mount, ended } of this.#mounts.values()) {
        await mount[Symbol.asyncDispose]();
        await ended;
      }
    });
  }
}

/** @throws HF_BAD_ARGUMENT, HF_NOT_FOUND, HF_NOT_DIRECTORY. */
async function checkedPlaceOf(named: string): Promise<string> {
  if (!path.isAbsolute(named)) {
    throw new HoldfastError('HF_BAD_ARGUMENT', `the directory ${named} is no absolute path`);
  }
  return await placeOf(named).catch((error: unknown) => {
    throw directoryError(named, error);
  });
}

function directoryError(directory: string, error: unknown): HoldfastError {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') {
    return new HoldfastError('HF_NOT_FOUND', `there is no directory ${directory}`);
  }
  if (code === 'ENOTDIR') {
    return new HoldfastError('HF_NOT_DIRECTORY', `${directory} is no directory`);
  }
  const message = `${directory} cannot be mounted on: ${errorMessage(error)}`;
  return new HoldfastError('HF_IO', message, { cause: error });
}

/** There is no /proc: then there are no mounts. */
function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
