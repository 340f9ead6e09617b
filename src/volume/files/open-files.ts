/** The open files of one volume on this node: who opens the same file shares its content. */
import {
  assert,
  HoldfastError,
  isSamePolicy,
  LIMITS,
  mapBounded,
  Semaphore,
} from '../../base/index.ts';
import type { Inode, InodeStatus } from '../../meta/index.ts';
import { AbandonedPuts, type AbandonedPutsOptions } from '../abandoned-puts.ts';
import { Background } from '../background.ts';
import { InodeSeals } from '../inode-seals.ts';
import { InodeSource } from '../inode-source.ts';
import { SealedTree } from '../sealed-tree.ts';
import { StripeKeys } from '../stripe-keys.ts';
import { FileContent } from './file-content.ts';
import { DeferredCloses } from './deferred-closes.ts';
import type { FilesContext } from './files-context.ts';
import { FileHandle } from './file-handle.ts';
import { policyOf } from './file-state.ts';
import type { OpenFile } from './open-file.ts';
import { isRefusal } from './refusals.ts';
import { StripeCache } from './stripe-cache.ts';
import { WriteMemory } from './write-memory.ts';

export interface OpenFilesOptions extends Pick<
  FilesContext,
  | 'env'
  | 'volume'
  | 'session'
  | 'keys'
  | 'namespace'
  | 'tree'
  | 'references'
  | 'stripes'
  | 'releaseLoose'
  | 'onDegraded'
  | 'onWaiting'
  | 'roomBytes'
  | 'fault'
> {
  readonly repair: AbandonedPutsOptions['repair'];
  /** Those of LIMITS when left out. */
  readonly dirtyBytesMax?: number | undefined;
  readonly openedBytesMax?: number | undefined;
  readonly inlineBytesMax?: number | undefined;
}

export class OpenFiles implements AsyncDisposable {
  readonly #context: FilesContext;
  readonly #abandoned: AbandonedPuts;
  readonly #background: Background;
  readonly #deferred: DeferredCloses;
  /** Open, and those closed last. */
  readonly #files = new Map<Inode, FileContent>();
  /**
   * Those that nobody has open, with how many extents are known; the one closed last is the last.
   */
  readonly #closed = new Map<Inode, number>();
  /** Descriptors of them were closed, and what was written is not stored yet. */
  readonly #owed = new Set<Inode>();
  #closedExtents = 0;
  readonly #end = new AbortController();
  #relieving: Promise<void> | undefined;
  #ageing: Promise<void> | undefined;

  constructor(options: OpenFilesOptions) {
    const { env, namespace, keys, repair } = options;
    const { dirtyBytesMax = LIMITS.dirtyBytesMax, openedBytesMax = LIMITS.openedBytesMax } =
      options;
    const { inlineBytesMax = LIMITS.inlineBytesMax } = options;
    const volume = options.volume().id;
    const tree = new SealedTree({ env, volume, keys, namespace });
    this.#abandoned = new AbandonedPuts({ env, volume, repair });
    this.#background = new Background(env.log);
    this.#deferred = new DeferredCloses({ env, background: this.#background });
    const memory = new WriteMemory(dirtyBytesMax);
    this.#context = {
      ...options,
      inodes: new InodeSource({ env, namespace, tree }),
      stripeKeys: new StripeKeys({ env, volume, keys }),
      seals: new InodeSeals({ env, volume, keys }),
      inlineBytesMax,
      end: this.#end.signal,
      abandoned: this.#abandoned,
      background: this.#background,
      cache: new StripeCache(options.stripes, openedBytesMax),
      memory,
      takeMemory: async (bytes) => await this.#takeMemory(bytes),
      storing: new Semaphore(LIMITS.stripesInFlightMax),
    };
  }

  /** What is dirty and what was at most, in bytes of memory. */
  get memory(): Pick<WriteMemory, 'usedBytes' | 'peakBytes'> {
    return this.#context.memory;
  }

  /**
   * A file as it is committed now; what is dirty on this node is seen, too.
   * @throws HF_NOT_FOUND; HF_IS_DIRECTORY; HF_BAD_ARGUMENT for what has no content.
   */
  async open(inode: Inode): Promise<OpenFile> {
    const status = await this.#context.tree.getAttributes(inode, { withContent: true });
    if (!status) throw new HoldfastError('HF_NOT_FOUND', `there is no inode ${inode}`);
    if (status.type === 'directory') throw new HoldfastError('HF_IS_DIRECTORY');
    if (status.type !== 'file') throw new HoldfastError('HF_BAD_ARGUMENT', 'it has no content');
    const content = this.#contentOf(status);
    content.handleCount += 1;
    this.#ageing ??= this.#storeOld();
    return new FileHandle(this.#context, content, () => this.#retire(content));
  }

  /**
   * Whether what is dirty of a file may be stored after it was closed: a little, while all goes
   * well. Only of what nobody else can open before {@link storeClosed}, to which it is owed then.
   */
  mayWait(file: OpenFile): boolean {
    assert(file instanceof FileHandle, 'it is of these files');
    const { content } = file;
    const mayWait = this.#deferred.isOpen && content.dirtyBytes <= LIMITS.deferredBytesMax;
    if (mayWait && content.isDirty) this.#owed.add(file.inode);
    return mayWait;
  }

  /** As `close`; what is dirty then is stored soon, and tried again until it is. */
  async closeLater(file: OpenFile): Promise<void> {
    assert(file instanceof FileHandle, 'it is of these files');
    if (file.content.isDirty) this.#deferred.add(file);
    else await file.close();
  }

  /** What was closed of these, or of all, is content, or was given up. */
  async storeClosed(inodes?: Iterable<Inode>): Promise<void> {
    const wanted = inodes && new Set(inodes);
    const owed = Array.from(this.#owed).filter((inode) => !wanted || wanted.has(inode));
    await mapBounded(owed, LIMITS.deferredClosesAtOnce, async (inode) => {
      this.#owed.delete(inode);
      const content = this.#files.get(inode);
      if (content?.isDirty) await content.sync({ dataOnly: false, isBackground: true });
    });
    await (wanted ? this.#deferred.store(wanted) : this.#deferred.storeAll());
  }

  /** What was closed of a file is content. @throws what keeps it from being stored. */
  async settle(inode: Inode): Promise<void> {
    const content = this.#files.get(inode);
    if (!content?.isDirty) return;
    const failuresBefore = content.failureCount;
    await content.sync({ dataOnly: false });
    const failure = content.failureSince(failuresBefore);
    if (failure !== undefined) throw failure;
  }

  /**
   * A file without a name is opened by nobody any more: what was closed of it need not be stored.
   */
  dropClosed(inode: Inode): void {
    const isDirty = this.#files.get(inode)?.isDirty;
    if (isDirty) this.#background.start('dropping a removed file', this.#deferred.drop(inode));
  }

  /** The time of its last change was set otherwise: what is stored of it later keeps that. */
  setModified(inode: Inode, modifiedNs: bigint): void {
    const content = this.#files.get(inode);
    if (content && content.handleCount > 0) content.setModified(modifiedNs);
  }

  /** What is known of an inode, with what is dirty here, when it is a file that is open here. */
  merged(status: InodeStatus): InodeStatus {
    const content = this.#files.get(status.inode);
    if (!content || content.handleCount === 0) return status;
    content.state.learn(status);
    const known = content.state.status;
    // Whoever changes content changes the inode, too; the steward's time follows with the commit.
    const { touchedNs } = content;
    const isLater = touchedNs !== undefined && touchedNs > known.changedNs;
    return isLater ? { ...known, changedNs: touchedNs } : known;
  }

  #contentOf(status: InodeStatus): FileContent {
    const found = this.#files.get(status.inode);
    const policy = policyOf(this.#context, status);
    const isUsable = found && (found.handleCount > 0 || isSamePolicy(found.state.policy, policy));
    const content = isUsable ? found : new FileContent(this.#context, status);
    content.state.learn(status);
    this.#reopen(status.inode);
    this.#files.set(status.inode, content);
    return content;
  }

  /** Nobody has it open any more: it is remembered for a while. */
  #retire(content: FileContent): void {
    const { inode, map } = content.state;
    this.#owed.delete(inode);
    if (this.#files.get(inode) !== content) return;
    this.#closed.set(inode, map.extentCount);
    this.#closedExtents += map.extentCount;
    for (const oldest of this.#closed.keys()) {
      const isOver = this.#closed.size > LIMITS.closedFilesMax;
      if (!isOver && this.#closedExtents <= LIMITS.closedExtentsMax) return;
      this.#files.delete(oldest);
      this.#reopen(oldest);
    }
  }

  /** It is not among those that are closed. */
  #reopen(inode: Inode): void {
    this.#closedExtents -= this.#closed.get(inode) ?? 0;
    this.#closed.delete(inode);
  }

  async #takeMemory(bytes: number): Promise<void> {
    const { memory } = this.#context;
    if (memory.tryTake(bytes)) return;
    const taken = memory.take(bytes);
    this.#relieving ??= this.#relieve();
    await taken;
  }

  /** Makes content of what is dirty while somebody waits for memory, and there is something. */
  async #relieve(): Promise<void> {
    const { memory } = this.#context;
    const { clock } = this.#context.env;
    let { takenCount } = memory;
    let movedAtMs = clock.monotonic();
    try {
      while (memory.isWaitedFor) {
        const error = await this.#storeSome();
        await clock.turn();
        if (memory.takenCount !== takenCount) {
          ({ takenCount } = memory);
          movedAtMs = clock.monotonic();
          continue;
        }
        const isOver = clock.monotonic() - movedAtMs >= LIMITS.stuckWriteMsMax;
        if (isOver || isRefusal(error) || this.#end.signal.aborted) {
          memory.refuse(error ?? new HoldfastError('HF_NO_MEMORY'));
        } else {
          await clock.sleep(LIMITS.stuckWritePauseMs);
        }
      }
    } finally {
      this.#relieving = undefined;
    }
  }

  /** @returns what something failed with, if it did. */
  async #storeSome(): Promise<unknown> {
    const { memory } = this.#context;
    let error: unknown;
    await mapBounded(this.#files.values(), LIMITS.stripesInFlightMax, async (content) => {
      if (memory.isWaitedFor && (content.isDirty || content.isUnderWay)) {
        error = (await content.storeAll({ isBackground: true })) ?? error;
      }
    });
    return error;
  }

  /** Makes content of what has been dirty for long, though nobody asks for it. */
  async #storeOld(): Promise<void> {
    const { signal } = this.#end;
    for await (const _ of this.#context.env.clock.every(LIMITS.dirtyAgeMsMax, { signal })) {
      await mapBounded(this.#files.values(), LIMITS.stripesInFlightMax, async (content) => {
        if (!content.isDirty || signal.aborted) return;
        await content.sync({ dataOnly: false, isBackground: true });
      });
      if (Array.from(this.#files.values()).some(({ handleCount }) => handleCount > 0)) continue;
      this.#ageing = undefined;
      return;
    }
  }

  /** Everything that can be stored is; all handles are of no use then. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#deferred[Symbol.asyncDispose]();
    this.#end.abort();
    await this.#ageing;
    for (const content of this.#files.values()) {
      await content.sync({ dataOnly: false });
      content.handleCount = 0;
      await content.giveUp();
    }
    await this.#relieving;
    await this.#background.settle();
    await this.#abandoned[Symbol.asyncDispose]();
  }
}
