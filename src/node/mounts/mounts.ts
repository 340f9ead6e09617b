/**
 * The mounts of this node: volumes as directories of its machine. They live as long as the node
 * does. Its next life takes away what a crash left behind, and mounts them again
 * (`kept-mounts.ts`): as soon as that can be done, and as often as it takes.
 *
 *   missing ──mount again──▶ mounted ──unmount, umount(8)──▶ gone
 *                               └──lazily──▶ hidden ──nobody uses it──▶ gone
 *
 * Their file systems live in this thread, and a thread for each reads from the kernel. So nothing
 * in this thread may touch a mount synchronously: it would wait for itself.
 */
import type { MountManager } from '../../admin/index.ts';
import type { ControlRequest, MountView } from '../../api/index.ts';
import { errorCode, errorMessage, HoldfastError, Mutex } from '../../base/index.ts';
import { type Env, within } from '../../env/index.ts';
import {
  cleanStaleMounts,
  type Mount,
  openPumpedMount,
  type UnmountOptions,
  usersOf,
  VolumeFileSystem,
} from '../../mount/index.ts';
import type { Heart } from '../heart.ts';
import { KeptMounts, type MountFile } from './kept-mounts.ts';
import { emptyDirectory, placeToEnd } from './places.ts';

export interface MountsOptions {
  readonly env: Env;
  readonly heart: Pick<Heart, 'needCore'>;
  readonly data: MountFile;
}

interface Mounted {
  readonly mount: Mount;
  readonly view: MountView;
  /** Resolves when it is gone and all that was written to it is stored, or was given up. */
  readonly ended: Promise<void>;
}

/** Each keeps a thread of Node's pool most of the time, and the disks need some, too. */
const MOUNTS_MAX = 16;
/** How often what is missing is tried again. */
const RETRY_MS = 2000;
/** How long who starts the node waits for its mounts. */
const RETURN_MS = 2000;
/** Programs that are named when a mount is in use. */
const USERS_TOLD = 3;

export class Mounts implements MountManager, AsyncDisposable {
  readonly #options: MountsOptions;
  readonly #kept: KeptMounts;
  readonly #mounts = new Map<string, Mounted>();
  readonly #hidden = new Set<Mounted>();
  /** What is kept and not mounted again, by directory; why not, when that has been tried. */
  readonly #missing = new Map<string, string | undefined>();
  readonly #changing = new Mutex();
  readonly #stop = new AbortController();
  /** What was mounted before has been tried once. */
  readonly #triedOnce: Promise<void>;
  readonly #returning: Promise<void>;

  private constructor(options: MountsOptions, kept: KeptMounts) {
    this.#options = options;
    this.#kept = kept;
    for (const { directory } of kept.all()) this.#missing.set(directory, undefined);
    this.#triedOnce = this.#tryMissing();
    this.#returning = this.#bringBack();
  }

  /**
   * Takes away what nodes left that did not stop in order, and mounts again what was; what cannot
   * be now, or takes its time, later.
   * @throws HF_CORRUPT, HF_IO of the list.
   */
  static async open(options: MountsOptions): Promise<Mounts> {
    const { log } = options.env;
    try {
      const cleaned = await cleanStaleMounts();
      if (cleaned.length > 0) log.info('dead mounts were taken away', { directories: cleaned });
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      log.warn('dead mounts could not be taken away', { reason: errorMessage(error) });
    }
    const mounts = new Mounts(options, await KeptMounts.open(options.data));
    await within(options.env.clock, mounts.#triedOnce, RETURN_MS);
    return mounts;
  }

  async list(): Promise<readonly MountView[]> {
    return Array.from(this.#mounts.values(), ({ view }) => view);
  }

  /** One line for each that cannot be mounted again. */
  warnings(): string[] {
    return [...this.#missing].flatMap(([directory, reason]) => {
      if (reason === undefined) return [];
      const volume = this.#kept.get(directory)?.volume;
      const way = `forget it with: holdfast umount ${directory}`;
      return [`volume "${volume}" is not mounted again at ${directory}: ${reason}; ${way}`];
    });
  }

  // Beginning.

  async add(request: ControlRequest<'mount.add'>): Promise<MountView> {
    return await this.#changing.run(async () => {
      const { mount, view } = await this.#mount(request);
      try {
        await this.#kept.add(view);
      } catch (error) {
        await mount[Symbol.asyncDispose]();
        throw error;
      }
      this.#missing.delete(view.directory);
      return view;
    });
  }

  async #mount(request: ControlRequest<'mount.add'>): Promise<Mounted> {
    if (this.#mounts.size + this.#hidden.size >= MOUNTS_MAX) {
      throw new HoldfastError('HF_TOO_LARGE', `a node serves ${MOUNTS_MAX} mounts at most`);
    }
    const { env, heart } = this.#options;
    const volume = await heart.needCore().volumes.mountable(request.volume);
    const directory = await emptyDirectory(request.directory, (place) => this.#mounts.has(place));
    const fileSystem = await VolumeFileSystem.open(volume, {
      localLocks: request.hasLocalLocks,
      root: standInForRoot(),
    });
    const mount = await openPumpedMount({
      env,
      mountpoint: directory,
      mount: { ...request, name: request.volume },
      fileSystem,
    }).catch(async (error: unknown) => {
      await fileSystem[Symbol.asyncDispose]();
      throw error;
    });
    const view: MountView = { ...request, directory, mountedAtMs: env.clock.now() };
    const mounted = { mount, view, ended: this.#served(mount, view, fileSystem) };
    this.#mounts.set(directory, mounted);
    env.log.info('a volume is mounted', { volume: request.volume, directory });
    return mounted;
  }

  async #bringBack(): Promise<void> {
    const { clock } = this.#options.env;
    await this.#triedOnce;
    if (this.#missing.size === 0) return;
    for await (const _ of clock.every(RETRY_MS, this.#stop)) {
      await this.#tryMissing();
      if (this.#missing.size === 0) return;
    }
  }

  async #tryMissing(): Promise<void> {
    for (const directory of this.#missing.keys()) {
      await this.#changing.run(async () => {
        const view = this.#kept.get(directory);
        const isWanted = view && this.#missing.has(directory) && !this.#stop.signal.aborted;
        if (isWanted) await this.#mountAgain(view);
      });
    }
  }

  async #mountAgain(view: MountView): Promise<void> {
    const { volume, directory } = view;
    try {
      await this.#mount(view);
      this.#missing.delete(directory);
    } catch (error) {
      const reason = errorMessage(error);
      const isNews = this.#missing.get(directory) !== reason;
      this.#missing.set(directory, reason);
      const { log } = this.#options.env;
      if (isNews) log.warn('a volume is not mounted again', { volume, directory, reason });
    }
  }

  // Ending.

  /** Until it is gone, however that comes. Never throws what is no bug of ours. */
  async #served(mount: Mount, view: MountView, fileSystem: AsyncDisposable): Promise<void> {
    const { log } = this.#options.env;
    const { volume, directory } = view;
    const note = (message: string, error: unknown): void =>
      log.error(message, { volume, directory, reason: errorMessage(error) });
    let hasFailed = false;
    try {
      await mount.ended;
    } catch (error) {
      hasFailed = true;
      note('a mount has failed', error);
    }
    // Others may have unmounted it, or it has failed: nothing of it is to stay.
    await mount[Symbol.asyncDispose]();
    try {
      await fileSystem[Symbol.asyncDispose]();
    } catch (error) {
      note('what was written to a mount could not be stored', error);
    }
    const isHidden = this.#mounts.get(directory)?.mount !== mount;
    if (!isHidden) this.#mounts.delete(directory);
    log.info('a volume is mounted no more', { volume, directory });
    if (isHidden || hasFailed || !view.endsWithUmount || this.#stop.signal.aborted) return;
    await this.#kept.remove(directory).catch((error: unknown) => {
      note('a mount that has ended could not be forgotten', error);
    });
  }

  async remove(request: ControlRequest<'mount.remove'>): Promise<MountView> {
    return await this.#changing.run(async () => {
      const directory = await placeToEnd(request.directory);
      const mounted = this.#mounts.get(directory);
      const view = mounted?.view ?? this.#kept.get(directory);
      if (!view) {
        throw new HoldfastError('HF_NOT_FOUND', `nothing of this node is mounted at ${directory}`);
      }
      if (mounted) await this.#unmount(mounted, request);
      this.#missing.delete(directory);
      await this.#kept.remove(directory);
      return view;
    });
  }

  async #unmount(mounted: Mounted, { isForced, isLazy }: Required<UnmountOptions>): Promise<void> {
    const { mount, view, ended } = mounted;
    try {
      await mount.unmount({ isForced, isLazy });
    } catch (error) {
      if (errorCode(error) !== 'HF_BUSY') throw error;
      throw new HoldfastError('HF_BUSY', await busyLine(mount.mountpoint), { cause: error });
    }
    if (isForced || !isLazy) return await ended;
    this.#mounts.delete(view.directory);
    this.#hidden.add(mounted);
    void ended.then(() => this.#hidden.delete(mounted));
  }

  /** In good order, and by force where somebody uses one: the node ends. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#returning;
    await this.#changing.run(async () => {
      for (const { mount, ended } of [...this.#mounts.values(), ...this.#hidden]) {
        await mount[Symbol.asyncDispose]();
        await ended;
      }
    });
  }
}

/** A user's own node: what belongs to root would be read-only to everybody who gets in. */
function standInForRoot(): { uid: number; gid: number } | undefined {
  const { getuid, getgid } = process;
  return getuid && getgid && getuid() !== 0 ? { uid: getuid(), gid: getgid() } : undefined;
}

async function busyLine(directory: string): Promise<string> {
  const users = await usersOf(directory);
  const told = users.slice(0, USERS_TOLD).map(({ name, processId }) => `${name} (${processId})`);
  const more = users.length > USERS_TOLD ? ` and ${users.length - USERS_TOLD} more` : '';
  const who = users.length > 0 ? ` by ${told.join(', ')}${more}` : '';
  return `${directory} is in use${who}: --lazy takes it out of sight, --force cuts them off`;
}
