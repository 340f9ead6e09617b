/**
 * A device whose kernel is a test: what it asks lies in a queue, what the session says is kept. It
 * never holds the thread when there is nothing to read.
 */
import type { FuseDevice } from '../../src/mount/index.ts';

export class FakeDevice implements FuseDevice {
  /** Notices, each in one piece. */
  readonly notices: Buffer[] = [];
  /** Replies to what nobody asks about any more. */
  readonly unwanted: Buffer[] = [];
  isClosed = false;
  /** Times that the session would have slept in the kernel, and that it waited in the pool. */
  readonly waits = { holding: 0, pooled: 0 };
  /** Settles what a notice says; held back by tests. */
  notifying: () => Promise<boolean> = async () => true;
  readonly #queue: Buffer[] = [];
  readonly #waiting = new Map<number, (reply: Buffer) => void>();
  #hasEnded = false;
  #arrived = Promise.withResolvers<void>();

  /** @returns the reply to what has this unique number. */
  async ask(unique: number, request: Uint8Array): Promise<Buffer> {
    const { promise, resolve } = Promise.withResolvers<Buffer>();
    this.#waiting.set(unique, resolve);
    this.tell(request);
    return await promise;
  }

  /** A request that gets no reply. */
  tell(request: Uint8Array): void {
    this.#queue.push(Buffer.from(request));
    this.#arrived.resolve();
  }

  /** The kernel wants no answer to it any more: its caller is dead. */
  withdraw(unique: number): void {
    this.#waiting.delete(unique);
  }

  end(): void {
    this.#hasEnded = true;
    this.#arrived.resolve();
  }

  receiveNow(buffer: Buffer): number | undefined {
    this.waits.holding += 1;
    return this.#next(buffer);
  }

  async receive(buffer: Buffer): Promise<number> {
    this.waits.pooled += 1;
    for (;;) {
      const length = this.#next(buffer);
      if (length !== undefined) return length;
      await this.#arrived.promise;
      this.#arrived = Promise.withResolvers();
    }
  }

  #next(buffer: Buffer): number | undefined {
    const request = this.#queue.shift();
    request?.copy(buffer);
    return request?.length ?? (this.#hasEnded ? 0 : undefined);
  }

  send(buffer: Buffer, length: number, tail: readonly Uint8Array[]): boolean {
    const reply = Buffer.concat([buffer.subarray(0, length), ...tail]);
    const unique = Number(reply.readBigUInt64LE(8));
    const resolve = this.#waiting.get(unique);
    this.#waiting.delete(unique);
    if (resolve) resolve(reply);
    else this.unwanted.push(reply);
    return resolve !== undefined;
  }

  async notify(parts: readonly Uint8Array[]): Promise<boolean> {
    this.notices.push(Buffer.concat(parts));
    return await this.notifying();
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }
}
