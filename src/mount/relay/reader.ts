/**
 * The reader's side: a file system that asks the host for everything. What a request lends it
 * copies, for the memory is used again when the caller has been told that time is up.
 */
import { HoldfastError } from '../../base/index.ts';
import type { Caller, FileSystem } from '../file-system.ts';
import {
  HANDED_BYTES_MIN,
  type HostMessage,
  type ReaderMessage,
  RELAYED,
  type RelayedMethod,
} from './messages.ts';

export type PostToHost = (message: ReaderMessage, handedOver?: ArrayBuffer[]) => void;

export class RelayReader {
  readonly #post: PostToHost;
  readonly #asked = new Map<number, PromiseWithResolvers<unknown>>();
  /** What waits until the host listens; `undefined`: it does. */
  #early: Parameters<PostToHost>[] | undefined = [];
  #lastId = 0;
  #answersSeen = 0;
  readonly fileSystem: FileSystem;

  constructor(post: PostToHost) {
    this.#post = post;
    const methods = RELAYED.map((method) => [
      method,
      async (caller: Caller, ...words: unknown[]) => await this.#ask(method, caller, words),
    ]);
    const forget: FileSystem['forget'] = (inode) =>
      this.#send({ relay: 'forget', inode, answersSeen: this.#answersSeen });
    this.fileSystem = { ...Object.fromEntries(methods), forget } as FileSystem;
  }

  hear(message: HostMessage): void {
    if (message.relay === 'begin') return this.#begin();
    this.#answersSeen += 1;
    const asked = this.#asked.get(message.id);
    this.#asked.delete(message.id);
    if (message.relay === 'answer') asked?.resolve(message.result);
    else asked?.reject(new HoldfastError(message.code, message.message));
  }

  #begin(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const message of early) this.#post(...message);
  }

  async #ask(method: RelayedMethod, caller: Caller, words: readonly unknown[]): Promise<unknown> {
    const id = ++this.#lastId;
    const asked = Promise.withResolvers<unknown>();
    this.#asked.set(id, asked);
    const handedOver: ArrayBuffer[] = [];
    const { uid, gid, processId } = caller;
    const owned = words.map((word) => copyOf(word, handedOver));
    this.#send(
      { relay: 'ask', id, method, caller: { uid, gid, processId }, words: owned },
      handedOver,
    );
    return await asked.promise;
  }

  #send(...message: Parameters<PostToHost>): void {
    if (this.#early) this.#early.push(message);
    else this.#post(...message);
  }
}

/** Requests are records of plain values and arrays of bytes. */
function copyOf(word: unknown, handedOver: ArrayBuffer[]): unknown {
  if (word instanceof Uint8Array) {
    const copy = new Uint8Array(word);
    if (copy.length >= HANDED_BYTES_MIN) handedOver.push(copy.buffer);
    return copy;
  }
  if (typeof word !== 'object' || word === null) return word;
  const fields = Object.entries(word).map(([name, value]) => [name, copyOf(value, handedOver)]);
  return Object.fromEntries(fields) as unknown;
}
