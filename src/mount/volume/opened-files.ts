/** The files that the kernel has open, by the numbers that it knows these opens by. */
import { constants } from 'node:fs';
import { HoldfastError } from '../../base/index.ts';
import type { MountableVolume, OpenFile } from '../../volume/index.ts';
import type { FileNumber } from '../inode.ts';

interface Opened {
  readonly file: OpenFile;
  /** Others have only read. */
  isWriter: boolean;
  /** Each write is durable when it is answered. */
  readonly isSynchronous: boolean;
}

export class OpenedFiles {
  readonly #volume: Pick<MountableVolume, 'files' | 'opens' | 'held'>;
  readonly #files = new Map<FileNumber, Opened>();
  readonly #byInode = new Map<bigint, Set<OpenFile>>();
  #last = 0;

  constructor(volume: Pick<MountableVolume, 'files' | 'opens' | 'held'>) {
    this.#volume = volume;
  }

  /**
   * @param flags of open(2): O_TRUNC cuts it.
   * @throws HF_NOT_FOUND; HF_IS_DIRECTORY; HF_BAD_ARGUMENT for what has no content.
   */
  async open(inode: bigint, flags: number): Promise<FileNumber> {
    const file = await this.#opened(inode);
    const isCut = (flags & constants.O_TRUNC) !== 0;
    const opened = {
      file,
      isWriter: isCut || (flags & (constants.O_WRONLY | constants.O_RDWR)) !== 0,
      isSynchronous: (flags & constants.O_DSYNC) !== 0,
    };
    try {
      if (isCut) await file.truncate(0);
    } catch (error) {
      await this.#closed(opened);
      throw error;
    }
    this.#last += 1;
    this.#files.set(this.#last, opened);
    const others = this.#byInode.get(inode);
    if (others) others.add(file);
    else this.#byInode.set(inode, new Set([file]));
    return this.#last;
  }

  /** @throws HF_BAD_ARGUMENT. */
  get(number: FileNumber): OpenFile {
    return this.#get(number).file;
  }

  #get(number: FileNumber): Opened {
    const opened = this.#files.get(number);
    if (!opened) throw new HoldfastError('HF_BAD_ARGUMENT', `no file is open as ${number}`);
    return opened;
  }

  isWriter(number: FileNumber): boolean {
    return this.#get(number).isWriter;
  }

  get all(): Iterable<OpenFile> {
    return Array.from(this.#files.values(), ({ file }) => file);
  }

  /** Does something with the content of a file, open or not. */
  async with<Result>(inode: bigint, work: (file: OpenFile) => Promise<Result>): Promise<Result> {
    const [open] = this.#byInode.get(inode) ?? [];
    if (open) return await work(open);
    const file = await this.#opened(inode);
    try {
      return await work(file);
    } finally {
      await this.#closed({ file, isWriter: true });
    }
  }

  async write(number: FileNumber, offset: number, data: Uint8Array): Promise<void> {
    const opened = this.#get(number);
    opened.isWriter = true;
    await opened.file.write(offset, data);
    if (opened.isSynchronous) await this.sync(number, { dataOnly: false });
  }

  /** What was written, and the name, are durable. */
  async sync(number: FileNumber, { dataOnly }: { dataOnly: boolean }): Promise<void> {
    const file = this.get(number);
    await file.sync({ dataOnly });
    await this.#volume.held.bring(file.inode);
  }

  /** What was written is durable, or nobody else can see the file before it is. */
  async flush(number: FileNumber): Promise<void> {
    const { held, files } = this.#volume;
    const { file, isWriter } = this.#get(number);
    const mayWait = held.mayDefer(file.inode) && files.mayWait(file);
    if (isWriter && !mayWait) await file.sync();
  }

  async close(number: FileNumber): Promise<void> {
    const opened = this.#get(number);
    const { inode } = opened.file;
    this.#files.delete(number);
    const others = this.#byInode.get(inode);
    others?.delete(opened.file);
    if (others?.size === 0) this.#byInode.delete(inode);
    await this.#closed(opened);
  }

  /** Of a mount that is gone. @returns what could not be stored. */
  async closeAll(): Promise<unknown[]> {
    const errors: unknown[] = [];
    for (const number of this.#files.keys()) {
      await this.close(number).catch((error: unknown) => errors.push(error));
    }
    return errors;
  }

  async #opened(inode: bigint): Promise<OpenFile> {
    const { opens, files, held } = this.#volume;
    // The cells can hold open only what they know.
    if (!held.guards(inode)) await held.bring(inode);
    // Together: each may be a question to another node.
    const [holding, opening] = await Promise.allSettled([
      opens.hold(inode, { isGuarded: held.guards(inode) }),
      files.open(inode),
    ]);
    if (holding.status === 'fulfilled' && opening.status === 'fulfilled') return opening.value;
    if (opening.status === 'fulfilled') await opening.value.giveUp();
    if (holding.status === 'fulfilled') await opens.drop(inode);
    throw holding.status === 'rejected'
      ? holding.reason
      : (opening as PromiseRejectedResult).reason;
  }

  async #closed({ file, isWriter }: Pick<Opened, 'file' | 'isWriter'>): Promise<void> {
    const { files, held, opens } = this.#volume;
    try {
      if (!isWriter) await file.giveUp();
      else if (held.mayDefer(file.inode)) await files.closeLater(file);
      else await file.close();
    } finally {
      await opens.drop(file.inode);
    }
  }
}
