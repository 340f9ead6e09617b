/**
 * {@link Kernel} over a device: notices go one at a time, so that of the few threads of Node's pool
 * at most one may be waiting in the kernel for what this thread has to serve.
 */
import { Mutex } from '../../base/index.ts';
import type { InodeNumber } from '../inode.ts';
import type { Kernel } from '../kernel.ts';
import {
  invalidateEntry,
  invalidateInode,
  type Notice,
  removeEntry,
  storeContent,
} from '../protocol/notices.ts';
import type { FuseDevice } from './device.ts';

/** Forgets attributes but no content. */
const NO_CONTENT = { offset: -1, lengthBytes: 0 };

export interface NotifierParts {
  readonly device: FuseDevice;
  readonly stayAwake: () => Disposable;
  /** See `EXPIRE_ONLY`; the kernel may not know it. */
  readonly canExpire: boolean;
}

export class Notifier implements Kernel {
  readonly #device: FuseDevice;
  readonly #canExpire: boolean;
  readonly stayAwake: () => Disposable;
  readonly #turn = new Mutex();

  constructor({ device, stayAwake, canExpire }: NotifierParts) {
    this.#device = device;
    this.stayAwake = stayAwake;
    this.#canExpire = canExpire;
  }

  async invalidateInode(
    inode: InodeNumber,
    range: { readonly offset: number; readonly lengthBytes: number } = NO_CONTENT,
  ): Promise<void> {
    await this.#send(invalidateInode(inode, range));
  }

  async invalidateEntry(parent: InodeNumber, name: Uint8Array): Promise<void> {
    await this.#send(invalidateEntry(parent, { name, onlyExpires: this.#canExpire }));
  }

  async removeEntry(
    parent: InodeNumber,
    entry: { inode: InodeNumber; name: Uint8Array },
  ): Promise<void> {
    await this.#send(removeEntry(parent, entry));
  }

  async store(inode: InodeNumber, content: { offset: number; data: Uint8Array }): Promise<void> {
    await this.#send(storeContent(inode, content));
  }

  async #send(notice: Notice): Promise<void> {
    using _ = this.stayAwake();
    await this.#turn.run(async () => await this.#device.notify(notice));
  }
}
