/**
 * Files that were closed and are not content yet: nobody else can see them before (volume/held), so
 * that many small ones go together a moment later. Who wants to be sure calls `sync` first.
 */
import { errorCode, errorMessage, LIMITS, mapBounded } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { Inode } from '../../meta/index.ts';
import type { Background } from '../background.ts';

interface Closable {
  readonly inode: Inode;
  close(): Promise<void>;
  /** As `close`, and nothing is stored. */
  giveUp(): Promise<void>;
}

export interface DeferredClosesOptions {
  readonly env: Pick<Env, 'clock' | 'log'>;
  readonly background: Background;
}

export class DeferredCloses {
  readonly #options: DeferredClosesOptions;
  #waiting = new Map<Inode, Closable[]>();
  #count = 0;
  #isDue = false;
  readonly #end = new AbortController();
  /** Those that are being closed. */
  readonly #closing = new Map<Inode, Promise<void>>();

  constructor(options: DeferredClosesOptions) {
    this.#options = options;
  }

  add(file: Closable): void {
    const others = this.#waiting.get(file.inode);
    if (others) others.push(file);
    else this.#waiting.set(file.inode, [file]);
    this.#count += 1;
    if (this.#isDue) return;
    this.#isDue = true;
    this.#options.background.start('storing closed files', this.#storeSoon());
  }

  /** Too many: whoever closes another one waits for it. */
  get isFull(): boolean {
    return this.#count >= LIMITS.deferredClosesMax;
  }

  async #storeSoon(): Promise<void> {
    const { clock } = this.#options.env;
    await clock.sleep(LIMITS.deferredCloseMs, this.#end).catch(() => undefined);
    this.#isDue = false;
    await this.store(this.#waiting.keys());
  }

  /** Closes those of these inodes, whoever began it. */
  async store(inodes: Iterable<Inode>): Promise<void> {
    const wanted = Array.from(inodes).filter(
      (inode) => this.#waiting.has(inode) || this.#closing.has(inode),
    );
    await mapBounded(wanted, LIMITS.deferredClosesAtOnce, async (inode) => {
      await this.#closing.get(inode);
      const files = this.#take(inode);
      if (files.length === 0) return;
      const closing = this.#close(files);
      this.#closing.set(inode, closing);
      await closing;
      this.#closing.delete(inode);
    });
  }

  /** They are closed, and what was written is given up. */
  async drop(inode: Inode): Promise<void> {
    for (const file of this.#take(inode)) await file.giveUp();
  }

  async storeAll(): Promise<void> {
    await this.store([...this.#waiting.keys(), ...this.#closing.keys()]);
  }

  #take(inode: Inode): readonly Closable[] {
    const files = this.#waiting.get(inode) ?? [];
    this.#waiting.delete(inode);
    this.#count -= files.length;
    return files;
  }

  /** Nobody is there to be told what fails but the log. */
  async #close(files: readonly Closable[]): Promise<void> {
    for (const file of files) {
      try {
        await file.close();
      } catch (error) {
        const code = errorCode(error);
        if (code === undefined) throw error;
        if (code === 'HF_NOT_FOUND') continue; // it was removed
        const fields = { inode: file.inode, reason: errorMessage(error) };
        this.#options.env.log.error('a file that was closed could not be stored', fields);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.storeAll();
  }
}
