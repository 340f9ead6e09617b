/**
 * The way to the kernel: one message a call. {@link KernelDevice} is /dev/fuse; tests have one of
 * their own. Waiting comes in two kinds: `receiveNow` holds the thread, which is fast (the kernel
 * wakes it at once) but lets nothing else run in it; `receive` leaves that to Node's thread pool.
 * Source: fs/fuse/dev.c of the Linux kernel.
 */
import fs from 'node:fs';
import { HoldfastError, UnderWay } from '../../base/index.ts';

export interface FuseDevice {
  /**
   * Waits for a request, and reads it into `buffer`.
   * @returns its bytes; 0: the mount is gone; `undefined`: this device cannot hold the thread.
   */
  receiveNow(buffer: Buffer): number | undefined;
  receive(buffer: Buffer): Promise<number>;
  /**
   * Sends the first `length` bytes and then `tail` as one reply.
   * @returns false when nobody waits for it any more. @throws HF_IO.
   */
  send(buffer: Buffer, length: number, tail: readonly Uint8Array[]): boolean;
  /**
   * Sends a notice, from another thread: the kernel may wait within it for what only this one can
   * answer. @returns false when there was nothing to do. @throws HF_IO.
   */
  notify(parts: readonly Uint8Array[]): Promise<boolean>;
  /** Resolves when no notice is under way. Nothing is sent any more from now on. */
  close(): Promise<void>;
}

/** Reading is to be tried again: a request was withdrawn, or a signal came. */
const TRY_AGAIN = new Set(['ENOENT', 'EINTR', 'EAGAIN']);
/** The mount is gone, or its connection was cut by force. */
const IS_GONE = new Set(['ENODEV', 'ECONNABORTED', 'EPERM', 'ENOTCONN']);
/** What was to be forgotten is not there, or is in use below. */
const NOTHING_TO_DO = new Set(['ENOENT', 'ENOTDIR', 'ENOTEMPTY', 'EBUSY', ...IS_GONE]);

export class KernelDevice implements FuseDevice {
  readonly #descriptor: number;
  readonly #notices = new UnderWay();
  /** Its number may belong to another file by now. */
  #isClosed = false;

  /** @param descriptor of /dev/fuse, blocking, mounted; owned from now on. */
  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  receiveNow(buffer: Buffer): number {
    for (;;) {
      try {
        return fs.readSync(this.#descriptor, buffer, 0, buffer.length, null);
      } catch (error) {
        if (isGone(error, 'read')) return 0;
      }
    }
  }

  async receive(buffer: Buffer): Promise<number> {
    for (;;) {
      try {
        return await this.#readLater(buffer);
      } catch (error) {
        if (isGone(error, 'read')) return 0;
      }
    }
  }

  #readLater(buffer: Buffer): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    fs.read(this.#descriptor, buffer, 0, buffer.length, null, (error, bytes) =>
      error ? reject(error) : resolve(bytes),
    );
    return promise;
  }

  send(buffer: Buffer, length: number, tail: readonly Uint8Array[]): boolean {
    if (this.#isClosed) return false;
    try {
      if (tail.length === 0) fs.writeSync(this.#descriptor, buffer, 0, length);
      else fs.writevSync(this.#descriptor, [buffer.subarray(0, length), ...tail]);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || IS_GONE.has(code ?? '')) return false;
      throw deviceError(error, 'written');
    }
  }

  async notify(parts: readonly Uint8Array[]): Promise<boolean> {
    if (this.#isClosed) return false;
    return await this.#notices.run(async () => await this.#writeLater(parts));
  }

  async #writeLater(parts: readonly Uint8Array[]): Promise<boolean> {
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    fs.writev(this.#descriptor, parts, (error) => {
      if (!error) resolve(true);
      else if (NOTHING_TO_DO.has(error.code ?? '')) resolve(false);
      else reject(deviceError(error, 'notified'));
    });
    return await promise;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#notices.settled();
    fs.closeSync(this.#descriptor);
  }
}

/** @returns false when it is to be tried again. @throws HF_IO for anything unforeseen. */
function isGone(error: unknown, what: string): boolean {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (IS_GONE.has(code)) return true;
  if (TRY_AGAIN.has(code)) return false;
  throw deviceError(error, what);
}

function deviceError(error: unknown, what: string): HoldfastError {
  return new HoldfastError('HF_IO', `/dev/fuse could not be ${what}`, { cause: error });
}
