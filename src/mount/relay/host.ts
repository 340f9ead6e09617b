/**
 * The host's side: a file system of this thread answers what the reader asks. One hop to this
 * thread and one back for each request; what that costs is what serving in the reader's thread
 * will save.
 */
import { errorCode, errorMessage } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { Caller } from '../file-system.ts';
import type { InodeNumber } from '../inode.ts';
import {
  HANDED_BYTES_MIN,
  type HostMessage,
  type ReaderMessage,
  type RelayedFileSystem,
} from './messages.ts';

export interface RelayHostOptions {
  readonly env: Pick<Env, 'log'>;
  readonly fileSystem: RelayedFileSystem;
  readonly post: (message: HostMessage, handedOver: ArrayBuffer[]) => void;
}

export class RelayHost {
  readonly #options: RelayHostOptions;
  /** The last answer that gave a number, by number. */
  readonly #given = new Map<InodeNumber, number>();
  #answerCount = 0;
  /** Nobody hears that it was given up: what was begun is done. */
  readonly #signal = new AbortController().signal;

  constructor(options: RelayHostOptions) {
    this.#options = options;
  }

  hear(message: ReaderMessage): void {
    if (message.relay === 'ask') void this.#answer(message);
    else if (message.relay === 'forget') this.#forget(message.inode, message.answersSeen);
    else this.#options.env.log[message.level](message.message, { reason: message.reason });
  }

  #forget(inode: InodeNumber, answersSeen: number): void {
    if ((this.#given.get(inode) ?? 0) > answersSeen) return; // the kernel is about to hear of it
    this.#given.delete(inode);
    this.#options.fileSystem.forget(inode);
  }

  async #answer({ id, method, caller, words }: ReaderMessage & { relay: 'ask' }): Promise<void> {
    try {
      const ask = this.#options.fileSystem[method].bind(this.#options.fileSystem) as (
        caller: Caller,
        ...words: readonly unknown[]
      ) => unknown;
      const result = await ask({ ...caller, signal: this.#signal }, ...words);
      this.#post({ relay: 'answer', id, result }, handedOver(result));
      for (const inode of numbersIn(result)) this.#given.set(inode, this.#answerCount);
    } catch (error) {
      this.#refuse(id, error);
    }
  }

  #refuse(id: number, error: unknown): void {
    const code = errorCode(error);
    const message = errorMessage(error);
    if (code === undefined) {
      this.#options.env.log.error('an operation of a mount failed', { reason: message });
    }
    this.#post({ relay: 'error', id, code: code ?? 'HF_INTERNAL', message }, []);
  }

  #post(message: HostMessage, handed: ArrayBuffer[]): void {
    this.#answerCount += 1;
    this.#options.post(message, handed);
  }
}

/** An answer is an entry, or has some in a list. */
function numbersIn(result: unknown): InodeNumber[] {
  if (Array.isArray(result)) return result.flatMap((each) => numbersIn(each?.entry));
  const { inode } = (result ?? {}) as { inode?: unknown };
  return typeof inode === 'number' ? [inode] : [];
}

/** What was read goes over without a copy; it is in memory of its own. */
function handedOver(result: unknown): ArrayBuffer[] {
  if (!(result instanceof Uint8Array) || result.length < HANDED_BYTES_MIN) return [];
  const { buffer } = result;
  const isAlone = result.length * 2 > buffer.byteLength;
  return buffer instanceof ArrayBuffer && isAlone ? [buffer] : [];
}
