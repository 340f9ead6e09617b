/** The files that the kernel has open, by the numbers that it knows these opens by. */
import { HoldfastError } from '../../base/index.ts';
import type { MountableVolume, OpenFile } from '../../volume/index.ts';
import type { FileNumber } from '../inode.ts';

export class OpenedFiles {
  readonly #volume: Pick<MountableVolume, 'files' | 'opens' | 'held'>;
  readonly #files = new Map<FileNumber, OpenFile>();
  readonly #byInode = new Map<bigint, Set<OpenFile>>();
  #last = 0;

  constructor(volume: Pick<MountableVolume, 'files' | 'opens' | 'held'>) {
    this.#volume = volume;
  }

  /** @throws HF_NOT_FOUND; HF_IS_DIRECTORY; HF_BAD_ARGUMENT for what has no content. */
  async open(inode: bigint, { isCut }: { isCut: boolean }): Promise<FileNumber> {
    const file = await this.#opened(inode);
    try {
      if (isCut) await file.truncate(0);
    } catch (error) {
      await this.#closed(file);
      throw error;
    }
    this.#last += 1;
    this.#files.set(this.#last, file);
    const others = this.#byInode.get(inode);
    if (others) others.add(file);
    else this.#byInode.set(inode, new Set([file]));
    return this.#last;
  }

  /** @throws HF_BAD_ARGUMENT. */
  get(number: FileNumber): OpenFile {
    const file = this.#files.get(number);
    if (!file) throw new HoldfastError('HF_BAD_ARGUMENT', `no file is open as ${number}`);
    return file;
  }

  get all(): Iterable<OpenFile> {
    return this.#files.values();
  }

  /** Does something with the content of a file, open or not. */
  async with<Result>(inode: bigint, work: (file: OpenFile) => Promise<Result>): Promise<Result> {
    const [open] = this.#byInode.get(inode) ?? [];
    if (open) return await work(open);
    const file = await this.#opened(inode);
    try {
      return await work(file);
    } finally {
      await this.#closed(file);
    }
  }

  /** What was written is durable, or nobody else can see the file before it is. */
  async flush(number: FileNumber): Promise<void> {
    const file = this.get(number);
    if (!this.#volume.held.mayDefer(file.inode)) await file.sync();
  }

  async close(number: FileNumber): Promise<void> {
    const file = this.get(number);
    this.#files.delete(number);
    const others = this.#byInode.get(file.inode);
    others?.delete(file);
    if (others?.size === 0) this.#byInode.delete(file.inode);
    await this.#closed(file);
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
    await opens.hold(inode, { isGuarded: held.guards(inode) });
    try {
      return await files.open(inode);
    } catch (error) {
      await opens.drop(inode);
      throw error;
    }
  }

  async #closed(file: OpenFile): Promise<void> {
    const { files, held } = this.#volume;
    try {
      if (held.mayDefer(file.inode)) await files.closeLater(file);
      else await file.close();
    } finally {
      await this.#volume.opens.drop(file.inode);
    }
  }
}
