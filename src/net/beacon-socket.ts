/**
 * Sends beacons to the local network and hears those of others: UDP multicast that no router passes
 * on (TTL 1). Each interface is joined and sent on by its own address, so it works where there is
 * no route for multicast, and on the loopback interface. Interfaces that come later are joined when
 * the next beacon is sent.
 */
import { createSocket, type Socket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { errorMessage, HoldfastError } from '../base/index.ts';
import type { Env } from '../env/index.ts';

export const BEACON_GROUP = '239.77.7.7';
export const BEACON_PORT = 47_077;

export interface BeaconSocketOptions {
  readonly env: Env;
  readonly port?: number | undefined;
  /** IPv4 addresses of the interfaces to use; all of this machine when left out. */
  readonly interfaces?: (() => readonly string[]) | undefined;
  /** @param host where the datagram came from. */
  readonly onDatagram: (bytes: Uint8Array, host: string) => void;
}

export class BeaconSocket implements AsyncDisposable {
  readonly #env: Env;
  readonly #socket: Socket;
  readonly #port: number;
  readonly #interfaces: () => readonly string[];
  readonly #joined = new Set<string>();

  private constructor(socket: Socket, options: BeaconSocketOptions) {
    this.#socket = socket;
    this.#env = options.env;
    this.#port = options.port ?? BEACON_PORT;
    this.#interfaces = options.interfaces ?? localInterfaces;
  }

  /** @throws HF_UNAVAILABLE when the port cannot be bound or no interface can be joined. */
  static async open(options: BeaconSocketOptions): Promise<BeaconSocket> {
    const socket = createSocket({ type: 'udp4', reuseAddr: true });
    const beacon = new BeaconSocket(socket, options);
    await bound(socket, beacon.#port);
    socket.on('error', (error) => options.env.log.warn(`beacon: ${errorMessage(error)}`));
    socket.on('message', (bytes, { address }) => options.onDatagram(bytes, address));
    socket.setMulticastTTL(1);
    socket.setMulticastLoopback(true); // several nodes may share a machine
    const failures = beacon.#joinAll();
    if (beacon.#joined.size > 0) return beacon;
    socket.close();
    throw new HoldfastError('HF_UNAVAILABLE', `no multicast here: ${failures.join('; ')}`);
  }

  /** One at a time: the interface is a setting of the socket. Failures are logged only. */
  async send(bytes: Uint8Array): Promise<void> {
    this.#joinAll();
    for (const host of this.#joined) {
      try {
        this.#socket.setMulticastInterface(host);
        await sent(this.#socket, bytes, this.#port);
      } catch (error) {
        this.#env.log.debug(`beacon on ${host}: ${errorMessage(error)}`);
      }
    }
  }

  /** What could not be joined, and why. */
  #joinAll(): string[] {
    const present = new Set(this.#interfaces());
    for (const host of this.#joined) if (!present.has(host)) this.#joined.delete(host);
    const failures: string[] = [];
    for (const host of present) {
      if (this.#joined.has(host)) continue;
      try {
        this.#socket.addMembership(BEACON_GROUP, host);
        this.#joined.add(host);
      } catch (error) {
        const isJoined = (error as { code?: unknown }).code === 'EADDRINUSE';
        if (isJoined) this.#joined.add(host);
        else failures.push(`${host}: ${errorMessage(error)}`);
      }
    }
    return failures;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }
}

function localInterfaces(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ family }) => family === 'IPv4')
    .map(({ address }) => address);
}

function bound(socket: Socket, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', (error) => {
      const text = `cannot bind UDP port ${port}: ${errorMessage(error)}`;
      reject(new HoldfastError('HF_UNAVAILABLE', text, { cause: error }));
    });
    socket.bind(port, () => {
      socket.removeAllListeners('error');
      resolve();
    });
  });
}

function sent(socket: Socket, bytes: Uint8Array, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(bytes, port, BEACON_GROUP, (error) => (error ? reject(error) : resolve()));
  });
}
