/**
 * Files that were closed and are not content yet: nobody else can see them before (volume/held), so
 * that many small ones go together a moment later. What cannot be stored now stays, as in the cache
 * of a local disk, and is tried again; who syncs or opens the file meanwhile hears of it. Who
 * closes others then waits for his own.
 */
import { errorCode, errorMessage, LIMITS, mapBounded } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { Inode } from '../../meta/index.ts';
import type { Background } from '../background.ts';
import { isGone, isRefusal } from './refusals.ts';

interface Closable {
  readonly inode: Inode;
  /** @returns what it failed with. */
  tryStore(): Promise<unknown>;
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
  readonly #waiting = new Map<Inode, Closable[]>();
  /** Those that are being stored. */
  readonly #storing = new Map<Inode, Promise<void>>();
  readonly #end = new AbortController();
  #count = 0;
  #isDue = false;
  /** The last try of one of them failed. */
  #isFailing = false;

  constructor(options: DeferredClosesOptions) {
    this.#options = options;
  }

  /** Whether one more may wait. */
  get isOpen(): boolean {
    return !this.#isFailing && this.#count < LIMITS.deferredClosesMax && !this.#end.signal.aborted;
  }

  add(file: Closable): void {
    const others = this.#waiting.get(file.inode);
    if (others) others.push(file);
    else this.#waiting.set(file.inode, [file]);
    this.#count += 1;
    this.#wait();
  }

  #wait(): void {
    if (this.#isDue || this.#end.signal.aborted) return;
    this.#isDue = true;
    this.#options.background.start('storing closed files', this.#storeSoon());
  }

  async #storeSoon(): Promise<void> {
    const { clock } = this.#options.env;
    const ms = this.#isFailing ? LIMITS.stuckWritePauseMs : LIMITS.deferredCloseMs;
    await clock.sleep(ms, this.#end).catch(() => undefined);
    this.#isDue = false;
    await this.storeAll();
  }

  /** Tries to store those of these inodes, whoever began it. */
  async store(inodes: Iterable<Inode>): Promise<void> {
    const wanted = Array.from(inodes).filter(
      (inode) => this.#waiting.has(inode) || this.#storing.has(inode),
    );
    await mapBounded(wanted, LIMITS.deferredClosesAtOnce, async (inode) => {
      // One after the other: whoever waited may find that another one has begun.
      for (let other = this.#storing.get(inode); other; other = this.#storing.get(inode)) {
        await other;
      }
      const files = this.#take(inode);
      if (files.length === 0) return;
      const storing = this.#store(inode, files);
      this.#storing.set(inode, storing);
      await storing.finally(() => this.#storing.delete(inode));
    });
  }

  async storeAll(): Promise<void> {
    await this.store([...this.#waiting.keys(), ...this.#storing.keys()]);
  }

  #take(inode: Inode): readonly Closable[] {
    const files = this.#waiting.get(inode) ?? [];
    this.#waiting.delete(inode);
    this.#count -= files.length;
    return files;
  }

  /** They share what is dirty. */
  async #store(inode: Inode, files: readonly Closable[]): Promise<void> {
    const error = await files[0]!.tryStore();
    if (error !== undefined && errorCode(error) === undefined) throw error;
    const mayPass = error !== undefined && !isGone(error);
    this.#isFailing = mayPass;
    if (mayPass && !this.#end.signal.aborted) {
      const { log } = this.#options.env;
      const what = isRefusal(error) ? 'has no room' : 'waits';
      log.warn(`a file that was closed ${what}`, { inode, reason: errorMessage(error) });
      for (const file of files) this.add(file);
      return;
    }
    if (mayPass) this.#lose(inode, error);
    for (const file of files) await (error === undefined ? file.close() : file.giveUp());
  }

  #lose(inode: Inode, error: unknown): void {
    const fields = { inode, reason: errorMessage(error) };
    this.#options.env.log.error('a file that was closed could not be stored', fields);
  }

  /** They are closed, and what was written is given up. */
  async drop(inode: Inode): Promise<void> {
    for (const file of this.#take(inode)) await file.giveUp();
  }

  /** One last try. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.storeAll();
  }
}
