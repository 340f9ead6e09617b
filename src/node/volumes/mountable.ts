/** Volumes as mounts of this node share them: of each one set of open files, and one session. */
import { errorMessage, LIMITS, type NodeId, type Policy, type VolumeId } from '../../base/index.ts';
import type { VolumeKeys } from '../../crypto/index.ts';
import type { Handles, Inode, Namespace, Release, Tree, VolumeRecord } from '../../meta/index.ts';
import type { ChunkStore } from '../../store/index.ts';
import { type MountableVolume, openMountable, type OpenFilesOptions } from '../../volume/index.ts';
import { freeBytesByStore } from '../stores/free-bytes.ts';

export interface MountablesOptions extends Pick<
  OpenFilesOptions,
  'env' | 'session' | 'references' | 'stripes' | 'onDegraded'
> {
  readonly self: NodeId;
  readonly repair: OpenFilesOptions['repair'] & {
    release(volume: VolumeId, release: Release): Promise<void>;
    releaseLoose(volume: VolumeId, inode: Inode): Promise<void>;
  };
  readonly stores: () => readonly Pick<ChunkStore, 'id' | 'usage'>[];
  readonly openHandles: (volume: VolumeId) => Promise<Handles>;
}

/** A volume that is open on this node. */
export interface VolumeInUse {
  readonly volume: () => VolumeRecord;
  readonly keys: VolumeKeys;
  readonly namespace: Namespace;
  readonly tree: Tree;
}

/** What was written to a volume could not be stored a moment ago, and waits. */
export interface WaitingWrites {
  readonly volume: string;
  readonly reason: string;
}

/** One try may wait for a store that hangs. */
const WAITING_TOLD_MS = LIMITS.storeAnswerMs + 5000;
/** How long a store may take to say how full it is. */
const USAGE_MS = 1000;

export class Mountables implements AsyncDisposable {
  readonly #options: MountablesOptions;
  readonly #opened = new Map<VolumeId, Promise<MountableVolume>>();
  readonly #stack = new AsyncDisposableStack();
  readonly #waiting = new Map<VolumeId, WaitingWrites & { readonly atMs: number }>();

  constructor(options: MountablesOptions) {
    this.#options = options;
  }

  /** As of the last moments. */
  get waitingWrites(): readonly WaitingWrites[] {
    const sinceMs = this.#options.env.clock.monotonic() - WAITING_TOLD_MS;
    return [...this.#waiting.values()].filter(({ atMs }) => atMs > sinceMs);
  }

  /** The same for all who ask. @throws HF_UNAVAILABLE. */
  async open(volume: VolumeInUse): Promise<MountableVolume> {
    const { id } = volume.volume();
    const opened = this.#opened.get(id) ?? this.#open(id, volume);
    this.#opened.set(id, opened);
    try {
      return await opened;
    } catch (error) {
      this.#opened.delete(id);
      throw error;
    }
  }

  async #open(id: VolumeId, inUse: VolumeInUse): Promise<MountableVolume> {
    const { clock } = this.#options.env;
    const { self, repair, stores: _stores, openHandles, ...shared } = this.#options;
    const options = {
      ...shared,
      ...inUse,
      repair,
      handles: await openHandles(id),
      node: self,
      onWaiting: (error?: unknown): void => {
        if (error === undefined) return void this.#waiting.delete(id);
        const { name } = inUse.volume();
        const reason = errorMessage(error);
        this.#waiting.set(id, { volume: name, reason, atMs: clock.monotonic() });
      },
      release: (inode: Inode) => repair.release(id, { inode }),
      releaseLoose: (inode: Inode) => repair.releaseLoose(id, inode),
      freeBytes: async () => (await this.#freeBytes()) / expansionOf(inUse.volume().policy),
    };
    return await openMountable(options, this.#stack);
  }

  /** On all stores; of one that does not answer soon: none. */
  async #freeBytes(): Promise<number> {
    const { env, stores } = this.#options;
    const found = await freeBytesByStore(stores(), { clock: env.clock, msMax: USAGE_MS });
    return [...found.values()].reduce((sum, freeBytes) => sum + freeBytes, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

/** Bytes on stores for one byte of content. */
function expansionOf(policy: Policy): number {
  return policy.reduce((sum, { k, n }) => sum + n / k, 0);
}
