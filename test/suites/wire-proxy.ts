/**
 * A TCP proxy that does to a connection what networks do: delay, throttle, flip bits, fall silent,
 * cut. Its faults may be changed at any time and hold for what arrives from then on. It never holds
 * more than a window of bytes for each direction: a slow side slows the other one down.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { Transform, type TransformCallback } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

export interface WireFaults {
  /** Added to each direction. */
  delayMs: number;
  /** Of each direction of each connection. */
  bytesPerSecond: number;
  /** One bit of every so many bytes that pass is flipped; 0: none. */
  flipEveryBytes: number;
  /** Nothing passes, but connections stay, as behind a dead router. */
  isSilent: boolean;
}

export interface WireTarget {
  readonly host: string;
  readonly port: number;
}

export class WireProxy implements AsyncDisposable {
  readonly faults: WireFaults = {
    delayMs: 0,
    bytesPerSecond: Infinity,
    flipEveryBytes: 0,
    isSilent: false,
  };
  /** How many bits were flipped. */
  flipCount = 0;
  readonly #server: Server;
  readonly #target: WireTarget;
  readonly #sockets = new Set<Socket>();

  private constructor(target: WireTarget) {
    this.#target = target;
    this.#server = createServer((near) => this.#join(near));
  }

  /** On a free port of the loopback interface. */
  static async open(target: WireTarget): Promise<WireProxy> {
    const proxy = new WireProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get connectionCount(): number {
    return this.#sockets.size / 2;
  }

  /** Resets all connections; new ones are taken. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, 'close');
  }

  #join(near: Socket): void {
    const far = connect(this.#target.port, this.#target.host);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(this.#passage()).pipe(other);
    }
  }

  /** One direction of one connection. */
  #passage(): Transform {
    let freeAtMs = 0;
    let bytesToFlip = 0;
    const pass = async (chunk: Buffer, done: TransformCallback): Promise<void> => {
      const { delayMs, bytesPerSecond, flipEveryBytes } = this.faults;
      const nowMs = performance.now();
      freeAtMs = Math.max(nowMs + delayMs, freeAtMs) + (1000 * chunk.length) / bytesPerSecond;
      if (freeAtMs > nowMs) await sleep(freeAtMs - nowMs);
      while (this.faults.isSilent && this.#sockets.size > 0) await sleep(5);
      if (flipEveryBytes > 0) bytesToFlip += chunk.length;
      while (flipEveryBytes > 0 && bytesToFlip >= flipEveryBytes) {
        bytesToFlip -= flipEveryBytes;
        chunk[Math.max(0, chunk.length - 1 - bytesToFlip)]! ^= 4;
        this.flipCount += 1;
      }
      done(null, chunk);
    };
    return new Transform({
      transform(chunk: Buffer, _encoding, done: TransformCallback) {
        void pass(chunk, done);
      },
    });
  }
}
